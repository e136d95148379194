"""Detects orders of axes and sizes that no image of a heart has."""

from collections.abc import Sequence

import numpy as np

from foanet_jax.system.errors import InputError

# The possible lengths of an image's sides, mm. A smaller image with fewer pixels than this can be a cropped image.
_SIDES_OF_FIELD_MM = (30.0, 1000.0)
_LEAST_PX = 64
# At least so many slices or frames that are this narrow, or this long for their width, show a wrong order of axes.
_MANY_IMAGES = 64
_NARROW_PX = 32
_CUT_ACROSS = 4
# The pixels of MR images are nearly square. Above this ratio of their sides, they are not.
_OBLONG_PIXEL = 2.5
# Frames are more alike than slices, and the last frame of a beat is similar to the first. In cines of ACDC and
# Sunnybrook, neighbouring slices differ 6 to 11 times as much as neighbouring frames.
_LEAST_FRAMES, _LEAST_SLICES = 8, 3
_ALIKE = 0.5
_MOST_SAMPLES = 64  # the most pixels along each side that are compared


def require_possible_field(shape: Sequence[int], spacing_mm: Sequence[float], *, name: str, remedy: str) -> None:
    """Refuses images that are larger than any scanner or smaller than any heart. Usually their unit is wrong.

    Args:
        shape: (T, Z, H, W).
        spacing_mm: (slice, row, column).
        name: of the file or array, for the message.
        remedy: the end of the message.

    Raises:
        InputError: "spacing".
    """
    sides = [count * side for count, side in zip(shape[1:], spacing_mm, strict=True)]
    low, high = _SIDES_OF_FIELD_MM
    is_small = max(shape[2:]) >= _LEAST_PX and max(sides[1:]) < low
    if max(sides) > high or is_small:
        shown = " × ".join(f"{side:.4g}" for side in sides)
        raise InputError(
            "spacing",
            f"{name}: the image is {shown} mm large, with voxels of {shown_sides(spacing_mm)}; no heart is "
            f"{'so small' if is_small else 'scanned so large'}: {remedy}",
        )


def shown_sides(spacing_mm: Sequence[float]) -> str:
    """Returns a spacing as text for a message."""
    return " × ".join(f"{float(side):.5g}" for side in spacing_mm) + " mm (slice, row, column)"


def is_cut_across(shape: Sequence[int]) -> bool:
    """Whether the slices or frames of a shape (T, Z, H, W) are in the place of rows or columns.

    For example, 256 "slices" of 256 × 10 px are 10 slices of 256 × 256 px in a wrong order of axes.
    """
    many, short, long = max(shape[:2]), min(shape[2:]), max(shape[2:])
    return many >= max(_MANY_IMAGES, _CUT_ACROSS * short) and (short <= _NARROW_PX or long >= _CUT_ACROSS * short)


def has_oblong_pixels(spacing_mm: Sequence[float]) -> bool:
    """Whether the slice distance seems to be in the place of the row or column distance, in (slice, row, column)."""
    row, column = spacing_mm[1:]
    return max(row, column) >= _OBLONG_PIXEL * min(row, column)


def has_frames_for_slices(voxels: np.ndarray) -> bool:
    """Whether the second axis of (T, Z, H, W) is time.

    Along time, images change little, and the last image is similar to the first.
    """
    frames, slices, rows, columns = voxels.shape
    if slices < _LEAST_FRAMES or frames < _LEAST_SLICES:
        return False
    part = voxels[..., :: -(-rows // _MOST_SAMPLES), :: -(-columns // _MOST_SAMPLES)].astype(np.float32)
    # Large values can become infinite. They give no evidence then.
    with np.errstate(over="ignore", invalid="ignore"):
        steps = [float(np.abs(np.diff(part, axis=axis)).mean()) for axis in (0, 1)]
        ends = [float(np.abs(np.take(part, -1, axis) - np.take(part, 0, axis)).mean()) for axis in (0, 1)]
    return steps[1] < _ALIKE * steps[0] and ends[1] < _ALIKE * ends[0]
