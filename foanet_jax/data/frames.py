"""Frames of one patient in separate files, such as end diastole and end systole in ACDC."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

import numpy as np

from foanet_jax.data.study import Study

_FRAME_OF = re.compile(r"(.+)_frame([0-9]+)")
_SAME_SPACING = 1e-3  # relative
_SAME_PLACE = 0.1  # of the shortest side of a voxel, because files round differently


def patient_of_frame(case: str) -> str | None:
    """Returns the patient of a case, "patient001" for "patient001_frame01"; None if the case has another form."""
    match = _FRAME_OF.fullmatch(case)
    return match[1] if match else None


def number_of_frame(case: str) -> int:
    """Returns the frame number of a case for which `patient_of_frame` returns a patient."""
    match = _FRAME_OF.fullmatch(case)
    assert match
    return int(match[2])


@dataclasses.dataclass(frozen=True)
class Place:
    """The grid of a study's frames: shape (Z, H, W), spacing (slice, row, column) in mm, and affine to RAS+ mm."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray


def place_of(study: Study) -> Place:
    """Returns the grid of a study's frames."""
    _, slices, rows, columns = study.voxels.shape
    return Place((slices, rows, columns), study.spacing_mm, study.affine)


def corners_off_mm(shape: tuple[int, ...], first: np.ndarray, second: np.ndarray) -> float:
    """Returns the largest distance in mm between the positions that two affines give to a corner of a volume.

    `shape` ends in (Z, H, W).
    """
    last = np.array(shape[:-4:-1]) - 1
    corners = np.array([[*(last * corner), 1] for corner in itertools.product((0, 1), repeat=3)])
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def is_same_place(shape: tuple[int, ...], first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the corners of a volume agree under two affines, to a tenth of the first one's smallest voxel side."""
    smallest = float(np.linalg.norm(first[:3, :3], axis=0).min())
    return corners_off_mm(shape, first, second) <= _SAME_PLACE * smallest


def is_same_spacing(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Whether two spacings are the same except for rounding."""
    return bool(np.allclose(first, second, rtol=_SAME_SPACING, atol=0))


def frames_apart(places: Mapping[str, Place]) -> dict[str, str]:
    """Returns the patients whose frames have different grids, each with a text about the difference.

    Such frames cannot be frames of one heartbeat.

    Args:
        places: the grids by case. Cases called PATIENT_frameNN belong to PATIENT; other cases are ignored.
    """
    first_of: dict[str, tuple[str, Place]] = {}
    apart: dict[str, str] = {}
    for case, place in places.items():
        patient = patient_of_frame(case)
        if patient is None:
            continue
        first_case, first = first_of.setdefault(patient, (case, place))
        difference = _difference(first, place)
        if difference:
            apart.setdefault(patient, f"{first_case} and {case} differ in {difference}")
    return apart


def _difference(first: Place, other: Place) -> str:
    """Returns a text about the difference between two grids, with both values; empty if they are the same."""
    if first.shape != other.shape:
        return f"size: {_sides(first.shape)} and {_sides(other.shape)} voxels (slices, rows, columns)"
    if not is_same_spacing(first.spacing_mm, other.spacing_mm):
        return f"spacing: {_sides(first.spacing_mm)} and {_sides(other.spacing_mm)} mm (slice, row, column)"
    if not is_same_place(first.shape, first.affine, other.affine):
        return f"place: {corners_off_mm(first.shape, first.affine, other.affine):.3g} mm apart by their affines"
    return ""


def _sides(values: tuple[float, ...]) -> str:
    return " × ".join(f"{value:.5g}" for value in values)
