"""Reading and checking of a whole data set, one study at a time."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from foanet_jax.data.identical import voxel_digest
from foanet_jax.data.nifti.geometry import sides_of
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study, joined_remarks, require_contrast
from foanet_jax.jobs.check.facts import CheckReport, Finding, StudyFacts, facts_of
from foanet_jax.jobs.check.rules import (
    blank_findings,
    duplicate_findings,
    exchanged_findings,
    fold_findings,
    geometry_findings,
    label_findings,
    list_findings,
)
from foanet_jax.jobs.check.thumbnail import thumbnail_of
from foanet_jax.measures.quality.shape import exchanged_classes
from foanet_jax.pages.drawing.sheet import evenly
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import over

Listing = Sequence[StudyRef] | Callable[[list[str]], Sequence[StudyRef]]

THUMBNAILS = 100


def check_data_set(listing: Listing, *, name: str = "data set", folds: int = 0) -> CheckReport:
    """Reads all studies of a data set, one at a time, and reports all errors and warnings.

    Only facts and thumbnails are kept, so that the memory depends only on the largest study. Files without a checksum
    can have bit errors (.nii; .nii.gz has a checksum). They are found only if they make a value implausible.

    Args:
        listing: the studies; or a function that returns the studies and appends problems to the list that it receives,
            such as `lambda problems: open_catalogue("acdc", root, problems=problems)`.
        name: name of the data set in the report.
        folds: number of folds into which the patients are divided. 0: none.
    """
    problems: list[str] = []
    findings: list[Finding] = []
    refs: Sequence[StudyRef] = ()
    try:
        refs = listing(problems) if callable(listing) else listing
    except InputError as error:
        findings.append(Finding("error", error.code, str(error)))
    findings[:0] = [Finding("error", "incomplete", problem) for problem in problems]

    patients = tuple(dict.fromkeys(ref.patient for ref in refs))
    thumbnails: dict[str, np.ndarray | None] = dict.fromkeys(evenly(patients, THUMBNAILS))
    labelled: set[str] = set()
    studies: list[StudyFacts] = []
    voxels_of: dict[str, list[StudyRef]] = defaultdict(list)
    labels_of: dict[str, list[StudyRef]] = defaultdict(list)
    affine_off: list[str] = []
    directions: list[np.ndarray] = []
    remarks_of: dict[str, Sequence[str]] = {}
    blank: dict[str, int] = {}
    exchanged: dict[str, tuple[str, str]] = {}
    classes: tuple[str, ...] = ()
    for ref in over(refs, desc=f"checking {name}", unit="study"):
        try:
            study = ref.load()
            classes = classes or study.classes
            if study.classes != classes:
                raise InputError(
                    "classes",
                    f"{study.name}: has the classes {study.classes}, but others have {classes}; correct its labels",
                )
            require_contrast(study)
        except InputError as error:
            findings.append(Finding("error", error.code, str(error), (ref.case,)))
            continue
        studies.append(facts_of(study))
        remarks_of[ref.case] = study.remarks
        directions.append(study.affine[:3, :3] / np.linalg.norm(study.affine[:3, :3], axis=0))
        voxels_of[voxel_digest(study.voxels)].append(ref)
        if study.labels is not None and (pair := exchanged_classes(study.labels, study.classes)):
            exchanged[ref.case] = pair
        if study.labels is not None and study.labels.any():
            labels_of[voxel_digest(study.labels)].append(ref)
        if _affine_differs(study):
            affine_off.append(ref.case)
        planes = study.voxels.reshape(-1, study.voxels.shape[-2] * study.voxels.shape[-1])
        flat = int((np.ptp(planes, axis=1) == 0).sum())
        if flat:
            blank[ref.case] = flat
        has_labels = study.labels is not None and bool(study.labels.any())
        if ref.patient in thumbnails and (
            thumbnails[ref.patient] is None or (has_labels and ref.patient not in labelled)
        ):
            thumbnails[ref.patient] = thumbnail_of(study)
            labelled |= {ref.patient} if has_labels else set()

    findings += list_findings(refs)
    findings += fold_findings(refs, studies, folds)
    findings += duplicate_findings(voxels_of, labels_of)
    findings += label_findings(studies, classes)
    findings += exchanged_findings(exchanged)
    findings += geometry_findings(studies, directions, affine_off)
    findings += blank_findings(blank)
    findings.sort(key=lambda finding: finding.severity)  # Errors come before warnings. The sort keeps the other order.
    patient_of = {ref.case: ref.patient for ref in refs}
    remarks = tuple(joined_remarks(remarks_of))
    return CheckReport(name, classes, patients, tuple(studies), tuple(findings), thumbnails, patient_of, remarks)


def _affine_differs(study: Study) -> bool:
    """Returns whether the voxel sizes in the affine and in the spacing differ by more than 2 %."""
    sides = sides_of(study.affine[:3, :3])
    spacing = np.array(study.spacing_mm[::-1])
    axes = 2 if study.voxels.shape[1] == 1 else 3
    return not np.allclose(sides[:axes], spacing[:axes], rtol=0.02, atol=0)
