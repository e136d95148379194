"""All indices of one study, whatever its kind: single slices, stacks, cines of stacks, whole hearts."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY
from foanet_jax.measures.indices.short_axis import CANONICAL_SEPTUM, LvIndices, lv_indices, septum_angle
from foanet_jax.measures.indices.ventricle import VentricleIndices, structure_volumes, ventricle_of_volumes

# What ACDC calls the frames of a patient that it has as files of their own.
_FRAME_OF = re.compile(r"(.+)_frame([0-9]+)")


@dataclasses.dataclass(frozen=True)
class StudyIndices:
    """What a study's mask allows to measure.

    Attributes:
        slices: of each frame and slice; None where the classes are not those of a short-axis heart.
        ventricles: of a stack over time; None of single slices, of a single frame, which is neither end diastole nor
            end systole for certain, and of classes without an LV.
        volumes_ml: (T,) of each foreground class; empty of single slices.
        septum_degrees: (Z,) direction of the septum that the slices were measured with; None where it is not known.
    """

    slices: LvIndices | None
    ventricles: VentricleIndices | None
    volumes_ml: Mapping[str, np.ndarray]
    septum_degrees: np.ndarray | None = None


def is_short_axis(classes: Sequence[str]) -> bool:
    """Whether the classes are those of a heart cut across: a whole heart calls its cavity "left ventricle"."""
    return MYOCARDIUM in classes and "cavity" in classes


def measure_study(mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]) -> StudyIndices:
    """The indices of a mask.

    Sectors turn with the septum where the right ventricle is labelled; elsewhere the image is taken to be in canonical
    orientation.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, background first.
        spacing_mm: of slices, rows and columns.

    Raises:
        InputError: the mask or the spacing cannot be used.
    """
    grid = {"classes": classes, "spacing_mm": spacing_mm}
    slices, septum = None, None
    if is_short_axis(classes):
        if any(name in RV_CAVITY for name in classes):
            septum = septum_angle(mask, **grid)  # type: ignore[arg-type]
        direction = CANONICAL_SEPTUM if septum is None else septum
        slices = lv_indices(mask, septum_degrees=direction, **grid)  # type: ignore[arg-type]
    volumes = structure_volumes(mask, **grid) if mask.shape[1] > 1 else {}  # type: ignore[arg-type]
    beats = _has_ventricle(classes) and mask.shape[0] > 1 and bool(volumes)
    return StudyIndices(slices, ventricle_of_volumes(volumes, classes=classes) if beats else None, volumes, septum)


def patient_of_frame(case: str) -> str | None:
    """Whose frame a case is, "patient001" of "patient001_frame01"; None of a case that is not called so."""
    match = _FRAME_OF.fullmatch(case)
    return match[1] if match else None


def join_frames(studies: Mapping[str, StudyIndices], classes: Sequence[str]) -> dict[str, VentricleIndices]:
    """The ventricles of each patient whose frames are cases of their own, as ACDC has end diastole and end systole.

    Args:
        studies: by case; cases called PATIENT_frameNN with one frame each belong together.
        classes: names by index.

    Returns:
        By patient, of those with at least two frames; curves are in the order of the frames' numbers. Which of them is
        end diastole is told by the LV cavity's volume.
    """
    if not _has_ventricle(classes):
        return {}
    frames: dict[str, list[tuple[int, StudyIndices]]] = {}
    for case, indices in studies.items():
        match = _FRAME_OF.fullmatch(case)
        if match and all(len(volumes) == 1 for volumes in indices.volumes_ml.values()) and indices.volumes_ml:
            frames.setdefault(match[1], []).append((int(match[2]), indices))
    joined = {}
    for patient, numbered in frames.items():
        if len(numbered) > 1:
            ordered = [indices.volumes_ml for _, indices in sorted(numbered, key=lambda pair: pair[0])]
            volumes = {name: np.concatenate([frame[name] for frame in ordered]) for name in classes[1:]}
            joined[patient] = ventricle_of_volumes(volumes, classes=classes)
    return joined


def headline(indices: StudyIndices) -> dict[str, float]:
    """A few numbers that stand for a study, by name with unit, without those that could not be measured.

    Of a stack over time its ventricles' indices; of a single frame its volumes; of a cine of one slice the largest and
    the smallest cavity and the mean wall at the largest.
    """
    found: dict[str, float] = {}
    if indices.ventricles is not None:
        found |= indices.ventricles.columns()
    elif indices.volumes_ml:
        found |= {volume_column(name): float(volumes[0]) for name, volumes in indices.volumes_ml.items()}
    elif indices.slices is not None:
        areas = indices.slices.cavity_area_mm2[:, 0]
        seen = np.flatnonzero(areas > 0)
        if len(seen):
            largest, smallest = seen[areas[seen].argmax()], seen[areas[seen].argmin()]
            walls = indices.slices.rwt_mm[largest, 0]
            found["cavity_area_max_mm2"] = float(areas[largest])
            found["cavity_area_min_mm2"] = float(areas[smallest])
            found["wall_at_max_mm"] = float(walls.mean())
    return {name: value for name, value in found.items() if np.isfinite(value)}


def volume_column(class_name: str) -> str:
    """The name of a column of volumes: "left_atrium_ml"."""
    return f"{class_name.replace(' ', '_')}_ml"


def _has_ventricle(classes: Sequence[str]) -> bool:
    return MYOCARDIUM in classes and sum(name in LV_CAVITY for name in classes) == 1
