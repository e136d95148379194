"""Paired statistics over patients, between two rows of a table.

The paper does not describe its statistics. These methods suit few patients and skewed measures, such as the 95HD of a
missed structure:

- intervals: bias-corrected and accelerated bootstrap intervals (BCa; Efron, J. Am. Stat. Assoc. 1987). Unlike
  percentile intervals, they follow the skew of the data.
- test: Wilcoxon's signed-rank test, two-sided. Zero differences are ranked and then left out (Pratt, J. Am. Stat.
  Assoc. 1959): equal patients support neither row, but leaving them out before ranking would make the other
  differences look more certain. The test is exact up to 50 pairs, or up to 13 pairs if differences are tied or zero.
  For more pairs it uses the normal approximation.
- effect: the matched-pairs rank-biserial correlation, over the same ranks (Kerby, Compr. Psychol. 2014).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy

LEVEL = 0.95
RESAMPLES = 10_000

# Differences that are equal as real numbers may differ in floating point. Rounding keeps them tied.
_DECIMALS = 10


@dataclasses.dataclass(frozen=True)
class Interval:
    """A 95 % interval; NaN if there are fewer than two values."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of paired values. Differences are value − reference. If n = 0, all other attributes are NaN.

    Attributes:
        n: number of pairs.
        mean: mean of the differences, in the unit of the values.
        interval: bootstrap 95 % interval of this mean.
        median: median of the differences.
        p: p value of Wilcoxon's signed-rank test, two-sided, not adjusted; 1 if all differences are zero.
        effect: rank-biserial correlation, −1 to 1: the rank sum of the pairs with the higher value, minus the rank
            sum of the pairs with the lower value, divided by the sum of all ranks. 1: every value is above its
            reference.
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
    """Compares paired values, one pair for each patient. The order of the patients does not matter.

    Args:
        values: (n,) finite.
        reference: (n,) finite, the same patients in the same order.
        seed: seed of the bootstrap.
        resamples: number of resamples of the bootstrap.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    if len(values) != len(reference):
        raise ValueError(f"{len(values)} values and {len(reference)} reference values; pass one pair per patient")
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
    """Returns the bootstrap 95 % interval (BCa) of the mean over patients. The order of the values does not matter.

    Equal values give an interval of zero width. Fewer than two values give NaN.

    Args:
        values: (n,) finite, one for each patient.
        seed: seed of the bootstrap.
        resamples: number of resamples of the bootstrap.

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
    """Adjusts p values for multiple tests by Holm's step-down method (Scand. J. Stat. 1979); the order is kept.

    Raises:
        ValueError: a value is outside [0, 1] or NaN.
    """
    p = np.asarray(p_values, float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p values {list(p_values)}; each must be in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted.tolist()


def _mean(values: np.ndarray) -> float:
    return math.fsum(values) / len(values)


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"values of shape {array.shape}, not all of them finite; pass one finite number per patient")
    return array
