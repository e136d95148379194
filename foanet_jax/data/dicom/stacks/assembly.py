"""Arranges the images of one stack as frames of slices on an even grid."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.dicom.headers import TIMES, DicomImage
from foanet_jax.data.dicom.stacks.evenness import Line, line_of, place_text
from foanet_jax.data.dicom.stacks.grid import near_view, places_of, same_view
from foanet_jax.data.dicom.stacks.repeats import usual_counts, without_repeats
from foanet_jax.data.dicom.wanted import DEFAULT, Wanted
from foanet_jax.data.nifti.header import SPACING_RANGE_MM
from foanet_jax.system.errors import InputError

_ROUNDED = 1e-3  # deviation of direction cosines from unit vectors at right angles that is kept as it is
_GO_ON = "or go on with --incomplete"


@dataclasses.dataclass(frozen=True)
class Stack:
    """The images of one stack.

    Attributes:
        grid: grid[t][z] is the image of frame t and of slice z of the acquired slices.
        missing: the numbers of the slices that were not acquired, in the whole stack, from 0.
        spacing_mm: (slice, row, column).
        affine: (4, 4), from (column, row, slice) of the whole stack to RAS+ in mm.
        remarks: one sentence for each decision.
        incomplete: one sentence for each defect of the stack, such as a missing slice.
    """

    grid: list[list[DicomImage]]
    missing: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    remarks: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    @property
    def acquired(self) -> list[int]:
        """The numbers of the acquired slices in the whole stack."""
        return [z for z in range(len(self.grid[0]) + len(self.missing)) if z not in self.missing]

    @property
    def nearest(self) -> list[int]:
        """For each slice of the whole stack, its index in the grid; for a missing one, that of the slice before it."""
        acquired = self.acquired
        return [sum(n <= z for n in acquired) - 1 for z in range(len(acquired) + len(self.missing))]


def assemble(images: Sequence[DicomImage], wanted: Wanted = DEFAULT) -> Stack:
    """Arranges the images of one stack as frames of slices on an even grid. There must be at least one image.

    Slices are sorted along the normal of the image, row direction × column direction. Frames are sorted by trigger
    time, temporal position, instance number or acquisition time: by the first of these that differs for all images at
    each place.

    Raises:
        InputError: the images are of several patients or views; two images cannot be distinguished; slices or frames
            are missing, or slices are turned, without `wanted.incomplete`; or the slices do not lie on a line.
    """
    images, incomplete = _of_one_view(images, wanted)
    places, remarks = without_repeats(places_of(images), wanted.repeats)
    _require_one_line(places)
    grid, uneven = _frames(places, wanted)
    line = line_of(grid[0])
    incomplete += uneven
    if line.missing:
        if not wanted.incomplete or not line.fillable:
            raise _gap(grid[0], line, fillable=line.fillable)
        incomplete += [f"slice {z + 1} is missing: its images are the mean of its neighbours'" for z in line.missing]
    spacing_mm, affine = _geometry(grid[0], line)
    return Stack(grid, tuple(line.missing), spacing_mm, affine, tuple(remarks), tuple(incomplete))


def _of_one_view(images: Sequence[DicomImage], wanted: Wanted) -> tuple[list[DicomImage], list[str]]:
    """Checks that the images are of one patient and view, and that no two are the same.

    With `wanted.incomplete`, slices that are slightly turned get the orientation of the others.

    Returns:
        The images, and a sentence about slices that were turned.
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
        if image.identity in instances:
            raise InputError(
                "duplicate", f"{image.path}: the same image as {instances[image.identity].path}; remove one of them"
            )
        instances[image.identity] = image
    usual = _usual_view(images)
    turned = [image for image in images if not same_view(usual, image)]
    for image in turned:
        if not near_view(usual, image):
            raise InputError(
                "geometry",
                f"{image.path}: another orientation or pixel spacing than {usual.path}; read them as two studies",
            )
        if not wanted.incomplete:
            by = np.abs(image.orientation - usual.orientation).max()
            raise InputError(
                "geometry",
                f"{image.path}: its ImageOrientationPatient differs by up to {by:.2g} from that of {usual.path} and "
                f"other slices (it may be rounded); correct the header, {_GO_ON}, which takes that of the others",
            )
    if not turned:
        return list(images), []
    odd = {image.identity for image in turned}
    straight = [
        dataclasses.replace(image, orientation=usual.orientation) if image.identity in odd else image
        for image in images
    ]
    numbers = [
        number for number, place in enumerate(places_of(straight), 1) if any(image.identity in odd for image in place)
    ]
    which = ", ".join(map(str, numbers))
    return straight, [f"slices slightly turned against the others are read as parallel to them: slice {which}"]


def _usual_view(images: Sequence[DicomImage]) -> DicomImage:
    """Returns the first image with the most frequent orientation."""
    counts = Counter(tuple(image.orientation) for image in images)
    (orientation, _), *_ = counts.most_common(1)
    return next(image for image in images if tuple(image.orientation) == orientation)


