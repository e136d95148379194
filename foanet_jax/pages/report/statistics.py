"""Paired statistics over patients, between two rows of a table.

What is silent in the paper is chosen for few patients and skewed measures, a missed structure's 95HD above all:

- intervals: the bootstrap's bias-corrected and accelerated interval (BCa; Efron, J. Am. Stat. Assoc. 1987), which
  follows the skew that a percentile interval leaves out;
- test: Wilcoxon's signed ranks, two-sided, zeros ranked and then left out (Pratt, J. Am. Stat. Assoc. 1959), since
  equal patients speak for neither side and dropping them first would make the others look more decided. Exact up to 50
  pairs, or 13 where differences are tied or zero; the normal approximation beyond;
- effect: the matched-pairs rank-biserial correlation over the same ranks (Kerby, Compr. Psychol. 2014).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy

LEVEL = 0.95
RESAMPLES = 10_000

# Differences that are equal in the reals are not in floating point, and would lose their tie.
_DECIMALS = 10


@dataclasses.dataclass(frozen=True)
class Interval:
    """A 95 % interval; NaN where there are fewer than two values."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired values against a reference; differences are value − reference. All NaN but n where n = 0.

    Attributes:
        n: pairs.
        mean: of the differences, in the values' unit.
        interval: bootstrap 95 % interval of that mean.
        median: of the differences.
        p: Wilcoxon's, two-sided, unadjusted; 1 where all differences are zero.
        effect: rank-biserial correlation, −1 to 1: the rank sum of the pairs whose value is higher, less that of the
            pairs whose value is lower, over the sum of all ranks. 1: every value is above its reference.
    """

    n: int
    mean: float
    interval: Interval
    median: float
    p: float
    effect: float


def compare(
    values: Sequence[float], reference: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """Compares paired values, a pair per patient; the patients' order does not matter.

    Args:
        values: (n,) finite.
        reference: (n,) finite, the same patients in the same order.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    if len(values) != len(reference):
        raise ValueError(f"{len(values)} values against {len(reference)}; pass one pair per patient")
    differences = _finite(values) - _finite(reference)
    if not len(differences):
        return Comparison(0, math.nan, Interval(math.nan, math.nan), math.nan, math.nan, math.nan)
    rounded = np.round(differences, _DECIMALS)
    ranks = scipy.stats.rankdata(np.abs(rounded))
    return Comparison(
        n=len(differences),
        mean=_mean(differences),
        interval=interval(differences, seed=seed, resamples=resamples),
        median=float(np.median(differences)),
        p=float(scipy.stats.wilcoxon(rounded, zero_method="pratt").pvalue) if rounded.any() else 1.0,
        effect=float(ranks @ np.sign(rounded) / ranks.sum()),
    )


def interval(values: Sequence[float] | np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Bootstrap 95 % interval (BCa) of the mean over patients; the values' order does not matter.

    Equal values give an interval of no width, fewer than two give NaN.

    Args:
        values: (n,) finite, one per patient.
        seed: of the resampling.
        resamples: how many.

    Raises:
        ValueError: a value is not finite.
    """
    array = np.sort(_finite(values))
    if len(array) < 2:
        return Interval(math.nan, math.nan)
    if np.ptp(np.round(array, _DECIMALS)) == 0:
        # BCa divides by the spread.
        return Interval(_mean(array), _mean(array))
    found = scipy.stats.bootstrap(
        (array,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number by Holm's step-down method (Scand. J. Stat. 1979), in the order given.

    Raises:
        ValueError: a value is outside [0, 1] or NaN.
    """
    p = np.asarray(p_values, float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p values {list(p_values)}; each lies in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted.tolist()


def _mean(values: np.ndarray) -> float:
    return math.fsum(values) / len(values)


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"values of shape {array.shape}, not all finite numbers; pass one finite number per patient")
    return array
