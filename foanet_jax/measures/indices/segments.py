"""Wall thickness by the segments of the American Heart Association (Cerqueira et al., Circulation 105:539, 2002).

Segments 1–6 are the basal third, 7–12 the middle third, 13–16 the apical third. Segment 17, the muscle below the end of
the cavity, is on no slice with a cavity and is not measured.
"""

import numpy as np

from foanet_jax.measures.indices.short_axis import SECTORS
from foanet_jax.system.errors import InputError

RING_NAMES = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
APICAL_NAMES = ("anterior", "septal", "inferior", "lateral")
THIRDS = ("basal", "mid", "apical")

# SECTORS in the order of segments 1–6 and 7–12, and the share of each sector in the 90° of each of segments 13–16.
_RING = ("a", "as", "is", "i", "il", "al")
_APICAL = (
    {"as": 15, "a": 60, "al": 15},
    {"as": 45, "is": 45},
    {"is": 15, "i": 60, "il": 15},
    {"il": 45, "al": 45},
)


def ring_thickness(rwt_mm: np.ndarray) -> np.ndarray:
    """Sorts sectors (..., 6) from the order of SECTORS to that of the AHA: anterior first, then the septum."""
    return np.asarray(rwt_mm, float)[..., [list(SECTORS).index(name) for name in _RING]]


def segment_thickness(rwt_mm: np.ndarray, thirds: np.ndarray) -> np.ndarray:
    """Returns the mean wall thickness of segments 1–16 in one frame, (16,) mm.

    An apical segment of 90° is the mean of the sectors of 60° that it covers, weighted by the angle. The value is NaN
    if no slice of the third was measured.

    Args:
        rwt_mm: (Z, 6) in the order of SECTORS, from `LvIndices`.
        thirds: (Z,) from `slice_thirds`.

    Raises:
        InputError: the shapes do not fit.
    """
    rwt_mm, thirds = np.asarray(rwt_mm, float), np.asarray(thirds)
    if rwt_mm.shape != (*thirds.shape, len(SECTORS)) or thirds.ndim != 1:
        raise InputError("shape", f"thicknesses {rwt_mm.shape} and thirds {thirds.shape}; pass (Z, 6) and (Z,)")
    of = dict(zip(SECTORS, rwt_mm.T, strict=True))
    apical = np.stack([sum(part / 90 * of[name] for name, part in parts.items()) for parts in _APICAL], -1)
    ring = ring_thickness(rwt_mm)
    return np.concatenate([known_mean(values[thirds == third], 0) for third, values in enumerate((ring, ring, apical))])


def slice_thirds(cavity_area_mm2: np.ndarray, *, base_first: bool) -> np.ndarray:
    """Returns the third of the LV for each slice, (Z,): 0 basal, 1 mid, 2 apical, −1 without a cavity.

    The length of the LV is from the first slice with a cavity to the last. The middle of a slice decides its third.

    Args:
        cavity_area_mm2: (Z,) in one frame.
        base_first: whether slice 0 is at the base.
    """
    shown = np.flatnonzero(np.asarray(cavity_area_mm2) > 0)
    thirds = np.full(len(cavity_area_mm2), -1)
    if len(shown):
        count = int(shown[-1] - shown[0]) + 1
        # With whole numbers, (k + ½) / n × 3 for the last of three slices cannot be rounded below 2.
        found = 3 * (2 * np.arange(count) + 1) // (2 * count)
        thirds[shown[0] : shown[-1] + 1] = found if base_first else found[::-1]
    return thirds


def base_comes_first(cavity_area_mm2: np.ndarray) -> bool:
    """Returns whether the base comes first: the cavity is larger in the first half of its slices than in the second.

    Args:
        cavity_area_mm2: (T, Z).
    """
    areas = np.asarray(cavity_area_mm2, float).sum(0)
    areas = np.trim_zeros(areas)
    half = len(areas) // 2
    return bool(areas[:half].sum() >= areas[len(areas) - half :].sum())


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Returns the mean over an axis without NaN; NaN if all values are NaN."""
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)
