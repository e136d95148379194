"""The tables of the report: Table I of the paper with intervals, all classes, comparisons of the rows, and times."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from foanet_jax.measures.evaluation import ClassSummary, Statistic, Summary, summarise
from foanet_jax.measures.metrics import FOREGROUND, PatientScore
from foanet_jax.pages.report.results import RowResult, SweepResult
from foanet_jax.pages.report.statistics import RESAMPLES, Comparison, compare, holm, interval
from foanet_jax.pages.report.table import (
    Cell,
    Difference,
    Estimate,
    FoldCount,
    Number,
    PValue,
    Seconds,
    Table,
    table_of,
)
from foanet_jax.system.atomic import atomic_path

HEADINGS = {"dc": "DC", "hd95_mm": "95HD mm", "bdc": "BDC"}
_LOWER_IS_BETTER = ("hd95_mm",)
_ROW = {"row": "row", "configuration": "configuration", "folds": "folds"}
_TIMED = ("localization", "segmentation", "evaluation", "study")


def make_tables(result: SweepResult) -> list[Table]:
    """Returns the tables "main", "classes", "comparisons" (if there are rows to compare) and "timings"."""
    summaries = {row.name: summarise(row.scores) for row in result.rows}
    classes = tuple(dict.fromkeys([result.class_name, *result.classes, FOREGROUND]))
    scored = {
        (row.name, class_name): class_estimates(summaries[row.name], class_name)
        for row in result.rows
        for class_name in classes
    }
    tables = [_main(result, scored), _classes(result, scored)]
    if result.reference is not None and len(result.rows) > 1:
        tables.append(_comparisons(result, result.row(result.reference), summaries))
    return [*tables, _timings(result)]


def write_tables(tables: Iterable[Table], folder: str | Path) -> list[Path]:
    """Writes NAME.md, NAME.tex and NAME.csv for each table, each whole or not at all, and returns their paths."""
    written = []
    for table in tables:
        texts = {"md": table.as_markdown(), "tex": table.as_latex(), "csv": table.as_csv()}
        for ending, text in texts.items():
            path = Path(folder) / f"{table.name}.{ending}"
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of a row for one class: an estimate for each measure, and the summary behind it."""

    estimates: Mapping[str, Estimate]
    summary: ClassSummary


def class_estimates(summary: Summary, class_name: str) -> Scored:
    """Returns the estimates for one class, with bootstrap intervals; NaN for a class that the summary does not have."""
    none = Statistic(math.nan, math.nan, math.nan)
    found = {row.class_name: row for row in summary.classes}.get(
        class_name, ClassSummary(class_name, 0, 0, 0, 0, none, none, none, none)
    )
    patients = _patients(summary, class_name).values()
    estimates = {}
    for measure in HEADINGS:
        spread = interval([getattr(patient, measure) for patient in patients])
        estimates[measure] = Estimate(
            **dataclasses.asdict(getattr(found, measure)), low=spread.low, high=spread.high, n=found.n_patients
        )
    return Scored(estimates, found)


def _patients(summary: Summary, class_name: str) -> dict[str, PatientScore]:
    """Returns the patients that have a unit in the means, by id."""
    return {row.patient: row for row in summary.patients if row.class_name == class_name and row.n_units}


_Results: TypeAlias = Mapping[tuple[str, str], Scored]


def _main(result: SweepResult, scored: _Results) -> Table:
    in_paper = {
        measure for row in result.rows for measure in row.paper
    }  # Measures without a value in the paper get no column.
    counts = _count_columns(scored)
    columns = dict(_ROW)
    for measure, heading in HEADINGS.items():
        columns |= {measure: heading} | ({f"{measure}_paper": "paper"} if measure in in_paper else {})
    columns |= counts
    rows = []
    for row in result.rows:
        found = scored[row.name, result.class_name]
        cells: list[Cell] = [*_row_cells(row)]
        for measure in HEADINGS:
            cells.append(found.estimates[measure])
            if measure in in_paper:
                cells.append(Number(row.paper[measure]) if measure in row.paper else None)
        rows.append((*cells, *(getattr(found.summary, key) for key in counts)))
    paper_note = ["paper: the value in the paper; blank if it gives none."] if in_paper else []
    return table_of(
        name="main",
        title=f"{result.title}: {result.class_name}",
        columns=columns,
        rows=rows,
        notes=(*_estimate_notes(counts), *paper_note, *fold_notes(result.rows)),
        best=_best(result.rows, scored, result.class_name, tuple(columns)),
    )


