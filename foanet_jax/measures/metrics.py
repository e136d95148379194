"""The three measures of Sec. III-E: Dice (DC), 95 % Hausdorff distance (95HD) and boundary Dice (BDC).

These are pure functions on the native grid; they use only NumPy and SciPy. The rules for empty masks are the same in
the whole project:

| prediction | truth | DC, BDC | 95HD | counted as |
|---|---|---|---|---|
| empty | empty | 1 | 0 | `empty`; left out of the means with `exclude_empty=True` |
| empty | not empty | 0 | diagonal of the image | a miss, always part of the means |
| not empty | empty | 0 | diagonal of the image | a miss, always part of the means |
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from foanet_jax.data.study import Study

MEASURES = ("dc", "hd95_mm", "hd95_px", "bdc")
FOREGROUND = "foreground"


@dataclasses.dataclass(frozen=True)
class Score:
    """The measures of one class in one unit: the volume (Z, H, W) of one frame.

    Attributes:
        patient: id of the patient.
        case: id of the study.
        frame: index of the time frame, from 0.
        class_name: the foreground class.
        dc: Dice coefficient (Eq. 3 without ε).
        hd95_mm: 95HD in mm.
        hd95_px: 95HD divided by the mean in-plane spacing, in px.
        bdc: boundary Dice coefficient.
        miss: exactly one of the two masks is empty.
        empty: both masks are empty. The measures are then 1, 0, 0, 1, or all NaN if such units are excluded from the
            means.
    """

    patient: str
    case: str
    frame: int
    class_name: str
    dc: float
    hd95_mm: float
    hd95_px: float
    bdc: float
    miss: bool
    empty: bool


@dataclasses.dataclass(frozen=True)
class PatientScore:
    """The mean measures of one patient for one class, or for the mean over the classes (`FOREGROUND`).

    Attributes:
        patient: id of the patient.
        class_name: the class, or `FOREGROUND`.
        n_units: number of units in the means (for `FOREGROUND`: the sum over the classes).
        misses: number of these units that are misses.
        excluded: number of units that are left out because both masks are empty.
        dc, hd95_mm, hd95_px, bdc: means over the units; NaN if there are none.
    """

    patient: str
    class_name: str
    n_units: int
    misses: int
    excluded: int
    dc: float
    hd95_mm: float
    hd95_px: float
    bdc: float


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Returns the Dice coefficient of two boolean masks (Eq. 3 without ε); 1 if both are empty.

    Raises:
        ValueError: the shapes differ.
    """
    _require_same_shape(prediction, truth)
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return 1.0
    return 2.0 * int(np.count_nonzero(prediction & truth)) / total


def boundary(mask: np.ndarray) -> np.ndarray:
    """Returns the one-pixel boundary, mask XOR erode(mask), of every plane (H, W) of a boolean mask (Sec. III-E).

    The erosion uses the four neighbours in the plane. Everything outside the image is background.

    Args:
        mask: (..., H, W) boolean.

    Returns:
        (..., H, W) boolean.

    Raises:
        ValueError: the mask has fewer than two axes.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim < 2:
        raise ValueError(f"the shape of the mask is {mask.shape}; pass (..., H, W)")
    eroded = mask.copy()
    eroded[..., 1:, :] &= mask[..., :-1, :]
    eroded[..., :-1, :] &= mask[..., 1:, :]
    eroded[..., :, 1:] &= mask[..., :, :-1]
    eroded[..., :, :-1] &= mask[..., :, 1:]
    eroded[..., [0, -1], :] = False
    eroded[..., :, [0, -1]] = False
    return mask ^ eroded


def boundary_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Returns the boundary Dice (BDC, Sec. III-E): the Dice of the one-pixel in-plane boundaries of two masks.

    Args:
        prediction: (..., H, W) boolean, on the native grid.
        truth: a mask of the same shape.

    Raises:
        ValueError: the shapes differ or have fewer than two axes.
    """
    _require_same_shape(prediction, truth)
    return dice(boundary(prediction), boundary(truth))


