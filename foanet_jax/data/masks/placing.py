"""Puts a mask on the grid of its image: other programs store the same grid with flipped or exchanged axes."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.frames import corners_off_mm
from foanet_jax.data.nifti.geometry import sides_of
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError

TOLERANCE = 0.1  # of the shortest side of a voxel, because files round differently; see `frames.is_same_place`


def scaled(affine: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns an affine with the spacing (slice, row, column), as it is in most files.

    In ACDC, the sides of the affine are 1, and only `pixdim` has the spacing. Other programs write it into both. The
    slice distance is perpendicular to the slices, so that the step from slice to slice of a sheared affine stays.
    """
    sides = sides_of(affine[:3, :3])
    result = np.array(affine, np.float64)
    result[:3, :3] *= np.array(spacing_mm[::-1]) / np.where(sides > 0, sides, 1)
    return result


def onto(
    values: np.ndarray, affine: np.ndarray, spacing_mm: Sequence[float], study: Study, path: Path, *, cropped: bool
) -> np.ndarray:
    """Returns label values on the grid of a study. Axes are only exchanged and reversed; nothing is resampled.

    Args:
        values: (T, Z, H, W).
        affine: from (column, row, slice) of the values to RAS+ mm.
        spacing_mm: of the values, (slice, row, column).
        study: the study with the image.
        path: the file of the values, for messages.
        cropped: whether the values may be a part of the grid, as 3D Slicer can store them; 0 is outside of it.

    Returns:
        (T, Z, H, W) on the grid of the study, with the frames of the values.

    Raises:
        InputError: "shape-mismatch" or "affine-mismatch" if the grids differ; the message has both.
    """
    own, image = scaled(affine, spacing_mm), scaled(study.affine, study.spacing_mm)
    sizes, wanted = values.shape[:0:-1], study.voxels.shape[:0:-1]  # columns, rows, slices
    tolerance = TOLERANCE * min(study.spacing_mm)
    order, signs = _directions(own, image)
    if order is not None:
        moved, matrix = _turned(values, own, order, signs)
        offset = np.linalg.solve(image, matrix[:, 3])[:3]
        first = np.rint(offset).astype(int)
        shifted = image.copy()
        shifted[:3, 3] = (image @ [*first, 1])[:3]
        here = moved.shape[:0:-1]
        inside = all(start >= 0 and start + size <= most for start, size, most in zip(first, here, wanted, strict=True))
        whole = here == wanted and not first.any()
        if inside and (whole or cropped) and corners_off_mm(moved.shape, shifted, matrix) <= tolerance:
            result = np.zeros((len(values), *study.voxels.shape[1:]), values.dtype)
            place = tuple(slice(start, start + size) for start, size in zip(first[::-1], here[::-1], strict=True))
            result[(slice(None), *place)] = moved
            return result
    code = "shape-mismatch" if sorted(sizes) != sorted(wanted) else "affine-mismatch"
    raise InputError(
        code,
        f"{path}: lies on another grid than {study.name}: the mask has {describe_grid(values.shape, own)}; the image "
        f"has {describe_grid(study.voxels.shape, image)}; use the mask that was drawn on this image, or export it on "
        "the grid of the image",
    )


def describe_grid(shape: Sequence[int], affine: np.ndarray) -> str:
    """Returns the size, the voxels and the position of a grid as text, in the order columns, rows, slices."""
    sides = " × ".join(f"{side:.4g}" for side in np.linalg.norm(affine[:3, :3], axis=0))
    sizes = " × ".join(str(size) for size in shape[:0:-1])
    first = ", ".join(f"{value:.4g}" for value in affine[:3, 3])
    last = ", ".join(f"{value:.4g}" for value in (affine @ [*(size - 1 for size in shape[:0:-1]), 1])[:3])
    return f"{sizes} voxels of {sides} mm from ({first}) to ({last}) mm"


def _directions(own: np.ndarray, image: np.ndarray) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Returns for each axis of the image the axis of the mask with the same line, and whether it runs along or back.

    The order is None if the axes of the two have different lines.
    """

    def unit(affine: np.ndarray) -> np.ndarray:
        return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    cosines = unit(image).T @ unit(own)
    best = max(itertools.permutations(range(3)), key=lambda order: sum(abs(cosines[i, order[i]]) for i in range(3)))
    if min(abs(cosines[axis, best[axis]]) for axis in range(3)) < 0.9:
        return None, ()
    return best, tuple(1 if cosines[axis, best[axis]] > 0 else -1 for axis in range(3))


def _turned(
    values: np.ndarray, affine: np.ndarray, order: Sequence[int], signs: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and affine with the axes (column, row, slice) in the order and direction of the image."""
    array = values.transpose(3, 2, 1, 0).transpose(*order, 3)  # columns, rows, slices, frames
    matrix = affine[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            array = np.flip(array, axis)
            matrix[:, 3] += matrix[:, axis] * (array.shape[axis] - 1)
            matrix[:, axis] *= -1
    return array.transpose(3, 2, 1, 0), matrix
