"""Comparison of predicted and true indices: mean absolute error, bias, Pearson's r, and the error rate of the phase."""

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from foanet_jax.measures.evaluation import align_table
from foanet_jax.measures.indices.short_axis import DIMENSIONS, SECTORS, LvIndices
from foanet_jax.measures.indices.ventricle import VentricleIndices
from foanet_jax.system.errors import InputError
from foanet_jax.system.records import write_records

Indices = TypeVar("Indices", LvIndices, VentricleIndices)


@dataclasses.dataclass(frozen=True)
class IndexScore:
    """The errors of one index, over all frames and slices of all cases together, as in the LVQuan challenge.

    Attributes:
        mae: mean absolute error in the unit of the index; for the phase, the error rate in [0, 1]; NaN if n is 0.
        bias, sd: mean and standard deviation (n − 1) of prediction − truth; NaN if n is 0, and for sd if n < 2.
        pearson: correlation r; NaN if n < 2, or if the predictions or the truths are all equal.
        n: number of values that were compared.
        missing: number of values that are known for the truth, but not for the prediction. They are not part of mae
            and pearson.
        unknown: number of values that are not known for the truth.
    """

    mae: float
    bias: float
    sd: float
    pearson: float
    n: int
    missing: int
    unknown: int


@dataclasses.dataclass(frozen=True)
class IndexPair:
    """One index at one place, predicted and true; NaN if it could not be measured.

    Attributes:
        patient, case: ids of patient and study. For an index of several cases together, the case is the patient.
        frame, slice_: where, counted from 0; None for an index of the whole case, or of a whole frame.
        index: the name with the unit.
        prediction, truth: the values, in this unit.
    """

    patient: str
    case: str
    frame: int | None
    slice_: int | None
    index: str
    prediction: float
    truth: float


def pair_indices(predicted: Indices, true: Indices, *, patient: str, case: str) -> list[IndexPair]:
    """Pairs every predicted index of a case with the true one.

    Raises:
        InputError: the shapes differ.
    """
    pairs = []
    of_prediction = predicted.columns()
    for name, values in true.columns().items():
        found, wanted = np.asarray(of_prediction[name], float), np.asarray(values, float)
        if found.shape != wanted.shape:
            raise InputError(
                "shape-mismatch", f"{case}: the shape of {name} is {found.shape}, but {wanted.shape} in the truth"
            )
        for place, truth in np.ndenumerate(wanted):
            frame = place[0] if wanted.ndim > 0 else None
            slice_ = place[1] if wanted.ndim > 1 else None
            pairs.append(IndexPair(patient, case, frame, slice_, name, float(found[place]), float(truth)))
    return pairs


def score_pairs(pairs: Iterable[IndexPair]) -> dict[str, IndexScore]:
    """Returns the score of each index, by name with unit (LVQuan challenge)."""
    by_index: dict[str, list[tuple[float, float]]] = {}
    for pair in pairs:
        by_index.setdefault(pair.index, []).append((pair.prediction, pair.truth))
    return {name: _score(*np.array(values, float).T) for name, values in by_index.items()}


def format_scores(scores: Mapping[str, IndexScore], *, markdown: bool = False) -> str:
    """Returns the scores as an aligned table, with a row for each index. Undefined values are written as –."""
    header = ["index", "MAE", "bias ± sd", "r", "n", "missing"]
    body = []
    for name, score in scores.items():
        mae, bias, sd, r = (
            "–" if math.isnan(value) else format(value, form).replace("-", "−")
            for value, form in ((score.mae, ".2f"), (score.bias, "+.2f"), (score.sd, ".2f"), (score.pearson, ".3f"))
        )
        body.append([name, mae, f"{bias} ± {sd}", r, str(score.n), str(score.missing)])
    return align_table(header, body, markdown=markdown)


def write_pairs(pairs: Iterable[IndexPair], path: Path) -> None:
    """Writes a row for each pair, whole or not at all."""
    write_records(path, IndexPair, pairs)


def read_pairs(path: Path) -> list[IndexPair]:
    """Reads what `write_pairs` wrote; an empty list if there is no such file.

    Raises:
        KeyError, ValueError: the file is not such a table.
    """
    if not path.exists():
        return []

    def number(text: str) -> float:
        return float(text) if text else math.nan

    with path.open(newline="", encoding="utf-8") as file:
        return [
            IndexPair(
                patient=row["patient"],
                case=row["case"],
                frame=int(row["frame"]) if row["frame"] else None,
                slice_=int(row["slice_"]) if row["slice_"] else None,
                index=row["index"],
                prediction=number(row["prediction"]),
                truth=number(row["truth"]),
            )
            for row in csv.DictReader(file)
        ]


def compare_indices(predicted: Mapping[str, Indices], true: Mapping[str, Indices]) -> dict[str, IndexScore]:
    """Returns the score of each index, by name with unit (LVQuan challenge).

    Args:
        predicted, true: indices by case, for the same cases; both LvIndices or both VentricleIndices.

    Raises:
        InputError: there are no cases, a case is in only one of the two, or the shapes differ.
    """
    if not true or predicted.keys() != true.keys():
        odd = ", ".join(sorted(predicted.keys() ^ true.keys()))
        raise InputError(
            "cases", f"in only one of prediction and truth: {odd or 'no cases at all'}; pass both for each case"
        )
    return score_pairs(
        pair for case, truth in true.items() for pair in pair_indices(predicted[case], truth, patient="", case=case)
    )


def from_lvquan19(indices: Mapping[str, np.ndarray]) -> LvIndices:
    """Converts the indices that the data set LVQuan19 gives for a patient. Indices that it does not give are NaN.

    Args:
        indices: in mm, from `data.readers.lvquan19.indices_in_mm`.

    Raises:
        InputError: there are no indices, or their numbers of frames differ.
    """
    counts = {name: values.shape[-1] for name, values in indices.items()}
    if len(set(counts.values())) != 1:
        raise InputError(
            "shape", f"indices of {counts or 'no'} frames; pass those of one patient, all of the same cine"
        )
    frames = next(iter(counts.values()))

    def rows(name: str, count: int) -> np.ndarray:
        return np.asarray(indices.get(name, np.full((count, frames), np.nan)), float)

    areas = rows("areas", 2)
    return LvIndices(
        cavity_area_mm2=areas[0][:, None],
        myocardium_area_mm2=areas[1][:, None],
        dimensions_mm=rows("dims", len(DIMENSIONS)).T[:, None],
        rwt_mm=rows("rwt", len(SECTORS)).T[:, None],
        phase=rows("lv_phase", 1).ravel(),
        flags=np.full((frames, 1), ""),
    )


def _score(predicted: np.ndarray, true: np.ndarray) -> IndexScore:
    known = ~np.isnan(true)
    compared = known & ~np.isnan(predicted)
    p, t = predicted[compared], true[compared]
    varied = len(t) > 1 and np.ptp(p) > 0 and np.ptp(t) > 0
    return IndexScore(
        mae=float(np.abs(p - t).mean()) if len(t) else math.nan,
        bias=float((p - t).mean()) if len(t) else math.nan,
        sd=float((p - t).std(ddof=1)) if len(t) > 1 else math.nan,
        pearson=float(np.corrcoef(p, t)[0, 1]) if varied else math.nan,
        n=len(t),
        missing=int((known & ~compared).sum()),
        unknown=int((~known).sum()),
    )
