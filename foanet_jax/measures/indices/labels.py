"""The names of the classes in a mask, and checks of masks before they are measured."""

from collections.abc import Sequence

import numpy as np

from foanet_jax.system.errors import InputError

MYOCARDIUM = "myocardium"
# The "left ventricle" of a whole heart is its blood, which short-axis data sets call the cavity.
LV_CAVITY = ("cavity", "left ventricle")
RV_CAVITY = ("right ventricle",)


def require_mask(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Returns the mask if its shape is (T, Z, H, W), not empty, and each of its integers is the index of a class.

    Raises:
        InputError: "shape", "dtype" or "unknown-label" if it is not.
    """
    mask = np.asarray(mask)
    if mask.ndim != 4 or mask.size == 0:
        raise InputError("shape", f"the shape of the mask is {mask.shape}; pass (T, Z, H, W), not empty")
    if not np.issubdtype(mask.dtype, np.integer):
        raise InputError("dtype", f"the mask is {mask.dtype}; pass integer class indices (uint8)")
    lowest, highest = int(mask.min()), int(mask.max())
    if lowest < 0 or highest >= len(classes):
        bad = lowest if lowest < 0 else highest
        raise InputError("unknown-label", f"class index {bad}, but there are {len(classes)} classes {tuple(classes)}")
    return mask


def require_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Returns the distances (slice, row, column) in mm as floats.

    Raises:
        InputError: "spacing" if they are not three positive finite numbers.
    """
    if len(spacing_mm) != 3 or not all(np.isfinite(mm) and mm > 0 for mm in spacing_mm):
        raise InputError(
            "spacing", f"the spacing is {tuple(spacing_mm)}; pass (slice, row, column) in mm, all positive"
        )
    depth, row, column = (float(mm) for mm in spacing_mm)
    return depth, row, column


def index_of(classes: Sequence[str], names: Sequence[str]) -> int:
    """Returns the index of the class that has one of the names.

    Raises:
        InputError: "classes" if no class or several classes have one of these names.
    """
    found = [index for index, name in enumerate(classes) if name in names]
    if len(found) != 1:
        raise InputError("classes", f"classes {tuple(classes)}; exactly one of them must be {' or '.join(names)}")
    return found[0]
