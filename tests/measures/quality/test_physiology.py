"""Findings that contradict physiology, on curves that were made to have them, and none on a heart that is well."""

import dataclasses

import numpy as np
import pytest

from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES
from foanet_jax.measures.indices.study import join_frames, measure_study
from foanet_jax.measures.indices.ventricle import ventricle_of_volumes
from foanet_jax.measures.quality.physiology import check_beat

FRAMES = 20


def wave(low, high, frames=FRAMES, es=8):
    """(T,) a volume that is largest in frame 0 and smallest in frame `es`."""
    down = np.linspace(high, low, es + 1)
    return np.concatenate([down, np.linspace(low, high, frames - es + 1)[1:-1]])


def beat(left=(60, 130), right=(60, 130), wall=(100, 115), *, late=0):
    """Ventricles whose right one is smallest `late` frames after the left one."""
    volumes = {
        "right ventricle": wave(*right, es=8 + late),
        "myocardium": wave(*wall)[::-1],
        "cavity": wave(*left),
    }
    return ventricle_of_volumes(volumes, classes=ACDC_CLASSES)


def codes(ventricles):
    return [finding.code for finding in check_beat(ventricles)]


def test_a_heart_that_is_well():
    assert check_beat(beat()) == []


class TestStrokeVolumes:
    @pytest.mark.parametrize(("right", "told"), [((100, 132), False), ((100, 131), True)])
    def test_too_little(self, right, told):
        # The left ventricle ejects 70 ml; 32 are 0.457 of them, 31 are 0.443.
        assert codes(beat(right=right)) == (["stroke-volumes"] if told else [])

    @pytest.mark.parametrize(("right", "told"), [((60, 199), False), ((60, 201), True)])
    def test_too_much(self, right, told):
        assert codes(beat(right=right)) == (["stroke-volumes"] if told else [])

    def test_names_class_value_and_limit(self):
        (finding,) = check_beat(beat(right=(100, 117.5)))
        assert finding.class_name == "right ventricle"
        assert (finding.value, finding.limit) == (pytest.approx(0.25), 0.45)
        assert "ejects 18 ml and the left 70 ml, a ratio of 0.25" in finding.message

    def test_a_right_ventricle_that_fills_in_systole(self):
        right = np.linspace(100, 120, FRAMES)
        volumes = {"right ventricle": right, "myocardium": wave(100, 110), "cavity": wave(60, 130)}
        found = check_beat(ventricle_of_volumes(volumes, classes=ACDC_CLASSES))
        # 100 ml at end diastole, 108.4 ml at end systole: −8.4 of 70 ml.
        assert [finding.value for finding in found if finding.code == "stroke-volumes"] == [
            pytest.approx(-0.12, abs=1e-2)
        ]

    def test_without_a_right_ventricle_there_is_nothing_to_compare(self):
        volumes = {"myocardium": wave(100, 110), "cavity": wave(60, 130)}
        assert check_beat(ventricle_of_volumes(volumes, classes=LV_CLASSES)) == []


class TestStep:
    @pytest.mark.parametrize(("late", "told"), [(0, False), (3, False), (4, True), (-4, True)])
    def test_frames_apart(self, late, told):
        # 0.15 of 20 frames are 3.
        found = [finding for finding in check_beat(beat(late=late)) if finding.code == "out-of-step"]
        assert len(found) == told
        for finding in found:
            assert (finding.class_name, finding.frame, finding.value, finding.limit) == ("right ventricle", 8, 4, 3)
            assert f"smallest in frame {8 + late + 1}" in finding.message

    def test_the_beat_is_a_cycle(self):
        # The left ventricle is smallest in the last frame, the right one in the second: two frames later.
        left, right = np.roll(wave(60, 130), -9), np.roll(wave(60, 130), -7)
        volumes = {"right ventricle": right, "myocardium": wave(100, 110), "cavity": left}
        ventricles = ventricle_of_volumes(volumes, classes=ACDC_CLASSES)
        assert (ventricles.es, int(right.argmin())) == (19, 1)
        assert "out-of-step" not in codes(ventricles)

    def test_a_flat_minimum_has_no_moment(self):
        # Frame 13 is only 5 of 70 ml below end systole, less than a tenth.
        right = wave(60, 130)
        right[9:14] = 60
        right[13] = 55
        volumes = {"right ventricle": right, "myocardium": wave(100, 110), "cavity": wave(60, 130)}
        assert codes(ventricle_of_volumes(volumes, classes=ACDC_CLASSES)) == []

    def test_two_frames_are_no_curve(self):
        volumes = {
            "right ventricle": np.array([70.0, 130.0]),
            "myocardium": np.array([100.0, 110.0]),
            "cavity": np.array([130.0, 60.0]),
        }
        assert codes(ventricle_of_volumes(volumes, classes=ACDC_CLASSES)) == ["stroke-volumes"]


class TestMyocardium:
    @pytest.mark.parametrize(("wall", "told"), [((100, 135), False), ((100, 137), True)])
    def test_largest_over_smallest(self, wall, told):
        found = check_beat(beat(wall=wall))
        assert [finding.code for finding in found] == (["myocardium-varies"] if told else [])
        for finding in found:
            assert (finding.class_name, finding.value, finding.limit) == ("myocardium", pytest.approx(1.37), 1.36)

    def test_frames_without_myocardium_are_another_finding(self):
        ventricles = beat()
        curve = ventricles.myocardium_ml.copy()
        curve[4] = np.nan
        assert check_beat(dataclasses.replace(ventricles, myocardium_ml=curve)) == []

    def test_tables_without_a_curve(self):
        assert check_beat(dataclasses.replace(beat(), myocardium_ml=np.empty(0))) == []


@pytest.mark.parametrize("patient", range(3))
def test_the_phantom_s_exact_truth_contradicts_nothing(patient):
    study = short_axis_stack(patient, size=160, frames=16, noise=0)
    indices = measure_study(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
    assert indices.ventricles is not None
    assert check_beat(indices.ventricles) == []


def test_the_experts_contours_of_acdc(shared_data):
    """The limits were chosen on these: 5 stroke volumes below, 4 above, and 5 myocardia beyond, of 100 patients."""
    studies = {ref.case: ref.load() for ref in list_acdc(shared_data("acdc"))}
    indices = {
        case: measure_study(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        for case, study in studies.items()
    }
    findings = [
        finding for ventricles in join_frames(indices, ACDC_CLASSES).values() for finding in check_beat(ventricles)
    ]
    strokes = [finding.value for finding in findings if finding.code == "stroke-volumes"]
    assert (sum(ratio < 1 for ratio in strokes), sum(ratio > 1 for ratio in strokes)) == (5, 4)
    assert sum(finding.code == "myocardium-varies" for finding in findings) == 5
    assert len(findings) == 14
