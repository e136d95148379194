"""Dataclasses as tables in files."""

import csv
import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from foanet_jax.atomic import atomic_path


def write_records(path: Path, kind: type, rows: Iterable[Any]) -> None:
    """Writes a dataclass's instances as CSV, a column a field, NaN as an empty cell; whole or not at all."""
    fields = [field.name for field in dataclasses.fields(kind)]
    with (
        atomic_path(path) as temporary,
        Path(temporary).open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(fields)
        for row in rows:
            cells = [getattr(row, field) for field in fields]
            writer.writerow(["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells])
