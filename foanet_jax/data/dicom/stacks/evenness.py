"""Checks whether slices lie evenly on a line, and finds missing slices."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.dicom.stacks.grid import SAME_PLACE_MM
from foanet_jax.system.errors import InputError

_TOLERANCE = 0.05  # relative to the slice distance
_MOST_APART = 6  # relative to the smallest distance; slices farther apart belong to another stack
_WIDEST_GAP = 2  # the most missing slices between two acquired ones that can be interpolated
_FEWEST_IN_ROW = 0.6  # the smallest share of distances without a missing slice in a stack that lacks a slice or two


@dataclasses.dataclass(frozen=True)
class Line:
    """The line on which the slices of a stack lie.

    Attributes:
        start: (3,) position of the first slice in LPS+, in mm.
        step: (3,) vector from slice to slice, in mm.
        gaps_mm: distances between the acquired slices.
        missing: numbers of the missing slices in the whole stack, from 0.
    """

    start: np.ndarray
    step: np.ndarray
    gaps_mm: list[float]
    missing: list[int]

    @property
    def fillable(self) -> bool:
        """Whether the missing slices have neighbours that are near enough to interpolate between them."""
        wide = any(all(z + n in self.missing for n in range(_WIDEST_GAP + 1)) for z in self.missing)
        near = sum(gap < 1.5 * float(np.linalg.norm(self.step)) for gap in self.gaps_mm)
        return not wide and near >= _FEWEST_IN_ROW * len(self.gaps_mm)


def line_of(slices: Sequence[DicomImage]) -> Line:
    """Returns the line on which slices lie evenly. Slices may be missing. The line of a single slice is its normal.

    Raises:
        InputError: "slice-gap" if the distances are not multiples of one distance; "geometry" if a slice is not on the
            line.
    """
    first = slices[0]
    normal = first.normal / np.linalg.norm(first.normal)
    positions = np.array([image.position for image in slices])
    if len(slices) == 1:
        return Line(first.position, normal * (first.thickness_mm or 1.0), [], [])
    gaps = [float(normal @ (after - before)) for before, after in itertools.pairwise(positions)]
    numbers = np.arange(len(slices))
    if not _fits(positions, numbers, normal):
        numbers = _numbers(slices, gaps)
        _require_beside_none(slices, positions, numbers, normal)
    step = (positions[-1] - positions[0]) / numbers[-1]
    return Line(first.position, step, gaps, sorted(set(range(numbers[-1])) - set(numbers.tolist())))


def place_text(image: DicomImage) -> str:
    """Returns the file and the position of a slice, for messages."""
    return f"{image.path.name}, at ({', '.join(f'{value:.1f}' for value in image.position)})"


def _fits(positions: np.ndarray, numbers: np.ndarray, normal: np.ndarray) -> bool:
    step = (positions[-1] - positions[0]) / numbers[-1]
    off = np.linalg.norm(positions[0] + numbers[:, None] * step - positions, axis=1)
    return bool(off.max() <= max(_TOLERANCE * float(step @ normal), 2 * SAME_PLACE_MM))


def _numbers(slices: Sequence[DicomImage], gaps: Sequence[float]) -> np.ndarray:
    """Returns the numbers of the slices in the whole stack, in which slices may be missing. The first number is 0."""
    smallest = min(gaps)
    unit = float(np.median([gap for gap in gaps if gap < 1.5 * smallest]))
    counts = np.rint(np.array(gaps) / unit).astype(int)
    numbers = np.concatenate([[0], counts.cumsum()])
    unit = sum(gaps) / numbers[-1]
    off = np.abs(np.concatenate([[0], np.cumsum(gaps)]) - numbers * unit)
    if counts.max() > _MOST_APART or off.max() > max(_TOLERANCE * unit, 2 * SAME_PLACE_MM):
        worst = int(off.argmax())
        raise InputError(
            "slice-gap",
            f"{slices[worst].path}: {off[worst]:.3g} mm off an even stack; the slices lie "
            f"{', '.join(f'{gap:.2f}' for gap in gaps)} mm apart: put each even part into a folder of its own",
        )
    return numbers


def _require_beside_none(
    slices: Sequence[DicomImage], positions: np.ndarray, numbers: np.ndarray, normal: np.ndarray
) -> None:
    """Checks that no slice is shifted in its plane, away from the line on which most slices lie."""
    in_plane = positions - (positions @ normal)[:, None] * normal
    step = np.median(np.diff(in_plane, axis=0) / np.diff(numbers)[:, None], axis=0)
    aside = in_plane - numbers[:, None] * step
    shift = np.linalg.norm(aside - np.median(aside, axis=0), axis=1)
    unit = float(normal @ (positions[-1] - positions[0])) / numbers[-1]
    worst = int(shift.argmax())
    if shift[worst] > max(_TOLERANCE * unit, 2 * SAME_PLACE_MM):
        raise InputError(
            "geometry",
            f"{slices[worst].path}: slice {numbers[worst] + 1} is shifted by {shift[worst]:.3g} mm in its plane "
            f"against an even stack ({place_text(slices[worst])}); correct its ImagePositionPatient, or leave it out",
        )
