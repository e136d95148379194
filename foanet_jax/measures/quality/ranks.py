"""Rank statistics: Spearman's correlation and the area under the ROC curve."""

import math

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks (n,), from 1. Equal values have the mean of their ranks."""
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[place]


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Returns Spearman's rank correlation; NaN for fewer than two pairs, or if `x` or `y` is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def roc_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Returns the area under the ROC curve.

    It is the probability that a positive has a higher score than a negative. Equal scores count half (Mann–Whitney U).

    Args:
        scores: (n,) higher if a positive is expected.
        positive: (n,) boolean.

    Returns:
        In [0, 1]; NaN if there are no positives or no negatives.
    """
    positive = np.asarray(positive, bool)
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return math.nan
    return float((ranks(scores)[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the false and the true positive rates, from (0, 0) to (1, 1), with one point for each distinct score.

    Args:
        scores, positive: as in `roc_auc`, with at least one positive and one negative.
    """
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    thresholds = np.unique(scores)[::-1]
    rates = [[np.mean(scores[side] >= threshold) for threshold in thresholds] for side in (~positive, positive)]
    return np.array([0.0, *rates[0]]), np.array([0.0, *rates[1]])
