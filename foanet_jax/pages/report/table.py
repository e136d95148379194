"""A table of typed cells, which can be written as Markdown, LaTeX and CSV.

A cell contains numbers, not text. Text, LaTeX and CSV are all made from the same cells.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from foanet_jax.system.escaping import latex, markdown, to_cell

Value: TypeAlias = str | int | float | None


@dataclasses.dataclass(frozen=True)
class Number:
    """One number, NaN if it is undefined, and its format."""

    value: float
    form: str = ".3f"

    def parts(self) -> tuple[str, ...]:
        return (_text(self.value, self.form),)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Mean, sd (n − 1) and median over n patients, and the bootstrap 95 % interval of the mean; NaN if undefined."""

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
class MeanSd(Estimate):
    """An estimate whose text is mean and sd only. The CSV has all its numbers."""

    def parts(self) -> tuple[str, ...]:
        return super().parts()[:1]


@dataclasses.dataclass(frozen=True)
class Difference:
    """Mean and median of n paired differences, and the bootstrap 95 % interval of the mean; NaN if undefined."""

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
    """A p value; NaN if there was nothing to test."""

    value: float

    def parts(self) -> tuple[str, ...]:
        return ("< 0.001" if self.value < 0.001 else _text(self.value),)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Mean time in s over the n folds whose time is known; NaN if there is none."""

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
    """The number of finished folds and of all folds. † means that a fold is missing; a note of the table says why."""

    finished: int
    wanted: int

    def parts(self) -> tuple[str, ...]:
        return (f"{self.finished}/{self.wanted}" + (" †" if self.finished < self.wanted else ""),)


# The text of a cell of numbers is `parts`; `cell_values` returns its numbers.
Cell: TypeAlias = str | int | Number | Estimate | Difference | PValue | Seconds | FoldCount | None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of typed cells.

    Attributes:
        name: the name of its files.
        title: the text above the table.
        header: the heading of each column, for people.
        keys: the name of each column in the CSV. The numbers of one cell have different endings: "dc_mean", "dc_sd".
        rows: the cells, one for each column; None is a blank cell.
        notes: texts below the table.
        best: (row, column) of the cells in bold.
        grouped: whether rows with the same first cell form a group.
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
        """Returns every cell as one line of plain text."""
        return [[" ".join(cell_parts(cell)) for cell in row] for row in self.rows]

    def as_markdown(self) -> str:
        """Returns the title, a pipe table, and the notes as a list."""
        lines = [f"**{markdown(self.title)}**", ""]
        lines.append(_piped(map(markdown, self.header)))
        lines.append(_piped(":--" if left else "--:" for left in self._left()))
        for i, row in enumerate(self.rows):
            lines.append(_piped(" ".join(parts) for parts in self._marked_up(i, row, markdown, "**{}**")))
        if self.notes:
            lines += ["", *(f"- {markdown(note)}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def as_latex(self) -> str:
        r"""Returns a `table` environment that needs only booktabs. Each row of the table is one line of text."""
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
        """Yields the escaped parts of every cell of row i. The first part of the best cells is bold."""
        for j, cell in enumerate(row):
            first, *others = map(escape, cell_parts(cell))
            yield bold.format(first) if (i, j) in self.best else first, *others


def table_of(columns: Mapping[str, str], rows: Iterable[tuple[Cell, ...]], *, notes: Iterable[str], **fields) -> Table:
    """Makes a table. `columns` are the headings by key; `fields` are the other attributes of `Table`."""
    return Table(header=tuple(columns.values()), keys=tuple(columns), rows=tuple(rows), notes=tuple(notes), **fields)


def cell_parts(cell: Cell) -> tuple[str, ...]:
    """Returns the text of a cell: the main number, and perhaps a second part to show below it."""
    if cell is None:
        return ("",)
    return (str(cell),) if isinstance(cell, str | int) else cell.parts()


def cell_values(cell: Cell) -> dict[str, Value]:
    """Returns the numbers of a cell by the ending of their name in the CSV; the ending of a single number is ""."""
    if cell is None or isinstance(cell, str | int):
        return {"": cell}
    return {"": cell.value} if isinstance(cell, Number | PValue) else dataclasses.asdict(cell)


def _text(value: float, form: str = ".3f") -> str:
    return "–" if math.isnan(value) else format(value, form).replace("-", "−")


def _interval_text(cell: Estimate | Difference) -> str:
    return f"[{_text(cell.low)}, {_text(cell.high)}]"


def _csv_cell(value: Value) -> Value:
    if isinstance(value, str):
        return to_cell(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


def _stacked(parts: Sequence[str]) -> str:
    r"""Stacks the parts of a cell, so that the table fits on a page."""
    if len(parts) == 1:
        return parts[0]
    return r"\begin{tabular}[t]{@{}r@{}}" + r" \\ ".join(parts) + r"\end{tabular}"


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
