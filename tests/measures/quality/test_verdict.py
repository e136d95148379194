"""The verdict, the classes that it names and the numbers that findings spoil."""

import itertools

import numpy as np
import pytest

from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.measures.dictionary import COLUMNS, SUMMARY
from foanet_jax.measures.quality.finding import REASONS, Finding
from foanet_jax.measures.quality.verdict import (
    CHECK,
    COMPUTED,
    GOOD,
    NUMBERS,
    REJECT,
    REJECTED,
    SPOILS,
    VERDICTS,
    affected_numbers,
    as_cell,
    classes_of,
    doubtful_classes,
    verdict,
    worst,
)

BEAT = [name for name in NUMBERS if name[:3] in ("lv_", "rv_") and "papillary" not in name]
RV = "right ventricle"
FRAMES = {"ed": 0, "es": 8}


def doubt(name, expected):
    return Finding("low-confidence", "", class_name=name, value=expected)


class TestVerdict:
    @pytest.mark.parametrize(
        ("findings", "expected"),
        [
            ([], GOOD),
            ([Finding("jump", "")], CHECK),
            ([Finding(code, "") for code in ("jump", "hole", "fragmented", "open-myocardium")], CHECK),
            ([Finding("not-localized", "")], REJECT),
            ([Finding("class-absent", "", class_name=RV)], CHECK),
            ([Finding("class-absent", "", class_name=name) for name in ACDC_CLASSES[1:]], REJECT),
            ([doubt(name, 0.69) for name in ACDC_CLASSES[1:]], REJECT),
            ([doubt(name, None) for name in ACDC_CLASSES[1:]], REJECT),
            ([doubt(RV, 0.8), *(doubt(name, 0.1) for name in ACDC_CLASSES[2:])], CHECK),
            ([Finding("class-absent", "", class_name=RV), *(doubt(name, 0.1) for name in ACDC_CLASSES[2:])], REJECT),
        ],
    )
    def test_by_the_rule(self, findings, expected):
        assert verdict(findings, ACDC_CLASSES) == expected

    @pytest.mark.parametrize("seed", range(5))
    def test_more_findings_never_make_it_better(self, seed):
        rng = np.random.default_rng(seed)
        codes, names = list(REASONS), [None, *ACDC_CLASSES[1:]]
        findings = []
        before = GOOD
        for _ in range(12):
            value = rng.choice([None, 0.3, 0.8])
            findings.append(Finding(str(rng.choice(codes)), "", class_name=names[rng.integers(4)], value=value))
            now = verdict(findings, ACDC_CLASSES)
            assert VERDICTS.index(now) >= VERDICTS.index(before)
            assert now == verdict(findings[::-1], ACDC_CLASSES)
            assert now != GOOD
            before = now

    def test_the_worst_counts(self):
        assert worst(["good", "reject", "check"]) == "reject"
        assert worst(["good", "check"]) == "check"


class TestClasses:
    def test_a_finding_names_its_class_or_all(self):
        assert classes_of(Finding("jump", "", class_name="cavity"), ACDC_CLASSES) == ("cavity",)
        assert classes_of(Finding("hole", ""), ACDC_CLASSES) == ("myocardium", "cavity")
        assert classes_of(Finding("box-at-border", ""), ACDC_CLASSES) == ACDC_CLASSES[1:]

    def test_in_the_order_of_the_classes(self):
        findings = [Finding("jump", "", class_name="cavity"), Finding("class-gap", "", 0, 3, RV)]
        assert doubtful_classes(findings, ACDC_CLASSES) == (RV, "cavity")
        assert doubtful_classes([], ACDC_CLASSES) == ()


