"""The data of the page of a study."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box
from foanet_jax.measures.body.context import NO_CONTEXT, Context
from foanet_jax.measures.indices.counting import SliceCount
from foanet_jax.measures.indices.position import View
from foanet_jax.measures.indices.short_axis import KNOWN, LvIndices
from foanet_jax.measures.indices.ventricle import VentricleIndices
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.verdict import CHECK, GOOD, REJECT
from foanet_jax.system.errors import InputError

# The advice for each verdict of `quality.finding`. Other verdicts are shown as they are, in grey.
VERDICTS = {
    GOOD: "No check found anything unusual.",
    CHECK: "Look at the contours before you use the numbers.",
    REJECT: "Do not use the numbers: the contours are wrong or cannot be trusted.",
}


class Flag(NamedTuple):
    """One finding of the quality control.

    Attributes:
        code: a short code that does not change, for programs.
        sentence: the text for people.
        place: where, such as "frame 3, slice 2"; "" for the whole study.
    """

    code: str
    sentence: str
    place: str = ""


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """One study, its segmentation and its measurements.

    Attributes:
        study: the study as it was read, with its images as they are seen in the view.
        mask: (T, Z, H, W) uint8 class indices on the grid of these images.
        boxes: the box of the heart and the box with its margin; empty if there are none.
        indices: areas, dimensions and wall thicknesses of short-axis slices; None for other studies.
        septum_degrees: the direction of the septum with which the indices were measured, one or (Z,). None if it is
            not known; the indices were then measured with CANONICAL_SEPTUM, and angles start at the top of the image.
        view: the view from the apex in which the images are seen; None if they are seen as they are stored.
        base_first: whether the first slice is nearer to the base than the last one; None: the larger half of the
            cavity is at the base.
        ventricle: the volumes over the heartbeat; None for single slices.
        volumes_ml: the volume of each class in ml, (T,), from `structure_volumes`; empty for single slices.
        flags: the findings of the checks, the most important first.
        findings: all findings, of which those with a place are listed beside the images.
        verdict: one of VERDICTS, or another word; "" if nothing was checked.
        doubtful: the classes that the findings concern.
        affected: the numbers that the findings spoil, by name as in `indices.study.headline`, with the findings' codes.
        confidence: in [0, 1]; None if it is not known.
        frame_seconds: the time between frames, in s; None if it is not known.
        context: what is known of the patient beside the images.
        count: which slices of the mask count; None if all of it does.
        provenance: what made the segmentation, by name: model, checkpoint, versions. Values are shown as text.
        files: files beside the page to which it links, by what they are: paths relative to the page.
    """

    study: Study
    mask: np.ndarray
    boxes: Sequence[Box] = ()
    indices: LvIndices | None = None
    septum_degrees: float | np.ndarray | None = None
    view: View | None = None
    base_first: bool | None = None
    ventricle: VentricleIndices | None = None
    volumes_ml: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    flags: Sequence[tuple[str, str, str]] = ()
    findings: Sequence[Finding] = ()
    verdict: str = ""
    doubtful: Sequence[str] = ()
    affected: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    confidence: float | None = None
    frame_seconds: float | None = None
    count: SliceCount | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    context: Context = NO_CONTEXT
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def end_frames(self) -> tuple[int | None, int | None]:
        """The frames with the largest and the smallest LV cavity: end diastole and end systole; None if unknown.

        For a study of one frame, the first value is 0, whatever moment it shows.
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
        """Whether the direction of the septum is known, so that the segments have names."""
        return self.septum_degrees is not None and bool(np.isfinite(self.septum_degrees).any())

    @property
    def may_be_mirrored(self) -> bool:
        """Whether anterior and inferior wall may be exchanged, because the position in the patient is not known."""
        return self.indices is not None and self.indices.wall_directions != KNOWN


def require_result(result: StudyResult) -> StudyResult:
    """Returns the result if its arrays have the shape of the study.

    Raises:
        InputError: "shape-mismatch" if the mask, the indices or the volumes have another shape than the study.
    """
    voxels, name = result.study.voxels, result.study.name
    if result.mask.shape != voxels.shape:
        raise InputError("shape-mismatch", f"{name}: mask {result.mask.shape}, image {voxels.shape}; pass its own")
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
