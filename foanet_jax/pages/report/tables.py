"""The report's tables: the paper's Table I with its spread, every class, the rows compared, and the time it took."""

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
    """The tables "main", "classes", "comparisons" (where there is something to compare) and "timings"."""
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
    """Writes NAME.md, NAME.tex and NAME.csv of each table into a folder, each whole or not at all; returns them."""
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
    """What a row found for one class: an estimate per measure, and what is in it."""

    estimates: Mapping[str, Estimate]
    summary: ClassSummary


def class_estimates(summary: Summary, class_name: str) -> Scored:
    """What a summary says of one class, with bootstrap intervals; NaN of a class that it does not have."""
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
    """Those with a unit in the means, by patient."""
    return {row.patient: row for row in summary.patients if row.class_name == class_name and row.n_units}


_Results: TypeAlias = Mapping[tuple[str, str], Scored]


def _main(result: SweepResult, scored: _Results) -> Table:
    in_paper = {measure for row in result.rows for measure in row.paper}  # no column for what the paper leaves out
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
    paper_note = ["paper: the paper's own value; blank where it has none."] if in_paper else []
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
        title=f"{result.title}: every class",
        columns=columns,
        rows=rows,
        notes=(
            *_estimate_notes(counts),
            f"{FOREGROUND}: each patient's mean over the classes; its units and misses are summed over them.",
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
        f"Difference: row less {reference.name}, mean (median) [bootstrap 95 % interval of the mean, BCa, "
        f"{RESAMPLES:,} resamples] over the patients that both have. DC and BDC: above 0 the row is better; "
        "95HD: below 0.",
        "Effect: matched-pairs rank-biserial correlation; +1 where the row's value is the higher for every patient.",
        "p: Wilcoxon's signed ranks, two-sided, zeros by Pratt; Holm: adjusted for the rows of that measure.",
        "Left out: patients whom only one of the two rows has.",
        "Intervals and p values speak of other patients, not of other trainings: a row is trained once a fold.",
    ]
    if any(n < 6 for n in pair_counts):
        notes.append("Fewer than 6 pairs cannot give p < 0.05.")
    return table_of(
        name="comparisons",
        title=f"{result.title}: {result.class_name}, every row against {subject}",
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
            "A fold's training of each network, its evaluation, and the prediction of a study (the fold's median): "
            "means over the finished folds whose time is known.",
            "Rows that share a localization network each tell its time.",
            *_fold_marks(result.rows),
        ),
    )


def _count_columns(scored: _Results) -> dict[str, str]:
    """Headings of the counts by their field of `ClassSummary`; excluded only where there are any."""
    counts = {"n_patients": "patients", "n_units": "units", "misses": "misses"}
    return counts | ({"excluded": "excluded"} if any(row.summary.excluded for row in scored.values()) else {})


def _row_cells(row: RowResult) -> tuple[str, str, FoldCount]:
    """The cells of the columns `_ROW`."""
    return row.name, row.title, _fold_count(row)


def _fold_count(row: RowResult) -> FoldCount:
    return FoldCount(len(row.runs), len(row.wanted))


def _estimate_notes(counts: Mapping[str, str]) -> list[str]:
    notes = [
        "Mean ± sd (median) [bootstrap 95 % interval of the mean, BCa, "
        f"{RESAMPLES:,} resamples] over patients, each the mean of its units (time frames' volumes).",
        "A miss, one of the two masks empty, is in the means: DC and BDC 0, 95HD the image's diagonal.",
    ]
    if "excluded" in counts:
        notes.append("Excluded: units left out of the means, both masks empty.")
    return notes


def fold_notes(rows: Iterable[RowResult]) -> list[str]:
    """Why each row marked with † is not whole."""
    notes = []
    for row in rows:
        reasons = [f"fold {fold} failed: {' '.join(error.split())}" for fold, error in sorted(row.failures.items())]
        reasons += [f"fold {fold} has not finished" for fold in row.missing]
        if reasons:
            notes.append(f"† {row.name}: {len(row.runs)}/{len(row.wanted)} folds, {'; '.join(reasons)}.")
    return notes


def _fold_marks(rows: Iterable[RowResult]) -> list[str]:
    """What † means, where a row has one."""
    return ["†: some folds failed or are not done; the main table says which."] if fold_notes(rows) else []


def _best(
    rows: Sequence[RowResult], scored: _Results, class_name: str, keys: Sequence[str]
) -> frozenset[tuple[int, int]]:
    """Row and column of each measure's best mean among whole rows, where there are two or more.

    A row that lacks folds is over other patients, so it neither wins nor loses.
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