class TestNumbers:
    def affected(self, *findings, numbers=BEAT, classes=ACDC_CLASSES, frames=FRAMES):
        return affected_numbers(findings, numbers, classes, frames)

    def test_every_code_is_in_the_map(self):
        assert SPOILS.keys() == REASONS.keys()
        assert {name for names in SPOILS.values() if names for name in names} <= NUMBERS.keys()
        assert set(REJECTED) <= REASONS.keys()

    def test_every_number_of_the_tables_is_in_the_map(self):
        numbers = {name for name, entry in COLUMNS[SUMMARY].items() if entry.type != "string"}
        not_of_the_mask = {"age_years", "bsa_m2", "heart_rate_bpm", "expected_dice"}
        assert numbers - not_of_the_mask == NUMBERS.keys() | COMPUTED.keys()
        assert set(COMPUTED.values()) <= NUMBERS.keys() | COMPUTED.keys()

    def test_what_is_computed_from_a_spoiled_number_is_spoiled(self):
        numbers = ["lv_sv_ml", "lv_svi_ml_m2", "cardiac_output_l_min", "bsa_m2", "rv_svi_ml_m2"]
        gap = Finding("class-gap", "", 8, 3, "cavity")
        assert list(self.affected(gap, numbers=numbers)) == numbers[:3]

    def test_a_gap_at_end_systole_spoils_what_is_measured_there(self):
        gap = Finding("class-gap", "", 8, 3, RV)
        assert list(self.affected(gap)) == ["rv_esv_ml", "rv_sv_ml", "rv_ef_percent"]

    def test_a_gap_in_another_frame_spoils_no_number(self):
        assert self.affected(Finding("class-gap", "", 4, 3, RV)) == {}

    def test_a_frame_without_a_cavity_may_be_end_systole(self):
        lost = Finding("class-vanishes", "", 4, class_name="cavity")
        assert list(self.affected(lost)) == ["lv_edv_ml", "lv_esv_ml", "lv_sv_ml", "lv_ef_percent"]

    def test_a_slice_that_blinks_is_in_its_frame_alone(self):
        assert self.affected(Finding("class-vanishes", "", 4, 2, "cavity")) == {}
        assert "lv_esv_ml" in self.affected(Finding("class-vanishes", "", 8, 2, "cavity"))

    def test_a_doubtful_myocardium_spoils_the_mass(self):
        assert self.affected(doubt("myocardium", 0.8)) == {"lv_mass_g": ("low-confidence",)}
        assert self.affected(Finding("myocardium-varies", "", class_name="myocardium")) == {
            "lv_mass_g": ("myocardium-varies",)
        }

    def test_an_open_ring_spoils_cavity_and_mass(self):
        assert list(self.affected(Finding("open-myocardium", "", 0, 2))) == [
            "lv_edv_ml",
            "lv_sv_ml",
            "lv_ef_percent",
            "lv_mass_g",
        ]

    def test_unequal_strokes_spoil_the_right_ventricle(self):
        assert list(self.affected(Finding("stroke-volumes", "", class_name=RV))) == [
            name for name in BEAT if name.startswith("rv_")
        ]

    def test_a_finding_of_the_whole_study_spoils_everything(self):
        assert list(self.affected(Finding("box-at-border", ""))) == BEAT

    @pytest.mark.parametrize("code", ["uneven-brightness", "frames-differ"])
    def test_what_spoils_nothing(self, code):
        assert self.affected(Finding(code, "")) == {}

    def test_codes_of_a_number_are_named_once(self):
        gaps = [Finding("class-gap", "", 8, slice_, RV) for slice_ in (2, 3)]
        affected = self.affected(*gaps, doubt(RV, 0.8))
        assert affected["rv_ef_percent"] == ("class-gap", "low-confidence")
        assert affected["rv_edv_ml"] == ("low-confidence",)
        assert as_cell({name: affected[name] for name in ("rv_edv_ml", "rv_ef_percent")}) == (
            "rv_edv_ml: low-confidence; rv_ef_percent: class-gap low-confidence"
        )
        assert as_cell({}) == ""

    def test_volumes_of_a_single_stack(self):
        numbers = ["right_ventricle_ml", "myocardium_ml", "cavity_ml"]
        affected = self.affected(Finding("class-gap", "", 0, 3, RV), numbers=numbers, frames={})
        assert affected == {"right_ventricle_ml": ("class-gap",)}
        assert list(self.affected(Finding("implausible-wall", "", 0, 3, "myocardium"), numbers=numbers, frames={})) == [
            "myocardium_ml"
        ]
        assert self.affected(Finding("uneven-brightness", ""), numbers=numbers, frames={}) == {}

    def test_a_cine_of_one_slice(self):
        numbers = ["cavity_area_max_mm2", "cavity_area_min_mm2", "wall_at_max_mm"]
        frames = {"max": 0, "min": 7}
        cavity = Finding("fragmented", "", 7, 0, "cavity")
        assert list(self.affected(cavity, numbers=numbers, classes=LV_CLASSES, frames=frames)) == [
            "cavity_area_min_mm2"
        ]
        wall = Finding("fragmented", "", 0, 0, "myocardium")
        assert list(self.affected(wall, numbers=numbers, classes=LV_CLASSES, frames=frames)) == ["wall_at_max_mm"]

    def test_a_whole_heart(self):
        numbers = ["left_ventricle_ml", "left_atrium_ml", "myocardium_ml"]
        gap = Finding("class-gap", "", 0, 3, "left atrium")
        assert self.affected(gap, numbers=numbers, classes=WHOLE_HEART_CLASSES, frames={}) == {
            "left_atrium_ml": ("class-gap",)
        }

    @pytest.mark.parametrize(("code", "name"), list(itertools.product(REASONS, (None, *ACDC_CLASSES[1:]))))
    def test_only_numbers_of_the_finding_s_classes(self, code, name):
        finding = Finding(code, "", class_name=name)
        for number in self.affected(finding):
            assert set(NUMBERS[number][0]) & set(classes_of(finding, ACDC_CLASSES))
