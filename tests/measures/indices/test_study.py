"""A study's indices, their comparison with the truth and their tables."""

import dataclasses
import math
import re

import numpy as np
import pytest

from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.measures.indices.compare import (
    IndexPair,
    compare_indices,
    format_scores,
    pair_indices,
    read_pairs,
    score_pairs,
    write_pairs,
)
from foanet_jax.measures.indices.short_axis import LvIndices
from foanet_jax.measures.indices.study import headline, join_frames, measure_study
from foanet_jax.measures.indices.tables import (
    read_lv_indices,
    read_ventricles,
    write_lv_indices,
    write_ventricles,
    write_volumes,
)
from foanet_jax.measures.indices.ventricle import ventricle
from foanet_jax.system.errors import InputError
from tests.measures.indices.masks import BEATING, SPACING, blocks, measure, ring


class TestStudy:
    ML = (10.0, 10.0, 10.0)

    def test_a_cine_of_one_slice(self):
        mask = np.concatenate([ring(20), ring(14), ring(17)])
        indices = measure_study(mask, classes=LV_CLASSES, spacing_mm=SPACING)
        assert (indices.ventricles, indices.volumes_ml) == (None, {})
        found = headline(indices)
        assert found["cavity_area_max_mm2"] == pytest.approx(math.pi * 400, rel=0.01)
        assert found["cavity_area_min_mm2"] == pytest.approx(math.pi * 196, rel=0.01)
        assert found["wall_at_max_mm"] == pytest.approx(9, abs=0.15)

    def test_a_stack_over_time(self):
        mask = BEATING
        indices = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=self.ML)
        assert indices.slices.cavity_area_mm2.shape == (4, 2)
        assert headline(indices)["lv_ef_percent"] == pytest.approx(60)
        assert indices.ventricles.columns() == ventricle(mask, classes=ACDC_CLASSES, spacing_mm=self.ML).columns()

    def test_a_whole_heart_has_its_seven_volumes(self):
        study = whole_heart_study(0, shape=(24, 48, 48))
        indices = measure_study(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        assert indices.slices is None
        assert list(headline(indices)) == [f"{name.replace(' ', '_')}_ml" for name in WHOLE_HEART_CLASSES[1:]]

    def test_classes_of_ones_own_have_volumes_alone(self):
        mask = np.concatenate([blocks((30,)), blocks((20,))])
        indices = measure_study(mask, classes=("background", "scar"), spacing_mm=self.ML)
        assert (indices.slices, indices.ventricles) == (None, None)
        np.testing.assert_array_equal(indices.volumes_ml["scar"], [30, 20])

    def test_a_patients_frames_are_joined_in_their_order(self):
        frames = {"a_frame12": (32, 64), "a_frame01": (80, 60), "b_frame01": (70, 60), "c": (60, 60)}
        studies = {
            case: measure_study(blocks((40, wall, blood)), classes=ACDC_CLASSES, spacing_mm=self.ML)
            for case, (blood, wall) in frames.items()
        }
        joined = join_frames(studies, ACDC_CLASSES)
        assert list(joined) == ["a"]
        np.testing.assert_array_equal(joined["a"].left.volumes_ml, [80, 32])
        assert joined["a"].left.ef_percent == pytest.approx(60)
        assert joined["a"].mass_g == pytest.approx(63)
        assert join_frames(studies, ("background", "scar", "fat", "blood")) == {}

    def test_volumes_as_a_table(self, tmp_path):
        write_volumes({"left atrium": np.array([30.5, 28.0])}, tmp_path / "v.csv")
        assert (tmp_path / "v.csv").read_text().splitlines() == ["frame,left_atrium_ml", "0,30.5", "1,28.0"]
        write_volumes({"cavity": np.array([30.5, 28.0])}, tmp_path / "v.csv", frame_seconds=0.0375)
        assert (tmp_path / "v.csv").read_text().splitlines() == ["frame,time_ms,cavity_ml", "0,0.0,30.5", "1,37.5,28.0"]


class TestComparison:
    def test_bias_and_its_spread_by_hand(self):
        pairs = [
            IndexPair("p", "c", t, None, "x_ml", truth + off, truth)
            for t, (truth, off) in enumerate([(10.0, 1.0), (20.0, -3.0), (30.0, 5.0)])
        ]
        (score,) = score_pairs(pairs).values()
        assert (score.mae, score.bias, score.sd) == (pytest.approx(3), pytest.approx(1), pytest.approx(4))
        text = format_scores({"x_ml": score})
        assert "+1.00 ± 4.00" in text
        assert re.fullmatch(r"\| -+ \|( -+: \|)+", format_scores({"x_ml": score}, markdown=True).splitlines()[1])
        assert math.isnan(score_pairs(pairs[:1])["x_ml"].sd)

    def test_pairs_have_their_place_and_come_back(self, tmp_path):
        indices = measure(np.concatenate([np.concatenate([ring(r), ring(r - 2)], axis=1) for r in (20, 14)]))
        pairs = pair_indices(indices, indices, patient="p", case="c")
        areas = [(pair.frame, pair.slice_) for pair in pairs if pair.index == "cavity_area_mm2"]
        assert areas == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert [(pair.frame, pair.slice_) for pair in pairs if pair.index == "phase"] == [(0, None), (1, None)]
        write_pairs(pairs, tmp_path / "pairs.csv")
        assert read_pairs(tmp_path / "pairs.csv") == pairs
        assert read_pairs(tmp_path / "none.csv") == []

    def test_by_hand(self):
        true = measure(np.concatenate([ring(20), ring(14), ring(17)]))
        predicted = dataclasses.replace(
            true,
            cavity_area_mm2=true.cavity_area_mm2 + np.array([[30.0], [-60.0], [0.0]]),
            rwt_mm=np.where(np.arange(6) == 0, np.nan, true.rwt_mm),
            phase=np.array([0.0, 0.0, 0.0]),
        )
        scores = compare_indices({"a": predicted}, {"a": true})
        assert scores["cavity_area_mm2"].mae == pytest.approx(30)
        expected = np.corrcoef(predicted.cavity_area_mm2.ravel(), true.cavity_area_mm2.ravel())[0, 1]
        assert scores["cavity_area_mm2"].pearson == pytest.approx(expected)
        assert scores["phase"].mae == pytest.approx(1 / 3)
        missing = scores["rwt_is_mm"]
        assert (missing.n, missing.missing, missing.unknown) == (0, 3, 0)
        assert math.isnan(missing.mae)
        assert scores["rwt_i_mm"].mae == 0
        assert (scores["rwt_i_mm"].n, scores["rwt_i_mm"].missing) == (3, 0)

    def test_of_ventricles_over_patients(self):
        ml = {"classes": LV_CLASSES, "spacing_mm": (10.0, 10.0, 10.0)}
        true = {name: ventricle(blocks((60, edv), (60, 40)), **ml) for name, edv in (("a", 80), ("b", 100))}
        predicted = {name: ventricle(blocks((60, edv), (60, 40)), **ml) for name, edv in (("a", 90), ("b", 96))}
        scores = compare_indices(predicted, true)
        assert scores["lv_edv_ml"].mae == pytest.approx(7)
        assert scores["lv_edv_ml"].pearson == pytest.approx(1)
        assert math.isnan(scores["lv_mass_g"].pearson)
        assert scores["rv_edv_ml"].unknown == 2

    def test_what_does_not_pair_is_refused(self):
        one, two = measure(ring()), measure(np.concatenate([ring(), ring()]))
        with pytest.raises(InputError, match="a, b"):
            compare_indices({"a": one}, {"b": one})
        with pytest.raises(InputError, match=r"is \(1, 1\), but \(2, 1\) in the truth"):
            compare_indices({"a": one}, {"a": two})


class TestTables:
    def test_lv_indices_come_back(self, tmp_path):
        mask = np.concatenate([np.concatenate([ring(r), np.zeros_like(ring())], axis=1) for r in (20, 14)])
        indices = {"case,1": measure(mask), "case 2": measure(ring())}
        write_lv_indices(indices, tmp_path / "new" / "lv.csv")
        read = read_lv_indices(tmp_path / "new" / "lv.csv")
        assert list(read) == list(indices)
        for case, measured in indices.items():
            for field in dataclasses.fields(LvIndices):
                np.testing.assert_array_equal(getattr(read[case], field.name), getattr(measured, field.name))
        header = (tmp_path / "new" / "lv.csv").read_text().splitlines()[0]
        assert header == (
            "case,frame,slice,counts,cavity_area_mm2,myocardium_area_mm2,dim_is_al_mm,dim_i_a_mm,dim_il_as_mm,"
            "rwt_is_mm,rwt_i_mm,rwt_il_mm,rwt_al_mm,rwt_a_mm,rwt_as_mm,phase,wall_directions,flags"
        )

    def test_ventricles_come_back(self, tmp_path):
        ml = (10.0, 10.0, 10.0)
        empty = np.zeros((2, 2, 4, 4), np.uint8)
        indices = {
            "a": ventricle(BEATING, classes=ACDC_CLASSES, spacing_mm=ml),
            "b": ventricle(empty, classes=LV_CLASSES, spacing_mm=ml),
        }
        write_ventricles(indices, tmp_path / "v.csv")
        read = read_ventricles(tmp_path / "v.csv")
        for case, measured in indices.items():
            assert (read[case].ed, read[case].es, read[case].flags) == (measured.ed, measured.es, measured.flags)
            np.testing.assert_array_equal(list(read[case].columns().values()), list(measured.columns().values()))
            for side in ("left", "right"):
                curves = (getattr(each[case], side).volumes_ml for each in (read, indices))
                np.testing.assert_array_equal(*curves)

    def test_what_is_no_such_table_is_refused(self, tmp_path):
        path = tmp_path / "v.csv"
        write_lv_indices({"a": measure(np.concatenate([ring(), ring()]))}, path)
        with pytest.raises(InputError, match="ventricular"):
            read_ventricles(path)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], lines[2]]))
        with pytest.raises(InputError, match="one row for each frame and slice"):
            read_lv_indices(path)
        path.write_text("\n".join([lines[0], lines[1][:40]]))
        with pytest.raises(InputError, match="row 1"):
            read_lv_indices(path)
        with pytest.raises(InputError, match="no indices"):
            write_lv_indices({}, path)
