"""Tables of dataclass instances in CSV files."""

import csv
import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.escaping import to_cell


def write_records(path: Path, kind: type, rows: Iterable[Any]) -> None:
    """Writes instances of a dataclass to a CSV file, atomically: one column per field, NaN as an empty cell.

    Args:
        path: the file to write.
        kind: the dataclass.
        rows: its instances.
    """
    fields = [field.name for field in dataclasses.fields(kind)]
    with (
        atomic_path(path) as temporary,
        Path(temporary).open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(fields)
        for row in rows:
            cells = [getattr(row, field) for field in fields]
            writer.writerow(map(_cell, cells))


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return to_cell(value)
    return "" if isinstance(value, float) and math.isnan(value) else value
