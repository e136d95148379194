"""Compares the views of images, and finds their places and times."""

from collections.abc import Sequence

import numpy as np

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.study import believable_frame_seconds

_ANGLE_TOLERANCE = 1e-3  # of direction cosines; scanners write four digits or more
_ROUNDED = 0.03  # of direction cosines that were rounded to two digits or fewer
SAME_PLACE_MM = 0.01
_MOST_UNEVEN = 0.2  # the largest deviation from the mean step between frames, relative to it


def same_view(first: DicomImage, second: DicomImage) -> bool:
    """Whether two images have the same orientation and pixel spacing."""
    return bool(
        np.abs(first.orientation - second.orientation).max() <= _ANGLE_TOLERANCE
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-4, atol=0)
    )


def near_view(first: DicomImage, second: DicomImage) -> bool:
    """Whether two images have the same pixel spacing, and the same orientation except for coarse rounding."""
    return bool(
        np.abs(first.orientation - second.orientation).max() <= _ROUNDED
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-4, atol=0)
    )


def places_of(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """Groups images by their position (to 0.01 mm) along the normal of the first one, sorted in its direction.

    There must be at least one image.
    """
    normal = images[0].normal
    ordered = sorted(images, key=lambda image: float(normal @ image.position))
    places = [[ordered[0]]]
    for image in ordered[1:]:
        if float(normal @ (image.position - places[-1][0].position)) <= SAME_PLACE_MM:
            places[-1].append(image)
        else:
            places.append([image])
    return places


def frame_seconds(grid: Sequence[Sequence[DicomImage]]) -> float | None:
    """Returns the time from frame to frame in s. It is the mean over the slices, because their heartbeats differ.

    The time is that of TriggerTime, which is in ms. Slices in which one image is used for several frames are ignored.
    The result is None for a single frame, if an image lacks the tag, or if the times of the frames are uneven or in
    another order.
    """
    whole = [z for z in range(len(grid[0])) if len({frame[z].identity for frame in grid}) == len(grid)]
    times = np.array([[frame[z].times.get("TriggerTime", np.nan) for z in whole] for frame in grid]) / 1000
    steps = np.diff(times.mean(axis=1))
    if not len(steps) or not np.abs(steps - steps.mean()).max() <= _MOST_UNEVEN * steps.mean():
        return None
    return believable_frame_seconds(float(steps.mean()))
