"""Every finding on a mask that was made to have it, and none on hearts that are well."""

import dataclasses

import numpy as np
import pytest

from foanet_jax import pipeline
from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.image.confidence import Confidence
from foanet_jax.measures.indices.study import measure_study
from foanet_jax.measures.quality.calibration import Calibration, Curve
from foanet_jax.measures.quality.finding import Finding, first_of_each, summed_up
from foanet_jax.measures.quality.picture import check_image, measure_image, training_range
from foanet_jax.measures.quality.plausible import check_study, check_ventricles, jumps, middle_half
from foanet_jax.measures.quality.review import Expectations, describe, review_study
from foanet_jax.measures.quality.shape import check_shapes, open_shares
from foanet_jax.pipeline import AT_BORDER, BLANK, EMPTY, NO_CONTRAST, NOT_LOCALIZED, UNEVEN, Prediction

SPACING = (10.0, 1.0, 1.0)


def heart(frames=1, slices=5, size=80, inner=20, outer=28):
    """(T, Z, H, W) concentric rings, labels of LV_CLASSES, px of 1 mm."""
    rows, columns = np.indices((size, size))
    radius = np.hypot(rows - 40, columns - 40)
    plane = np.where(radius < inner, 2, np.where(radius < outer, 1, 0)).astype(np.uint8)
    return np.tile(plane, (frames, slices, 1, 1))


def found(mask, classes=LV_CLASSES, spacing_mm=SPACING):
    indices = measure_study(mask, classes=classes, spacing_mm=spacing_mm)
    return [*check_shapes(mask, classes=classes, spacing_mm=spacing_mm), *check_study(indices)]


def places(findings):
    return [(finding.code, finding.frame, finding.slice_) for finding in findings]


