"""Prints results and writes them to files."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foanet_jax.system.atomic import atomic_path


def say(text: str = "") -> None:
    """Prints a line to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table that is readable as plain text. The first column is text; the others are numbers."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (width + 2) if n == 0 else "-" * (width + 1) + ":" for n, width in enumerate(widths))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def seconds_text(seconds: float) -> str:
    """Returns a time as text, with three significant digits and a unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {unit}"
    return f"{seconds:.1e} s"


def write_json(record: dict[str, Any], path: Path) -> None:
    """Writes a record as JSON, atomically."""
    _write(json.dumps(record, indent=1) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Writes a text, atomically."""
    _write(text, path)


def _write(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
