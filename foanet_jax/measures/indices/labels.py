"""What a mask's classes are called, and masks that can be measured."""

from collections.abc import Sequence

import numpy as np

from foanet_jax.system.errors import InputError

MYOCARDIUM = "myocardium"
# A whole heart's "left ventricle" is its blood, what short-axis data sets call the cavity.
LV_CAVITY = ("cavity", "left ventricle")
RV_CAVITY = ("right ventricle",)


def require_mask(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The mask, once it is (T, Z, H, W), not empty, and each of its integers names a class.

    Raises:
        InputError: otherwise.
    """
    mask = np.asarray(mask)
    if mask.ndim != 4 or mask.size == 0:
        raise InputError("shape", f"a mask of shape {mask.shape}; pass (T, Z, H, W), none empty")
    if not np.issubdtype(mask.dtype, np.integer):
        raise InputError("dtype", f"a mask of {mask.dtype}; class indices are integers (uint8)")
    lowest, highest = int(mask.min()), int(mask.max())
    if lowest < 0 or highest >= len(classes):
        bad = lowest if lowest < 0 else highest
        raise InputError("unknown-label", f"class index {bad}, but there are {len(classes)} classes {tuple(classes)}")
    return mask


def require_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """(slice, row, column) distances in mm as floats.

    Raises:
        InputError: not three positive finite numbers.
    """
    if len(spacing_mm) != 3 or not all(np.isfinite(mm) and mm > 0 for mm in spacing_mm):
        raise InputError("spacing", f"spacing {tuple(spacing_mm)}; pass (slice, row, column) in mm, all positive")
    depth, row, column = (float(mm) for mm in spacing_mm)
    return depth, row, column


def index_of(classes: Sequence[str], names: Sequence[str]) -> int:
    """Index of the class that has one of the names.

    Raises:
        InputError: no class has, or several have.
    """
    found = [index for index, name in enumerate(classes) if name in names]
    if len(found) != 1:
        raise InputError("classes", f"classes {tuple(classes)}; exactly one of them must be {' or '.join(names)}")
    return found[0]