class TestShapes:
    @pytest.mark.parametrize("patient", range(3))
    def test_phantoms_are_well(self, patient):
        for study in (short_axis_study(patient, size=128), short_axis_stack(patient, size=160, noise=0)):
            assert found(study.labels, study.classes, study.spacing_mm) == []

    def test_a_whole_heart_is_not_asked_for_rings(self):
        study = whole_heart_study(0, shape=(24, 48, 48))
        codes = {finding.code for finding in check_shapes(study.labels, classes=study.classes, spacing_mm=SPACING)}
        assert not codes & {"open-myocardium", "hole", "fragmented"}
        assert study.classes == WHOLE_HEART_CLASSES

    def test_a_wall_in_pieces(self):
        mask = heart()
        mask[0, 2, 2:6, 2:6] = 1
        assert places(found(mask)) == [("fragmented", 0, 2)]
        assert "the myocardium is in 2 pieces; the second has 16 mm²" in str(found(mask)[0])
        mask[0, 2, 2:6, 2:6] = 0
        mask[0, 2, 2:5, 2:5] = 1  # 9 mm² are let pass.
        assert found(mask) == []

    def test_a_cavity_in_pieces(self):
        mask = heart()
        mask[0, 3, 15:20, 38:42] = 2
        assert ("fragmented", 0, 3) in places(found(mask))

    def test_a_hole_in_the_wall(self):
        mask = heart()
        mask[0, 1, 38:42, 62:66] = 0
        assert places(found(mask)) == [("hole", 0, 1)]

    @pytest.mark.parametrize(("slice_", "told"), [(0, False), (2, True), (4, False)])
    def test_an_open_ring_is_let_pass_at_the_ends_alone(self, slice_, told):
        mask = heart()
        # A wedge of 90°: a quarter of the outline.
        rows, columns = np.indices((80, 80))
        wedge = (columns - 40) > np.abs(rows - 40)
        mask[0, slice_][(mask[0, slice_] == 1) & wedge] = 0
        assert (("open-myocardium", 0, slice_) in places(found(mask))) == told

    def test_at_the_ends_half_of_the_ring_must_be_there(self):
        mask = heart()
        mask[0, 0][mask[0, 0] == 1] = 0
        assert ("open-myocardium", 0, 0) in places(found(mask))

    def test_a_single_slice_is_no_end(self):
        mask = heart(slices=1)
        mask[0, 0, :40][mask[0, 0, :40] == 1] = 0
        assert ("open-myocardium", 0, 0) in places(found(mask))

    def test_share_of_an_outline_by_hand(self):
        cavity, wall = np.zeros((2, 2, 6, 6), bool)
        cavity[0, 2:4, 2:4] = True  # 8 sides, of which the 2 above and the 2 below touch the wall
        wall[0, 1, 2:4] = wall[0, 4, 2:4] = True
        shares = open_shares(cavity, wall)
        assert shares[0] == 0.5
        assert np.isnan(shares[1])

    def test_a_right_ventricle_does_not_close_the_ring(self):
        mask = heart() + (heart() > 0)  # myocardium 2, cavity 3
        mask[0, 2, :, 40:][mask[0, 2, :, 40:] == 2] = 1
        mask[0, :, 0:9, 0:9] = 1
        assert places(check_shapes(mask, classes=ACDC_CLASSES, spacing_mm=SPACING)) == [("open-myocardium", 0, 2)]

    def test_a_gap_between_slices(self):
        mask = heart(frames=2)
        mask[1, 2][mask[1, 2] == 2] = 1
        assert places(found(mask)) == [("class-gap", 1, 2)]
        assert "the cavity is missing between slices" in str(found(mask)[0])

    def test_a_class_that_is_nowhere(self):
        mask = heart()
        mask[mask == 1] = 0
        assert ("class-absent", None, None) in places(found(mask))

    def test_a_frame_without_a_heart(self):
        mask = heart(frames=3)
        mask[1] = 0
        assert places(check_shapes(mask, classes=LV_CLASSES, spacing_mm=SPACING)) == [("class-vanishes", 1, None)] * 2

    def test_a_right_ventricle_that_vanishes_for_a_frame(self):
        mask = heart(frames=3) + (heart(frames=3) > 0)  # myocardium 2, cavity 3
        mask[:, :, 0:12, 0:12] = 1
        mask[2, :, 0:12, 0:12] = 0
        (finding,) = check_shapes(mask, classes=ACDC_CLASSES, spacing_mm=SPACING)
        assert (finding.code, finding.frame, finding.class_name) == ("class-vanishes", 2, "right ventricle")
        assert finding.message == "the right ventricle is missing in this frame; 2 of 3 frames have it"

    @pytest.mark.parametrize(("side", "frames", "told"), [(11, 12, True), (10, 12, False), (11, 11, False)])
    def test_a_slice_whose_cavity_blinks(self, side, frames, told):
        mask = heart(frames=frames)
        mask[:, 0][mask[:, 0] == 2] = 1
        mask[:, 0, 30 : 30 + side, 30 : 30 + side] = 2  # 121 mm² or 100
        mask[5, 0][mask[5, 0] == 2] = 1
        findings = [
            f for f in check_shapes(mask, classes=LV_CLASSES, spacing_mm=SPACING) if f.code != "open-myocardium"
        ]
        assert places(findings) == ([("class-vanishes", 5, 0)] if told else [])

    def test_a_slice_that_closes_for_two_frames_does_not_blink(self):
        mask = heart(frames=12)
        mask[5:7, 4][mask[5:7, 4] == 2] = 1
        assert check_shapes(mask, classes=LV_CLASSES, spacing_mm=SPACING) == []

    def test_class_value_and_limit(self):
        mask = heart()
        mask[0, 2, 2:6, 2:6] = 1  # 16 mm²
        (finding,) = found(mask)
        assert (finding.class_name, finding.value, finding.limit) == ("myocardium", 16, 10)


