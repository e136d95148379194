"""Measures of a segmented heartbeat: whether its volumes move like a heart's, and what is wrong where they do not."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from foanet_jax.measures.indices.ventricle import MYOCARDIUM_G_PER_ML
from foanet_jax.measures.metrics import dice


@dataclasses.dataclass(frozen=True)
class Coherence:
    """How coherent in time the masks of a cine are. A value that cannot be measured is NaN.

    Attributes:
        myocardium_cv: coefficient of variation of the myocardial volume. Muscle is incompressible: a heart's is near 0.
        stroke_ratio: stroke volume of the right ventricle over that of the left one, both between the left one's end
            diastole and end systole. Without a shunt or a leaking valve it is near 1.
        systole_gap: frames between the end systoles of the two ventricles.
        roughness: largest second difference of each class's volume over the median volume.
        neighbour_dice: mean Dice of neighbouring frames of each class.
    """

    myocardium_cv: float
    stroke_ratio: float
    systole_gap: float
    roughness: dict[str, float]
    neighbour_dice: dict[str, float]


def variation(volumes: np.ndarray) -> float:
    """Returns the coefficient of variation: the standard deviation over the frames (divided by T) over the mean."""
    mean = float(np.mean(volumes))
    return float(np.std(volumes)) / mean if mean > 0 else math.nan


def roughness(volumes: np.ndarray) -> float:
    """Returns the largest |v(t−1) − 2v(t) + v(t+1)| over the median volume.

    The first and the last frame have one neighbour only: a cine may leave out the end of the beat.

    Args:
        volumes: (T,).
    """
    median = float(np.median(volumes))
    return float(np.abs(np.diff(volumes, 2)).max()) / median if len(volumes) > 2 and median > 0 else math.nan


def stroke_ratio(right: np.ndarray, left: np.ndarray) -> float:
    """Returns the stroke volume of the right ventricle over that of the left one.

    Args:
        right, left: (T,) volumes of the blood. Both stroke volumes are between the frames with the largest and the
            smallest volume of the left ventricle, as in the tables of a prediction.
    """
    ed, es = int(np.argmax(left)), int(np.argmin(left))
    stroke = float(left[ed] - left[es])
    return float(right[ed] - right[es]) / stroke if stroke > 0 else math.nan


def systole_gap(right: np.ndarray, left: np.ndarray) -> float:
    """Returns the number of frames between the smallest volumes of two ventricles, the shorter way round the beat."""
    if np.ptp(right) == 0 or np.ptp(left) == 0:
        return math.nan
    apart = abs(int(np.argmin(right)) - int(np.argmin(left)))
    return float(min(apart, len(left) - apart))


def neighbour_dice(mask: np.ndarray) -> float:
    """Returns the mean Dice of each frame with the next one. Frames that are both empty are left out.

    Args:
        mask: (T, Z, H, W) boolean.
    """
    pairs = [dice(before, after) for before, after in itertools.pairwise(mask) if before.any() or after.any()]
    return float(np.mean(pairs)) if pairs else math.nan


def volumes_ml(mask: np.ndarray, classes: Sequence[str], spacing_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """Returns the volume of each foreground class in each frame, (T,), in ml.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, background first.
        spacing_mm: distances of slices, rows and columns.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return {name: (mask == index).sum((1, 2, 3)) * voxel_ml for index, name in enumerate(classes) if index}


def coherence(mask: np.ndarray, classes: Sequence[str], spacing_mm: Sequence[float]) -> Coherence:
    """Measures a cine's masks. The classes are those of ACDC: right ventricle, myocardium and cavity.

    Args:
        mask, classes, spacing_mm: as for `volumes_ml`.
    """
    volumes = volumes_ml(mask, classes, spacing_mm)
    right, left = volumes["right ventricle"], volumes["cavity"]
    return Coherence(
        myocardium_cv=variation(volumes["myocardium"]),
        stroke_ratio=stroke_ratio(right, left),
        systole_gap=systole_gap(right, left),
        roughness={name: roughness(curve) for name, curve in volumes.items()},
        neighbour_dice={name: neighbour_dice(mask == index) for index, name in enumerate(classes) if index},
    )


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is known of one class in one frame.

    Attributes:
        frame: index t.
        class_name: the class.
        slices: indices z of the slices in which it is known.
        mask: (len(slices), H, W) boolean.
    """

    frame: int
    class_name: str
    slices: tuple[int, ...]
    mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How masks agree with what is known, on the slices in which it is known; volumes in ml, mass in g.

    Attributes:
        dice: mean Dice of each class at end diastole ("ED") and end systole ("ES"), by "class, moment".
        true, predicted: edv_ml, esv_ml, ef_percent of the left ventricle, mass_g; and rv_edv_ml, rv_esv_ml,
            rv_ef_percent where the right ventricle is known. EDV and ESV are on the slices known in their own frames.
    """

    dice: dict[str, float]
    true: dict[str, float]
    predicted: dict[str, float]


def agreement(
    mask: np.ndarray, truths: Sequence[Truth], classes: Sequence[str], spacing_mm: Sequence[float]
) -> Agreement:
    """Compares masks with what is known of some frames. The cavity's largest and smallest are end diastole and systole.

    Args:
        mask, classes, spacing_mm: as for `volumes_ml`.
        truths: what is known; the cavity of two frames at least.

    Raises:
        ValueError: the cavity is known in fewer than two frames.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    cavities = {truth.frame: int(truth.mask.sum()) for truth in truths if truth.class_name == "cavity"}
    if len(cavities) < 2:
        raise ValueError(f"the cavity is known in {len(cavities)} frames; pass two at least")
    ed, es = max(cavities, key=cavities.__getitem__), min(cavities, key=cavities.__getitem__)
    scores: dict[str, float] = {}
    sizes: dict[tuple[str, str], tuple[float, float]] = {}
    for truth in truths:
        moment = {ed: "ED", es: "ES"}.get(truth.frame)
        if moment:
            own = mask[truth.frame, list(truth.slices)] == classes.index(truth.class_name)
            scores[f"{truth.class_name}, {moment}"] = dice(own, truth.mask)
            sizes[truth.class_name, moment] = float(truth.mask.sum()) * voxel_ml, float(own.sum()) * voxel_ml
    true, predicted = (_indices({key: pair[side] for key, pair in sizes.items()}) for side in (0, 1))
    return Agreement(scores, true, predicted)


def _indices(sizes: dict[tuple[str, str], float]) -> dict[str, float]:
    """Returns the indices from volumes by class and moment."""
    found = {}
    for prefix, name in (("", "cavity"), ("rv_", "right ventricle")):
        if (name, "ED") in sizes and (name, "ES") in sizes:
            edv, esv = sizes[name, "ED"], sizes[name, "ES"]
            found |= {f"{prefix}edv_ml": edv, f"{prefix}esv_ml": esv}
            found[f"{prefix}ef_percent"] = 100 * (edv - esv) / edv if edv > 0 else math.nan
    if ("myocardium", "ED") in sizes:
        found["mass_g"] = MYOCARDIUM_G_PER_ML * sizes["myocardium", "ED"]
    return found
