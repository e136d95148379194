"""The table of patients: what it may look like, and every problem of it in one error."""

import numpy as np
import pytest

from foanet_jax.data.patients.body import Body
from foanet_jax.data.patients.table import read_patients, with_bodies
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "patients.csv"
    path.write_bytes(text.encode(encoding))
    return path


def refused(tmp_path, text):
    with pytest.raises(InputError) as caught:
        read_patients(table(tmp_path, text))
    assert caught.value.code == "patients"
    assert "patients.csv" in str(caught.value)
    return str(caught.value)


def ref(case, body=None, remarks=()):
    study = Study(case, case, np.zeros((1, 1, 2, 2), np.float32), (1, 1, 1), LV_CLASSES, body=body, remarks=remarks)
    return StudyRef(case, case, None, lambda: study)


def test_a_table(tmp_path):
    path = table(tmp_path, "study,height_cm,weight_kg,sex,age_years\np1,172,72.5,F,56\np2,,,male,\n", "utf-8-sig")
    source = "table of patients"
    assert read_patients(path) == {
        "p1": Body(172.0, 72.5, "female", 56, source=source),
        "p2": Body(sex="male", source=source),
    }


def test_a_table_with_semicolons_has_decimal_commas(tmp_path):
    body = read_patients(table(tmp_path, "study;weight_kg;heart_rate_bpm\np1;72,5;61\n"))["p1"]
    assert (body.weight_kg, body.heart_rate_bpm, body.heart_rate_source) == (72.5, 61, "table of patients")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty; the columns are study and any of height_cm"),
        ("patient,height_cm\np1,172\n", "unknown column 'patient'"),
        ("study,height\np1,172\n", "unknown column 'height'; did you mean height_cm?"),
        ("study,sex,sex\np1,f,f\n", "two columns sex"),
        ("study\np1\n", "the columns are study; the columns are study and any of"),
        ("sex\nf\n", "the columns are sex"),
        ("study,sex\np1,f\np1,m\n", "row 3: a second row of p1"),
        ("study,sex\np1\n", "row 2: 1 fields, but the header has 2"),
        ("study,sex\n,f\n", "row 2: no study"),
        ("study,sex\np1,woman\n", "row 2, p1: sex is 'woman'"),
        ("study,height_cm\np1,1.72\n", "1.72 is no height in cm (it may be in metres)"),
        ("study,height_cm\np1,tall\n", "height_cm is 'tall'; give a number"),
        ("study,height_cm,weight_kg\np1,175,200\n", "the weight may be in pounds"),
        ("study,age_years\np1,1962\n", "age_years is 1962"),
        ("study,heart_rate_bpm\np1,700\n", "heart_rate_bpm is 700"),
        ('study,sex\n"p1,f\n', "not a CSV file"),
    ],
)
def test_what_is_refused(tmp_path, text, told):
    assert told in refused(tmp_path, text)


def test_all_problems_are_told_at_once(tmp_path):
    told = refused(tmp_path, "study,height_cm,weight_kg\np1,1.72,80\np2,180,nan\np3,170,75\np3,170,75\n")
    assert "3 problems to correct" in told
    assert all(f"row {number}" in told for number in (2, 3, 5))


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_patients(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not UTF-8"):
        read_patients(table(tmp_path, "study,sex\nMüller,f\n", "latin-1"))


def test_a_row_belongs_to_a_study_or_to_all_frames_of_a_patient(tmp_path):
    bodies = {"p1": Body(172.0, 70.0), "p2_frame01": Body(160.0, 60.0), "p2": Body(170.0, 65.0)}
    refs = [ref("p1"), ref("p2_frame01"), ref("p2_frame09"), ref("p3")]
    loaded = [found.load().body for found in with_bodies(refs, bodies, tmp_path)]
    assert [None if body is None else body.height_cm for body in loaded] == [172, 160, 170, None]


def test_a_row_of_no_study_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        with_bodies([ref("anna"), ref("eva")], {"anna": Body(), "ewa": Body()}, tmp_path / "patients.csv")
    assert "ewa: no such study in the input; did you mean eva?" in str(caught.value)
    assert "the studies are anna, eva" in str(caught.value)


def test_a_remark_on_a_value_that_the_table_replaces_goes(tmp_path):
    odd = "PatientSize is not a possible height"
    one = ref("p1", Body(weight_kg=80.0, remarks=(odd,)), ("rotated", odd))
    assert with_bodies([one], {}, tmp_path)[0].load().remarks == ("rotated", odd)
    assert with_bodies([one], {"p1": Body(172.0, 70.0)}, tmp_path)[0].load().remarks == ("rotated",)
    assert with_bodies([one], {"p1": Body(sex="male")}, tmp_path)[0].load().remarks == ("rotated", odd)
