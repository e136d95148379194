"""Wall thickness by the segments of the American Heart Association (Cerqueira et al., Circulation 105:539, 2002).

Segments 1–6 are the basal third, 7–12 the middle one, 13–16 the apical one. Segment 17, the muscle beyond the
cavity's end, is on no slice that has a cavity, and is not measured.
"""

import numpy as np

from foanet_jax.measures.indices.short_axis import SECTORS
from foanet_jax.system.errors import InputError

RING_NAMES = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
APICAL_NAMES = ("anterior", "septal", "inferior", "lateral")
THIRDS = ("basal", "mid", "apical")

# SECTORS in the order of segments 1–6 and 7–12, and how many of the 90° of each of 13–16 are of which sector.
_RING = ("a", "as", "is", "i", "il", "al")
_APICAL = (
    {"as": 15, "a": 60, "al": 15},
    {"as": 45, "is": 45},
    {"is": 15, "i": 60, "il": 15},
    {"il": 45, "al": 45},
)


def ring_thickness(rwt_mm: np.ndarray) -> np.ndarray:
    """Sectors (..., 6) in the order of SECTORS as (..., 6) in that of the AHA, anterior first and the septum next."""
    return np.asarray(rwt_mm, float)[..., [list(SECTORS).index(name) for name in _RING]]


def segment_thickness(rwt_mm: np.ndarray, thirds: np.ndarray) -> np.ndarray:
    """Mean wall thickness of segments 1–16 in one frame, (16,) mm; NaN where no slice of the third was measured.

    An apical segment of 90° is the mean of the sectors of 60° that it covers, by the angle it covers.

    Args:
        rwt_mm: (Z, 6) in the order of SECTORS, as `LvIndices` has them.
        thirds: (Z,) as `slice_thirds` returns them.

    Raises:
        InputError: shapes do not fit.
    """
    rwt_mm, thirds = np.asarray(rwt_mm, float), np.asarray(thirds)
    if rwt_mm.shape != (*thirds.shape, len(SECTORS)) or thirds.ndim != 1:
        raise InputError("shape", f"thicknesses {rwt_mm.shape} and thirds {thirds.shape}; pass (Z, 6) and (Z,)")
    of = dict(zip(SECTORS, rwt_mm.T, strict=True))
    apical = np.stack([sum(part / 90 * of[name] for name, part in parts.items()) for parts in _APICAL], -1)
    ring = ring_thickness(rwt_mm)
    return np.concatenate([known_mean(values[thirds == third], 0) for third, values in enumerate((ring, ring, apical))])


def slice_thirds(cavity_area_mm2: np.ndarray, *, base_first: bool) -> np.ndarray:
    """The third of the LV's length that each slice lies in, (Z,): 0 basal, 1 mid, 2 apical, −1 beyond the cavity.

    The length runs from the first slice that shows the cavity to the last; a slice belongs where its middle is.

    Args:
        cavity_area_mm2: (Z,) of one frame.
        base_first: whether slice 0 is at the base.
    """
    shown = np.flatnonzero(np.asarray(cavity_area_mm2) > 0)
    thirds = np.full(len(cavity_area_mm2), -1)
    if len(shown):
        count = int(shown[-1] - shown[0]) + 1
        # Whole numbers: (k + ½) / n × 3 of the third of three slices must not fall below 2.
        found = 3 * (2 * np.arange(count) + 1) // (2 * count)
        thirds[shown[0] : shown[-1] + 1] = found if base_first else found[::-1]
    return thirds


def base_comes_first(cavity_area_mm2: np.ndarray) -> bool:
    """Whether the cavity is larger in the first half of the slices that show it than in the second: it tapers.

    Args:
        cavity_area_mm2: (T, Z).
    """
    areas = np.asarray(cavity_area_mm2, float).sum(0)
    areas = np.trim_zeros(areas)
    half = len(areas) // 2
    return bool(areas[:half].sum() >= areas[len(areas) - half :].sum())


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean over an axis of what is not NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)