def _classes(result: SweepResult, scored: _Results) -> Table:
    counts = _count_columns(scored)
    columns = {"class": "class", **_ROW, **HEADINGS, **counts}
    rows: list[tuple[Cell, ...]] = []
    best: set[tuple[int, int]] = set()
    for class_name in dict.fromkeys([*result.classes, FOREGROUND]):
        best |= {(len(rows) + i, column) for i, column in _best(result.rows, scored, class_name, tuple(columns))}
        for row in result.rows:
            found = scored[row.name, class_name]
            rows.append(
                (
                    class_name,
                    *_row_cells(row),
                    *found.estimates.values(),
                    *(getattr(found.summary, key) for key in counts),
                )
            )
    return table_of(
        name="classes",
        title=f"{result.title}: all classes",
        columns=columns,
        rows=rows,
        notes=(
            *_estimate_notes(counts),
            f"{FOREGROUND}: the mean over the classes, for each patient. Its units and misses are the sums over the "
            "classes.",
            *_fold_marks(result.rows),
        ),
        best=frozenset(best),
        grouped=True,
    )


def _comparisons(result: SweepResult, reference: RowResult, summaries: Mapping[str, Summary]) -> Table:
    others = [row for row in result.rows if row.name != reference.name]
    against = _patients(summaries[reference.name], result.class_name)
    rows: list[tuple[Cell, ...]] = []
    pair_counts = []
    for measure, heading in HEADINGS.items():
        compared: list[tuple[RowResult, Comparison, int]] = []
        for row in others:
            patients = _patients(summaries[row.name], result.class_name)
            common = sorted(patients.keys() & against.keys())
            comparison = compare(
                [getattr(patients[patient], measure) for patient in common],
                [getattr(against[patient], measure) for patient in common],
            )
            compared.append((row, comparison, len(patients.keys() ^ against.keys())))
        adjusted = iter(holm([comparison.p for _, comparison, _ in compared if comparison.n]))
        for row, comparison, left_out in compared:
            spread = comparison.interval
            rows.append(
                (
                    heading,
                    *_row_cells(row),
                    comparison.n,
                    left_out,
                    Difference(comparison.mean, comparison.median, spread.low, spread.high, comparison.n),
                    Number(comparison.effect, "+.3f"),
                    PValue(comparison.p),
                    PValue(next(adjusted) if comparison.n else math.nan),
                )
            )
            pair_counts.append(comparison.n)
    columns = {
        "measure": "measure",
        **_ROW,
        "pairs": "pairs",
        "left_out": "left out",
        "difference": "difference",
        "effect": "effect",
        "p": "p",
        "p_holm": "p (Holm)",
    }
    (folds,) = _fold_count(reference).parts()
    subject = f"{reference.name} ({reference.title}, folds {folds})"
    notes = [
        f"Difference: row − {reference.name}, mean (median) [bootstrap 95 % interval of the mean, BCa, "
        f"{RESAMPLES:,} resamples] over the patients that both rows have. For DC and BDC, the row is better if the "
        "difference is above 0; for 95HD, if it is below 0.",
        "Effect: matched-pairs rank-biserial correlation; +1 if the row has the higher value for every patient.",
        "p: Wilcoxon's signed-rank test, two-sided, zero differences by Pratt's method. Holm: adjusted for the number "
        "of rows with this measure.",
        "Left out: patients that only one of the two rows has.",
        "Each row is trained only once for each fold. Intervals and p values therefore tell about other patients, not "
        "about other trainings.",
    ]
    if any(n < 6 for n in pair_counts):
        notes.append("Fewer than 6 pairs cannot give p < 0.05.")
    return table_of(
        name="comparisons",
        title=f"{result.title}: {result.class_name}, all rows compared with {subject}",
        columns=columns,
        rows=rows,
        notes=(*notes, *_fold_marks(result.rows)),
        grouped=True,
    )


