"""Results of a check: facts about each study, and findings (errors and warnings)."""

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
    """An error or a warning about a data set.

    With an error, a training would fail or give wrong results. A warning is something that the user should look at.

    Attributes:
        severity: "error" or "warning".
        code: a short stable word for programs; for an InputError, its code.
        message: text with the file or the cases, the value and the remedy.
        cases: ids of the studies concerned; empty if the finding is about the whole data set.
    """

    severity: Severity
    code: str
    message: str
    cases: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class StudyFacts:
    """Facts about one study.

    Attributes:
        patient: id of the patient.
        case: id of the study.
        group: clinical group; None if it is unknown.
        source: file of the image.
        shape: (T, Z, H, W).
        spacing_mm: (slice, row, column).
        orientation: directions of columns, rows and slices, such as "LPS".
        intensity: smallest, mean and largest value.
        volumes_ml: mean volume of each foreground class over the frames with labels; None without labels.
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
    """The result of `check_data_set`.

    Attributes:
        name: name of the data set.
        classes: class names by index, of the first study that could be read; empty if no study could be read.
        patients: ids of all listed patients, also of those whose studies could not be read.
        studies: the studies that could be read.
        findings: all findings, errors first.
        thumbnails: (THUMBNAIL_PX, THUMBNAIL_PX, 3) uint8 for at most THUMBNAILS patients; None for a patient whose
            studies could not be read.
        patient_of: the patient of each listed case.
        remarks: one sentence for each different remark of the studies, such as the source of their spacing.
    """

    name: str
    classes: tuple[str, ...]
    patients: tuple[str, ...]
    studies: tuple[StudyFacts, ...]
    findings: tuple[Finding, ...]
    thumbnails: Mapping[str, np.ndarray | None]
    patient_of: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    def count(self, severity: Severity) -> int:
        """Returns the number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def facts_of(study: Study) -> StudyFacts:
    """Returns the facts about a study."""
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
    """Returns the volume of each foreground class in ml; empty without labels."""
    return study.volumes_ml or {}
