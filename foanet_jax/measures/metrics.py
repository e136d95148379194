"""The three measures of Sec. III-E: Dice (DC), 95 % Hausdorff distance (95HD) and boundary Dice (BDC).

NumPy and SciPy only, pure functions on the native grid. Empty masks have one rule each, everywhere:

| prediction | truth | DC, BDC | 95HD | counted as |
|---|---|---|---|---|
| empty | empty | 1 | 0 | `empty`; left out of the means with `exclude_empty=True` |
| empty | drawn | 0 | the image's diagonal | a miss, never dropped |
| drawn | empty | 0 | the image's diagonal | a miss, never dropped |
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

MEASURES = ("dc", "hd95_mm", "hd95_px", "bdc")
FOREGROUND = "foreground"


@dataclasses.dataclass(frozen=True)
class Score:
    """The measures of one class in one unit: one time frame's (Z, H, W) volume.

    Attributes:
        patient: id of the patient.
        case: id of the study.
        frame: index of the time frame, from 0.
        class_name: the foreground class.
        dc: Dice coefficient (Eq. 3 without ε).
        hd95_mm: 95HD in mm.
        hd95_px: 95HD over the mean in-plane pixel spacing, so in pixels.
        bdc: boundary Dice coefficient.
        miss: exactly one of the two masks is empty.
        empty: both masks are empty. The measures are then 1, 0, 0, 1, or all NaN where the caller
            asked for such units to stay out of the means.
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
    """One patient's mean measures for one class, or for the mean over classes (`FOREGROUND`).

    Attributes:
        patient: id of the patient.
        class_name: the class, or `FOREGROUND`.
        n_units: units in the means (for `FOREGROUND`: summed over classes).
        misses: how many of them are misses.
        excluded: units left out because both masks were empty.
        dc, hd95_mm, hd95_px, bdc: means over the units; NaN where there is none.
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
    """Dice coefficient of two boolean masks of one shape (Eq. 3 without ε); 1 where both are empty.

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
    """One-pixel boundary, mask XOR erode(mask), of every (H, W) plane of a boolean mask (Sec. III-E).

    The erosion takes the four in-plane neighbours, and whatever lies beyond the image is background.

    Args:
        mask: (..., H, W) boolean.

    Returns:
        (..., H, W) boolean.

    Raises:
        ValueError: fewer than two axes.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim < 2:
        raise ValueError(f"a mask of shape {mask.shape} has no plane; pass (..., H, W)")
    eroded = mask.copy()
    eroded[..., 1:, :] &= mask[..., :-1, :]
    eroded[..., :-1, :] &= mask[..., 1:, :]
    eroded[..., :, 1:] &= mask[..., :, :-1]
    eroded[..., :, :-1] &= mask[..., :, 1:]
    eroded[..., [0, -1], :] = False
    eroded[..., :, [0, -1]] = False
    return mask ^ eroded


def boundary_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Boundary Dice (BDC, Sec. III-E): the Dice of the two masks' one-pixel in-plane boundaries.

    Args:
        prediction: (..., H, W) boolean, at the native grid.
        truth: the same shape.

    Raises:
        ValueError: the shapes differ, or have fewer than two axes.
    """
    _require_same_shape(prediction, truth)
    return dice(boundary(prediction), boundary(truth))


def surface_distances(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance in mm from every surface voxel of `a` to the nearest surface voxel of `b`.

    A surface is mask XOR erosion by the face neighbours in all of the mask's dimensions, the border
    of the image treated as background; distances are between voxel centres.

    Args:
        a: boolean mask, (H, W) or (Z, H, W), not empty.
        b: the same shape, not empty.
        spacing_mm: distance of voxel centres along each axis of the masks.

    Returns:
        (number of surface voxels of a,) float64 mm, in the order of `np.nonzero`.

    Raises:
        ValueError: shapes differ, the spacing does not fit them, or a mask is empty.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    spacing = _require_spacing(a, b, spacing_mm)
    if not a.any() or not b.any():
        raise ValueError("an empty mask has no surface; hausdorff95 gives empty masks a defined distance")
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
    """95 % Hausdorff distance (95HD, Sec. III-E, [24]) between two masks' surfaces, in mm.

    The default is the larger of the two directed percentiles. A mask of one slice is measured in its
    plane, since in 3D every voxel of it would be surface. Both empty → 0; one empty → the physical
    diagonal of the image, which no real distance reaches.

    Args:
        prediction: boolean mask, (H, W) or (Z, H, W).
        truth: the same shape.
        spacing_mm: distance of voxel centres along each axis of the masks.
        pooled: take one percentile over the distances of both directions together.
        percentile: in (0, 100]; 100 is the Hausdorff distance itself.

    Raises:
        ValueError: shapes differ, the spacing does not fit them, or the percentile is out of range.
    """
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    spacing = _require_spacing(prediction, truth, spacing_mm)
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile {percentile} is outside (0, 100]")
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
    """Scores of every foreground class in every time frame of one study (Sec. III-E).

    The unit is one frame's (Z, H, W) volume: a cine is scored frame by frame, a volume once.

    Args:
        prediction: (T, Z, H, W) integer class indices on the native grid.
        truth: the same shape.
        spacing_mm: (slice, row, column) in mm.
        classes: names by index; 0 is the background and is not scored.
        patient: id of the patient.
        case: id of the study.
        exclude_empty: give NaN instead of 1, 0, 0, 1 where both masks are empty. Such a unit keeps
            its row, marked `empty`, and stays out of every mean. A miss is never left out.
        pooled: see `hausdorff95`.

    Returns:
        One score per frame and foreground class, frames outermost.

    Raises:
        ValueError: shapes differ or are not (T, Z, H, W), or a class index has no name.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(
            f"{case}: prediction {prediction.shape} and truth {truth.shape} differ in shape; "
            "score on the study's native grid"
        )
    if truth.ndim != 4 or truth.size == 0:
        raise ValueError(f"{case}: masks of shape {truth.shape}; a study is (T, Z, H, W), none empty")
    for name, array in (("prediction", prediction), ("truth", truth)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{case}: {name} is {array.dtype}; class indices are integers (uint8)")
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest >= len(classes):
            bad = lowest if lowest < 0 else highest
            raise ValueError(f"{case}: {name} has class index {bad}, but there are {len(classes)}: {tuple(classes)}")
    if len(spacing_mm) != 3:
        raise ValueError(f"{case}: spacing {tuple(spacing_mm)}; pass (slice, row, column) in mm")
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


def patient_means(scores: Iterable[Score]) -> list[PatientScore]:
    """Means per patient and class over all frames and cases, then per patient over the classes.

    The paper's Figs. 6 and 7 are over patients, so that a patient with more frames weighs no more.
    `FOREGROUND` is the unweighted mean of the patient's classes that have any unit.

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
    # Only an excluded unit is NaN, and it is NaN in all measures at once.
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
        raise ValueError(f"masks of shapes {np.shape(a)} and {np.shape(b)} differ; compare on one grid")


def _require_spacing(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> tuple[float, ...]:
    _require_same_shape(a, b)
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) != a.ndim or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing {spacing} mm for masks of shape {a.shape}; pass one positive number per axis")
    return spacing


def _surfaces(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surfaces of two non-empty masks on their joint bounding box, with room of one voxel around it.

    Nothing outside the box can be a surface or nearer than what is inside, so the distances stay the
    same, and the distance transform of a heart in a 512×512 frame becomes ten times cheaper.
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
