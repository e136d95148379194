"""The images of one stack as frames of slices, and where in the world they lie."""

import itertools
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.dicom.headers import TIMES, DicomImage
from foanet_jax.data.nifti.header import SPACING_RANGE_MM
from foanet_jax.data.study import believable_frame_seconds
from foanet_jax.system.errors import InputError

_ANGLE_TOLERANCE = 1e-3  # Of direction cosines; scanners write four digits and more.
_SAME_PLACE_MM = 0.01
_MOST_UNEVEN = 0.2  # of the mean step between frames, for them to count as evenly spaced in time


def same_view(first: DicomImage, second: DicomImage) -> bool:
    """Whether two images agree in orientation and pixel spacing."""
    return bool(
        np.abs(first.orientation - second.orientation).max() <= _ANGLE_TOLERANCE
        and np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-4, atol=0)
    )


def places_of(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """The images at each position (to 0.01 mm) along the first one's normal, in its direction; at least one image."""
    normal = images[0].normal
    ordered = sorted(images, key=lambda image: float(normal @ image.position))
    places = [[ordered[0]]]
    for image in ordered[1:]:
        if float(normal @ (image.position - places[-1][0].position)) <= _SAME_PLACE_MM:
            places[-1].append(image)
        else:
            places.append([image])
    return places


def arrange(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """The images of one stack as frames of slices.

    Raises:
        InputError: they are of several patients or views, lack images, or two cannot be told apart.
    """
    first = images[0]
    instances: dict[tuple[str, int | None], DicomImage] = {}
    for image in images:
        if image.patient_key != first.patient_key:
            raise InputError("mixed-patients", f"{image.path}: of another patient than {first.path}; take them apart")
        if image.shape != first.shape:
            raise InputError(
                "size-mismatch",
                f"{image.path}: {image.shape[0]} rows × {image.shape[1]} columns, but {first.path} has "
                f"{first.shape[0]} × {first.shape[1]}; read them as two studies",
            )
        if not same_view(first, image):
            raise InputError(
                "geometry",
                f"{image.path}: another orientation or pixel spacing than {first.path}; read them as two studies",
            )
        if image.identity in instances:
            raise InputError(
                "duplicate", f"{image.path}: the same image as {instances[image.identity].path}; remove one of them"
            )
        instances[image.identity] = image
    places = places_of(images)
    counts = {len(place) for place in places}
    if len(counts) > 1:
        fewest, most = min(places, key=len), max(places, key=len)
        raise InputError(
            "frame-count",
            f"{fewest[0].path.parent}: {len(fewest)} images at the slice of {fewest[0].path.name}, but {len(most)} at "
            f"that of {most[0].path.name}; complete the series or remove the shorter slices",
        )
    for place in places:
        for image in place:
            aside = float(np.linalg.norm(image.position - place[0].position))
            if aside > 0.1 * min(image.spacing_mm):
                raise InputError(
                    "geometry",
                    f"{image.path}: {aside:.3g} mm beside {place[0].path} in the same plane; read them as two studies",
                )
    for tag in TIMES:
        if all(len({image.times.get(tag) for image in place} - {None}) == len(place) for place in places):
            by_place = [sorted(place, key=lambda image: image.times[tag]) for place in places]
            return [list(frame) for frame in zip(*by_place, strict=True)]
    if counts == {1}:
        return [[place[0] for place in places]]
    crowded = next(place for place in places if len(place) > 1)
    raise InputError(
        "duplicate",
        f"{crowded[1].path}: at the position of {crowded[0].path}, and no {', '.join(TIMES)} tells all images there "
        "apart; remove one of them",
    )


def frame_seconds(grid: Sequence[Sequence[DicomImage]]) -> float | None:
    """The time from frame to frame by TriggerTime, in ms, the mean of all slices, whose heartbeats differ.

    None of a single frame, where an image lacks the tag, and where frames are not evenly spaced or not in its order.
    """
    times = np.array([[image.times.get("TriggerTime", np.nan) for image in frame] for frame in grid]) / 1000
    steps = np.diff(times.mean(axis=1))
    if not len(steps) or not np.abs(steps - steps.mean()).max() <= _MOST_UNEVEN * steps.mean():
        return None
    return believable_frame_seconds(float(steps.mean()))


def geometry(slices: Sequence[DicomImage]) -> tuple[tuple[float, float, float], np.ndarray]:
    """Spacing (slice, row, column) in mm and the affine from (column, row, slice) to RAS+ of one frame's slices.

    Raises:
        InputError: "slice-gap" where the slices are not evenly spaced on a line.
    """
    first, last = slices[0], slices[-1]
    row_mm, column_mm = first.spacing_mm
    normal = first.normal / np.linalg.norm(first.normal)
    if len(slices) == 1:
        slice_mm = first.thickness_mm or 1.0
        step = normal * slice_mm
    else:
        step = (last.position - first.position) / (len(slices) - 1)
        slice_mm = float(step @ normal)
        for place, image in enumerate(slices):
            off = float(np.linalg.norm(first.position + place * step - image.position))
            if off > max(0.05 * slice_mm, 2 * _SAME_PLACE_MM):
                gaps = [float(normal @ (b.position - a.position)) for a, b in itertools.pairwise(slices)]
                raise InputError(
                    "slice-gap",
                    f"{image.path}: {off:.3g} mm off an even stack; the slices lie "
                    f"{', '.join(f'{gap:.2f}' for gap in gaps)} mm apart: "
                    "add the missing slice, or put each even part into a folder of its own",
                )
        low, high = SPACING_RANGE_MM
        if not low <= slice_mm <= high:
            raise InputError(
                "spacing",
                f"{first.path}: slices {slice_mm:g} mm apart; expected {low:g} to {high:g} mm: check the files",
            )
    along, down = first.orientation[:3], first.orientation[3:]
    affine = np.eye(4)
    affine[:3] = np.stack([along * column_mm, down * row_mm, step, first.position], axis=1)
    affine[:2] *= -1  # LPS+ to RAS+.
    return (slice_mm, row_mm, column_mm), affine
