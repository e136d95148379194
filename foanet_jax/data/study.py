"""The study in memory. Every reader returns one, and all other modules work on it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.patients.body import Body
from foanet_jax.system.errors import InputError

LV_CLASSES = ("background", "myocardium", "cavity")
ACDC_CLASSES = ("background", "right ventricle", "myocardium", "cavity")
WHOLE_HEART_CLASSES = (
    "background",
    "myocardium",
    "left atrium",
    "left ventricle",
    "right atrium",
    "right ventricle",
    "ascending aorta",
    "pulmonary artery",
)
# A heart beats 24 to 240 times a minute. A value outside is a repetition time, a placeholder, or several beats.
BEAT_SECONDS_RANGE = (0.25, 2.5)
# From 1,000 to four frames a second. A value outside is a placeholder, such as the 1 s of many NIfTI files.
FRAME_SECONDS_RANGE = (0.001, 0.25)
# The range of the greatest voxel. It is far wider than that of any scanner, and sums of squares stay within float32.
INTENSITY_RANGE = (1e-12, 1e12)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The grid of a study, from its header: shape (T, Z, H, W), and spacing (slice, row, column) in mm."""

    shape: tuple[int, int, int, int]
    spacing_mm: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Study:
    """One examination on its own grid: a 2D+t cine, a stack of slices, a 3D volume or a 4D cine.

    Attributes:
        patient: id of the patient; folds keep all studies of one patient together.
        case: unique id of the study, safe as a file name (letters, digits, `._-`).
        voxels: (T, Z, H, W) float32, finite. T frames in time, Z slices, H rows, W columns.
        spacing_mm: (slice, row, column) distances between voxel centres in mm, all positive. The slice
            distance of a single-slice study is its thickness if known, else 1.
        classes: names of the classes by index; 0 is the background.
        labels: (T, Z, H, W) uint8 of class indices; None if there is no ground truth.
        affine: (4, 4) float64, from (column, row, slice) voxel indices to RAS+ world mm, unchanged from the file. In
            ACDC's files, it does not contain the spacing. Distances therefore come only from `spacing_mm`.
        group: clinical group, if the data set has groups (ACDC: DCM, HCM, MINF, NOR, RV).
        source: the file that the voxels came from, for messages.
        to_source: maps a (T, Z, H, W) array on this grid back to the axes of the source file. None means NIfTI's own
            order, (column, row[, slice][, frame]).
        header: the header of the source, which writers reuse; None for studies made in memory.
        frame_seconds: time from frame to frame; None for a single frame, or if the source does not have it.
        remarks: one sentence for each decision that the reader had to make. They contain no file names and no values,
            so that equal remarks of many studies can be joined.
        findings: (code, sentence) for each oddity of the source, for the quality control of the prediction.
        body: height, weight, sex and age of the patient; None if the source has none.
    """

    patient: str
    case: str
    voxels: np.ndarray
    spacing_mm: tuple[float, float, float]
    classes: tuple[str, ...]
    labels: np.ndarray | None = None
    affine: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))
    group: str | None = None
    source: Path | None = None
    to_source: Callable[[np.ndarray], np.ndarray] | None = None
    header: object | None = None
    frame_seconds: float | None = None
    remarks: tuple[str, ...] = ()
    findings: tuple[tuple[str, str], ...] = ()
    body: Body | None = None

    @property
    def is_cine(self) -> bool:
        """Whether the neighbours in the temporal-like image are frames; they are slices otherwise."""
        return self.voxels.shape[0] > 1

    @property
    def name(self) -> str:
        """The name of the study in messages: its file if there is one, else its case."""
        return str(self.source) if self.source is not None else self.case


def joined_remarks(remarks_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns each different remark once, with the number of its studies and the first of them.

    Args:
        remarks_of: the remarks by case, see `Study.remarks`.
    """
    cases_of: dict[str, list[str]] = {}
    for case, remarks in remarks_of.items():
        for remark in remarks:
            cases_of.setdefault(remark, []).append(case)
    return [
        f"{remark} ({cases[0] if len(cases) == 1 else f'{len(cases)} studies: {cases[0]}, …'})"
        for remark, cases in cases_of.items()
    ]


def believable_frame_seconds(seconds: float) -> float | None:
    """Returns the time from frame to frame if a cine can have it, else None; see FRAME_SECONDS_RANGE."""
    low, high = FRAME_SECONDS_RANGE
    return seconds if math.isfinite(seconds) and low <= seconds <= high else None


def believable_beat(seconds: float, frames: int) -> bool:
    """Whether `frames` frames at steps of `seconds` cover one heartbeat; see BEAT_SECONDS_RANGE."""
    low, high = BEAT_SECONDS_RANGE
    beat = round(seconds * frames, 6) if math.isfinite(seconds) else math.inf
    return believable_frame_seconds(seconds) is not None and low <= beat <= high


def validate_study(study: Study) -> Study:
    """Returns the study unchanged if its arrays, spacing and labels are consistent.

    Raises:
        InputError: with the file, the wrong value and the remedy.
    """
    name, voxels = study.name, study.voxels
    if voxels.ndim != 4 or min(voxels.shape) < 1:
        raise InputError("shape", f"{name}: voxels of shape {voxels.shape}; a study is (T, Z, H, W), none empty")
    if not np.isfinite(voxels).all():
        bad = int(voxels.size - np.isfinite(voxels).sum())
        raise InputError(
            "non-finite", f"{name}: {bad} of {voxels.size} voxels are NaN or infinite; export the study again"
        )
    greatest = max(float(voxels.max()), -float(voxels.min()))
    low, high = INTENSITY_RANGE
    if greatest and not low <= greatest <= high:
        raise InputError(
            "intensities",
            f"{name}: the greatest voxel is {greatest:.3g}; the greatest must be from {low:g} to {high:g}: correct the "
            "scaling in the header (scl_slope), or multiply the voxels by a constant",
        )
    if len(study.spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in study.spacing_mm):
        raise InputError(
            "spacing",
            f"{name}: spacing {tuple(study.spacing_mm)} mm (slice, row, column); all three must be positive: "
            "correct the header or pass the true spacing",
        )
    if study.labels is not None:
        if study.labels.shape != voxels.shape:
            raise InputError(
                "shape-mismatch",
                f"{name}: image {voxels.shape} and labels {study.labels.shape} differ in shape (T, Z, H, W); "
                "use the labels that were drawn on this image",
            )
        highest = int(study.labels.max(initial=0))
        if highest >= len(study.classes):
            raise InputError(
                "unknown-label",
                f"{name}: label index {highest}, but there are {len(study.classes)} classes {study.classes}",
            )
    return study


def require_contrast(study: Study) -> None:
    """Raises InputError if all voxels are equal, because Gauss normalisation then has σ = 0."""
    if float(study.voxels.std()) == 0:
        value = float(study.voxels.flat[0])
        raise InputError(
            "zero-sigma",
            f"{study.name}: every voxel is {value:g}, so σ = 0 and (I−μ)/σ is undefined; "
            "remove this study or export it again",
        )