class TestNumbers:
    def test_a_cavity_too_large_for_a_heart(self):
        # 5 slices of π·20² mm² 10 mm apart are 62.8 ml; 3 mm pixels make them 565 ml.
        codes = {finding.code for finding in found(heart(), spacing_mm=(10.0, 3.0, 3.0))}
        assert codes == {"implausible-volume"}

    def test_an_ejection_fraction_that_no_heart_has(self):
        mask = np.concatenate([heart(), heart(inner=5)])
        indices = measure_study(mask, classes=LV_CLASSES, spacing_mm=SPACING)
        messages = [str(finding) for finding in check_ventricles(indices.ventricles)]
        # 1 − (81 pixels)/(1257 pixels); their volumes: 62.8 and 3.5 ml or so.
        assert any(message.startswith("lv_ef_percent is 94") for message in messages)
        assert any(message.startswith("lv_esv_ml is") for message in messages)

    @pytest.mark.parametrize(("side", "told"), [(8, True), (12, False)])
    def test_a_right_ventricle_that_is_hardly_drawn(self, side, told):
        mask = np.concatenate([heart() + (heart() > 0)] * 2)  # myocardium 2, cavity 3: 1,245 pixels of each slice
        mask[:, :, 0:12, 0:12] = 1
        mask[1, :, 0:12, 0:12] = 0
        mask[1, :, 0:side, 0:side] = 1  # 64 are 0.05 of them, 144 0.12
        findings = check_study(measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING))
        of_both = [finding for finding in findings if "ml, a ratio of" in finding.message]
        assert places(of_both) == ([("implausible-volume", 1, None)] if told else [])

    def test_a_left_ventricle_taken_for_the_right(self):
        mask = heart() + (heart() > 0)
        mask[mask == 3] = 1
        mask[:, :, 38:43, 38:43] = 3  # 1,220 pixels and 25
        findings = check_study(measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING))
        assert any("a ratio of 48.80; plausible values are 0.08 to 10" in finding.message for finding in findings)

    def test_a_wall_that_is_too_thin_or_too_thick(self):
        assert {f.code for f in found(heart(inner=20, outer=21), spacing_mm=(10.0, 1.0, 1.0))} >= {"implausible-wall"}
        thick = [f for f in found(heart(inner=10, outer=39), spacing_mm=(20.0, 1.5, 1.5)) if f.code != "fragmented"]
        assert {f.code for f in thick} == {"implausible-wall"}
        # Of five slices the middle three are looked at, six sectors in each.
        assert len(thick) == 18

    def test_middle_half(self):
        np.testing.assert_array_equal(middle_half([False, *[True] * 8, False]), [3, 4, 5, 6])
        np.testing.assert_array_equal(middle_half([True]), [0])

    def test_a_jump_by_hand(self):
        curve = np.full(12, 100.0)
        curve[4] = 120
        # The second difference is 40 at frame 4 and 20 at its neighbours, over a median of 100.
        np.testing.assert_array_equal(jumps(curve), [4])
        curve[4] = 112
        assert len(jumps(curve)) == 0
        assert len(jumps(curve[:11] + 100 * (np.arange(11) == 3))) == 0  # too short for a beat
        assert len(jumps(np.zeros(20))) == 0

    def test_a_frame_that_jumps(self):
        study = short_axis_study(1, size=128, frames=20)
        mask = study.labels.copy()
        rows, columns = np.nonzero(mask[6, 0] == 2)
        half = columns < columns.mean()
        mask[6, 0, rows[half], columns[half]] = 1
        codes = {(finding.code, finding.frame) for finding in found(mask, study.classes, study.spacing_mm)}
        assert codes == {("jump", 6)}


