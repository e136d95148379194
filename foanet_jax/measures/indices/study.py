"""All indices of one study of any kind: single slices, stacks, cines of stacks, whole hearts."""

import dataclasses
from collections.abc import Container, Mapping, Sequence

import numpy as np

from foanet_jax.data.frames import number_of_frame, patient_of_frame
from foanet_jax.image.boxes import bounding_box
from foanet_jax.measures.indices.counting import Counting, SliceCount, base_from_mask, count_slices
from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY, index_of
from foanet_jax.measures.indices.papillary import PAPILLARY
from foanet_jax.measures.indices.position import View, contradicts, find_view
from foanet_jax.measures.indices.segments import base_comes_first
from foanet_jax.measures.indices.short_axis import CANONICAL_SEPTUM, KNOWN, LvIndices, lv_indices, septum_angle
from foanet_jax.measures.indices.ventricle import VentricleIndices, structure_volumes, ventricle_of_volumes
from foanet_jax.system.errors import InputError


@dataclasses.dataclass(frozen=True)
class StudyIndices:
    """The indices that can be measured on the mask of a study.

    Attributes:
        slices: indices of each frame and slice; None if the classes are not those of a short-axis heart.
        ventricles: indices of the ventricles, for a stack over time. None for a single slice, for a single frame (it
            may be neither end diastole nor end systole), and for classes without an LV.
        volumes_ml: (T,) volumes of each foreground class; empty for a single slice. Also of PAPILLARY, if papillary
            muscles were moved from the cavity to the myocardium.
        septum_degrees: (Z,) direction of the septum with which the slices were measured, in the view; None if it is
            not known.
        view: the view from the apex, in which the slices were measured. None if the position in the patient is not
            known; the slices were then measured as they are stored.
        base_first: whether the first slice is nearer to the base than the last one; None if `slices` is None.
    """

    slices: LvIndices | None
    ventricles: VentricleIndices | None
    volumes_ml: Mapping[str, np.ndarray]
    septum_degrees: np.ndarray | None = None
    view: View | None = None
    base_first: bool | None = None


def is_short_axis(classes: Sequence[str]) -> bool:
    """Returns whether the classes are those of a short-axis heart. In a whole heart, the cavity is "left ventricle"."""
    return MYOCARDIUM in classes and "cavity" in classes


def measure_study(
    mask: np.ndarray,
    *,
    classes: Sequence[str],
    spacing_mm: tuple[float, float, float],
    affine: np.ndarray | None = None,
    ed: int | None = None,
    es: int | None = None,
) -> StudyIndices:
    """Measures the indices of a mask. All of the mask counts; see `count_study`.

    If the affine gives the position in the patient, the walls have their anatomical names, and the indices do not
    depend on the order in which slices, rows and columns are stored. Otherwise, the image is measured as it is stored,
    and the anterior and the inferior wall may be exchanged. The sectors turn with the septum if the right ventricle is
    labelled.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: class names by index, background first.
        spacing_mm: distances between slices, rows and columns.
        affine: (4, 4) from (column, row, slice) indices to RAS+ world mm; None if it is not known.
        ed, es: frames of end diastole and end systole; None for those with the largest and the smallest LV cavity.

    Raises:
        InputError: the mask or the spacing cannot be used, or there is no such frame.
    """
    volumes = structure_volumes(mask, classes=classes, spacing_mm=spacing_mm) if mask.shape[1] > 1 else {}
    beats = has_ventricle(classes) and mask.shape[0] > 1 and bool(volumes)
    ventricles = ventricle_of_volumes(volumes, classes=classes, ed=ed, es=es) if beats else None
    if not is_short_axis(classes):
        return StudyIndices(None, ventricles, volumes)
    view, base_first = find_position(mask, classes=classes, spacing_mm=spacing_mm, affine=affine)
    slices, septum = _measure_slices(mask, classes, spacing_mm, view)
    if base_first is None:
        base_first = base_comes_first(slices.cavity_area_mm2)
    return StudyIndices(slices, ventricles, volumes, septum, view, base_first)


