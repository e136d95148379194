"""What a check finds: the numbers of each study, and what is wrong or odd."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import nibabel as nib
import numpy as np

from foanet_jax.data.study import Study

Severity = Literal["error", "warning"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing to put right (an error: training would stop or go wrong) or to look at (a warning).

    Attributes:
        severity: "error" or "warning".
        code: a short stable word for programs, an InputError's own where there is one.
        message: for people: file or cases, value, remedy.
        cases: ids of the studies concerned; empty where it is the data set as a whole.
    """

    severity: Severity
    code: str
    message: str
    cases: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class StudyFacts:
    """The numbers of one study.

    Attributes:
        patient: id of the patient.
        case: id of the study.
        group: clinical group, where known.
        source: the image's file.
        shape: (T, Z, H, W).
        spacing_mm: (slice, row, column).
        orientation: where columns, rows and slices run to, as "LPS".
        intensity: smallest, mean and largest value.
        volumes_ml: volume of each foreground class, the mean over the frames with labels; None without labels.
    """

    patient: str
    case: str
    group: str | None
    source: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    orientation: str
    intensity: tuple[float, float, float]
    volumes_ml: Mapping[str, float] | None


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """What check_data_set found.

    Attributes:
        name: of the data set.
        classes: names by index, as the first study that could be read has them; empty where none could.
        patients: ids in the order of the list, of readable studies and of others.
        studies: the studies that could be read.
        findings: errors first.
        thumbnails: (THUMBNAIL_PX, THUMBNAIL_PX, 3) uint8 of at most THUMBNAILS patients, None where none of a
            patient's studies could be read.
        patient_of: the patient of each listed case.
    """

    name: str
    classes: tuple[str, ...]
    patients: tuple[str, ...]
    studies: tuple[StudyFacts, ...]
    findings: tuple[Finding, ...]
    thumbnails: Mapping[str, np.ndarray | None]
    patient_of: Mapping[str, str]

    def count(self, severity: Severity) -> int:
        """How many findings are of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def facts_of(study: Study) -> StudyFacts:
    """The numbers of a study that was read."""
    volumes_ml = None
    if study.labels is not None:
        drawn = study.labels.reshape(len(study.labels), -1)
        drawn = drawn[drawn.any(axis=1)]
        ml = math.prod(study.spacing_mm) / 1000
        counts = np.bincount(drawn.ravel(), minlength=len(study.classes)) / max(1, len(drawn))
        volumes_ml = {name: float(counts[index] * ml) for index, name in enumerate(study.classes) if index}
    voxels = study.voxels
    return StudyFacts(
        patient=study.patient,
        case=study.case,
        group=study.group,
        source=study.name,
        shape=tuple(voxels.shape),
        spacing_mm=tuple(map(float, study.spacing_mm)),
        orientation="".join(nib.aff2axcodes(study.affine)),
        intensity=(float(voxels.min()), float(voxels.mean(dtype=np.float64)), float(voxels.max())),
        volumes_ml=volumes_ml,
    )


def volumes(study: StudyFacts) -> Mapping[str, float]:
    """The volume of each foreground class in ml, none without labels."""
    return study.volumes_ml or {}