class TestPicture:
    def study(self, **changes):
        return dataclasses.replace(short_axis_stack(2, size=96, slices=4), **changes)

    def test_scale_and_offset_do_not_matter(self):
        study = self.study()
        other = self.study(voxels=study.voxels * 7 + 300)
        for name, value in measure_image(study).items():
            assert measure_image(other)[name] == pytest.approx(value, rel=1e-3)

    def test_by_hand(self):
        # Columns of 0 and 1 in turns: every step is as large as the span, and the span is 2 σ.
        voxels = np.tile(np.array([0, 0, 1, 1], np.float32), (1, 1, 16, 8))
        found = measure_image(Study("p", "p", voxels, (8.0, 1.5, 1.25), LV_CLASSES))
        assert found == {
            "row_mm": 1.5,
            "column_mm": 1.25,
            "rows": 16,
            "columns": 32,
            "contrast": pytest.approx(2),
            "sharpness": pytest.approx(1),
        }

    def test_a_blurred_image_is_less_sharp(self):
        voxels = self.study().voxels
        blurred = (voxels + np.roll(voxels, 1, -1) + np.roll(voxels, 2, -1)) / 3
        assert measure_image(self.study(voxels=blurred))["sharpness"] < 0.8 * measure_image(self.study())["sharpness"]

    def test_what_was_trained_on_is_within_its_own_range(self):
        studies = [short_axis_stack(patient, size=96, slices=4) for patient in range(3)]
        trained = training_range(studies)
        assert all(check_image(study, trained) == [] for study in studies)
        values = [measure_image(study)["contrast"] for study in studies]
        assert trained["contrast"] == [min(values), max(values)]

    def test_what_was_not_is_told_by_its_name(self):
        trained = training_range([self.study()])
        row_mm = 1.3 * self.study().spacing_mm[1]
        (finding,) = check_image(
            self.study(spacing_mm=(self.study().spacing_mm[0], row_mm, 1.25 / 1.3 * row_mm)), trained
        )
        assert (finding.code, finding.message.split(":")[0]) == ("out-of-range", "height of a pixel in mm")


class TestFinding:
    def test_a_code_without_a_reason_is_refused(self):
        with pytest.raises(ValueError, match=r"'holes' has no reason"):
            Finding("holes", "two holes")

    def test_one_line_a_reason(self):
        findings = [Finding("hole", "a", 1, 2), Finding("jump", "b", 3), Finding("hole", "c", 4, 5)]
        assert first_of_each(findings) == {"hole": (findings[0], 2), "jump": (findings[1], 1)}
        assert [str(finding) for finding in findings[:2]] == ["a (frame 2, slice 3)", "b (frame 4)"]

    def test_many_of_a_kind_are_one_line(self):
        holes = [
            Finding("hole", f"{n} mm²", frame, slice_) for n, (frame, slice_) in enumerate([(0, 2), (1, 2), (5, 2)])
        ]
        jumps = [Finding("jump", "the cavity jumps", 3), Finding("jump", "the cavity jumps", 4)]
        absent = [Finding("class-absent", "no cavity"), Finding("class-absent", "no myocardium")]
        alone = Finding("fragmented", "the cavity is in 2 pieces", 0, 7)
        assert str(alone) == "the cavity is in 2 pieces (frame 1, slice 8)"
        assert summed_up([*holes, alone, *jumps, *absent, Finding("hole", "9 mm²", 2, 0)]) == [
            ("hole", "the heart has a hole", "slice 1: frame 3; slice 3: frames 1–2, 6"),
            ("fragmented", "the cavity is in 2 pieces", "frame 1, slice 8"),
            ("jump", "the cavity jumps", "frames 4–5"),
            ("class-absent", "no cavity", ""),
            ("class-absent", "no myocardium", ""),
        ]


