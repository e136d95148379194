"""The rules: what is wrong or odd with studies beside each other."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foanet_jax.data.refs import StudyRef
from foanet_jax.jobs.check.facts import Finding, StudyFacts, volumes

# What the heart is imaged at, with room on both sides; beyond it a header is more likely wrong than the scan odd.
_IN_PLANE_MM = (0.3, 4.0)
_SLICE_MM = (0.3, 20.0)
_OUTLIER = 2.5  # times the median, or one part in so many of it
_LEAST_COSINE = 0.5  # between an axis and that of a typical study
_SHOWN_CASES = 6


def list_findings(refs: Sequence[StudyRef]) -> list[Finding]:
    """Cases that are listed twice, and patients in two groups."""
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
            message = f"{patient}: in the groups {', '.join(sorted(its))}; a patient is in one, correct it"
            findings.append(Finding("error", "groups", message, cases))
    return findings


def fold_findings(refs: Sequence[StudyRef], studies: Sequence[StudyFacts], folds: int) -> list[Finding]:
    """More folds than patients, with which no training can start.

    Args:
        refs: all studies.
        studies: those that could be read; patients without any labels are not dealt out to folds.
        folds: how many the configuration asks for; 0 where nobody asks.
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
    """Images and labels that are there twice; both arguments list the studies by a digest of their array."""
    findings = []
    same = {tuple(ref.case for ref in refs) for refs in voxels_of.values() if len(refs) > 1}
    # By patient, because two who share one study often share them all.
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
            message = f"{', '.join(cases)}: the same labels on other images; check whose they are"
            findings.append(Finding("warning", "same-labels", message, cases))
    return findings


def label_findings(studies: Sequence[StudyFacts], classes: tuple[str, ...]) -> list[Finding]:
    """Labels and classes that are absent, and volumes that no heart has beside the others."""
    findings = []
    bare = [study.case for study in studies if study.volumes_ml is None]
    if bare:
        message = f"{_some(bare)}: no labels; not trained on, so add them or leave them for --mode predict"
        findings.append(Finding("warning", "no-labels", message, tuple(bare)))
    labelled = [study for study in studies if study.volumes_ml is not None]
    for study in labelled:
        if not any(volumes(study).values()):
            message = f"{study.source}: its labels are background alone; draw them, or remove the study"
            findings.append(Finding("error", "empty-labels", message, (study.case,)))
    drawn = [study for study in labelled if any(volumes(study).values())]
    for name in classes[1:]:
        without = [study.case for study in drawn if not volumes(study).get(name)]
        if drawn and len(without) == len(drawn):
            message = f"class {name!r}: in none of {len(drawn)} labelled studies; correct the labels, or the classes"
            findings.append(Finding("error", "absent-class", message))
        elif without:
            message = f"{_some(without)}: no {name!r}, which {len(drawn) - len(without)} others have; check the labels"
            findings.append(Finding("warning", "missing-class", message, tuple(without)))
        # One of ACDC's 600 volumes is so far from its median; a slip of the spacing easily is.
        amounts = {study.case: volumes(study)[name] for study in drawn if volumes(study).get(name)}
        middle = statistics.median(amounts.values()) if amounts else 0.0
        odd = [case for case, ml in amounts.items() if not middle / 10 <= ml <= 10 * middle]
        if odd:
            message = (
                f"{_some(odd)}: {name!r} of {_span((amounts[case] for case in odd), 'ml')}, where the median is "
                f"{middle:.3g} ml; check labels and spacing"
            )
            findings.append(Finding("warning", "volume", message, tuple(odd)))
    return findings


def geometry_findings(
    studies: Sequence[StudyFacts], directions: Sequence[np.ndarray], affine_off: Sequence[str]
) -> list[Finding]:
    """Spacing, sizes and directions that are odd.

    Args:
        studies: all that could be read.
        directions: (3, 3) of each, unit vectors along columns, rows and slices as columns of the matrix.
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
            f"{what} of {_span((value for study in absurd for value in pick(study)), 'mm')}, outside {low:g} to "
            f"{high:g} mm; correct the header if that is not how it was scanned",
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
            f"{what} of {_span((max(pick(study)) for study in odd), 'mm')}, where the median is {middle:.3g} mm; "
            "check the header",
        )
    unit = [study.case for study in studies if set(study.spacing_mm) == {1.0} and study.shape[1] > 1]
    warn("unit-spacing", unit, "spacing of 1 × 1 × 1 mm, which a lost header looks like; check it")
    size = statistics.median([max(study.shape[2:]) for study in studies]) if studies else 1
    odd_size = [study for study in studies if not size / _OUTLIER <= max(study.shape[2:]) <= size * _OUTLIER]
    warn(
        "size-differs",
        [study.case for study in odd_size],
        f"longest side of {_span((max(study.shape[2:]) for study in odd_size), 'px')}, where the median is {size:g}; "
        "check the export",
    )
    single = [study.case for study in studies if study.shape[0] * study.shape[1] == 1]
    warn("single-slice", single, "one slice alone, so that the temporal-like image repeats it; add its neighbours")
    if studies:
        # Oblique slices turn by some ten degrees from patient to patient: the names of the axes say too little.
        columns = np.stack(directions)
        cosines = np.stack([columns[..., axis] @ columns[..., axis].T for axis in range(3)]).min(axis=0)
        typical = int(cosines.sum(axis=1).argmax())
        turned = [study for study, cosine in zip(studies, cosines[typical], strict=True) if cosine < _LEAST_COSINE]
        warn(
            "orientation",
            [study.case for study in turned],
            f"axes run {', '.join(sorted({study.orientation for study in turned}))}, over "
            f"{math.degrees(math.acos(_LEAST_COSINE)):.0f}° away from those of {studies[typical].case} "
            f"({studies[typical].orientation}) and others; if they are not turned or mirrored by "
            "mistake, let training turn them too (augment.rotation_degrees=180)",
        )
    warn(
        "affine-spacing",
        affine_off,
        "the affine's voxels have other sides than the spacing (pixdim), which is what counts here; check that it "
        "is the true one",
    )
    return findings


def blank_findings(blank: Mapping[str, int]) -> list[Finding]:
    """Studies with slices of one value alone; `blank` counts them by case."""
    if not blank:
        return []
    message = (
        f"{_some(blank)}: slices in which every pixel is equal, {_span(blank.values(), 'a study')}; "
        "remove padding slices, or export again if they should show something"
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
