"""Everything that is wrong or odd with a data set, found in one reading, and a picture of it on one page."""

import dataclasses
import hashlib
import json
import math
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from scipy import ndimage
from tqdm import tqdm

from foanet_jax.atomic import atomic_path
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study, require_contrast
from foanet_jax.drawing.marks import intensity_window
from foanet_jax.drawing.style import DIFFERENCE_COLOUR, DPI, INK, MARGIN_COLOUR, PAGE, QUIET_INK, class_colours, save
from foanet_jax.errors import InputError

Severity = Literal["error", "warning"]
Listing = Sequence[StudyRef] | Callable[[list[str]], Sequence[StudyRef]]

THUMBNAILS = 100
THUMBNAIL_PX = 240
THUMBNAIL_MM = 160.0

# What the heart is imaged at, with room on both sides; beyond it a header is more likely wrong than the scan odd.
_IN_PLANE_MM = (0.3, 4.0)
_SLICE_MM = (0.3, 20.0)
_OUTLIER = 2.5  # times the median, or one part in so many of it
_LEAST_COSINE = 0.5  # between an axis and that of a typical study
_SHOWN_CASES = 6


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


def check_data_set(listing: Listing, *, name: str = "data set") -> CheckReport:
    """Reads every study of a data set, one at a time, and reports all that is wrong or odd at once.

    Only numbers and thumbnails are kept, so that the memory is that of the largest study. Bit flips in files
    without a checksum (.nii rather than .nii.gz) show only where they make a value absurd.

    Args:
        listing: the studies, or a function that lists them and adds to the list it is given what it could not
            list, such as `lambda problems: open_catalogue("acdc", root, problems=problems)`.
        name: what the report calls the data set.
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
    thumbnails: dict[str, np.ndarray | None] = dict.fromkeys(_evenly(patients, THUMBNAILS))
    labelled: set[str] = set()
    studies: list[StudyFacts] = []
    voxels_of: dict[str, list[StudyRef]] = defaultdict(list)
    labels_of: dict[str, list[StudyRef]] = defaultdict(list)
    affine_off: list[str] = []
    directions: list[np.ndarray] = []
    blank: dict[str, int] = {}
    classes: tuple[str, ...] = ()
    for ref in tqdm(refs, desc=f"checking {name}", unit="study", mininterval=1):
        try:
            study = ref.load()
            classes = classes or study.classes
            if study.classes != classes:
                raise InputError("classes", f"{study.name}: classes {study.classes}, but others have {classes}")
            require_contrast(study)
        except InputError as error:
            findings.append(Finding("error", error.code, str(error), (ref.case,)))
            continue
        studies.append(_facts(study))
        directions.append(study.affine[:3, :3] / np.linalg.norm(study.affine[:3, :3], axis=0))
        voxels_of[_digest(study.voxels)].append(ref)
        if study.labels is not None and study.labels.any():
            labels_of[_digest(study.labels)].append(ref)
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
            thumbnails[ref.patient] = _thumbnail(study)
            labelled |= {ref.patient} if has_labels else set()

    findings += _list_findings(refs)
    findings += _duplicates(voxels_of, labels_of)
    findings += _label_findings(studies, classes)
    findings += _geometry_findings(studies, directions, affine_off)
    if blank:
        findings.append(
            Finding(
                "warning",
                "constant-slice",
                f"{_some(blank)}: slices in which every pixel is equal, {_span(blank.values(), 'a study')}; "
                "remove padding slices, or export again if they should show something",
                tuple(blank),
            )
        )
    findings.sort(key=lambda finding: finding.severity)  # "error" comes before "warning"; the order stays otherwise.
    patient_of = {ref.case: ref.patient for ref in refs}
    return CheckReport(name, classes, patients, tuple(studies), tuple(findings), thumbnails, patient_of)


def format_check(report: CheckReport, *, markdown: bool = False) -> str:
    """The report as text: what is there, each class, then every error and warning."""
    errors, warnings = report.count("error"), report.count("warning")
    lines = [
        f"{'# ' if markdown else ''}{report.name}: {_number(len(report.patients), 'patient')}, "
        f"{_number(len(report.patient_of), 'study', 'studies')} listed, {len(report.studies)} readable; "
        f"{_number(errors, 'error')}, {_number(warnings, 'warning')}",
        "",
    ]
    if report.studies:
        lines += _table(["", "smallest", "median", "largest"], _range_rows(report), markdown)
        lines.append("")
    if rows := _class_rows(report):
        lines += _table(["class", "studies", "smallest", "median", "largest"], rows, markdown)
        lines.append("")
    groups = Counter(
        group for group in dict((study.patient, study.group or "") for study in report.studies).values() if group
    )
    if groups:
        lines += ["Groups: " + ", ".join(f"{group} {count}" for group, count in sorted(groups.items())), ""]
    for finding in report.findings:
        # The lines of a longer message are indented, so that each finding stays one item.
        message = finding.message.replace("\n", "\n  ")
        lines.append(f"{'- **' if markdown else ''}{finding.severity}{'**' if markdown else ''} {message}")
    if not report.findings:
        lines.append("Nothing to put right.")
    return "\n".join(lines)


def write_check(report: CheckReport, folder: str | os.PathLike[str]) -> None:
    """Writes check.json (strict JSON, every case of every finding) and check.md, each whole or not at all."""
    content = {
        "name": report.name,
        "classes": report.classes,
        "patients": report.patients,
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "studies": [dataclasses.asdict(study) for study in report.studies],
    }
    texts = {
        "check.json": json.dumps(content, indent=1, allow_nan=False),
        "check.md": format_check(report, markdown=True),
    }
    for file, text in texts.items():
        with atomic_path(Path(folder) / file) as temporary:
            # Names of files may hold bytes that are no UTF-8.
            Path(temporary).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def draw_check(report: CheckReport, path: str | os.PathLike[str]) -> None:
    """One page: a labelled middle slice of each patient, and how spacing, size and volumes are spread.

    Every tile shows 160 × 160 mm around the labels, so that a wrong spacing shows as a heart of the wrong size.
    A red frame is a patient with an error, a yellow one with a warning of single studies.

    Args:
        report: of a data set; an empty one makes a page that says so.
        path: the picture to write; its suffix chooses the format, .png by default.
    """
    shown = list(report.thumbnails)
    across = min(10, max(5, math.ceil(math.sqrt(1.3 * len(shown)))))
    page, margin, gap, head, caption = 1500, 20, 6, 78, 17
    tile = (page - 2 * margin - (across - 1) * gap) // across
    rows = math.ceil(len(shown) / across)
    low = 345  # the histograms
    height = head + rows * (tile + caption + gap) + low
    figure = Figure(figsize=(page / DPI, height / DPI), dpi=DPI, facecolor=PAGE)

    def write(x: float, y: float, text: str, size: float, colour: str = INK, **style: Any) -> None:
        # Patient ids are text, not mathematics: a $ in them must stay a $.
        text = text.encode("utf-8", "backslashreplace").decode()
        figure.text(x / page, 1 - y / height, text, fontsize=size, color=colour, parse_math=False, **style)

    write(margin, 30, format_check(report).partition("\n")[0], 15, va="center", fontweight="bold")
    few = f"{len(shown)} of {len(report.patients)} patients, " if len(shown) < len(report.patients) else ""
    write(
        margin,
        58,
        f"{few}each {THUMBNAIL_MM:g} × {THUMBNAIL_MM:g} mm around the labels, middle slice; frame red: an error, "
        "yellow: a warning",
        9.5,
        QUIET_INK,
        va="center",
    )
    colours = class_colours(report.classes)
    if colours:
        figure.legend(
            handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
            loc="center right",
            bbox_to_anchor=(1 - margin / page, 1 - 58 / height),
            ncols=len(colours),
            frameon=False,
            fontsize=9.5,
            labelcolor=INK,
            borderaxespad=0,
            handlelength=1,
            columnspacing=1.2,
        )
    severities = _severity_of_patients(report)
    size_of = {study.patient: study.shape for study in reversed(report.studies)}
    for place, patient in enumerate(shown):
        x = margin + place % across * (tile + gap)
        y = head + place // across * (tile + caption + gap)
        axes = figure.add_axes((x / page, 1 - (y + caption + tile) / height, tile / page, tile / height))
        axes.set_axis_off()
        thumbnail = report.thumbnails[patient]
        if thumbnail is None:
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, color="#2a1618"))
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": MARGIN_COLOUR}
            axes.text(0.5, 0.5, "cannot\nbe read", transform=axes.transAxes, **style)
        else:
            axes.imshow(thumbnail, aspect="auto", interpolation="antialiased")
        if patient in severities:
            frame = MARGIN_COLOUR if severities[patient] == "error" else DIFFERENCE_COLOUR
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=frame, linewidth=3))
        letters = tile // 7
        size = "×".join(map(str, [n for n in size_of.get(patient, ()) if n > 1]))
        label = patient if len(patient) <= letters - len(size) else patient[: max(4, letters - len(size) - 1)] + "…"
        write(x, y + caption / 2, label, 8, va="center")
        write(x + tile, y + caption / 2, size, 7, QUIET_INK, va="center", ha="right")
    _draw_histograms(figure, report, colours, low / height, height)
    save(figure, Path(path))


def _facts(study: Study) -> StudyFacts:
    volumes = None
    if study.labels is not None:
        drawn = study.labels.reshape(len(study.labels), -1)
        drawn = drawn[drawn.any(axis=1)]
        ml = math.prod(study.spacing_mm) / 1000
        counts = np.bincount(drawn.ravel(), minlength=len(study.classes)) / max(1, len(drawn))
        volumes = {name: float(counts[index] * ml) for index, name in enumerate(study.classes) if index}
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
        volumes_ml=volumes,
    )


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _affine_differs(study: Study) -> bool:
    """Whether the sides of a voxel are others in the affine than in the spacing (in mm; more than 2 %)."""
    sides = np.linalg.norm(study.affine[:3, :3], axis=0)
    spacing = np.array(study.spacing_mm[::-1])
    axes = 2 if study.voxels.shape[1] == 1 else 3
    return not np.allclose(sides[:axes], spacing[:axes], rtol=0.02, atol=0)


def _thumbnail(study: Study) -> np.ndarray:
    """(THUMBNAIL_PX, THUMBNAIL_PX, 3) uint8: the middle one of the labelled slices, classes filled and outlined."""
    _, slices, height, width = study.voxels.shape
    labels = study.labels if study.labels is not None else np.zeros(study.voxels.shape, np.uint8)
    with_labels = np.argwhere(labels.any(axis=(2, 3)))
    if len(with_labels):
        frame = int(with_labels[0][0])
        of_frame = with_labels[with_labels[:, 0] == frame][:, 1]
        z = int(of_frame[len(of_frame) // 2])
        inside = np.argwhere(labels[frame, z])
        centre = (inside.min(axis=0) + inside.max(axis=0)) / 2
    else:
        frame, z, centre = 0, slices // 2, np.array([height - 1, width - 1]) / 2
    image, mask = study.voxels[frame, z], labels[frame, z]
    offsets = (np.arange(THUMBNAIL_PX) + 0.5 - THUMBNAIL_PX / 2) * THUMBNAIL_MM / THUMBNAIL_PX
    grid = np.meshgrid(*(centre[axis] + offsets / study.spacing_mm[1 + axis] for axis in (0, 1)), indexing="ij")
    low, high = intensity_window(image)
    grey = np.clip((ndimage.map_coordinates(image, grid, order=1, mode="nearest") - low) / (high - low), 0, 1)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    for index, colour in enumerate(class_colours(study.classes).values(), start=1):
        part = ndimage.map_coordinates((mask == index).astype(np.float32), grid, order=1) > 0.5
        ink = np.array(to_rgb(colour))
        rgb[part] = 0.7 * rgb[part] + 0.3 * ink
        rgb[part & ~ndimage.binary_erosion(part, iterations=2)] = ink
    for axis, size in enumerate((height, width)):
        rgb[(grid[axis] < -0.5) | (grid[axis] > size - 0.5)] = to_rgb("#1d2329")
    return np.round(255 * rgb).astype(np.uint8)


def _list_findings(refs: Sequence[StudyRef]) -> list[Finding]:
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


def _duplicates(voxels_of: Mapping[str, list[StudyRef]], labels_of: Mapping[str, list[StudyRef]]) -> list[Finding]:
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


def _label_findings(studies: Sequence[StudyFacts], classes: tuple[str, ...]) -> list[Finding]:
    findings = []
    bare = [study.case for study in studies if study.volumes_ml is None]
    if bare:
        message = f"{_some(bare)}: no labels; not trained on, so add them or leave them for --mode predict"
        findings.append(Finding("warning", "no-labels", message, tuple(bare)))
    labelled = [study for study in studies if study.volumes_ml is not None]
    for study in labelled:
        if not any(_volumes(study).values()):
            message = f"{study.source}: its labels are background alone; draw them, or remove the study"
            findings.append(Finding("error", "empty-labels", message, (study.case,)))
    drawn = [study for study in labelled if any(_volumes(study).values())]
    for name in classes[1:]:
        without = [study.case for study in drawn if not _volumes(study).get(name)]
        if drawn and len(without) == len(drawn):
            message = f"class {name!r}: in none of {len(drawn)} labelled studies; correct the labels, or the classes"
            findings.append(Finding("error", "absent-class", message))
        elif without:
            message = f"{_some(without)}: no {name!r}, which {len(drawn) - len(without)} others have; check the labels"
            findings.append(Finding("warning", "missing-class", message, tuple(without)))
        # One of ACDC's 600 volumes is so far from its median; a slip of the spacing easily is.
        amounts = {study.case: _volumes(study)[name] for study in drawn if _volumes(study).get(name)}
        middle = statistics.median(amounts.values()) if amounts else 0.0
        odd = [case for case, ml in amounts.items() if not middle / 10 <= ml <= 10 * middle]
        if odd:
            message = (
                f"{_some(odd)}: {name!r} of {_span((amounts[case] for case in odd), 'ml')}, where the median is "
                f"{middle:.3g} ml; check labels and spacing"
            )
            findings.append(Finding("warning", "volume", message, tuple(odd)))
    return findings


def _geometry_findings(
    studies: Sequence[StudyFacts], directions: Sequence[np.ndarray], affine_off: Sequence[str]
) -> list[Finding]:
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


def _volumes(study: StudyFacts) -> Mapping[str, float]:
    return study.volumes_ml or {}


def _severity_of_patients(report: CheckReport) -> dict[str, Severity]:
    severities: dict[str, Severity] = {}
    for finding in reversed(report.findings):  # Errors come last, and stay.
        patients = {report.patient_of[case] for case in finding.cases}
        if len(patients) < max(2, len(report.patients)):  # What all have marks none.
            severities |= dict.fromkeys(patients, finding.severity)
    return severities


def _range_rows(report: CheckReport) -> list[list[str]]:
    columns: dict[str, list[float]] = {
        "in-plane spacing [mm]": [value for study in report.studies for value in study.spacing_mm[1:]],
        "slice spacing [mm]": [study.spacing_mm[0] for study in report.studies if study.shape[1] > 1],
        "rows [px]": [study.shape[2] for study in report.studies],
        "columns [px]": [study.shape[3] for study in report.studies],
        "slices": [study.shape[1] for study in report.studies],
        "frames": [study.shape[0] for study in report.studies],
    }
    return [[what, *_spread(values)] for what, values in columns.items() if values]


def _class_rows(report: CheckReport) -> list[list[str]]:
    rows = []
    labelled = [study for study in report.studies if study.volumes_ml is not None]
    for name in report.classes[1:] if labelled else ():
        values = [_volumes(study)[name] for study in labelled if _volumes(study).get(name)]
        rows.append([f"{name} [ml]", str(len(values)), *(_spread(values) if values else ("–",) * 3)])
    return rows


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    return tuple(f"{value:.4g}" for value in (min(values), statistics.median(values), max(values)))  # type: ignore[return-value]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> list[str]:
    if markdown:
        return [
            f"| {' | '.join(row)} |"
            for row in (head, ["---", *["---:"] * (len(head) - 1)], *([_escape(cell) for cell in row] for row in rows))
        ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


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


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _evenly(items: Sequence[str], count: int) -> list[str]:
    if len(items) <= count:
        return list(items)
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def _draw_histograms(
    figure: Figure, report: CheckReport, colours: Mapping[str, str], share: float, height: int
) -> None:
    """Spacing, size and volumes in the lowest `share` of a page `height` px high."""
    bottom, top = 58 / height, share - 62 / height
    width = 0.2
    lefts = [0.035 + place * 0.25 for place in range(4)]
    studies = report.studies
    blue, amber = "#7fb2ff", "#ffb86b"
    for left, title, series in (
        (lefts[0], "in-plane spacing [mm], studies", {blue: [max(study.spacing_mm[1:]) for study in studies]}),
        (
            lefts[1],
            "slice spacing [mm], studies",
            {blue: [study.spacing_mm[0] for study in studies if study.shape[1] > 1]},
        ),
        (
            lefts[2],
            "rows (blue), columns (amber) [px], studies",
            {blue: [study.shape[2] for study in studies], amber: [study.shape[3] for study in studies]},
        ),
    ):
        axes = figure.add_axes((left, bottom, width, top - bottom))
        _style(axes, title)
        values = [value for its in series.values() for value in its]
        if not values:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, color=QUIET_INK, ha="center")
            continue
        bins = _bins(values)
        for colour, its in series.items():
            axes.hist(its, bins=bins, color=colour, alpha=0.75 if len(series) == 1 else 0.55)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    drawn = {
        name: [_volumes(study)[name] for study in studies if _volumes(study).get(name)] for name in report.classes[1:]
    }
    every = [value for values in drawn.values() for value in values]
    if not every:
        _style(axes := figure.add_axes((lefts[3], bottom, width, top - bottom)), "volume of each class [ml]")
        axes.text(0.5, 0.5, "no labels", transform=axes.transAxes, color=QUIET_INK, ha="center")
        return
    bins = _bins(every)
    step = (top - bottom) / len(drawn)
    for place, (name, values) in enumerate(drawn.items()):
        axes = figure.add_axes((lefts[3], top - (place + 0.86) * step, width, step * 0.86))
        _style(axes, "volume of each class [ml], studies" if place == 0 else "")
        axes.hist(values, bins=bins, color=colours[name], alpha=0.85)
        axes.text(
            0.99, 0.8, name, transform=axes.transAxes, color=colours[name], ha="right", fontsize=9, parse_math=False
        )
        axes.set_xlim(bins[0], bins[-1])
        axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        if place < len(drawn) - 1:
            axes.set_xticklabels([])


def _bins(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    room = max(0.02 * (high - low), 0.05 * abs(high), 1e-6)
    return np.linspace(low - room, high + room, 26).tolist()


def _style(axes: Axes, title: str) -> None:
    axes.set_facecolor(PAGE)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.tick_params(colors=QUIET_INK, labelsize=8.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET_INK)
