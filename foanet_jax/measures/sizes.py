"""Areas and volumes of the structures, predicted and true, frame by frame."""

import csv
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.system.escaping import from_cell
from foanet_jax.system.records import write_records

NAME = "sizes.csv"


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of one structure in one frame.

    Attributes:
        patient, case, frame, class_name: what was measured.
        unit: "mm²" for a single slice, "ml" for a stack.
        prediction, truth: the size in that unit.
    """

    patient: str
    case: str
    frame: int
    class_name: str
    unit: str
    prediction: float
    truth: float


def measure_sizes(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    classes: Sequence[str],
    patient: str,
    case: str,
) -> list[Size]:
    """Measures the size of each foreground class in each frame: the number of voxels times their size.

    Args:
        prediction, truth: (T, Z, H, W) class indices.
        spacing_mm: spacing of slices, rows and columns.
        classes: names by index, background first.
        patient, case: ids of the patient and the study.
    """
    depth, row, column = (float(value) for value in spacing_mm)
    single = truth.shape[1] == 1
    unit, scale = ("mm²", row * column) if single else ("ml", depth * row * column / 1000)

    def counts(mask: np.ndarray) -> np.ndarray:
        return np.bincount(mask.ravel(), minlength=len(classes)) * scale

    return [
        Size(patient, case, frame, name, unit, float(found[index]), float(true[index]))
        for frame, (found, true) in enumerate(zip(map(counts, prediction), map(counts, truth), strict=True))
        for index, name in enumerate(classes)
        if index
    ]


def write_sizes(sizes: Iterable[Size], folder: Path) -> None:
    """Writes `folder/sizes.csv`, whole or not at all."""
    write_records(folder / NAME, Size, sizes)


def read_sizes(folder: Path) -> list[Size]:
    """Reads what `write_sizes` wrote; an empty list if there is no such file."""
    if not (folder / NAME).exists():
        return []
    with (folder / NAME).open(newline="", encoding="utf-8") as file:
        return [
            Size(
                patient=from_cell(row["patient"]),
                case=from_cell(row["case"]),
                frame=int(row["frame"]),
                class_name=from_cell(row["class_name"]),
                unit=row["unit"],
                prediction=float(row["prediction"]),
                truth=float(row["truth"]),
            )
            for row in csv.DictReader(file)
        ]
