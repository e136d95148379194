"""The report's tables: the paper's Table I with its spread, every class, the rows compared, and the time it took.

A cell holds numbers, not text: the text, the LaTeX and the CSV are all made from the same cells.
"""

import csv
import dataclasses
import io
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from foanet_jax.atomic import atomic_path
from foanet_jax.escaping import latex, markdown, to_cell
from foanet_jax.evaluation import ClassSummary, Statistic, Summary, summarise
from foanet_jax.metrics import FOREGROUND, PatientScore
from foanet_jax.report.statistics import RESAMPLES, Comparison, compare, holm, interval
from foanet_jax.sweep.results import RowResult, SweepResult

HEADINGS = {"dc": "DC", "hd95_mm": "95HD mm", "bdc": "BDC"}
_LOWER_IS_BETTER = ("hd95_mm",)
_ROW = {"row": "row", "configuration": "configuration", "folds": "folds"}
_TIMED = ("localization", "segmentation", "evaluation", "study")

Value: TypeAlias = str | int | float | None


@dataclasses.dataclass(frozen=True)
class Number:
    """One number, NaN where it is undefined, and how it is printed."""

    value: float
    form: str = ".3f"

    def parts(self) -> tuple[str, ...]:
        return (_text(self.value, self.form),)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Mean, sd (n − 1) and median over n patients, and the mean's bootstrap 95 % interval; NaN where undefined."""

    mean: float
    sd: float
    median: float
    low: float
    high: float
    n: int

    def parts(self) -> tuple[str, ...]:
        if self.n < 2:
            return (_text(self.mean),)
        return f"{_text(self.mean)} ± {_text(self.sd)}", f"({_text(self.median)}) {_interval_text(self)}"


@dataclasses.dataclass(frozen=True)
class Difference:
    """Mean and median of n paired differences, and the mean's bootstrap 95 % interval; NaN where undefined."""

    mean: float
    median: float
    low: float
    high: float
    n: int

    def parts(self) -> tuple[str, ...]:
        mean = _text(self.mean, "+.3f")
        return (mean,) if self.n < 2 else (mean, f"({_text(self.median, '+.3f')}) {_interval_text(self)}")


@dataclasses.dataclass(frozen=True)
class PValue:
    """A p value, NaN where there was nothing to test."""

    value: float

    def parts(self) -> tuple[str, ...]:
        return ("< 0.001" if self.value < 0.001 else _text(self.value),)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Mean seconds over the n folds whose time is known, NaN where there is none."""

    mean: float
    n: int

    def parts(self) -> tuple[str, ...]:
        if math.isnan(self.mean):
            return ("–",)
        if self.mean < 120:
            return (f"{self.mean:.3g} s",)
        return (f"{self.mean / 60:.1f} min" if self.mean < 7200 else f"{self.mean / 3600:.1f} h",)


@dataclasses.dataclass(frozen=True)
class FoldCount:
    """Folds finished of those wanted; † where one is not, and a note of the table says why."""

    finished: int
    wanted: int

    def parts(self) -> tuple[str, ...]:
        return (f"{self.finished}/{self.wanted}" + (" †" if self.finished < self.wanted else ""),)


# Of a cell of numbers, `parts` is its text; `cell_values` has its numbers.
Cell: TypeAlias = str | int | Number | Estimate | Difference | PValue | Seconds | FoldCount | None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of typed cells.

    Attributes:
        name: of its files.
        title: over it.
        header: of each column, to be read.
        keys: of each column, in the CSV; numbers of one cell are told apart by an ending, "dc_mean", "dc_sd".
        rows: cells, as many in each row as there are columns; None is blank.
        notes: below it.
        best: (row, column) of the cells in bold.
        grouped: whether rows with the same first cell belong together.
    """

    name: str
    title: str
    header: tuple[str, ...]
    keys: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    best: frozenset[tuple[int, int]] = frozenset()
    grouped: bool = False

    def text_rows(self) -> list[list[str]]:
        """Every cell as plain text, on one line."""
        return [[" ".join(cell_parts(cell)) for cell in row] for row in self.rows]

    def as_markdown(self) -> str:
        """Title, a pipe table and the notes as a list."""
        lines = [f"**{markdown(self.title)}**", ""]
        lines.append(_piped(map(markdown, self.header)))
        lines.append(_piped(":--" if left else "--:" for left in self._left()))
        for i, row in enumerate(self.rows):
            lines.append(_piped(" ".join(parts) for parts in self._marked_up(i, row, markdown, "**{}**")))
        if self.notes:
            lines += ["", *(f"- {markdown(note)}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def as_latex(self) -> str:
        r"""A `table` environment that needs booktabs alone, a row of the table a line of the text."""
        lines = [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex(self.title)}}}",
            rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{''.join('l' if left else 'r' for left in self._left())}}}",
            r"\toprule",
            " & ".join(map(latex, self.header)) + r" \\",
            r"\midrule",
        ]
        for i, row in enumerate(self.rows):
            if self.grouped and i and row[0] != self.rows[i - 1][0]:
                lines.append(r"\midrule")
            cells = self._marked_up(i, row, latex, r"\textbf{{{}}}")
            lines.append(" & ".join(map(_stacked, cells)) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\par\smallskip{{\footnotesize {latex(note)}}}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def as_csv(self) -> str:
        """The numbers at full precision, one a column; NaN and blank cells are empty."""
        columns = [
            (i, ending, f"{key}_{ending}" if ending else key)
            for i, key in enumerate(self.keys)
            for ending in dict.fromkeys(ending for row in self.rows for ending in cell_values(row[i]))
        ]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(name for _, _, name in columns)
        for row in self.rows:
            values = [cell_values(row[i]).get(ending) for i, ending, _ in columns]
            writer.writerow(map(_csv_cell, values))
        return file.getvalue()

    def _left(self) -> list[bool]:
        return [any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.header))]

    def _marked_up(
        self, i: int, row: Sequence[Cell], escape: Callable[[str], str], bold: str
    ) -> Iterator[tuple[str, ...]]:
        """The parts of every cell of row i in a markup; the first part of the best ones is bold."""
        for j, cell in enumerate(row):
            first, *others = map(escape, cell_parts(cell))
            yield bold.format(first) if (i, j) in self.best else first, *others


