"""All that a study's page tells, as plain data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box
from foanet_jax.measures.indices.short_axis import LvIndices
from foanet_jax.measures.indices.ventricle import VentricleIndices
from foanet_jax.measures.quality.finding import CHECK, GOOD, REJECT
from foanet_jax.system.errors import InputError

# What is said of each verdict of `quality.finding`, a class of study.css; other verdicts stand as they are, grey.
VERDICTS = {
    GOOD: "No check found anything odd.",
    CHECK: "Look at the contours before using a number.",
    REJECT: "Much is wrong with the contours: use no number from here.",
}


class Flag(NamedTuple):
    """One thing that a check found.

    Attributes:
        code: a short stable word for programs.
        sentence: for people.
        place: where, as "frame 3, slice 2"; "" where it is the whole study.
    """

    code: str
    sentence: str
    place: str = ""


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """One study, its segmentation and what was measured of it.

    Attributes:
        study: as it was read.
        mask: (T, Z, H, W) uint8 class indices on the study's grid.
        boxes: the localization box and the one with its margin; fewer where there are none.
        indices: areas, dimensions and wall thicknesses of short-axis slices; None where it is no short-axis study.
        septum_degrees: (Z,) or one direction of the septum that the indices were measured with; None where it is
            not known, and they were measured with CANONICAL_SEPTUM, so that their angles begin at the image's top.
        ventricle: volumes over the beat; None for single slices.
        volumes_ml: (T,) of each class as `structure_volumes` returns them; empty for single slices.
        flags: what the checks found, the gravest first.
        verdict: one of VERDICTS, or another word; "" where nothing was checked.
        confidence: in [0, 1]; None where it is not known.
        frame_seconds: time from frame to frame; None where it is not known.
        provenance: what made it, by name: model, checkpoint, versions; values are shown as text.
    """

    study: Study
    mask: np.ndarray
    boxes: Sequence[Box] = ()
    indices: LvIndices | None = None
    septum_degrees: float | np.ndarray | None = None
    ventricle: VentricleIndices | None = None
    volumes_ml: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    flags: Sequence[tuple[str, str, str]] = ()
    verdict: str = ""
    confidence: float | None = None
    frame_seconds: float | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def end_frames(self) -> tuple[int | None, int | None]:
        """The frames of end diastole and end systole, of the largest and the smallest LV cavity; None if unknown.

        Of a single frame, whatever its moment, the first one is 0.
        """
        if self.ventricle is not None:
            ed, es = self.ventricle.ed, self.ventricle.es
        elif self.indices is not None and self.indices.cavity_area_mm2.any():
            sizes = self.indices.cavity_area_mm2.sum(1)
            ed, es = int(sizes.argmax()), int(np.where(sizes > 0, sizes, np.inf).argmin())
        else:
            return None, None
        return ed, None if es == ed else es

    @property
    def oriented(self) -> bool:
        """Whether the septum's direction is known, so that segments can be named."""
        return self.septum_degrees is not None and bool(np.isfinite(self.septum_degrees).any())


def require_result(result: StudyResult) -> StudyResult:
    """The same result, once its arrays are of one study.

    Raises:
        InputError: the mask, the indices or the volumes have another shape than the study.
    """
    voxels, name = result.study.voxels, result.study.name
    if result.mask.shape != voxels.shape:
        raise InputError("shape-mismatch", f"{name}: mask {result.mask.shape} and image {voxels.shape}; pass its own")
    if result.indices is not None and result.indices.flags.shape != voxels.shape[:2]:
        raise InputError(
            "shape-mismatch", f"{name}: indices of (T, Z) {result.indices.flags.shape}, image {voxels.shape}"
        )
    curves = dict(result.volumes_ml)
    if result.ventricle is not None:
        curves |= {"left": result.ventricle.left.volumes_ml, "right": result.ventricle.right.volumes_ml}
    for what, curve in curves.items():
        if np.shape(curve) != voxels.shape[:1]:
            raise InputError("shape-mismatch", f"{name}: volumes of {what} {np.shape(curve)}, but {len(voxels)} frames")
    return result
