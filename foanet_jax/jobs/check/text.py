"""The report of a check as text and as JSON."""

import dataclasses
import json
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from foanet_jax.data.frames import patient_of_frame
from foanet_jax.jobs.check.facts import CheckReport, volumes
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.escaping import markdown as escape_markdown


def format_check(report: CheckReport, *, markdown: bool = False) -> str:
    """Formats the report as text: a table of sizes and spacings, a table of classes, and all errors and warnings.

    Args:
        report: result of `check_data_set`.
        markdown: format the text as Markdown.
    """
    escape = escape_markdown if markdown else str
    errors, warnings = report.count("error"), report.count("warning")
    lines = [
        f"{'# ' if markdown else ''}{report.name}: {_number(len(report.patients), 'patient')}, "
        f"{_number(len(report.patient_of), 'study', 'studies')} listed, {len(report.studies)} readable; "
        f"{_number(errors, 'error')}, {_number(warnings, 'warning')}",
        "",
    ]
    if grouping := _grouping(report):
        lines += [grouping, ""]
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
        lines += ["Groups: " + ", ".join(f"{escape(group)} {count}" for group, count in sorted(groups.items())), ""]
    if report.remarks:
        lines += [*(f"{'- ' if markdown else ''}{escape(remark)}" for remark in report.remarks), ""]
    for finding in report.findings:
        # Further lines of a message are indented, so that each finding is one list item.
        message = "\n  ".join(map(escape, finding.message.splitlines()))
        lines.append(f"{'- **' if markdown else ''}{finding.severity}{'**' if markdown else ''} {message}")
    if not report.findings:
        lines.append("No errors and no warnings.")
    return "\n".join(lines)


def write_check(report: CheckReport, folder: str | os.PathLike[str]) -> None:
    """Writes check.json (strict JSON, with all cases of all findings) and check.md. Each file is written atomically."""
    content = {
        "name": report.name,
        "classes": report.classes,
        "patients": report.patients,
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "remarks": report.remarks,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "studies": [dataclasses.asdict(study) for study in report.studies],
    }
    texts = {
        "check.json": json.dumps(content, indent=1, allow_nan=False),
        "check.md": format_check(report, markdown=True),
    }
    for file, text in texts.items():
        with atomic_path(Path(folder) / file) as temporary:
            # File names can contain bytes that are not UTF-8.
            Path(temporary).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _grouping(report: CheckReport) -> str:
    """Describes the grouping of images by patient; folds keep the images of a patient together."""
    count, patients = len(report.patient_of), len(set(report.patient_of.values()))
    if not count:
        return ""
    if count == patients:
        return f"Folds: each of the {count} images is a patient of its own."
    by_name = all(patient_of_frame(case) in (patient, None) for case, patient in report.patient_of.items())
    by_name = by_name and any(patient_of_frame(case) for case in report.patient_of)
    by = "NAME_frameNN" if by_name else "the data set's layout or its dataset.json"
    return f"Folds: {_number(patients, 'patient')} in {count} images, grouped by {by}."


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
        values = [volumes(study)[name] for study in labelled if volumes(study).get(name)]
        rows.append([f"{name} [ml]", str(len(values)), *(_spread(values) if values else ("–",) * 3)])
    return rows


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    return tuple(f"{value:.4g}" for value in (min(values), statistics.median(values), max(values)))  # type: ignore[return-value]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> list[str]:
    if markdown:
        return [
            f"| {' | '.join(row)} |"
            for row in (
                head,
                ["---", *["---:"] * (len(head) - 1)],
                *([escape_markdown(cell) for cell in row] for row in rows),
            )
        ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