def surface_distances(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns the distance in mm from every surface voxel of `a` to the nearest surface voxel of `b`.

    The surface is mask XOR erode(mask). The erosion uses the face neighbours in all dimensions of the mask. Everything
    outside the image is background. Distances are those between voxel centres.

    Args:
        a: boolean mask, (H, W) or (Z, H, W), not empty.
        b: boolean mask of the same shape, not empty.
        spacing_mm: distance between voxel centres along each axis of the masks.

    Returns:
        (number of surface voxels of a,) float64 mm, in the order of `np.nonzero`.

    Raises:
        ValueError: the shapes differ, the spacing does not fit them, or a mask is empty.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    spacing = _require_spacing(a, b, spacing_mm)
    if not a.any() or not b.any():
        raise ValueError("an empty mask has no surface; use hausdorff95, which has a rule for empty masks")
    surface_a, surface_b = _surfaces(a, b)
    return _distances(surface_a, surface_b, spacing)


def hausdorff95(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    pooled: bool = False,
    percentile: float = 95,
) -> float:
    """Returns the 95 % Hausdorff distance (95HD, Sec. III-E, [24]) between the surfaces of two masks, in mm.

    The default is the larger of the two directed percentiles. A mask of one slice is measured in its plane, because in
    3D all its voxels would be on the surface. If both masks are empty, the distance is 0. If one mask is empty, it is
    the diagonal of the image in mm, which is larger than all other distances.

    Args:
        prediction: boolean mask, (H, W) or (Z, H, W).
        truth: boolean mask of the same shape.
        spacing_mm: distance between voxel centres along each axis of the masks.
        pooled: use one percentile over the distances of both directions together.
        percentile: in (0, 100]; 100 gives the Hausdorff distance.

    Raises:
        ValueError: the shapes differ, the spacing does not fit them, or the percentile is outside its range.
    """
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    spacing = _require_spacing(prediction, truth, spacing_mm)
    if not 0 < percentile <= 100:
        raise ValueError(f"the percentile is {percentile}; pass a number above 0, at most 100")
    if prediction.ndim == 3 and prediction.shape[0] == 1:
        prediction, truth, spacing = prediction[0], truth[0], spacing[1:]
    any_prediction, any_truth = prediction.any(), truth.any()
    if not any_prediction and not any_truth:
        return 0.0
    if not any_prediction or not any_truth:
        return math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    surface_p, surface_t = _surfaces(prediction, truth)
    forth = _distances(surface_p, surface_t, spacing)
    back = _distances(surface_t, surface_p, spacing)
    if pooled:
        return float(np.percentile(np.concatenate([forth, back]), percentile))
    return float(max(np.percentile(forth, percentile), np.percentile(back, percentile)))


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    classes: Sequence[str],
    patient: str,
    case: str,
    exclude_empty: bool = False,
    pooled: bool = False,
) -> list[Score]:
    """Scores every foreground class in every frame of one study (Sec. III-E).

    A unit is the volume (Z, H, W) of one frame: a cine is scored frame by frame, a volume once.

    Args:
        prediction: (T, Z, H, W) integer class indices on the native grid.
        truth: class indices of the same shape.
        spacing_mm: (slice, row, column) in mm.
        classes: names by index; 0 is the background and is not scored.
        patient: id of the patient.
        case: id of the study.
        exclude_empty: if both masks of a unit are empty, its measures are NaN instead of 1, 0, 0, 1. The unit keeps its
            row, marked as `empty`, but is not part of any mean. A miss is never left out.
        pooled: see `hausdorff95`.

    Returns:
        One score for each frame and foreground class, sorted by frame.

    Raises:
        ValueError: the shapes differ or are not (T, Z, H, W), or a class index has no name.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(
            f"{case}: prediction {prediction.shape}, truth {truth.shape}; pass both on the native grid of the study"
        )
    if truth.ndim != 4 or truth.size == 0:
        raise ValueError(f"{case}: the shape of the masks is {truth.shape}; pass (T, Z, H, W), not empty")
    for name, array in (("prediction", prediction), ("truth", truth)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{case}: {name} is {array.dtype}; pass integer class indices (uint8)")
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest >= len(classes):
            bad = lowest if lowest < 0 else highest
            raise ValueError(
                f"{case}: {name} has class index {bad}, but there are {len(classes)} classes: {tuple(classes)}"
            )
    if len(spacing_mm) != 3:
        raise ValueError(f"{case}: the spacing is {tuple(spacing_mm)}; pass (slice, row, column) in mm")
    pixel_mm = (float(spacing_mm[1]) + float(spacing_mm[2])) / 2
    scores = []
    for frame in range(truth.shape[0]):
        for index, class_name in enumerate(classes[1:], start=1):
            p, t = prediction[frame] == index, truth[frame] == index
            any_p, any_t = bool(p.any()), bool(t.any())
            empty = not any_p and not any_t
            if empty and exclude_empty:
                dc = hd95_mm = bdc = math.nan
            else:
                dc, bdc = dice(p, t), boundary_dice(p, t)
                hd95_mm = hausdorff95(p, t, spacing_mm, pooled=pooled)
            scores.append(
                Score(
                    patient=patient,
                    case=case,
                    frame=frame,
                    class_name=class_name,
                    dc=dc,
                    hd95_mm=hd95_mm,
                    hd95_px=hd95_mm / pixel_mm,
                    bdc=bdc,
                    miss=any_p != any_t,
                    empty=empty,
                )
            )
    return scores


def score_study(mask: np.ndarray, study: Study) -> list[Score]:
    """Scores the mask of a labelled study, (T, Z, H, W) class indices; see `score_case`."""
    assert study.labels is not None
    return score_case(
        mask,
        study.labels,
        spacing_mm=study.spacing_mm,
        classes=study.classes,
        patient=study.patient,
        case=study.case,
    )


def patient_means(scores: Iterable[Score]) -> list[PatientScore]:
    """Averages the scores for each patient and class over all frames and cases, and then over the classes.

    Figs. 6 and 7 of the paper are over patients: a patient with more frames does not count more. `FOREGROUND` is the
    unweighted mean over the classes of the patient that have a unit.

    Returns:
        For each patient, in order of appearance: the classes in order of appearance, then `FOREGROUND`.
    """
    groups: dict[str, dict[str, list[Score]]] = {}
    class_names: dict[str, None] = {}
    for score in scores:
        groups.setdefault(score.patient, {}).setdefault(score.class_name, []).append(score)
        class_names.setdefault(score.class_name)
    result = []
    for patient, by_class in groups.items():
        rows = [_patient_score(patient, name, by_class[name]) for name in class_names if name in by_class]
        scored = [row for row in rows if row.n_units]
        result += rows
        result.append(
            PatientScore(
                patient=patient,
                class_name=FOREGROUND,
                n_units=sum(row.n_units for row in rows),
                misses=sum(row.misses for row in rows),
                excluded=sum(row.excluded for row in rows),
                **{measure: _mean([getattr(row, measure) for row in scored]) for measure in MEASURES},
            )
        )
    return result


def _patient_score(patient: str, class_name: str, scores: list[Score]) -> PatientScore:
    # Only excluded units are NaN, and they are NaN in all measures.
    scored = [score for score in scores if not math.isnan(score.dc)]
    return PatientScore(
        patient=patient,
        class_name=class_name,
        n_units=len(scored),
        misses=sum(score.miss for score in scored),
        excluded=len(scores) - len(scored),
        **{measure: _mean([getattr(score, measure) for score in scored]) for measure in MEASURES},
    )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _require_same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"the shapes of the masks are {np.shape(a)} and {np.shape(b)}; pass masks on the same grid")


def _require_spacing(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> tuple[float, ...]:
    _require_same_shape(a, b)
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) != a.ndim or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing {spacing} mm, masks of shape {a.shape}; pass one positive number for each axis")
    return spacing


def _surfaces(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the surfaces of two non-empty masks in their common bounding box, which is enlarged by one voxel.

    There is no surface outside this box, so the distances are the same. The distance transform of a heart in a frame of
    512×512 px becomes ten times cheaper.
    """
    both = a | b
    window = tuple(
        slice(max(start.start - 1, 0), start.stop + 1) for start in ndimage.find_objects(both.astype(np.uint8))[0]
    )
    cross = ndimage.generate_binary_structure(a.ndim, 1)
    a, b = a[window], b[window]
    return a ^ ndimage.binary_erosion(a, cross), b ^ ndimage.binary_erosion(b, cross)


def _distances(surface_a: np.ndarray, surface_b: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    return ndimage.distance_transform_edt(~surface_b, sampling=spacing)[surface_a]