def table_of(columns: Mapping[str, str], rows: Iterable[tuple[Cell, ...]], *, notes: Iterable[str], **fields) -> Table:
    """A table whose columns' headings are given by their keys; `fields` are the others of `Table`."""
    return Table(header=tuple(columns.values()), keys=tuple(columns), rows=tuple(rows), notes=tuple(notes), **fields)


def cell_parts(cell: Cell) -> tuple[str, ...]:
    """A cell's text, the main number first; a second part may stand below it."""
    if cell is None:
        return ("",)
    return (str(cell),) if isinstance(cell, str | int) else cell.parts()


def cell_values(cell: Cell) -> dict[str, Value]:
    """A cell's numbers by their ending in the CSV, "" where there is but one."""
    if cell is None or isinstance(cell, str | int):
        return {"": cell}
    return {"": cell.value} if isinstance(cell, Number | PValue) else dataclasses.asdict(cell)


def make_tables(result: SweepResult) -> list[Table]:
    """The tables "main", "classes", "comparisons" (where there is something to compare) and "timings"."""
    summaries = {row.name: summarise(row.scores) for row in result.rows}
    classes = tuple(dict.fromkeys([result.class_name, *result.classes, FOREGROUND]))
    scored = {
        (row.name, class_name): _scored(summaries[row.name], class_name)
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
class _Scored:
    """What a row found for one class: an estimate per measure, and what is in it."""

    estimates: Mapping[str, Estimate]
    summary: ClassSummary


def _scored(summary: Summary, class_name: str) -> _Scored:
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
    return _Scored(estimates, found)


def _patients(summary: Summary, class_name: str) -> dict[str, PatientScore]:
    """Those with a unit in the means, by patient."""
    return {row.patient: row for row in summary.patients if row.class_name == class_name and row.n_units}


_Results: TypeAlias = Mapping[tuple[str, str], _Scored]


def _main(result: SweepResult, scored: _Results) -> Table:
    # A data set that the paper says nothing of needs no blank columns.
    with_paper = any(row.paper for row in result.rows)
    counts = _count_columns(scored)
    columns = dict(_ROW)
    for measure, heading in HEADINGS.items():
        columns |= {measure: heading} | ({f"{measure}_paper": "paper"} if with_paper else {})
    columns |= counts
    rows = []
    for row in result.rows:
        found = scored[row.name, result.class_name]
        cells: list[Cell] = [*_row_cells(row)]
        for measure in HEADINGS:
            cells.append(found.estimates[measure])
            if with_paper:
                cells.append(Number(row.paper[measure]) if measure in row.paper else None)
        rows.append((*cells, *(getattr(found.summary, key) for key in counts)))
    paper_note = ["paper: the paper's own value; blank where it has none."] if with_paper else []
    return table_of(
        name="main",
        title=f"{result.title}: {result.class_name}",
        columns=columns,
        rows=rows,
        notes=(*_estimate_notes(counts), *paper_note, *_fold_notes(result.rows)),
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


def _fold_notes(rows: Iterable[RowResult]) -> list[str]:
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
    return ["†: some folds failed or are not done; the main table says which."] if _fold_notes(rows) else []


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


def _text(value: float, form: str = ".3f") -> str:
    return "–" if math.isnan(value) else format(value, form).replace("-", "−")


def _interval_text(cell: Estimate | Difference) -> str:
    return f"[{_text(cell.low)}, {_text(cell.high)}]"


def _csv_cell(value: Value) -> Value:
    if isinstance(value, str):
        return to_cell(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


def _stacked(parts: Sequence[str]) -> str:
    r"""Parts one above the other, so that a table fits its page."""
    if len(parts) == 1:
        return parts[0]
    return r"\begin{tabular}[t]{@{}r@{}}" + r" \\ ".join(parts) + r"\end{tabular}"


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
