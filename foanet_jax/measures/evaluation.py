"""Tables of scores: for each unit, for each patient, and over patients as in Table I of the paper."""

import csv
import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.measures.metrics import FOREGROUND, MEASURES, PatientScore, Score, patient_means
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.escaping import from_cell
from foanet_jax.system.escaping import markdown as escape_markdown
from foanet_jax.system.records import write_records

_HEADINGS = {"dc": "DC", "hd95_mm": "95HD mm", "hd95_px": "95HD px", "bdc": "BDC"}


@dataclasses.dataclass(frozen=True)
class Statistic:
    """Mean, standard deviation (n − 1) and median over patients; NaN if they are undefined."""

    mean: float
    sd: float
    median: float


@dataclasses.dataclass(frozen=True)
class ClassSummary:
    """One row of the table: one class, or `FOREGROUND`, the mean over the classes.

    Attributes:
        class_name: the class, or `FOREGROUND`.
        n_patients: number of patients with at least one unit in the means.
        n_units: number of units (volumes of one frame) in the means; for `FOREGROUND`, the sum over the classes.
        misses: number of units in which exactly one mask is empty; they are part of the means.
        excluded: number of units that are left out of the means because both masks are empty.
        dc, hd95_mm, hd95_px, bdc: statistics over the means of the patients.
    """

    class_name: str
    n_patients: int
    n_units: int
    misses: int
    excluded: int
    dc: Statistic
    hd95_mm: Statistic
    hd95_px: Statistic
    bdc: Statistic


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of an evaluation: a row for each class, with `FOREGROUND` last, and the means of each patient."""

    classes: tuple[ClassSummary, ...]
    patients: tuple[PatientScore, ...]

    def row(self, class_name: str) -> ClassSummary:
        """Returns the row of one class, or of `FOREGROUND`.

        Raises:
            KeyError: there is no such class; the message lists the classes.
        """
        for row in self.classes:
            if row.class_name == class_name:
                return row
        raise KeyError(f"no class {class_name!r}; choose one of {[row.class_name for row in self.classes]}")


def summarise(scores: Iterable[Score]) -> Summary:
    """Computes the means of each patient, then mean, sd (n − 1) and median over patients (Sec. III-F, Figs. 6–7).

    Without any scores, the result is one `FOREGROUND` row with n = 0 and NaN.
    """
    patients = tuple(patient_means(scores))
    by_class: dict[str, list[PatientScore]] = {}
    for row in patients:
        if row.class_name != FOREGROUND:
            by_class.setdefault(row.class_name, []).append(row)
    by_class[FOREGROUND] = [row for row in patients if row.class_name == FOREGROUND]
    return Summary(
        classes=tuple(_class_summary(name, rows) for name, rows in by_class.items()),
        patients=patients,
    )


def format_table(summary: Summary, *, markdown: bool = False) -> str:
    """Returns the summary as an aligned table, with mean ± sd over patients, numbers of patients and units, and misses.

    Undefined numbers are written as –. Columns: class; DC; 95HD in mm; 95HD in px; BDC; patients; units; misses; and,
    if there are any, units that are excluded because both masks are empty.
    """
    with_excluded = any(row.excluded for row in summary.classes)
    header = ["class", *(_HEADINGS[measure] for measure in MEASURES), "patients", "units", "misses"]
    header += ["excluded"] if with_excluded else []
    body = []
    for row in summary.classes:
        counts = [row.n_patients, row.n_units, row.misses] + ([row.excluded] if with_excluded else [])
        name = escape_markdown(row.class_name) if markdown else row.class_name
        body.append([name, *(_mean_sd(getattr(row, m)) for m in MEASURES), *map(str, counts)])
    # A rule separates the mean over the classes from the classes.
    return align_table(header, body, markdown=markdown, apart=1 if len(body) > 1 else 0)


def align_table(header: Sequence[str], body: Sequence[Sequence[str]], *, markdown: bool, apart: int = 0) -> str:
    """Returns cells as an aligned table. The first column is aligned on the left, the others on the right.

    Args:
        header: the heading of each column.
        body: the rows, with one cell for each column.
        markdown: return a Markdown table; otherwise a table for the terminal.
        apart: in the terminal, a rule is above this number of last rows.
    """
    # The rule of a Markdown table has at least two characters in each column.
    widths = [max(2, *(len(line[i]) for line in [header, *body])) for i in range(len(header))]

    def align(cells: Sequence[str]) -> list[str]:
        return [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]

    if markdown:
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join("| " + " | ".join(line) + " |" for line in [align(header), rule, *map(align, body)])
    lines = ["  ".join(align(line)) for line in [header, *body]]
    rule_line = "─" * len(lines[0])
    lines.insert(1, rule_line)
    if apart:
        lines.insert(len(lines) - apart, rule_line)
    return "\n".join(lines)


def write_scores(scores: Sequence[Score], summary: Summary, folder: str | Path) -> None:
    """Writes scores.csv, patients.csv and summary.json to a folder, each whole or not at all.

    scores.csv has a row for each patient, case, frame and class. patients.csv has a row for each patient and class, and
    one for the mean over the classes. summary.json is strict JSON. NaN is an empty cell or null.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "scores.csv", Score, scores)
    write_records(folder / "patients.csv", PatientScore, summary.patients)
    content = {"classes": {row.class_name: json_ready(dataclasses.asdict(row)) for row in summary.classes}}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(folder / "summary.json") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def read_scores(path: str | Path) -> list[Score]:
    """Reads a scores.csv. The scores are equal to those that were given to `write_scores`.

    Raises:
        ValueError: the columns are not those of a score, or a cell cannot be read; the message names the file.
    """
    path = Path(path)
    fields = [field.name for field in dataclasses.fields(Score)]
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != fields:
            raise ValueError(f"{path}: the columns are {reader.fieldnames}; a scores.csv has {fields}")
        scores = []
        for row in reader:
            try:
                scores.append(
                    Score(
                        patient=from_cell(row["patient"]),
                        case=from_cell(row["case"]),
                        frame=int(row["frame"]),
                        class_name=from_cell(row["class_name"]),
                        **{m: float(row[m]) if row[m] else math.nan for m in MEASURES},
                        miss=_BOOLEANS[row["miss"]],
                        empty=_BOOLEANS[row["empty"]],
                    )
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}; evaluate again") from error
    return scores


_BOOLEANS = {"True": True, "False": False}


def _class_summary(class_name: str, rows: Sequence[PatientScore]) -> ClassSummary:
    scored = [row for row in rows if row.n_units]
    return ClassSummary(
        class_name=class_name,
        n_patients=len(scored),
        n_units=sum(row.n_units for row in rows),
        misses=sum(row.misses for row in rows),
        excluded=sum(row.excluded for row in rows),
        **{measure: _statistic([getattr(row, measure) for row in scored]) for measure in MEASURES},
    )


def _statistic(values: list[float]) -> Statistic:
    if not values:
        return Statistic(math.nan, math.nan, math.nan)
    return Statistic(
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else math.nan,
        median=statistics.median(values),
    )


def _mean_sd(statistic: Statistic) -> str:
    mean, sd = (f"{x:.3f}" if math.isfinite(x) else "–" for x in (statistic.mean, statistic.sd))
    return mean if mean == "–" else f"{mean} ± {sd}"


def json_ready(value: Any) -> Any:
    """Returns the value with None in place of NaN and infinities, which strict JSON does not have."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
