"""Rank statistics: Spearman's correlation and the area under the ROC curve."""

import math

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[place]


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation, Pearson's of the ranks; NaN of fewer than two pairs or where either side is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def roc_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive scores above a negative, equal scores counting half (Mann and Whitney's U).

    Args:
        scores: (n,) higher where a positive is expected.
        positive: (n,) boolean.

    Returns:
        In [0, 1]; NaN where there are no positives or no negatives.
    """
    positive = np.asarray(positive, bool)
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return math.nan
    return float((ranks(scores)[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1), a point for each threshold at a score.

    Args:
        scores, positive: as `roc_auc` takes them, with positives and negatives.
    """
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    thresholds = np.unique(scores)[::-1]
    rates = [[np.mean(scores[side] >= threshold) for threshold in thresholds] for side in (~positive, positive)]
    return np.array([0.0, *rates[0]]), np.array([0.0, *rates[1]])
