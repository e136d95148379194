"""Body surface area, indexed values and distances from the reference, against values worked by hand."""

import math

import numpy as np
import pytest

from foanet_jax.data.patients.body import Body
from foanet_jax.data.study import ACDC_CLASSES, Study
from foanet_jax.measures.body.context import NUMBERS, Context, context_of
from foanet_jax.measures.body.reference import AGES, DISTANCES, NORMALS, Normal, distances, normals_for, why_none
from foanet_jax.measures.body.surface import Pulse, body_surface_m2, indexed, pulse_of
from foanet_jax.measures.indices.ventricle import VentricleIndices, chamber
from foanet_jax.system.errors import InputError


def ventricles(lv=(150.0, 60.0), rv=(160.0, 80.0), mass=100.0):
    return VentricleIndices(0, 1, chamber(np.array(lv), 0, 1), chamber(np.array(rv), 0, 1), mass, "")


@pytest.mark.parametrize(
    ("height", "weight", "mosteller", "dubois"),
    [
        # √(180 · 80 / 3600) = √4 = 2. 0.007184 · 180^0.725 · 80^0.425 = 0.007184 · 43.15912 · 6.43892 = 1.99642.
        (180, 80, 2.0, 1.99642),
        # √(160 · 57.6 / 3600) = √2.56 = 1.6. 0.007184 · 39.62662 · 5.59989 = 1.59416.
        (160, 57.6, 1.6, 1.59416),
    ],
)
def test_the_body_surface_by_hand(height, weight, mosteller, dubois):
    assert body_surface_m2(height, weight) == pytest.approx(mosteller, abs=1e-12)
    assert body_surface_m2(height, weight, formula="dubois") == pytest.approx(dubois, abs=1e-5)


def test_an_unknown_formula_is_refused():
    with pytest.raises(InputError, match="choose mosteller or dubois"):
        body_surface_m2(180, 80, formula="haycock")


def test_indices_by_hand():
    # BSA 2 m²; SV 90 ml at 70 per minute = 6.3 l/min.
    found = indexed(ventricles(), surface_m2=2.0, pulse=Pulse(70, "x"))
    assert found == pytest.approx(
        {
            "lv_edvi_ml_m2": 75,
            "lv_esvi_ml_m2": 30,
            "lv_svi_ml_m2": 45,
            "rv_edvi_ml_m2": 80,
            "rv_esvi_ml_m2": 40,
            "rv_svi_ml_m2": 40,
            "lv_mass_index_g_m2": 50,
            "cardiac_output_l_min": 6.3,
            "cardiac_index_l_min_m2": 3.15,
        }
    )


def test_unknown_values_leave_only_what_needs_them_unknown():
    unknown = math.nan
    found = indexed(ventricles(), surface_m2=unknown, pulse=Pulse(70, "x"))
    assert {name for name, value in found.items() if math.isfinite(value)} == {"cardiac_output_l_min"}
    found = indexed(ventricles(), surface_m2=2.0, pulse=None)
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "cardiac_output_l_min",
        "cardiac_index_l_min_m2",
    }


def test_the_heart_rate_is_the_known_one_or_that_of_the_frames():
    known = Body(heart_rate_bpm=65.0, heart_rate_source="DICOM HeartRate")
    assert pulse_of(known, frames=20, frame_seconds=0.05) == Pulse(65, "DICOM HeartRate")
    # 20 frames of 40 ms are a beat of 0.8 s: 75 per minute.
    assert pulse_of(Body(), frames=20, frame_seconds=0.04).bpm == pytest.approx(75)
    assert pulse_of(Body(), frames=20, frame_seconds=None) is None
    assert pulse_of(Body(), frames=2, frame_seconds=0.04) is None  # no whole beat
    assert pulse_of(Body(), frames=1, frame_seconds=0.04) is None


def test_distances_by_hand():
    # A man: EDV 150 is (150 − 166)/32 = −0.5 sd, ESV 60 (60 − 69)/16 = −0.5625, SV 90 (90 − 96)/20 = −0.3, EF 60
    # (60 − 58)/5 = 0.4, SVI 45 (45 − 49)/10 = −0.4, mass index 50 (50 − 53)/9 = −1/3.
    values = ventricles().columns() | indexed(ventricles(), surface_m2=2.0, pulse=None)
    normals = normals_for(Body(sex="male", age_years=60), "cavity")
    assert distances(values, normals) == pytest.approx(
        {
            "lv_edv_z": -0.5,
            "lv_esv_z": -0.5625,
            "lv_sv_z": -0.3,
            "lv_ef_z": 0.4,
            "lv_svi_z": -0.4,
            "lv_mass_index_z": -1 / 3,
        }
    )
    assert normals_for(Body(sex="female", age_years=60), "cavity")["lv_edv_ml"] == Normal(124, 21)


def test_the_reference_agrees_with_itself():
    for by_sex in zip(*(NORMALS[name].values() for name in ("lv_edv_ml", "lv_esv_ml", "lv_sv_ml")), strict=True):
        edv, esv, sv = (normal.mean for normal in by_sex)
        assert edv - esv == pytest.approx(sv, abs=1)  # rounded to ml in the source
    for sex in ("male", "female"):
        mean = NORMALS["lv_sv_ml"][sex].mean / NORMALS["lv_edv_ml"][sex].mean
        assert 100 * mean == pytest.approx(NORMALS["lv_ef_percent"][sex].mean, abs=1)


@pytest.mark.parametrize(
    ("body", "convention", "told"),
    [
        (Body(sex="male", age_years=60), "myocardium", "count them to the myocardium"),
        (Body(sex="male", age_years=60), "", "these masks may not"),
        (Body(age_years=60), "cavity", "the sex of this patient is unknown"),
        (Body(sex="male"), "cavity", "the age of this patient is unknown"),
        (Body(), "cavity", "the sex and age of this patient is unknown"),
        (Body(sex="male", age_years=44), "cavity", "this patient is 44 years"),
        (Body(sex="male", age_years=75), "cavity", "this patient is 75 years"),
        (Body(sex="male", age_years=90), "cavity", "90 years or older"),
    ],
)
def test_why_there_is_no_reference(body, convention, told):
    assert told in why_none(body, convention)
    assert normals_for(body, convention) == {}
    assert all(math.isnan(value) for value in distances({"lv_edv_ml": 150.0}, {}).values())


def test_there_is_a_reference_at_both_ends_of_the_ages():
    for age in AGES:
        assert why_none(Body(sex="female", age_years=age), "cavity") == ""


def test_the_context_of_a_study():
    voxels = np.zeros((20, 2, 2, 2), np.float32)
    body = Body(180.0, 80.0, "male", 60, source="Info.cfg")
    study = Study("p", "p", voxels, (8, 1, 1), ACDC_CLASSES, frame_seconds=0.04, body=body)
    context = context_of(study, convention="cavity")
    numbers = context.numbers(ventricles())
    assert tuple(numbers) == NUMBERS
    assert (numbers["bsa_m2"], numbers["lv_edvi_ml_m2"]) == (2, 75)
    assert numbers["cardiac_output_l_min"] == pytest.approx(6.75)
    assert numbers["lv_ef_z"] == pytest.approx(0.4)
    assert context.texts() == {
        "sex": "male",
        "age_years": 60,
        "bsa_formula": "mosteller",
        "heart_rate_source": "time of the frames",
    }
    assert Context().texts() == {}
    assert set(DISTANCES.values()) < set(numbers)
