"""Height, weight, sex, age and heart rate from DICOM tags and Info.cfg, and which values are refused."""

import pytest

from foanet_jax.data.patients.body import (
    Body,
    body_of_all,
    completed,
    height_problem,
    proportion_problem,
    weight_problem,
)
from foanet_jax.data.patients.info import body_beside, body_of_info
from foanet_jax.data.patients.tags import body_of_tags


def tags(**values):
    return body_of_tags(values.get)


@pytest.mark.parametrize(("height", "unit"), [(1.72, "in metres"), (1720, "in mm"), (5.9, "in another unit")])
def test_a_height_in_another_unit_is_named(height, unit):
    assert unit in height_problem(height)


def test_possible_values_have_no_problem():
    assert height_problem(172) is None
    assert weight_problem(72.5) is None
    assert proportion_problem(172, 72.5) is None


def test_a_weight_that_does_not_fit_the_height():
    assert "in grams" in weight_problem(72000)
    # 200 lb are 91 kg: at 175 cm, 200 kg would be 65 kg/m².
    assert "in pounds" in proportion_problem(175, 200)
    # 68 in are 173 cm: with 75 kg, 68 cm would be 162 kg/m².
    assert "in inches" in proportion_problem(68, 75)


def test_dicom_tags():
    body = tags(PatientSize="1.75", PatientWeight="80", PatientSex="M ", PatientAge="061Y", HeartRate="65")
    assert body == Body(175.0, 80.0, "male", 61, 65.0, "DICOM header", "DICOM HeartRate")


@pytest.mark.parametrize(
    ("given", "age"),
    [
        ({"PatientAge": "018M"}, 1),
        ({"PatientAge": "095Y"}, 90),  # Ages from 90 are one.
        ({"PatientBirthDate": "19600702", "StudyDate": "20200701"}, 59),
        ({"PatientBirthDate": "19600701", "StudyDate": "20200701"}, 60),
        ({"PatientBirthDate": "00000000", "StudyDate": "20120000"}, None),
        ({"PatientBirthDate": "20210101", "StudyDate": "20200701"}, None),
        ({"PatientAge": "61"}, None),
    ],
)
def test_the_age(given, age):
    assert tags(**given).age_years == age


@pytest.mark.parametrize("sex", ["O", "", "X", None])
def test_another_sex_is_unknown(sex):
    assert tags(PatientSex=sex).sex is None


def test_the_heart_rate_comes_from_the_interval_if_there_is_no_other():
    # 60000 ms / 750 ms = 80.
    assert tags(HeartRate="0", NominalInterval="750").heart_rate_bpm == 80
    assert tags(HeartRate="0", NominalInterval="750").heart_rate_source == "DICOM NominalInterval"
    assert tags(HeartRate="900").heart_rate_bpm is None


def test_a_height_in_cm_in_the_header_is_not_used_and_told():
    body = tags(PatientSize="175", PatientWeight="80")
    assert (body.height_cm, body.weight_kg) == (None, 80)
    (remark,) = body.remarks
    assert "PatientSize (in metres)" in remark
    assert "--patients" in remark
    assert "175" not in remark


def test_values_that_do_not_fit_each_other_are_not_used():
    body = tags(PatientSize="1.75", PatientWeight="200")
    assert (body.height_cm, body.weight_kg) == (None, None)
    assert "do not fit each other" in body.remarks[0]


def test_a_weight_that_may_be_in_pounds_is_used_and_asked_about():
    body = tags(PatientSize="1.70", PatientWeight="150")  # 52 kg/m²; 150 lb would be 24
    assert body.weight_kg == 150
    assert "not in pounds" in body.remarks[0]


def test_a_damaged_tag_is_an_unknown_value():
    def get(name):
        raise ValueError(name)

    assert body_of_tags(get).is_empty


def test_nothing_that_identifies_is_kept():
    body = tags(PatientBirthDate="19600702", StudyDate="20200701", PatientName="X^Y", PatientID="1234")
    assert not any(text in repr(body) for text in ("1960", "2020", "X^Y", "1234"))


def test_images_of_one_study_that_differ():
    bodies = [Body(175.0, 80.0, heart_rate_bpm=60.0), Body(175.0, 90.0, heart_rate_bpm=70.0), Body(175.0, None)]
    body = body_of_all(bodies)
    assert (body.height_cm, body.weight_kg, body.heart_rate_bpm) == (175, None, 65)
    assert body.remarks == ("the images differ in the patient's weight, so it was not used",)


def test_the_table_comes_before_the_header_and_size_from_one_source():
    header = Body(175.0, 80.0, "male", 61, 65.0, "DICOM header", "DICOM HeartRate", ("odd",))
    assert completed(Body(), header) == header
    both = completed(Body(weight_kg=90.0, sex="female", source="table of patients"), header)
    assert (both.height_cm, both.weight_kg) == (None, 90)
    assert (both.sex, both.age_years, both.heart_rate_source) == ("female", 61, "DICOM HeartRate")
    assert both.remarks == ()


def test_info_cfg(tmp_path):
    assert body_of_info({"Height": "184.0", "Weight": "95.0"}) == Body(184.0, 95.0, source="Info.cfg")
    assert body_of_info({"Height": "1.84", "Weight": "x"}).remarks
    folder = tmp_path / "patient001"
    folder.mkdir()
    image = folder / "patient001_frame01.nii.gz"
    assert body_beside(image) is None
    (folder / "Info.cfg").write_text("ED: 1\nHeight: 184.0\nWeight: 95.0\n")
    assert body_beside(image).height_cm == 184
    assert body_beside(folder / "other.nii.gz") is None
    assert body_beside(tmp_path / "patient001_frame01.nii.gz") is None
