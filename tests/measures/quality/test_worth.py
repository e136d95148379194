"""What a confidence is worth: ranks, ROC, calibration and their tables, by hand and against SciPy."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from foanet_jax.image.confidence import Confidence
from foanet_jax.measures.metrics import Score
from foanet_jax.measures.quality.calibration import Point, fit_calibration, fit_curve, read_calibration
from foanet_jax.measures.quality.ranks import ranks, roc_auc, roc_curve, spearman
from foanet_jax.measures.quality.table import (
    QualityRow,
    case_dice,
    quality_rows,
    read_quality,
    summarise_quality,
    write_quality,
)
from foanet_jax.system.errors import InputError


class TestRanks:
    def test_ties_share_their_ranks(self):
        np.testing.assert_array_equal(ranks(np.array([7.0, 3.0, 7.0, 1.0])), [3.5, 2, 3.5, 1])

    def test_spearman_by_hand(self):
        # Ranks 1 2 3 4 against 2 1 4 3: 1 − 6·4/(4·15) = 0.6.
        assert spearman(np.array([1, 2, 3, 4]), np.array([20, 10, 400, 300])) == pytest.approx(0.6)
        assert math.isnan(spearman(np.array([1.0]), np.array([2.0])))
        assert math.isnan(spearman(np.array([1.0, 1.0]), np.array([2.0, 3.0])))

    def test_auc_by_hand(self):
        # Positives 0.9 and 0.4, negatives 0.6, 0.4 and 0.1: of six pairs 4 are right, one is a tie.
        scores = np.array([0.9, 0.6, 0.4, 0.4, 0.1])
        assert roc_auc(scores, np.array([1, 0, 1, 0, 0])) == pytest.approx(4.5 / 6)
        assert roc_auc(scores, np.array([1, 1, 0, 0, 0])) == 1
        assert roc_auc(scores, np.array([0, 0, 0, 0, 1])) == 0
        assert math.isnan(roc_auc(scores, np.ones(5)))

    @pytest.mark.parametrize("seed", range(3))
    def test_against_scipy_and_the_area_under_the_curve(self, seed):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 12, 40).astype(float)
        y = x + rng.integers(-6, 7, 40)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
        positive = y > 6
        u = stats.mannwhitneyu(x[positive], x[~positive]).statistic
        assert roc_auc(x, positive) == pytest.approx(u / (positive.sum() * (~positive).sum()))
        false, true = roc_curve(x, positive)
        assert np.trapezoid(true, false) == pytest.approx(roc_auc(x, positive))


class TestCalibration:
    def test_pools_by_hand(self):
        # 0.7 and 0.5 fall and become 0.6 at (0.6 + 0.7)/2; the others rise.
        fitted = fit_curve([(0.5, 0.3), (0.6, 0.7), (0.7, 0.5), (0.8, 0.8), (0.9, 0.9)])
        assert fitted.confidence == pytest.approx((0.5, 0.65, 0.8, 0.9))
        assert fitted.dice == pytest.approx((0.3, 0.6, 0.8, 0.9))
        assert fitted.expected_dice(0.725) == pytest.approx(0.7)
        assert (fitted.expected_dice(0.5), fitted.expected_dice(1.0)) == (pytest.approx(0.3), pytest.approx(0.9))
        assert fitted.expected_dice(0.499) is None  # worse than anything that it was fitted on

    def test_order_does_not_matter_and_equal_confidences_have_one_dice(self):
        pairs = [(0.5, 0.2), (0.5, 0.6), (0.7, 0.5), (0.8, 0.7), (0.9, 0.7)]
        forwards, backwards = fit_curve(pairs), fit_curve(pairs[::-1])
        assert forwards == backwards
        assert len(set(forwards.confidence)) == len(forwards.confidence)
        assert forwards.dice[0] == pytest.approx(0.4)

    def test_is_monotone_and_keeps_the_mean(self):
        rng = np.random.default_rng(0)
        x, y = rng.random(30), rng.random(30)
        fitted = fit_curve(zip(x, y, strict=True))
        assert np.all(np.diff(fitted.dice) > 0)
        assert np.all(np.diff(fitted.confidence) > 0)

    def test_too_few_give_none(self):
        assert fit_calibration([Point(0.1, 0.2)] * 4, checkpoint="best") is None

    def test_each_class_has_its_own_curve(self):
        # The right ventricle is in four of the five studies, which are too few for a curve.
        points = [
            Point(x, x - 0.1, {"cavity": (x, x / 2)} | ({"right ventricle": (x, 0.5)} if x > 0.5 else {}))
            for x in (0.5, 0.6, 0.7, 0.8, 0.9)
        ]
        fitted = fit_calibration(points, checkpoint="best")
        assert fitted.classes.keys() == {"cavity"}
        assert fitted.expected_dice(0.65) == pytest.approx(0.55)
        assert fitted.classes["cavity"].expected_dice(0.65) == pytest.approx(0.325)
        assert fitted.classes["cavity"].expected_dice(0.45) is None

    def test_a_class_that_was_not_found_extends_the_range_to_zero(self):
        pairs = [(0.0, 0.0), (0.0, 0.0), (0.6, 0.4), (0.8, 0.7), (0.9, 0.9)]
        assert fit_curve(pairs).expected_dice(0.3) == pytest.approx(0.2)

    def test_comes_back_for_its_own_checkpoint(self, tmp_path):
        points = [Point(x, x - 0.1, {"cavity": (x, x - 0.2)}) for x in (0.5, 0.6, 0.7, 0.8, 0.9)]
        fitted = fit_calibration(points, checkpoint="best")
        assert read_calibration(tmp_path) is None
        (tmp_path / "calibration.json").write_text(json.dumps(dataclasses.asdict(fitted)))
        assert read_calibration(tmp_path) == fitted
        assert read_calibration(tmp_path, checkpoint="last") is None
        older = {name: value for name, value in dataclasses.asdict(fitted).items() if name != "classes"}
        (tmp_path / "calibration.json").write_text(json.dumps(older))
        assert read_calibration(tmp_path) == dataclasses.replace(fitted, classes={})
        (tmp_path / "calibration.json").write_text('{"confidence": [1], "dice": []}')
        with pytest.raises(InputError, match=r"calibration\.json"):
            read_calibration(tmp_path)


def score(name, dc, *, frame=0, empty=False):
    return Score("p", "c", frame, name, dc, 1.0, 1.0, 0.5, False, empty)


def row(confidence, dice, verdict="good", *, expected=math.nan, agreement=math.nan, name="foreground"):
    return QualityRow("p", "c", name, confidence, agreement, expected, verdict, "", dice)


class TestTable:
    def test_dice_of_a_case(self):
        scores = [score("a", 0.8), score("a", 0.6, frame=1), score("b", 0.5), score("b", 1.0, frame=1, empty=True)]
        assert case_dice(scores) == {
            "a": pytest.approx(0.7),
            "b": pytest.approx(0.5),
            "foreground": pytest.approx(0.6),
        }

    def test_what_was_not_predicted_has_no_confidence(self):
        sure = Confidence({"a": 0.9, "b": math.nan}, 0.9, 0.1)
        rows = quality_rows(
            [score("a", 0.8), score("b", 0.0)],
            sure,
            verdict="check",
            reasons=["hole", "hole"],
            expected_dice={"b": 0.1, "foreground": 0.7},
        )
        assert [(r.class_name, r.confidence, r.dice) for r in rows] == [
            ("a", 0.9, 0.8),
            ("b", 0.0, 0.0),
            ("foreground", 0.9, 0.4),
        ]
        assert [r.reasons for r in rows] == ["hole"] * 3
        assert [r.expected_dice for r in rows][1:] == [0.1, 0.7]
        assert math.isnan(rows[0].expected_dice)
        assert all(math.isnan(r.agreement) for r in rows)
        several = dataclasses.replace(sure, agreement=0.95)
        row = quality_rows([score("a", 0.8)], several, verdict="good", reasons=[], expected_dice={})[-1]
        assert row.agreement == 0.95

    def test_summary_by_hand(self):
        rows = [row(0.9, 0.9), row(0.8, 0.6, "check"), row(0.7, 0.8, expected=0.7), row(0.6, 0.5, "reject")]
        found = summarise_quality(rows)
        assert found["classes"]["foreground"] == {
            "n": 4,
            "bad": 2,
            # Ranks 4 3 2 1 against 4 2 3 1: 1 − 6·2/60.
            "spearman": pytest.approx(0.8),
            # Bad have 0.8 and 0.6, good 0.9 and 0.7: of four pairs three are right.
            "auc": pytest.approx(0.75),
        }
        assert found["verdicts"]["good"] == {"n": 2, "bad": 0, "dice": pytest.approx(0.85)}
        assert found["verdicts"]["reject"] == {"n": 1, "bad": 1, "dice": 0.5}
        assert found["expected_mae"] == {"n": 1, "mae": pytest.approx(0.1)}
        assert "agreement" not in found

    def test_agreement_is_judged_like_confidence(self):
        rows = [row(0.5, dice, agreement=agreement) for agreement, dice in ((0.9, 0.9), (0.8, 0.6), (0.7, 0.8))]
        # Ranks 3 2 1 against 3 1 2: 1 − 6·2/24; of the pairs bad and good, (0.8, 0.9) is right and (0.8, 0.7) wrong.
        assert summarise_quality(rows)["agreement"] == {
            "n": 3,
            "bad": 1,
            "spearman": pytest.approx(0.5),
            "auc": pytest.approx(0.5),
        }

    def test_comes_back(self, tmp_path):
        rows = [row(0.9, 0.9, expected=0.8, agreement=0.75), row(0.25, 0.125, "check")]
        write_quality(rows, tmp_path)
        found = read_quality(tmp_path)
        assert found[0] == rows[0]
        undefined = {"expected_dice": 0, "agreement": 0}
        assert dataclasses.replace(found[1], **undefined) == dataclasses.replace(rows[1], **undefined)
        assert read_quality(tmp_path / "none") == []
