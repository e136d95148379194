"""Views, places and times of images."""

from collections.abc import Sequence

import numpy as np

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.study import believable_frame_seconds

_ANGLE_TOLERANCE = 1e-3  # Of direction cosines; scanners write four digits and more.
_ROUNDED = 0.03  # of direction cosines that were rounded to two digits, or less
SAME_PLACE_MM = 0.01
_MOST_UNEVEN = 0.2  # of the mean step between frames, for them to count as evenly spaced in time


def same_view(first: DicomImage, second: DicomImage) -> bool:
    """Whether two images agree in orientation and pixel spacing."""
    return bool(
        np.abs(first.orientation - second.orientation).max() <= _ANGLE_TOLERANCE
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-4, atol=0)
    )


def near_view(first: DicomImage, second: DicomImage) -> bool:
    """Whether two images agree in pixel spacing, and in orientation up to what rounding leaves of it."""
    return bool(
        np.abs(first.orientation - second.orientation).max() <= _ROUNDED
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-4, atol=0)
    )


def places_of(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """The images at each position (to 0.01 mm) along the first one's normal, in its direction; at least one image."""
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
    """The time from frame to frame by TriggerTime, in ms, the mean of all slices, whose heartbeats differ.

    Slices in which a frame stands in for another do not count. None of a single frame, where an image lacks the tag,
    and where frames are not evenly spaced or not in its order.
    """
    whole = [z for z in range(len(grid[0])) if len({frame[z].identity for frame in grid}) == len(grid)]
    times = np.array([[frame[z].times.get("TriggerTime", np.nan) for z in whole] for frame in grid]) / 1000
    steps = np.diff(times.mean(axis=1))
    if not len(steps) or not np.abs(steps - steps.mean()).max() <= _MOST_UNEVEN * steps.mean():
        return None
    return believable_frame_seconds(float(steps.mean()))