def papillary_to_myocardium(indices: StudyIndices, papillary_ml: np.ndarray, classes: Sequence[str]) -> StudyIndices:
    """Returns indices whose volumes count papillary muscles and trabeculae to the myocardium, not to the cavity.

    Areas, diameters and wall thicknesses of the slices stay as they were drawn.

    Args:
        indices: of a mask that counts them to the cavity.
        papillary_ml: (T,) their volume; see `papillary_volumes_ml`.
        classes: class names by index, background first, with an LV and its myocardium.
    """
    if not indices.volumes_ml:
        return indices
    cavity = classes[index_of(classes, LV_CAVITY)]
    moved = {cavity: -papillary_ml, MYOCARDIUM: papillary_ml}
    volumes = {name: volume + moved.get(name, 0) for name, volume in indices.volumes_ml.items()}
    volumes[PAPILLARY] = papillary_ml
    beat = indices.ventricles
    if beat is not None:
        beat = ventricle_of_volumes(volumes, classes=classes, ed=beat.ed, es=beat.es)
    return dataclasses.replace(indices, volumes_ml=volumes, ventricles=beat)


def find_position(
    mask: np.ndarray,
    *,
    classes: Sequence[str],
    spacing_mm: tuple[float, float, float],
    affine: np.ndarray | None = None,
) -> tuple[View | None, bool | None]:
    """Finds how a short-axis mask lies in the patient.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: class names by index, background first.
        spacing_mm: distances between slices, rows and columns.
        affine: (4, 4) from (column, row, slice) indices to RAS+ world mm; None if it is not known.

    Returns:
        The view from the apex, which the affine determines; None if it does not, or if the mask contradicts it. And
        whether the first slice is nearer to the base than the last one, from the view or else from the mask; None if
        neither shows it.
    """
    view = find_view(affine)
    if view is not None and any(name in RV_CAVITY for name in classes):
        box = bounding_box(np.any(mask > 0, axis=(0, 1)))
        cut = mask if box is None else mask[(..., *box.slices)]
        septum = septum_angle(view.planes(cut), classes=classes, spacing_mm=view.spacing(spacing_mm))
        if contradicts(view, septum, (cut == classes.index("cavity")).sum((2, 3))):
            view = None
    if view is not None:
        return view, view.base_first
    return None, base_from_mask(mask, classes=classes, spacing_mm=spacing_mm)


def count_study(
    mask: np.ndarray,
    *,
    classes: Sequence[str],
    spacing_mm: tuple[float, float, float],
    affine: np.ndarray | None = None,
    counting: Counting | None = None,
) -> SliceCount | None:
    """Decides which slices of a study count for its volumes; `counted_mask` leaves out the others.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: class names by index, background first.
        spacing_mm: distances between slices, rows and columns.
        affine: (4, 4) from (column, row, slice) indices to RAS+ world mm; None if it is not known.
        counting: the rule, and what the user chose; None for the default.

    Returns:
        None if the classes are not those of a short-axis heart, of which everything counts.

    Raises:
        InputError: as for `count_slices`; "layout" if slices or frames were chosen for classes without a short axis.
    """
    counting = counting or Counting()
    if not is_short_axis(classes):
        if counting.slices is not None or counting.ed is not None or counting.es is not None:
            raise InputError(
                "layout",
                f"slices, ed and es are for short-axis hearts, but the classes are {', '.join(classes[1:])}; "
                "leave them out",
            )
        return None
    _, base_first = find_position(mask, classes=classes, spacing_mm=spacing_mm, affine=affine)
    return count_slices(mask, classes=classes, spacing_mm=spacing_mm, base_first=base_first, counting=counting)


