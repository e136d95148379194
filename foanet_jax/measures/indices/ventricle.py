"""Volumes over the heartbeat from stacks of slices: EDV, ESV, stroke volume, ejection fraction and LV mass."""

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
from foanet_jax.measures.indices.papillary import PAPILLARY
from foanet_jax.measures.sizes import measure_sizes
from foanet_jax.system.errors import InputError

MYOCARDIUM_G_PER_ML = 1.05
_OF_CHAMBER = ("edv_ml", "esv_ml", "sv_ml", "ef_percent")
PAPILLARY_COLUMNS = (
    "lv_papillary_ed_ml",
    "lv_papillary_es_ml",
    "lv_edv_drawn_ml",
    "lv_esv_drawn_ml",
    "lv_ef_drawn_percent",
    "lv_mass_drawn_g",
)
COLUMNS = (*(f"{side}_{name}" for side in ("lv", "rv") for name in _OF_CHAMBER), "lv_mass_g")


@dataclasses.dataclass(frozen=True)
class Chamber:
    """The blood volume of one ventricle over the heartbeat.

    Attributes:
        volumes_ml: (T,); NaN in frames without this ventricle, and in all frames if its class does not exist.
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
    """The volumes of one stack over time. Values that cannot be measured are NaN, and `flags` gives the reason.

    Attributes:
        ed, es: frames of end diastole and end systole; None if no frame shows the LV cavity.
        left, right: the ventricles; ED and ES of both are the frames of the left one.
        mass_g: LV mass at end diastole.
        flags: what is wrong, joined by "; "; "" if nothing is.
        papillary_ml: (T,) volume of the papillary muscles and trabeculae that were moved from the cavity of the left
            ventricle to the myocardium; None if nothing was moved.
        myocardium_ml: (T,) volume of the myocardium; NaN in frames without it. Empty if it is not known.
    """

    ed: int | None
    es: int | None
    left: Chamber
    right: Chamber
    mass_g: float
    flags: str
    papillary_ml: np.ndarray | None = None
    myocardium_ml: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))

    def columns(self) -> dict[str, float]:
        """Returns each index by name with unit."""
        sides = {"lv": self.left, "rv": self.right}
        return {
            **{f"{side}_{name}": getattr(chamber, name) for side, chamber in sides.items() for name in _OF_CHAMBER},
            "lv_mass_g": self.mass_g,
            **self._drawn(),
        }

    def _drawn(self) -> dict[str, float]:
        """Returns the papillary muscles, and the indices as the mask was drawn, if papillary muscles were moved."""
        if self.papillary_ml is None:
            return {}
        diastole, systole = (
            math.nan if frame is None else float(self.papillary_ml[frame]) for frame in (self.ed, self.es)
        )
        whole = chamber(self.left.volumes_ml + self.papillary_ml, self.ed, self.es)
        mass = self.mass_g - MYOCARDIUM_G_PER_ML * diastole
        values = (diastole, systole, whole.edv_ml, whole.esv_ml, whole.ef_percent, mass)
        return dict(zip(PAPILLARY_COLUMNS, values, strict=True))


def structure_volumes(
    mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]
) -> dict[str, np.ndarray]:
    """Measures the volume of each foreground class in each frame in ml, (T,), such as the seven of a whole heart.

    All voxels count, as in `sizes.csv`.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, background first.
        spacing_mm: spacing of slices, rows and columns.

    Raises:
        InputError: the mask has only one slice, which has an area but no volume; or the mask or the spacing is not
            valid.
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
    """Measures volumes, ejection fraction and mass of the ventricles in a stack over time, by counting voxels.

    Args:
        mask: (T, Z, H, W) class indices. For ACDC, whose two studies are end diastole and end systole, pass both masks,
            one after the other, with ed=0 and es=1.
        classes: names by index, with cavity or left ventricle; myocardium and right ventricle if they are classes.
        spacing_mm: spacing of slices, rows and columns.
        ed, es: frames of end diastole and end systole. None: the frames with the largest and the smallest LV cavity;
            of equal ones, the first. A frame without a cavity was not segmented and is never the smallest.

    Raises:
        InputError: as for `structure_volumes`, or there is no such frame.
    """
    volumes = structure_volumes(mask, classes=classes, spacing_mm=spacing_mm)
    return ventricle_of_volumes(volumes, classes=classes, ed=ed, es=es)


def ventricle_of_volumes(
    volumes_ml: Mapping[str, np.ndarray], *, classes: Sequence[str], ed: int | None = None, es: int | None = None
) -> VentricleIndices:
    """Computes the same as `ventricle` from volumes, for frames whose masks are in several files with different grids.

    Args:
        volumes_ml: the volume of each foreground class, (T,), from `structure_volumes`; and of PAPILLARY, if papillary
            muscles were moved from the cavity to the myocardium.
        classes, ed, es: as for `ventricle`. ED and ES are the same frames whether they were moved or not.

    Raises:
        InputError: the classes are not valid, or there is no such frame.
    """
    blood = _shown(volumes_ml[classes[index_of(classes, LV_CAVITY)]])
    papillary = volumes_ml.get(PAPILLARY)
    walled = MYOCARDIUM in classes
    wall = _shown(volumes_ml[classes[index_of(classes, [MYOCARDIUM])]]) if walled else np.full(len(blood), np.nan)
    labelled = any(name in RV_CAVITY for name in classes)
    right = _shown(volumes_ml[classes[index_of(classes, RV_CAVITY)]]) if labelled else np.full(len(blood), np.nan)
    for name, frame in (("ed", ed), ("es", es)):
        if frame is not None and not 0 <= frame < len(blood):
            raise InputError("frame", f"{name}={frame}, but there are {len(blood)} frames, counted from 0")
    if not np.isnan(blood).all():
        whole = blood if papillary is None else blood + papillary
        ed = int(np.nanargmax(whole)) if ed is None else ed
        es = int(np.nanargmin(whole)) if es is None else es
    flags = [
        f"no {what} in {int(np.isnan(curve).sum())} of {len(curve)} frames"
        for what, curve in (
            ("LV cavity", blood),
            *([(MYOCARDIUM, wall)] if walled else []),
            *([("RV", right)] if labelled else []),
        )
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
        papillary_ml=papillary,
        myocardium_ml=wall,
    )


def chamber(volumes_ml: np.ndarray, ed: int | None, es: int | None) -> Chamber:
    """Computes the indices of a ventricle from its volumes, (T,), and the two frames; NaN without these."""
    diastole, systole = (math.nan if frame is None else float(volumes_ml[frame]) for frame in (ed, es))
    if ed == es:
        systole = math.nan
    stroke = diastole - systole
    return Chamber(volumes_ml, diastole, systole, stroke, 100 * stroke / diastole)


def _shown(volumes_ml: np.ndarray) -> np.ndarray:
    return np.where(volumes_ml > 0, volumes_ml, np.nan)
