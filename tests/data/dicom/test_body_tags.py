"""The patient's body in DICOM files: as the tags say, and without it where they are damaged or differ."""

from foanet_jax.data.patients.body import Body
from foanet_jax.measures.body.context import context_of
from tests.data.dicom import export
from tests.data.dicom.test_dicom import edit_all, load_all

KNOWN = {"PatientSize": "1.80", "PatientWeight": "80", "PatientSex": "M", "PatientAge": "060Y", "HeartRate": "70"}


def test_a_study_has_the_body_of_its_images(tmp_path):
    export.series(tmp_path, "eva", 3, **KNOWN)
    (study,) = load_all(tmp_path)
    assert study.body == Body(180.0, 80.0, "male", 60, 70.0, "DICOM header", "DICOM HeartRate")
    assert context_of(study).surface_m2 == 2


def test_images_that_differ_in_a_value_leave_it_unknown(tmp_path):
    paths = export.series(tmp_path, "eva", 3, **KNOWN)
    edit_all(paths[:3], PatientWeight="90", HeartRate="76")
    (study,) = load_all(tmp_path)
    assert (study.body.height_cm, study.body.weight_kg) == (180, None)
    assert 70 < study.body.heart_rate_bpm < 76
    assert study.remarks == ("the images differ in the patient's weight, so it was not used",)


def test_a_height_in_cm_is_not_used_and_told(tmp_path):
    export.series(tmp_path, "eva", 3, **KNOWN | {"PatientSize": "180"})
    (study,) = load_all(tmp_path)
    assert study.body.height_cm is None
    assert "PatientSize (in metres)" in study.remarks[0]


def test_a_damaged_value_does_not_hinder_the_study(tmp_path):
    paths = export.series(tmp_path, "eva", 3, **KNOWN | {"PatientSize": "1.75"})
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"1.75", b"1.x5"))
    (study,) = load_all(tmp_path)
    assert (study.body.height_cm, study.body.weight_kg) == (None, 80)


def test_a_study_without_these_tags_has_an_empty_body(tmp_path):
    export.series(tmp_path, "eva", 3)
    (study,) = load_all(tmp_path)
    assert study.body.is_empty
    assert study.remarks == ()
