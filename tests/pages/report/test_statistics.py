"""Paired statistics: textbook and hand-worked numbers, SciPy called directly, and symmetries."""

import math

import numpy as np
import pytest
from scipy import stats

from foanet_jax.pages.report.statistics import compare, holm, interval

# Darwin's maize: crossed less self-fertilised plants, in eighths of an inch.
MAIZE = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def pairs(n, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.normal(0.85, 0.05, n)
    return reference + rng.normal(0.01, 0.02, n), reference


def against_zero(differences, **options):
    return compare(differences, [0.0] * len(differences), **options)


def test_textbook_wilcoxon():
    comparison = against_zero(MAIZE)
    # 48 and 67 have ranks 10 and 14: 24 against 96 of 120. 24 or less is the chance of 676 in 2^15 on one side.
    assert comparison.p == pytest.approx(2 * 676 / 2**15, abs=1e-12)
    assert comparison.effect == pytest.approx((96 - 24) / 120)
    assert comparison.n == 15
    assert comparison.mean == pytest.approx(314 / 15)
    assert comparison.median == 24


def test_zeros_are_ranked_and_then_left_out():
    comparison = against_zero([0.0, 1.0, -2.0, 3.0])
    # Ranks 1, 2, 3, 4: +2 − 3 + 4 of 10. Rank sums 0 2 3 4 5 6 7 9 are equally likely; three of eight reach 6.
    assert comparison.effect == pytest.approx(3 / 10)
    assert comparison.p == pytest.approx(2 * 3 / 8)


def test_differences_that_are_tied_but_for_rounding():
    comparison = compare([0.3, 0.2, 0.5], [0.2, 0.1, 0.6])
    # Three ties of rank 2: 4 against 2 of 6; every outcome lies within (6, 0), (4, 2), (2, 4), (0, 6).
    assert comparison.effect == pytest.approx(2 / 6)
    assert comparison.p == pytest.approx(1.0)


@pytest.mark.parametrize("n", [2, 3, 8, 20, 56])
def test_against_scipy(n):
    values, reference = pairs(n, seed=n)
    comparison = compare(values, reference, seed=3, resamples=500)
    differences = values - reference
    assert comparison.mean == pytest.approx(differences.mean())
    assert comparison.median == pytest.approx(np.median(differences))
    assert comparison.p == pytest.approx(stats.wilcoxon(values, reference, zero_method="pratt").pvalue)
    found = stats.bootstrap(
        (np.sort(differences),), np.mean, n_resamples=500, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (comparison.interval.low, comparison.interval.high) == (found.low, found.high)


def test_equal_values():
    comparison = compare([0.8, 0.9, 0.7], [0.8, 0.9, 0.7])
    assert (comparison.mean, comparison.median, comparison.p, comparison.effect) == (0, 0, 1, 0)
    assert (comparison.interval.low, comparison.interval.high) == (0, 0)


def test_equal_differences():
    comparison = compare([0.9, 0.8, 0.7, 0.6], [0.8, 0.7, 0.6, 0.5])
    assert comparison.interval.low == comparison.interval.high == pytest.approx(0.1)
    assert comparison.p == pytest.approx(2 / 2**4)
    assert comparison.effect == 1


def test_one_pair_and_none():
    one = compare([0.9], [0.8])
    assert (one.n, one.p, one.effect) == (1, 1, 1)
    assert one.mean == one.median == pytest.approx(0.1)
    assert math.isnan(one.interval.low)
    assert math.isnan(one.interval.high)
    none = compare([], [])
    assert none.n == 0
    assert all(math.isnan(x) for x in (none.mean, none.median, none.p, none.effect, none.interval.low))


@pytest.mark.parametrize("n", [3, 13, 60])
def test_order_of_patients_does_not_matter(n):
    values, reference = pairs(n)
    order = np.random.default_rng(1).permutation(n)
    assert compare(values[order], reference[order], resamples=200) == compare(values, reference, resamples=200)


@pytest.mark.parametrize("n", [3, 13, 60])
def test_changing_sides_changes_signs(n):
    values, reference = pairs(n)
    forth, back = compare(values, reference, resamples=50), compare(reference, values, resamples=50)
    assert forth.effect == pytest.approx(-back.effect)
    assert forth.mean == pytest.approx(-back.mean)
    assert forth.median == pytest.approx(-back.median)
    assert forth.p == pytest.approx(back.p)
    assert -1 <= forth.effect <= 1


def test_seed_alone_decides_the_interval():
    values, _ = pairs(20)
    assert interval(values, seed=4) == interval(values, seed=4)
    assert interval(values, seed=4, resamples=100) != interval(values, seed=5, resamples=100)


def test_interval_holds_the_mean_and_follows_the_skew():
    # One missed structure among patients of about 2 mm.
    distances = [1.8, 2.1, 2.0, 1.9, 2.2, 2.3, 1.7, 2.0, 2.1, 160.0]
    found = interval(distances)
    mean = np.mean(distances)
    assert found.low < mean < found.high
    assert found.high - mean > mean - found.low


def test_holm_by_hand():
    # Sorted 0.005 × 4, 0.01 × 3, 0.03 × 2, 0.04 × 1, none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_keeps_the_order_and_never_lowers():
    rng = np.random.default_rng(0)
    for n in range(1, 12):
        p = rng.random(n) ** 3
        adjusted = np.array(holm(p))
        assert np.all((adjusted >= p) & (adjusted <= np.minimum(n * p, 1)))
        assert np.all(np.diff(adjusted[np.argsort(p)]) >= 0)
        assert holm(p[::-1]) == adjusted[::-1].tolist()


def test_unusable_values():
    with pytest.raises(ValueError, match="2 values and 1 reference values"):
        compare([1, 2], [1])
    with pytest.raises(ValueError, match="finite"):
        compare([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        interval([1, math.inf])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.1, math.nan])
