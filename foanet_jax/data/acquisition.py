"""Whose a study is, and the grid that it was acquired on."""

import csv
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from foanet_jax.data.study import Study
from foanet_jax.system.escaping import from_cell
from foanet_jax.system.records import write_records

NAME = "studies.csv"


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """A study that was predicted and scored.

    Attributes:
        patient, case: whose.
        group: clinical group, "" where the data set knows none.
        frames, slices, rows, columns: of its voxels.
        slice_mm, row_mm, column_mm: distances between their centres.
    """

    patient: str
    case: str
    group: str
    frames: int
    slices: int
    rows: int
    columns: int
    slice_mm: float
    row_mm: float
    column_mm: float


def acquisition_of(study: Study) -> Acquisition:
    """What `studies.csv` says of a study."""
    spacing = (float(distance) for distance in study.spacing_mm)
    return Acquisition(study.patient, study.case, study.group or "", *study.voxels.shape, *spacing)


def write_acquisitions(acquisitions: Iterable[Acquisition], folder: Path) -> None:
    """Writes `folder/studies.csv`, whole or not at all."""
    write_records(folder / NAME, Acquisition, acquisitions)


def read_acquisitions(folder: Path) -> list[Acquisition]:
    """What `write_acquisitions` wrote, none where there is no such file."""
    if not (folder / NAME).exists():
        return []
    with (folder / NAME).open(newline="", encoding="utf-8") as file:
        return [
            Acquisition(
                patient=from_cell(row["patient"]),
                case=from_cell(row["case"]),
                group=from_cell(row["group"]),
                frames=int(row["frames"]),
                slices=int(row["slices"]),
                rows=int(row["rows"]),
                columns=int(row["columns"]),
                slice_mm=float(row["slice_mm"]),
                row_mm=float(row["row_mm"]),
                column_mm=float(row["column_mm"]),
            )
            for row in csv.DictReader(file)
        ]