def _timings(result: SweepResult) -> Table:
    columns = _ROW | {f"{stage}_s": stage for stage in _TIMED}
    rows: list[tuple[Cell, ...]] = []
    for row in result.rows:
        known = [[run.timings[stage] for run in row.runs if stage in run.timings] for stage in _TIMED]
        means = [Seconds(statistics.fmean(times) if times else math.nan, len(times)) for times in known]
        rows.append((*_row_cells(row), *means))
    return table_of(
        name="timings",
        title=f"{result.title}: time",
        columns=columns,
        rows=rows,
        notes=(
            "Time for the training of each network on a fold, for the evaluation, and for the prediction of a study "
            "(median of the fold). Means over the finished folds whose time is known.",
            "Rows that share a localization network all show the same time for it.",
            *_fold_marks(result.rows),
        ),
    )


def _count_columns(scored: _Results) -> dict[str, str]:
    """Returns the headings of the counts by field of `ClassSummary`. "excluded" is there only if a unit is excluded."""
    counts = {"n_patients": "patients", "n_units": "units", "misses": "misses"}
    return counts | ({"excluded": "excluded"} if any(row.summary.excluded for row in scored.values()) else {})


def _row_cells(row: RowResult) -> tuple[str, str, FoldCount]:
    """Returns the cells of the columns `_ROW`."""
    return row.name, row.title, _fold_count(row)


def _fold_count(row: RowResult) -> FoldCount:
    return FoldCount(len(row.runs), len(row.wanted))


def _estimate_notes(counts: Mapping[str, str]) -> list[str]:
    notes = [
        "Mean ± sd (median) [bootstrap 95 % interval of the mean, BCa, "
        f"{RESAMPLES:,} resamples] over patients. The value of a patient is the mean of its units (the volume of one "
        "frame).",
        "Miss: only one of prediction and truth has the class. It is part of the means, with DC and BDC 0 and the "
        "diagonal of the image as 95HD.",
    ]
    if "excluded" in counts:
        notes.append("Excluded: units in which neither prediction nor truth has the class. They are not in the means.")
    return notes


def fold_notes(rows: Iterable[RowResult]) -> list[str]:
    """Returns a note for each row marked with †: why folds are missing."""
    notes = []
    for row in rows:
        reasons = [f"fold {fold} failed: {' '.join(error.split())}" for fold, error in sorted(row.failures.items())]
        reasons += [f"fold {fold} has not finished" for fold in row.missing]
        if reasons:
            notes.append(f"† {row.name}: {len(row.runs)}/{len(row.wanted)} folds, {'; '.join(reasons)}.")
    return notes


def _fold_marks(rows: Iterable[RowResult]) -> list[str]:
    """Returns a note on the meaning of †, if a row has one."""
    return ["†: some folds failed or have not finished; the main table lists them."] if fold_notes(rows) else []


def _best(
    rows: Sequence[RowResult], scored: _Results, class_name: str, keys: Sequence[str]
) -> frozenset[tuple[int, int]]:
    """Returns row and column of the best mean of each measure, among two or more rows with all their folds.

    A row without all its folds has other patients; its means cannot be compared.
    """
    best: set[tuple[int, int]] = set()
    for measure in HEADINGS:
        means = {
            i: scored[row.name, class_name].estimates[measure].mean
            for i, row in enumerate(rows)
            if len(row.runs) == len(row.wanted) and scored[row.name, class_name].summary.n_patients
        }
        if len(means) > 1:
            winner = min(means.values()) if measure in _LOWER_IS_BETTER else max(means.values())
            best |= {(i, keys.index(measure)) for i, mean in means.items() if mean == winner}
    return frozenset(best)
