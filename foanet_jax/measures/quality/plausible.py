"""Findings about the numbers: implausible volumes and wall thicknesses, and abrupt changes over time."""

from collections.abc import Iterator, Sequence

import numpy as np

from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY
from foanet_jax.measures.indices.short_axis import SECTORS, LvIndices
from foanet_jax.measures.indices.study import StudyIndices
from foanet_jax.measures.indices.ventricle import VentricleIndices
from foanet_jax.measures.quality.finding import Finding

# These limits lie beyond the extremes of ACDC's ground truth, which include dilated and hypertrophic hearts. They are
# therefore far outside the normal ranges. docs/indices.md lists both.
LIMITS = {
    "lv_edv_ml": (30.0, 450.0),
    "lv_esv_ml": (8.0, 400.0),
    "lv_ef_percent": (5.0, 90.0),
    "lv_mass_g": (25.0, 400.0),
    "rv_edv_ml": (25.0, 450.0),
    "rv_esv_ml": (5.0, 400.0),
    "rv_ef_percent": (0.0, 92.0),
}
WALL_MM = (1.5, 40.0)  # mean thickness of a sector, in the middle half of the slices
LV_ML = (8.0, 450.0)  # volume of a single stack, at any time of the heartbeat
RV_OF_LV = (0.08, 10.0)  # RV volume divided by LV volume at the same time
# Second difference divided by the median. It is at most 0.10 in phantoms of 15 frames and more. Heartbeats of fewer
# frames change more from frame to frame.
JUMP = 0.25
FRAMES_OF_A_BEAT = 12


def check_ventricles(indices: VentricleIndices, *, left: str = LV_CAVITY[0]) -> list[Finding]:
    """Finds volumes, ejection fractions and masses outside LIMITS. Values that are not measured (NaN) are ignored.

    Args:
        indices: the ventricles.
        left: the name of the class of the left ventricle's blood.
    """
    of_prefix = {"lv": left, "rv": RV_CAVITY[0]}
    return [
        Finding(
            "implausible-volume",
            f"{name} is {value:.1f}; {_plausible(low, high)}",
            class_name=MYOCARDIUM if name == "lv_mass_g" else of_prefix[name[:2]],
            value=float(value),
            limit=_passed(value, low, high),
        )
        for name, value in indices.columns().items()
        for low, high in [LIMITS.get(name, (-np.inf, np.inf))]
        if not np.isnan(value) and not low <= value <= high
    ]


def check_study(indices: StudyIndices) -> list[Finding]:
    """Finds implausible volumes and wall thicknesses, and abrupt changes from frame to frame."""
    lefts = [name for name in indices.volumes_ml if name in LV_CAVITY]
    findings = [] if indices.ventricles is None else check_ventricles(indices.ventricles, left=lefts[0])
    if indices.ventricles is None:
        findings += _single_volumes(indices)
    if indices.slices is not None:
        findings += _walls(indices.slices)
    return [*findings, *_unequal_ventricles(indices), *_jumps(indices)]


def jumps(curve: np.ndarray) -> np.ndarray:
    """Returns the frames at which a cyclic curve (T,) differs abruptly from the frames before and after.

    The second difference exceeds JUMP times the median of the curve. Of several such frames in a row, only those with
    the largest second difference are returned. Curves of fewer than FRAMES_OF_A_BEAT frames have no such frame.
    """
    curve = np.asarray(curve, float)
    if len(curve) < FRAMES_OF_A_BEAT or not np.median(curve) > 0:
        return np.array([], int)
    off = np.abs(np.roll(curve, 1) - 2 * curve + np.roll(curve, -1)) / np.median(curve)
    furthest = np.maximum(np.roll(off, 1), np.roll(off, -1))
    return np.flatnonzero((off > JUMP) & (off >= furthest))


def _single_volumes(indices: StudyIndices) -> Iterator[Finding]:
    low, high = LV_ML
    for name, volumes in indices.volumes_ml.items():
        if name in LV_CAVITY:
            for frame in np.flatnonzero((volumes > 0) & ((volumes < low) | (volumes > high))):
                message = f"the {name} has {volumes[frame]:.1f} ml; {_plausible(low, high)}"
                value = float(volumes[frame])
                yield Finding("implausible-volume", message, int(frame), None, name, value, _passed(value, low, high))


def _unequal_ventricles(indices: StudyIndices) -> Iterator[Finding]:
    """Finds a ventricle that is nearly missing from the mask, or ventricles that were exchanged."""
    low, high = RV_OF_LV
    rights = [item for item in indices.volumes_ml.items() if item[0] in RV_CAVITY]
    lefts = [item for item in indices.volumes_ml.items() if item[0] in LV_CAVITY]
    for (right_name, right), (left_name, left) in zip(rights, lefts, strict=False):
        for frame in np.flatnonzero((right > 0) & (left > 0)):
            share = right[frame] / left[frame]
            if not low <= share <= high:
                message = (
                    f"the right ventricle has {right[frame]:.1f} ml and the left {left[frame]:.1f} ml, a ratio of "
                    f"{share:.2f}; {_plausible(low, high)}"
                )
                smaller = right_name if share < low else left_name
                limit = _passed(share, low, high)
                yield Finding("implausible-volume", message, int(frame), None, smaller, float(share), limit)


def _walls(indices: LvIndices) -> Iterator[Finding]:
    low, high = WALL_MM
    for frame, of_slices in enumerate(indices.rwt_mm):
        for slice_ in middle_half(indices.cavity_area_mm2[frame] > 0):
            walls = of_slices[slice_]
            for name, wall in zip(SECTORS, walls, strict=True):
                if wall < low or wall > high:
                    message = f"sector {name.upper()} is {wall:.1f} mm thick; {_plausible(low, high)}"
                    limit = _passed(wall, low, high)
                    yield Finding("implausible-wall", message, frame, int(slice_), MYOCARDIUM, float(wall), limit)


def _plausible(low: float, high: float) -> str:
    return f"plausible values are {low:g} to {high:g}"


def _passed(value: float, low: float, high: float) -> float:
    """Returns the limit that a value outside the range passes."""
    return low if value < low else high


def middle_half(there: Sequence[bool] | np.ndarray) -> np.ndarray:
    """Returns the indices of the true values, without the first and the last quarter of them."""
    places = np.flatnonzero(there)
    return places[len(places) // 4 : len(places) - len(places) // 4]


def _jumps(indices: StudyIndices) -> Iterator[Finding]:
    curves = {name: indices.volumes_ml[name] for name in indices.volumes_ml if name in (MYOCARDIUM, *LV_CAVITY)}
    if not curves and indices.slices is not None:
        curves = {
            "cavity": indices.slices.cavity_area_mm2[:, 0],
            MYOCARDIUM: indices.slices.myocardium_area_mm2[:, 0],
        }
    for name, curve in curves.items():
        for frame in jumps(curve):
            message = f"the size of the {name} changes abruptly in this frame"
            yield Finding("jump", message, int(frame), class_name=name)
