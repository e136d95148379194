"""Predicted indices against true ones: mean absolute error, Pearson's r, and the phase's error rate."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from foanet_jax.errors import InputError
from foanet_jax.indices.short_axis import DIMENSIONS, SECTORS, LvIndices
from foanet_jax.indices.ventricle import VentricleIndices

Indices = TypeVar("Indices", LvIndices, VentricleIndices)


@dataclasses.dataclass(frozen=True)
class IndexScore:
    """How well one index was predicted, over all frames and slices of all cases together, as LVQuan scores.

    Attributes:
        mae: mean absolute error in the index's unit; of the phase, the error rate in [0, 1]; NaN where n is 0.
        pearson: correlation r; NaN where n < 2 or either side is constant.
        n: values compared.
        missing: values whose truth is known but not their prediction. They are in neither mae nor pearson.
        unknown: values whose truth is not known.
    """

    mae: float
    pearson: float
    n: int
    missing: int
    unknown: int


def compare_indices(predicted: Mapping[str, Indices], true: Mapping[str, Indices]) -> dict[str, IndexScore]:
    """The score of each index, by its name with its unit (LVQuan challenge).

    Args:
        predicted, true: indices by case, of the same cases; both LvIndices or both VentricleIndices.

    Raises:
        InputError: no cases, cases that are in one of the two alone, or indices of other shapes.
    """
    if not true or predicted.keys() != true.keys():
        odd = ", ".join(sorted(predicted.keys() ^ true.keys()))
        raise InputError("cases", f"predicted or true alone: {odd or 'no cases at all'}; pass both of the same cases")
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for case, truth in true.items():
        of_prediction = predicted[case].columns()
        for name, values in truth.columns().items():
            found, wanted = np.asarray(of_prediction[name]), np.asarray(values)
            if found.shape != wanted.shape:
                raise InputError(
                    "shape-mismatch", f"{case}: {name} of shape {found.shape} predicted, {wanted.shape} true"
                )
            pairs.setdefault(name, []).append((found.ravel(), wanted.ravel()))
    return {
        name: _score(*(np.concatenate(side).astype(float) for side in zip(*values, strict=True)))
        for name, values in pairs.items()
    }


def from_lvquan19(indices: Mapping[str, np.ndarray]) -> LvIndices:
    """The data set's own indices of one patient, as truth; what it does not have is NaN.

    Args:
        indices: in mm, as `data.lvquan19.indices_in_mm` returns them.

    Raises:
        InputError: no indices, or of different numbers of frames.
    """
    counts = {name: values.shape[-1] for name, values in indices.items()}
    if len(set(counts.values())) != 1:
        raise InputError("shape", f"indices of {counts or 'no'} frames; pass one patient's, all of the same cine")
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
        mae=float(np.abs(p - t).mean()) if len(t) else float("nan"),
        pearson=float(np.corrcoef(p, t)[0, 1]) if varied else float("nan"),
        n=len(t),
        missing=int((known & ~compared).sum()),
        unknown=int((~known).sum()),
    )