def _require_one_line(places: Sequence[Sequence[DicomImage]]) -> None:
    for place in places:
        for image in place:
            aside = float(np.linalg.norm(image.position - place[0].position))
            if aside > 0.1 * min(image.spacing_mm):
                raise InputError(
                    "geometry",
                    f"{image.path}: {aside:.3g} mm beside {place[0].path} in the same plane; read them as two studies",
                )


def _frames(places: Sequence[list[DicomImage]], wanted: Wanted) -> tuple[list[list[DicomImage]], list[str]]:
    """Sorts the images at each place into frames.

    Returns:
        The frames of slices, and a sentence about each slice with another number of images, whose frames are chosen by
        their time.
    """
    usual = usual_counts(places)[-1]
    odd = [number for number, place in enumerate(places) if len(place) != usual]
    whole = [place for place in places if len(place) == usual]
    if odd and (not wanted.incomplete or min(len(places[number]) for number in odd) < usual / 2):
        told = ", ".join(
            f"{len(places[number])} images at slice {number + 1} of {len(places)} ({place_text(places[number][0])})"
            for number in odd
        )
        few = "" if min(len(places[number]) for number in odd) >= usual / 2 else "; fewer than half cannot be replaced"
        raise InputError(
            "frame-count",
            f"{places[odd[0]][0].path.parent}: {told}, but {usual} at each of the others; complete the series"
            + (few or f", {_GO_ON}, which takes the frames nearest in time"),
        )
    for tag in TIMES:
        if all(len({image.times.get(tag) for image in place} - {None}) == len(place) for place in places):
            by_place = [sorted(place, key=lambda image: image.times[tag]) for place in places]
            times = [np.array([image.times[tag] for image in place]) for place in by_place]
            if odd and tag == "TriggerTime":
                mean = np.mean([its for its in times if len(its) == usual], axis=0)
                nearest = [np.abs(its[None] - mean[:, None]).argmin(axis=1) for its in times]
            else:
                nearest = [np.rint(np.linspace(0, len(its) - 1, usual)).astype(int) for its in times]
            grid = [[by_place[z][nearest[z][t]] for z in range(len(places))] for t in range(usual)]
            return grid, [
                f"slice {number + 1} has {len(places[number])} images where the others have {usual}: for each frame, "
                "the one nearest in time is used"
                for number in odd
            ]
    if usual == 1 and not odd:
        return [[place[0] for place in places]], []
    crowded = next(place for place in whole + [places[number] for number in odd] if len(place) > 1)
    raise InputError(
        "duplicate",
        f"{crowded[1].path}: at the position of {crowded[0].path}, and no {', '.join(TIMES)} tells all images there "
        "apart; remove one of them",
    )


def _gap(slices: Sequence[DicomImage], line: Line, *, fillable: bool) -> InputError:
    acquired = [z for z in range(len(slices) + len(line.missing)) if z not in line.missing]
    after = [max(n for n, z in enumerate(acquired) if z < gap) for gap in line.missing]
    told = "; ".join(
        f"slice {gap + 1} is missing, after {slices[n].path.name}: it should be at "
        f"({', '.join(f'{value:.1f}' for value in line.start + gap * line.step)})"
        for gap, n in zip(line.missing, after, strict=True)
    )
    go_on = f", {_GO_ON}, which interpolates it between its neighbours" if fillable else ""
    return InputError(
        "slice-gap",
        f"{slices[0].path.parent}: {told}; the slices lie {', '.join(f'{gap:.2f}' for gap in line.gaps_mm)} mm apart: "
        f"add the missing slice{go_on}",
    )


def _geometry(slices: Sequence[DicomImage], line: Line) -> tuple[tuple[float, float, float], np.ndarray]:
    """Returns the spacing (slice, row, column) in mm, and the affine from (column, row, slice) to RAS+ mm.

    The slice distance is perpendicular to the slices, also if they are shifted against each other in their planes.
    """
    first = slices[0]
    row_mm, column_mm = first.spacing_mm
    slice_mm = float(line.step @ (first.normal / np.linalg.norm(first.normal)))
    low, high = SPACING_RANGE_MM
    if len(slices) > 1 and not low <= slice_mm <= high:
        raise InputError(
            "spacing",
            f"{first.path}: slices {slice_mm:g} mm apart; expected {low:g} to {high:g} mm: check the files",
        )
    along, down = _at_right_angles(first.orientation)
    affine = np.eye(4)
    affine[:3] = np.stack([along * column_mm, down * row_mm, line.step, line.start], axis=1)
    affine[:2] *= -1  # LPS+ to RAS+.
    return (slice_mm, row_mm, column_mm), affine


def _at_right_angles(orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the directions of rows and columns as unit vectors at right angles; rounded headers are slightly off."""
    along, down = orientation[:3], orientation[3:]
    off = max(abs(float(along @ along) - 1), abs(float(down @ down) - 1), abs(float(along @ down)))
    if off <= _ROUNDED:
        return along, down
    along = along / np.linalg.norm(along)
    down = down - (down @ along) * along
    return along, down / np.linalg.norm(down)