class TestReview:
    def study(self):
        return short_axis_stack(0, size=96, slices=5, noise=0)

    def prediction(self, mask, *flags, confidence=None):
        return Prediction(mask, [], None, Box(0, 0, 96, 96), flags, confidence)

    def test_a_good_study(self):
        study = self.study()
        sure = Confidence({"myocardium": 0.9, "cavity": 0.95, "right ventricle": 0.8}, 0.9, 0.2)
        calibration = Calibration("best", 5, (0.5, 1.0), (0.4, 0.9))
        expected = Expectations(training_range([study]), calibration)
        review = review_study(study, self.prediction(study.labels, confidence=sure), expected)
        assert (review.verdict, review.findings) == ("good", ())
        assert review.expected_dice == pytest.approx(0.8)
        entry = describe(review, self.prediction(study.labels, confidence=sure))
        assert entry["quality"]["verdict"] == "good"
        assert entry["quality"]["confidence"]["classes"]["cavity"] == 0.95
        voxel_ml = np.prod(study.spacing_mm) / 1000
        assert entry["indices"]["cavity_ml"] == pytest.approx((study.labels == 3).sum() * voxel_ml)

    @pytest.mark.parametrize(
        ("flag", "code", "expected"),
        [
            (NOT_LOCALIZED, "not-localized", "reject"),
            (EMPTY, "empty-mask", "reject"),
            ("every voxel is 3 (σ = 0): nothing can be segmented", "no-contrast", "reject"),
            (AT_BORDER, "box-at-border", "check"),
            (BLANK, "blank-slice", "check"),
            (UNEVEN, "uneven-brightness", "check"),
        ],
    )
    def test_what_the_pipeline_says(self, flag, code, expected):
        study = self.study()
        review = review_study(study, self.prediction(study.labels, flag), Expectations())
        assert [finding.code for finding in review.findings] == [code]
        assert review.verdict == expected
        assert review.expected_dice is None

    def test_every_flag_of_the_pipeline_has_a_code(self):
        study = self.study()
        sentences = [value for name, value in vars(pipeline).items() if name.isupper() and isinstance(value, str)]
        assert set(sentences) == {AT_BORDER, NOT_LOCALIZED, EMPTY, BLANK, UNEVEN, NO_CONTRAST}
        review = review_study(study, self.prediction(study.labels, *sentences), Expectations())
        codes = [finding.code for finding in review.findings]
        assert len(set(codes)) == len(sentences)

    @pytest.mark.parametrize("flag", ["the heart looks odd", f"{EMPTY}, or nearly"])
    def test_a_flag_without_a_code_is_a_bug_and_no_verdict(self, flag):
        study = self.study()
        with pytest.raises(ValueError, match=r"no code; add it to _CODES"):
            review_study(study, self.prediction(study.labels, flag), Expectations())

    def test_a_low_expectation(self):
        study = self.study()
        unsure = self.prediction(study.labels, confidence=Confidence({}, 0.6, 0.5))
        expected = Expectations(calibration=Calibration("best", 5, (0.5, 1.0), (0.4, 0.9)))
        (finding,) = review_study(study, unsure, expected).findings
        assert (finding.code, finding.message) == ("low-confidence", "the expected Dice is only 0.50")

    def test_each_class_has_its_own_expectation(self):
        study = self.study()
        soft = {"right ventricle": 0.7, "myocardium": 0.9, "cavity": 0.3}
        sure = Confidence({}, 0.9, 0.2, soft_dice=soft)
        curve = Curve((0.5, 1.0), (0.4, 1.0))
        calibration = Calibration("best", 5, (0.5, 1.0), (0.4, 0.9), dict.fromkeys(soft, curve))
        prediction = self.prediction(study.labels, confidence=sure)
        review = review_study(study, prediction, Expectations(calibration=calibration))
        # 0.4 + 0.6·0.2/0.5 and 0.4 + 0.6·0.4/0.5; a soft Dice of 0.3 is below the curve.
        assert review.expected_of_class == {
            "right ventricle": pytest.approx(0.64),
            "myocardium": pytest.approx(0.88),
        }
        assert [(f.class_name, f.value and round(f.value, 2), f.limit) for f in review.findings] == [
            ("right ventricle", 0.64, 0.85),
            ("cavity", None, 0.85),
        ]
        assert (review.verdict, review.doubtful) == ("check", ("right ventricle", "cavity"))
        assert review.affected == {"right_ventricle_ml": ("low-confidence",), "cavity_ml": ("low-confidence",)}
        quality = describe(review, prediction)["quality"]
        assert quality["classes_to_check"] == ["right ventricle", "cavity"]
        assert quality["affected_by"] == {"right_ventricle_ml": ["low-confidence"], "cavity_ml": ["low-confidence"]}
        assert quality["expected_dice_of_class"] == review.expected_of_class

    def test_a_study_is_rejected_if_no_class_can_be_used(self):
        study = self.study()
        soft = dict.fromkeys(study.classes[1:], 0.7)
        calibration = Calibration("best", 5, (0.5, 1.0), (0.4, 0.9), dict.fromkeys(soft, Curve((0.5, 1.0), (0.4, 1.0))))
        sure = Confidence({}, 0.9, 0.2, soft_dice=soft)
        expected = Expectations(calibration=calibration)
        assert review_study(study, self.prediction(study.labels, confidence=sure), expected).verdict == "reject"

    def test_a_confidence_lower_than_any_that_was_calibrated(self):
        study = self.study()
        unsure = self.prediction(study.labels, confidence=Confidence({}, 0.4, 0.5))
        expected = Expectations(calibration=Calibration("best", 5, (0.5, 1.0), (0.4, 0.9)))
        review = review_study(study, unsure, expected)
        (finding,) = review.findings
        assert (finding.code, review.expected_dice) == ("low-confidence", None)
        assert "the expected Dice is unknown" in finding.message

    def test_blank_slices_are_named_once(self):
        study = self.study()
        voxels, mask = study.voxels.copy(), study.labels.copy()
        voxels[:, 4] = 3
        mask[:, 4] = 0
        study = dataclasses.replace(study, voxels=voxels)
        review = review_study(study, self.prediction(mask, BLANK), Expectations())
        assert [(finding.code, finding.place) for finding in review.findings] == [("blank-slice", "slice 5")]
        assert review.verdict == "check"

    def test_slices_of_unlike_brightness(self):
        study = self.study()
        gains = np.array([1, 4, 0.3, 8, 2], np.float32)[:, None, None]
        review = review_study(
            dataclasses.replace(study, voxels=study.voxels * gains),
            self.prediction(study.labels, UNEVEN),
            Expectations(),
        )
        (finding,) = review.findings
        assert finding.code == "uneven-brightness"
        assert "times that of the middle one" in finding.message

    def test_what_the_reader_found_is_a_finding_of_short_axes(self):
        odd = dataclasses.replace(self.study(), findings=(("not-short-axis", "the planes are turned by 89°"),))
        review = review_study(odd, self.prediction(odd.labels), Expectations())
        assert [(finding.code, finding.place) for finding in review.findings] == [("not-short-axis", "")]
        assert review.verdict == "check"

    def test_exchanged_contrast_is_rejected(self):
        study = self.study()
        inverted = dataclasses.replace(study, voxels=study.voxels.max() - study.voxels)
        review = review_study(inverted, self.prediction(study.labels), Expectations())
        assert [finding.code for finding in review.findings] == ["dark-blood"]
        assert review.verdict == "reject"

    def test_a_mask_whose_blood_is_darker_than_its_muscle(self):
        study = self.study()
        mask = np.array([0, 1, 3, 2], np.uint8)[study.labels]  # myocardium and cavity exchanged
        findings = review_study(study, self.prediction(mask), Expectations()).findings
        (finding,) = [finding for finding in findings if finding.code == "dark-blood"]
        assert "the blood is not brighter than the myocardium" in finding.message


class TestAcdc:
    """The data set's own masks, which experts drew."""

    def test_hardly_a_patient_is_flagged(self, shared_data):
        refs = list_acdc(shared_data("acdc"))
        # Two of each group, with both frames.
        patients = sorted({ref.patient for ref in refs})[8::10]
        flagged = set()
        for study in (ref.load() for ref in refs if ref.patient in patients):
            if found(study.labels, study.classes, study.spacing_mm):
                flagged.add(study.patient)
        assert len(patients) == 10
        # Its myocardium is in two pieces at end diastole, the second of 11 mm².
        assert flagged == {"patient029"}

    def test_numbers_of_all_groups_are_plausible(self, shared_data):
        refs = {ref.case: ref for ref in list_acdc(shared_data("acdc"))}
        # The greatest and the smallest volumes, the greatest mass, the thickest wall, and the most unequal ventricles.
        for number in (16, 34, 26, 83, 94, 50, 86):
            frames = [ref.load() for case, ref in refs.items() if case.startswith(f"patient{number:03d}_")]
            mask = np.concatenate([study.labels for study in frames])
            indices = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=frames[0].spacing_mm)
            assert check_study(indices) == []
