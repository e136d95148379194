"""The table `studies.csv`: patient, clinical group and image grid of each study."""

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
    """One row of `studies.csv`: a study that was predicted and evaluated.

    Attributes:
        patient, case: ids of the patient and of the study.
        group: clinical group, "" if the data set has none.
        frames, slices, rows, columns: size of the voxel array, (T, Z, H, W).
        slice_mm, row_mm, column_mm: distances between voxel centres, mm.
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
    """Returns the row of `studies.csv` for a study."""
    spacing = (float(distance) for distance in study.spacing_mm)
    return Acquisition(study.patient, study.case, study.group or "", *study.voxels.shape, *spacing)


def write_acquisitions(acquisitions: Iterable[Acquisition], folder: Path) -> None:
    """Writes `folder/studies.csv`, atomically."""
    write_records(folder / NAME, Acquisition, acquisitions)


def read_acquisitions(folder: Path) -> list[Acquisition]:
    """Reads `folder/studies.csv`; an empty list if there is no such file."""
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
