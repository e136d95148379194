"""The benchmark of the beat: its measures by hand, and the command on a small phantom and on real cines."""

import json
import math

import numpy as np
import pytest

from benchmarks import beat
from benchmarks.beat import agreement_table, coherence_table
from benchmarks.cines import acdc_cines, phantom_cine, sunnybrook_cines
from benchmarks.coherence import (
    Truth,
    agreement,
    coherence,
    neighbour_dice,
    roughness,
    stroke_ratio,
    systole_gap,
    variation,
    volumes_ml,
)
from foanet_jax.data.study import ACDC_CLASSES

RV, WALL, CAVITY = 1, 2, 3


def test_variation_is_the_deviation_over_the_mean():
    # Mean 4, squared deviations 4, 0, 0, 4: σ = √2.
    assert variation(np.array([2.0, 4, 4, 6])) == pytest.approx(math.sqrt(2) / 4)
    assert variation(np.full(5, 7.0)) == 0
    assert math.isnan(variation(np.zeros(3)))


def test_roughness_is_the_largest_second_difference():
    # Second differences −2 and 5 of a median of 4.5.
    assert roughness(np.array([1.0, 4, 5, 11])) == pytest.approx(5 / 4.5)
    assert roughness(np.arange(1.0, 9)) == 0
    # One frame that is off by d has a second difference of 2d.
    curve = np.full(9, 100.0)
    curve[4] += 10
    assert roughness(curve) == pytest.approx(0.2)
    assert math.isnan(roughness(np.array([1.0, 2])))
    assert math.isnan(roughness(np.zeros(4)))


def test_stroke_volumes_are_between_the_left_ones_moments():
    left, right = np.array([100.0, 60, 40, 80]), np.array([90.0, 20, 45, 95])
    assert stroke_ratio(right, left) == pytest.approx(45 / 60)
    assert math.isnan(stroke_ratio(right, np.full(4, 50.0)))


def test_end_systoles_apart_are_counted_round_the_beat():
    curve = np.array([0.0, 5, 5, 5, 5, 5])
    assert systole_gap(curve, np.roll(curve, 2)) == 2
    assert systole_gap(curve, np.roll(curve, 5)) == 1
    assert math.isnan(systole_gap(np.zeros(6), curve))


def test_neighbours_are_compared_in_order():
    mask = np.zeros((4, 1, 1, 4), bool)
    mask[0, 0, 0, :2] = mask[1, 0, 0, 1:3] = True
    # 2·1/(2+2) = 0.5; then 0 with the empty frame; the two empty frames do not count.
    assert neighbour_dice(mask) == pytest.approx(0.25)
    assert math.isnan(neighbour_dice(np.zeros((3, 1, 2, 2), bool)))


def beating():
    """Masks of three frames of 2 × 4 × 4 voxels of 0.5 ml: cavity 8, 4, 6, wall 8, 8, 8, RV 6, 4, 5 voxels."""
    mask = np.zeros((3, 2, 4, 4), np.uint8)
    for t, (right, wall, cavity) in enumerate(((6, 8, 8), (4, 8, 4), (5, 8, 6))):
        flat = np.repeat([CAVITY, WALL, RV], [cavity, wall, right])
        mask[t].reshape(-1)[: len(flat)] = flat
    return mask, (20.0, 5.0, 5.0)


def test_the_coherence_of_a_mask():
    mask, spacing = beating()
    assert volumes_ml(mask, ACDC_CLASSES, spacing)["cavity"] == pytest.approx([4, 2, 3])
    found = coherence(mask, ACDC_CLASSES, spacing)
    assert (found.myocardium_cv, found.systole_gap) == (0, 0)
    assert found.stroke_ratio == pytest.approx(2 / 4)
    assert found.roughness == pytest.approx({"right ventricle": 3 / 5, "myocardium": 0, "cavity": 6 / 6})
    # Cavity: 2·4/12 and 2·4/10.
    assert found.neighbour_dice["cavity"] == pytest.approx((8 / 12 + 8 / 10) / 2)


