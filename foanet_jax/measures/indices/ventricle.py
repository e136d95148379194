"""Volumes over the beat from stacks of slices: EDV, ESV, stroke volume, ejection fraction and LV mass."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from foanet_jax.measures.indices.labels import (
    LV_CAVITY,
    MYOCARDIUM,
    RV_CAVITY,
    index_of,
    require_mask,
    require_spacing,
)
from foanet_jax.measures.sizes import measure_sizes
from foanet_jax.system.errors import InputError

MYOCARDIUM_G_PER_ML = 1.05


@dataclasses.dataclass(frozen=True)
class Chamber:
    """One ventricle's blood over the beat.

    Attributes:
        volumes_ml: (T,) NaN in frames that show none of it, and everywhere where its class is not labelled.
        edv_ml, esv_ml: at end diastole and end systole.
        sv_ml: stroke volume, EDV − ESV.
        ef_percent: ejection fraction, 100 SV / EDV.
    """

    volumes_ml: np.ndarray
    edv_ml: float
    esv_ml: float
    sv_ml: float
    ef_percent: float


@dataclasses.dataclass(frozen=True)
class VentricleIndices:
    """The volumes of one stack over time; what cannot be measured is NaN, and `flags` says why.

    Attributes:
        ed, es: frames of end diastole and end systole; None where no frame shows the LV cavity.
        left, right: the ventricles, both at the frames of the left one.
        mass_g: LV mass at end diastole.
        flags: "" or what is wrong, joined by "; ".
    """

    ed: int | None
    es: int | None
    left: Chamber
    right: Chamber
    mass_g: float
    flags: str

    def columns(self) -> dict[str, float]:
        """Each index by its name with its unit."""
        names = ("edv_ml", "esv_ml", "sv_ml", "ef_percent")
        sides = {"lv": self.left, "rv": self.right}
        return {
            **{f"{side}_{name}": getattr(chamber, name) for side, chamber in sides.items() for name in names},
            "lv_mass_g": self.mass_g,
        }


def structure_volumes(
    mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]
) -> dict[str, np.ndarray]:
    """Volume in ml of each foreground class in each frame, (T,), for example the seven of a whole heart.

    All voxels count, as in `sizes.csv`.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, background first.
        spacing_mm: of slices, rows and columns.

    Raises:
        InputError: the mask has one slice, which has an area and no volume, or cannot be used; nor can the spacing.
    """
    mask, spacing_mm = require_mask(mask, classes), require_spacing(spacing_mm)
    if mask.shape[1] == 1:
        raise InputError("layout", "a mask of one slice has no volume; measure it with lv_indices")
    sizes = measure_sizes(mask, mask, spacing_mm=spacing_mm, classes=classes, patient="", case="")
    return {name: np.array([size.truth for size in sizes if size.class_name == name]) for name in classes[1:]}


def ventricle(
    mask: np.ndarray,
    *,
    classes: Sequence[str],
    spacing_mm: Sequence[float],
    ed: int | None = None,
    es: int | None = None,
) -> VentricleIndices:
    """Volumes, ejection fraction and mass of the ventricles from a stack over time (method: voxels × their size).

    Args:
        mask: (T, Z, H, W) class indices. Of ACDC, whose two studies are end diastole and end systole, their masks
            one after the other with ed=0 and es=1.
        classes: names by index, with myocardium, and cavity or left ventricle; right ventricle if it is labelled.
        spacing_mm: of slices, rows and columns.
        ed, es: frames of end diastole and end systole; None takes those of the largest and the smallest LV cavity,
            of equal ones the first. A frame without cavity was not segmented and is never the smallest.

    Raises:
        InputError: as structure_volumes, or there is no such frame.
    """
    volumes = structure_volumes(mask, classes=classes, spacing_mm=spacing_mm)
    return ventricle_of_volumes(volumes, classes=classes, ed=ed, es=es)


def ventricle_of_volumes(
    volumes_ml: Mapping[str, np.ndarray], *, classes: Sequence[str], ed: int | None = None, es: int | None = None
) -> VentricleIndices:
    """What `ventricle` measures, from volumes: of frames whose masks lie in several files, on grids of their own.

    Args:
        volumes_ml: (T,) of each foreground class, as from `structure_volumes`.
        classes, ed, es: as `ventricle` takes them.

    Raises:
        InputError: the classes cannot be used, or there is no such frame.
    """
    blood = _shown(volumes_ml[classes[index_of(classes, LV_CAVITY)]])
    wall = _shown(volumes_ml[classes[index_of(classes, [MYOCARDIUM])]])
    labelled = any(name in RV_CAVITY for name in classes)
    right = _shown(volumes_ml[classes[index_of(classes, RV_CAVITY)]]) if labelled else np.full(len(blood), np.nan)
    for name, frame in (("ed", ed), ("es", es)):
        if frame is not None and not 0 <= frame < len(blood):
            raise InputError("frame", f"{name}={frame}, but there are {len(blood)} frames, counted from 0")
    if not np.isnan(blood).all():
        ed = int(np.nanargmax(blood)) if ed is None else ed
        es = int(np.nanargmin(blood)) if es is None else es
    flags = [
        f"no {what} in {int(np.isnan(curve).sum())} of {len(curve)} frames"
        for what, curve in (("LV cavity", blood), (MYOCARDIUM, wall), *([("RV", right)] if labelled else []))
        if np.isnan(curve).any()
    ]
    if ed is not None and ed == es:
        flags.append("end diastole and end systole are one frame")
    return VentricleIndices(
        ed=ed,
        es=es,
        left=chamber(blood, ed, es),
        right=chamber(right, ed, es),
        mass_g=math.nan if ed is None else MYOCARDIUM_G_PER_ML * float(wall[ed]),
        flags="; ".join(flags),
    )


def chamber(volumes_ml: np.ndarray, ed: int | None, es: int | None) -> Chamber:
    """A ventricle's indices from its volumes, (T,), at the two frames; NaN where there is no frame or one volume."""
    diastole, systole = (math.nan if frame is None else float(volumes_ml[frame]) for frame in (ed, es))
    if ed == es:
        systole = math.nan
    stroke = diastole - systole
    return Chamber(volumes_ml, diastole, systole, stroke, 100 * stroke / diastole)


def _shown(volumes_ml: np.ndarray) -> np.ndarray:
    return np.where(volumes_ml > 0, volumes_ml, np.nan)
