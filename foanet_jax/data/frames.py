"""Frames of one patient that are files of their own, such as ACDC's end diastole and end systole."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

import numpy as np

from foanet_jax.data.study import Study

_FRAME_OF = re.compile(r"(.+)_frame([0-9]+)")
_SAME_SPACING = 1e-3  # relative
_SAME_PLACE = 0.1  # of the shortest side of a voxel: files round differently


def patient_of_frame(case: str) -> str | None:
    """Whose frame a case is, "patient001" of "patient001_frame01"; None of a case that is not called so."""
    match = _FRAME_OF.fullmatch(case)
    return match[1] if match else None


def number_of_frame(case: str) -> int:
    """The number of a case of which `patient_of_frame` names the patient."""
    match = _FRAME_OF.fullmatch(case)
    assert match
    return int(match[2])


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a study's frames lie: shape (Z, H, W), spacing (slice, row, column) in mm, and affine to RAS+ mm."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray


def place_of(study: Study) -> Place:
    """Where a study lies."""
    _, slices, rows, columns = study.voxels.shape
    return Place((slices, rows, columns), study.spacing_mm, study.affine)


def corners_off_mm(shape: tuple[int, ...], first: np.ndarray, second: np.ndarray) -> float:
    """How far two affines put a corner of a volume apart, at most; `shape` ends in (Z, H, W)."""
    last = np.array(shape[:-4:-1]) - 1
    corners = np.array([[*(last * corner), 1] for corner in itertools.product((0, 1), repeat=3)])
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def is_same_place(shape: tuple[int, ...], first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two affines put a volume in the same place, to within a tenth of the first one's smallest voxel side."""
    smallest = float(np.linalg.norm(first[:3, :3], axis=0).min())
    return corners_off_mm(shape, first, second) <= _SAME_PLACE * smallest


def is_same_spacing(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Whether two spacings are the same but for rounding."""
    return bool(np.allclose(first, second, rtol=_SAME_SPACING, atol=0))


def frames_apart(places: Mapping[str, Place]) -> dict[str, str]:
    """The patients whose frames lie on different grids, so that they are no heartbeat, and in what they differ.

    Args:
        places: by case; cases called PATIENT_frameNN belong to PATIENT.
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
    """What two places differ in, with both values; empty where they are the same."""
    if first.shape != other.shape:
        return f"size: {_sides(first.shape)} and {_sides(other.shape)} voxels (slices, rows, columns)"
    if not is_same_spacing(first.spacing_mm, other.spacing_mm):
        return f"spacing: {_sides(first.spacing_mm)} and {_sides(other.spacing_mm)} mm (slice, row, column)"
    if not is_same_place(first.shape, first.affine, other.affine):
        return f"place: {corners_off_mm(first.shape, first.affine, other.affine):.3g} mm apart by their affines"
    return ""


def _sides(values: tuple[float, ...]) -> str:
    return " × ".join(f"{value:.5g}" for value in values)