def test_agreement_counts_only_what_is_known():
    mask, spacing = beating()
    first = np.zeros((1, 4, 4), bool)
    first.reshape(-1)[:6] = True
    second = np.zeros((1, 4, 4), bool)
    second.reshape(-1)[:3] = True
    wall = np.zeros((1, 4, 4), bool)
    wall.reshape(-1)[6:16] = True
    truths = [Truth(0, "cavity", (0,), first), Truth(1, "cavity", (0,), second), Truth(0, "myocardium", (0,), wall)]
    found = agreement(mask, truths, ACDC_CLASSES, spacing)
    # In slice 0 the mask has at ED 8 voxels of cavity and 8 of wall, at ES 4 of cavity.
    assert found.dice == pytest.approx({"cavity, ED": 12 / 14, "cavity, ES": 6 / 7, "myocardium, ED": 16 / 18})
    assert found.true == pytest.approx({"edv_ml": 3, "esv_ml": 1.5, "ef_percent": 50, "mass_g": 5 * 1.05})
    assert found.predicted == pytest.approx({"edv_ml": 4, "esv_ml": 2, "ef_percent": 50, "mass_g": 4 * 1.05})
    with pytest.raises(ValueError, match="known in 1 frames"):
        agreement(mask, truths[:1], ACDC_CLASSES, spacing)


def test_what_is_known_of_a_phantom_are_its_labels():
    cine = phantom_cine(1, frames=2, size=96)
    assert cine.study.labels is None
    assert [(truth.frame, truth.class_name) for truth in cine.truths] == [
        (t, name) for t in (0, 1) for name in ACDC_CLASSES[1:]
    ]
    assert cine.truths[0].mask.shape == cine.study.voxels.shape[1:]


def test_the_command_measures_a_phantom(tmp_path, capsys):
    assert beat.main(["--tiny", "--out", str(tmp_path)]) == 0
    outcome, averaged = json.loads((tmp_path / "beat.json").read_text())["outcomes"]
    assert (outcome["temporal"], averaged["temporal"]) == ("none", "motion")
    assert averaged["found"]["neighbour_dice"]["myocardium"] >= outcome["found"]["neighbour_dice"]["myocardium"]
    assert outcome["cine"] == "phantom000"
    assert len(outcome["curves_ml"]["cavity"]) == len(outcome["true_curves_ml"]["cavity"]) == outcome["shape"][0] == 6
    for name in ("right ventricle", "myocardium", "cavity"):
        assert outcome["agreement"]["dice"][f"{name}, ED"] > 0.8
    assert set(outcome["agreement"]["predicted"]) == set(outcome["agreement"]["true"])
    text = (tmp_path / "beat.md").read_text()
    assert "phantom000, truth" in text
    assert text.split("\n\n")[0] in capsys.readouterr().out
    assert (tmp_path / "beat.png").stat().st_size > 0


def test_a_folder_without_data_is_refused(tmp_path, capsys):
    assert beat.main(["--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert f"{tmp_path}: has no folder acdc or sunnybrook" in capsys.readouterr().err


def test_an_unknown_way_is_refused(tmp_path, capsys):
    assert beat.main(["--tiny", "--temporal", "median", "--out", str(tmp_path)]) == 2
    assert "--temporal=median: no median; there are none, motion" in capsys.readouterr().err


def test_what_is_not_known_is_a_dash():
    mask, spacing = beating()
    found = coherence(mask[:2], ACDC_CLASSES, spacing)
    outcome = beat.Outcome("heart", "none", mask[:2].shape, found, None, None, {}, {})
    assert "–" in coherence_table([outcome])
    assert agreement_table([outcome]) == ""


def test_the_contours_of_the_real_cines(shared_data):
    cines = list(sunnybrook_cines(shared_data("sunnybrook")))
    assert [cine.study.case for cine in cines] == ["SC-HF-I-1", "SC-HF-I-4"]
    for cine in cines:
        moments = {name: {t.frame for t in cine.truths if t.class_name == name} for name in ("cavity", "myocardium")}
        assert len(moments["cavity"]) == 2
        assert moments["myocardium"] < moments["cavity"]


def test_the_labels_of_the_real_cine(shared_data):
    (cine,) = acdc_cines(shared_data("acdc"))
    assert {truth.frame for truth in cine.truths} == {3, 10}
    found = agreement(np.zeros(cine.study.voxels.shape, np.uint8), cine.truths, ACDC_CLASSES, cine.study.spacing_mm)
    assert found.true["edv_ml"] > found.true["esv_ml"] > 0
    assert set(found.dice.values()) == {0.0}
