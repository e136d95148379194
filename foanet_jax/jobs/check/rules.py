"""The rules of the check: comparisons of studies with plausible values and with each other."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foanet_jax.data.refs import StudyRef
from foanet_jax.jobs.check.facts import Finding, StudyFacts, volumes

# Usual spacings of cardiac MR, with a wide tolerance. Outside these ranges, the header is probably wrong.
_IN_PLANE_MM = (0.3, 4.0)
_SLICE_MM = (0.3, 20.0)
_OUTLIER = 2.5  # a value is an outlier above the median times this, or below the median divided by this
_LEAST_COSINE = 0.5  # smallest cosine of the angle between an axis and that of a typical study
_SHOWN_CASES = 6


def list_findings(refs: Sequence[StudyRef]) -> list[Finding]:
    """Finds cases that are listed twice, and patients that are in two groups."""
    findings = []
    for case, times in Counter(ref.case for ref in refs).items():
        if times > 1:
            findings.append(Finding("error", "duplicate-case", f"{case}: listed {times} times; keep one", (case,)))
    groups: dict[str, set[str]] = defaultdict(set)
    for ref in refs:
        groups[ref.patient] |= {ref.group} if ref.group else set()
    for patient, its in groups.items():
        if len(its) > 1:
            cases = tuple(ref.case for ref in refs if ref.patient == patient)
            message = f"{patient}: is in the groups {', '.join(sorted(its))}; give the patient one group"
            findings.append(Finding("error", "groups", message, cases))
    return findings


def fold_findings(refs: Sequence[StudyRef], studies: Sequence[StudyFacts], folds: int) -> list[Finding]:
    """Finds whether there are more folds than patients with labels. No training can start then.

    Args:
        refs: all studies.
        studies: the studies that could be read. Patients without any labels are in no fold.
        folds: number of folds in the configuration; 0 if there are no folds to check.
    """
    bare = {study.case for study in studies if study.volumes_ml is None}
    patients = {ref.patient for ref in refs if ref.case not in bare}
    if not patients or len(patients) >= folds:
        return []
    message = (
        f"{len(patients)} patients with labels for {folds} folds, so that no training can start; set data.folds to "
        f"{len(patients)} or fewer, or add patients"
    )
    return [Finding("error", "too-few-patients", message)]


def duplicate_findings(
    voxels_of: Mapping[str, list[StudyRef]], labels_of: Mapping[str, list[StudyRef]]
) -> list[Finding]:
    """Finds identical images and identical labels.

    Args:
        voxels_of, labels_of: the studies, by the checksum of their voxels and by the checksum of their labels.
    """
    findings = []
    same = {tuple(ref.case for ref in refs) for refs in voxels_of.values() if len(refs) > 1}
    # There is one finding per set of patients, because patients who share one study often share all studies.
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for refs in voxels_of.values():
        cases = tuple(ref.case for ref in refs)
        patients = tuple(dict.fromkeys(ref.patient for ref in refs))
        if len(patients) > 1:
            shared[patients] = (*shared.get(patients, ()), *cases)
        elif len(refs) > 1:
            message = f"{', '.join(cases)}: the same voxels; remove the copies, or export the right ones"
            findings.append(Finding("warning", "duplicate-study", message, cases))
    for patients, cases in shared.items():
        message = (
            f"{', '.join(patients)}: the same voxels under {len(patients)} patients ({_some(cases)}); folds could "
            "train on one and test on another: keep one of them"
        )
        findings.append(Finding("error", "duplicate-patient", message, cases))
    for refs in labels_of.values():
        cases = tuple(ref.case for ref in refs)
        if len(refs) > 1 and cases not in same:
            message = f"{', '.join(cases)}: the same labels for different images; check to which image they belong"
            findings.append(Finding("warning", "same-labels", message, cases))
    return findings


def label_findings(studies: Sequence[StudyFacts], classes: tuple[str, ...]) -> list[Finding]:
    """Finds missing labels, missing classes and volumes that differ much from the median."""
    findings = []
    bare = [study.case for study in studies if study.volumes_ml is None]
    if bare:
        message = f"{_some(bare)}: no labels, so that they are not used for training; add labels, or use --mode predict"
        findings.append(Finding("warning", "no-labels", message, tuple(bare)))
    labelled = [study for study in studies if study.volumes_ml is not None]
    for study in labelled:
        if not any(volumes(study).values()):
            message = f"{study.source}: its labels have only background; draw the labels, or remove the study"
            findings.append(Finding("error", "empty-labels", message, (study.case,)))
    drawn = [study for study in labelled if any(volumes(study).values())]
    for name in classes[1:]:
        without = [study.case for study in drawn if not volumes(study).get(name)]
        if drawn and len(without) == len(drawn):
            message = f"class {name!r}: in none of the {len(drawn)} labelled studies; correct the labels or the classes"
            findings.append(Finding("error", "absent-class", message))
        elif without:
            message = f"{_some(without)}: no {name!r}, which {len(drawn) - len(without)} others have; check the labels"
            findings.append(Finding("warning", "missing-class", message, tuple(without)))
        # Only one of the 600 volumes in ACDC differs so much from the median. A wrong spacing easily causes this.
        amounts = {study.case: volumes(study)[name] for study in drawn if volumes(study).get(name)}
        middle = statistics.median(amounts.values()) if amounts else 0.0
        odd = [case for case, ml in amounts.items() if not middle / 10 <= ml <= 10 * middle]
        if odd:
            message = (
                f"{_some(odd)}: {name!r} has {_span((amounts[case] for case in odd), 'ml')}, but the median is "
                f"{middle:.3g} ml; check labels and spacing"
            )
            findings.append(Finding("warning", "volume", message, tuple(odd)))
    return findings


def exchanged_findings(exchanged: Mapping[str, tuple[str, str]]) -> list[Finding]:
    """Finds studies whose label values have another order than the classes.

    Args:
        exchanged: by case, the two classes that are found in the places of the cavity and the myocardium.
    """
    cases_of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case, pair in exchanged.items():
        cases_of[pair].append(case)
    return [
        Finding(
            "error",
            "exchanged-classes",
            f"{_some(cases)}: what is labelled {inner} lies inside what is labelled {outer}, as a cavity inside the "
            "myocardium: the label values have another order; give each class its value in the classes of dataset.json "
            "(in the layout of ACDC: 1 right ventricle, 2 myocardium, 3 cavity)",
            tuple(cases),
        )
        for (inner, outer), cases in cases_of.items()
    ]


def geometry_findings(
    studies: Sequence[StudyFacts], directions: Sequence[np.ndarray], affine_off: Sequence[str]
) -> list[Finding]:
    """Finds implausible spacings, sizes and orientations.

    Args:
        studies: all studies that could be read.
        directions: for each study a (3, 3) matrix, whose columns are the unit vectors along columns, rows and slices.
        affine_off: cases in which spacing and affine disagree.
    """
    findings: list[Finding] = []

    def warn(code: str, cases: Sequence[str], message: str) -> None:
        if cases:
            every = len(cases) == len(studies) > 1
            who = f"all {len(cases)} studies" if every else _some(cases)
            findings.append(Finding("warning", code, f"{who}: {message}", tuple(cases)))

    stacks = [study for study in studies if study.shape[1] > 1]
    for what, among, (low, high), pick in (
        ("in-plane spacing", studies, _IN_PLANE_MM, lambda study: study.spacing_mm[1:]),
        ("slice spacing", stacks, _SLICE_MM, lambda study: study.spacing_mm[:1]),
    ):
        absurd = [study for study in among if not all(low <= value <= high for value in pick(study))]
        warn(
            "spacing",
            [study.case for study in absurd],
            f"{what} of {_span((value for study in absurd for value in pick(study)), 'mm')}, outside the usual range "
            f"of {low:g} to {high:g} mm; correct the header if it is wrong",
        )
        middle = statistics.median([max(pick(study)) for study in among]) if among else 1.0
        odd = [
            study
            for study in among
            if study not in absurd and not middle / _OUTLIER <= max(pick(study)) <= middle * _OUTLIER
        ]
        warn(
            "spacing-differs",
            [study.case for study in odd],
            f"{what} of {_span((max(pick(study)) for study in odd), 'mm')}, but the median is {middle:.3g} mm; "
            "check the header",
        )
    unit = [study.case for study in studies if set(study.spacing_mm) == {1.0} and study.shape[1] > 1]
    warn("unit-spacing", unit, "spacing of 1 × 1 × 1 mm, possibly because the header was lost; check it")
    size = statistics.median([max(study.shape[2:]) for study in studies]) if studies else 1
    odd_size = [study for study in studies if not size / _OUTLIER <= max(study.shape[2:]) <= size * _OUTLIER]
    warn(
        "size-differs",
        [study.case for study in odd_size],
        f"longest side of {_span((max(study.shape[2:]) for study in odd_size), 'px')}, but the median is {size:g} px; "
        "check the export",
    )
    single = [study.case for study in studies if study.shape[0] * study.shape[1] == 1]
    warn(
        "single-slice",
        single,
        "only one slice, so that all channels of the temporal-like image are equal; add the neighbouring slices",
    )
    if studies:
        # The angles of oblique slices differ by tens of degrees between patients. Names of axes, such as LPS, are not
        # precise enough for a comparison.
        columns = np.stack(directions)
        cosines = np.stack([columns[..., axis] @ columns[..., axis].T for axis in range(3)]).min(axis=0)
        typical = int(cosines.sum(axis=1).argmax())
        turned = [study for study, cosine in zip(studies, cosines[typical], strict=True) if cosine < _LEAST_COSINE]
        warn(
            "orientation",
            [study.case for study in turned],
            f"the axes ({', '.join(sorted({study.orientation for study in turned}))}) differ by more than "
            f"{math.degrees(math.acos(_LEAST_COSINE)):.0f}° from those of {studies[typical].case} "
            f"({studies[typical].orientation}) and others; if they are not rotated or mirrored by mistake, use "
            "rotations in training too (augment.rotation_degrees=180)",
        )
    warn(
        "affine-spacing",
        affine_off,
        "the voxel sizes of the affine and of the spacing (pixdim) differ; the spacing is used: check that it is right",
    )
    return findings


def blank_findings(blank: Mapping[str, int]) -> list[Finding]:
    """Finds studies with constant slices; `blank` gives the number of constant slices by case."""
    if not blank:
        return []
    message = (
        f"{_some(blank)}: slices in which all pixels are equal, {_span(blank.values(), 'per study')}; "
        "remove them if they are padding, or export the study again"
    )
    return [Finding("warning", "constant-slice", message, tuple(blank))]


def _some(cases: Iterable[str]) -> str:
    listed = list(cases)
    more = f" and {len(listed) - _SHOWN_CASES} more" if len(listed) > _SHOWN_CASES else ""
    return ", ".join(listed[:_SHOWN_CASES]) + more


def _span(values: Iterable[float], unit: str) -> str:
    known = list(values)
    if not known:
        return ""
    low, high = f"{min(known):.3g}", f"{max(known):.3g}"
    return f"{low}{'' if low == high else f' to {high}'} {unit}".rstrip()