def _measure_slices(
    mask: np.ndarray, classes: Sequence[str], spacing_mm: tuple[float, float, float], view: View | None
) -> tuple[LvIndices, np.ndarray | None]:
    """Measures the slices. Returns their indices, and the direction of the septum if the right ventricle is a class."""
    if view is not None:
        mask, spacing_mm = view.planes(mask), view.spacing(spacing_mm)
    if not any(name in RV_CAVITY for name in classes):
        return lv_indices(mask, classes=classes, spacing_mm=spacing_mm, septum_degrees=CANONICAL_SEPTUM), None
    septum = septum_angle(mask, classes=classes, spacing_mm=spacing_mm)
    slices = lv_indices(mask, classes=classes, spacing_mm=spacing_mm, septum_degrees=septum)
    is_known = view is not None and bool(np.isfinite(septum).any())
    return dataclasses.replace(slices, wall_directions=KNOWN) if is_known else slices, septum


def join_frames(
    studies: Mapping[str, StudyIndices], classes: Sequence[str], *, apart: Container[str] = ()
) -> dict[str, VentricleIndices]:
    """Measures the ventricles of patients whose frames are separate cases, such as the two frames per patient in ACDC.

    Args:
        studies: indices by case. Cases named PATIENT_frameNN with one frame each belong together.
        classes: class names by index.
        apart: patients to leave out, because their frames do not belong together; see `data.frames.frames_apart`.

    Returns:
        The indices by patient, for patients with at least two frames. Curves are in the order of the frame numbers.
        The volume of the LV cavity determines which frame is end diastole.
    """
    if not has_ventricle(classes):
        return {}
    frames: dict[str, list[tuple[int, StudyIndices]]] = {}
    for case, indices in studies.items():
        patient = patient_of_frame(case)
        if patient is None or patient in apart:
            continue
        if all(len(volumes) == 1 for volumes in indices.volumes_ml.values()) and indices.volumes_ml:
            frames.setdefault(patient, []).append((number_of_frame(case), indices))
    joined = {}
    for patient, numbered in frames.items():
        if len(numbered) > 1:
            ordered = [indices.volumes_ml for _, indices in sorted(numbered, key=lambda pair: pair[0])]
            moved = [PAPILLARY] if all(PAPILLARY in frame for frame in ordered) else []
            volumes = {name: np.concatenate([frame[name] for frame in ordered]) for name in [*classes[1:], *moved]}
            joined[patient] = ventricle_of_volumes(volumes, classes=classes)
    return joined


def headline(indices: StudyIndices) -> dict[str, float]:
    """Returns the main numbers of a study, by name with unit, without those that could not be measured.

    They are the indices of the ventricles for a stack over time, the volumes for a single frame, and, for a cine of one
    slice, the largest and the smallest cavity and the mean wall thickness at the largest.
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
    return known(found)


def known(numbers: Mapping[str, float]) -> dict[str, float]:
    """Returns the numbers that are finite, as Python floats."""
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def measured_frames(indices: StudyIndices) -> dict[str, int | None]:
    """Returns the frames from which `headline` takes its numbers.

    They are "ed" and "es" of the ventricles, or, for a cine of one slice, "max" and "min", with the largest and the
    smallest cavity.
    """
    if indices.ventricles is not None:
        return {"ed": indices.ventricles.ed, "es": indices.ventricles.es}
    if indices.slices is not None and not indices.volumes_ml:
        areas = indices.slices.cavity_area_mm2[:, 0]
        if (areas > 0).any():
            return {"max": int(areas.argmax()), "min": int(np.where(areas > 0, areas, np.inf).argmin())}
    return {}


def volume_column(class_name: str) -> str:
    """Returns the name of a column of volumes, such as "left_atrium_ml"."""
    return f"{class_name.replace(' ', '_')}_ml"


def has_ventricle(classes: Sequence[str]) -> bool:
    """Returns whether the classes have an LV."""
    return sum(name in LV_CAVITY for name in classes) == 1
