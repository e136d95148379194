"""A prediction with a table of patients: what reaches the tables, the report and the page."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.jobs import prediction
from foanet_jax.jobs.commandline import read
from foanet_jax.jobs.helping import FOANET
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError


def heart(radius):
    """A ring of myocardium around a cavity, (1, 4, 40, 40)."""
    rows, columns = np.mgrid[:40, :40]
    away = np.hypot(rows - 20, columns - 22)
    mask = np.where(away < radius, 3, np.where(away < radius + 4, 2, 0))
    return np.broadcast_to(mask, (1, 4, 40, 40)).astype(np.float32)


@pytest.fixture
def predict(made_up, monkeypatch, tmp_path):
    """Predicts two frames of patient001 and a cine, whose voxels are their classes."""

    def read_classes(study, model, **_):
        mask = study.voxels.astype(np.uint8)
        return Prediction(mask, [None], None, Box(0, 0, *mask.shape[2:]), ())

    described = {"config": {"prediction": {}, "data": {"name": "acdc"}}, "slice_axis": None}
    monkeypatch.setattr(prediction, "load_model", lambda _: SimpleNamespace(classes=ACDC_CLASSES))
    monkeypatch.setattr(prediction, "load_description", lambda _: described | {"classes": list(ACDC_CLASSES)})
    monkeypatch.setattr(prediction, "predict_study", read_classes)
    folder = tmp_path / "in" / "patient001"
    grid = {"affine": np.diag([1.5, 1.5, 8.0, 1.0]), "spacing_mm": (8.0, 1.5, 1.5)}
    write_nifti(heart(10), path=folder / "patient001_frame01.nii.gz", **grid)
    write_nifti(heart(7), path=folder / "patient001_frame12.nii.gz", **grid)
    beat = np.concatenate([heart(radius) for radius in (10, 9, 8, 7, 8, 9)])
    write_nifti(beat, path=tmp_path / "in" / "cine.nii.gz", **grid)
    (folder / "Info.cfg").write_text("ED: 1\nES: 12\nHeight: 180.0\nWeight: 80.0\n")

    def run(text="", **options):
        if text:
            (tmp_path / "patients.csv").write_text(text)
            options["patients"] = tmp_path / "patients.csv"
        return made_up(tmp_path / "in", tmp_path / "out", **options)

    return run


def summary(folder):
    with (folder / "summary.csv").open(newline="") as file:
        return {row["study"]: row for row in csv.DictReader(file)}


def test_info_cfg_and_the_table_reach_every_file(predict, tmp_path):
    text = "study,height_cm,weight_kg,sex,age_years,heart_rate_bpm\ncine,160,57.6,f,56,70\npatient001,,,m,60,\n"
    assert predict(text, pages=True) == 0
    rows = summary(tmp_path / "out")
    acdc, cine = rows["patient001"], rows["cine"]
    assert (float(acdc["bsa_m2"]), acdc["sex"], acdc["age_years"]) == (2, "male", "60")
    assert float(acdc["lv_edvi_ml_m2"]) == pytest.approx(float(acdc["lv_edv_ml"]) / 2)
    assert float(acdc["lv_edv_z"]) == pytest.approx((float(acdc["lv_edv_ml"]) - 166) / 32)
    assert float(cine["bsa_m2"]) == pytest.approx(1.6)
    assert float(cine["cardiac_output_l_min"]) == pytest.approx(0.07 * float(cine["lv_sv_ml"]))
    assert float(cine["lv_ef_z"]) == pytest.approx((float(cine["lv_ef_percent"]) - 61) / 5)
    assert cine["heart_rate_source"] == "table of patients"
    entry = json.loads((tmp_path / "out" / "predictions.json").read_text())["cine"]
    assert entry["indices"]["bsa_m2"] == pytest.approx(1.6)
    assert entry["patient"]["sex"] == "female"
    page = (tmp_path / "out" / "cine.html").read_text(encoding="utf-8")
    assert "Female, 56 years. Body surface 1.60 m²" in page
    assert not any(column in page for column in ("height_cm", "weight_kg", "57.6"))
    # The table is no output, and stays.
    assert (tmp_path / "patients.csv").read_text() == text


def test_another_formula(predict, tmp_path):
    assert predict(formula="dubois") == 0
    row = summary(tmp_path / "out")["patient001"]
    assert float(row["bsa_m2"]) == pytest.approx(1.99642, abs=1e-5)
    assert row["bsa_formula"] == "dubois"


def test_without_sex_and_age_there_are_no_distances(predict, tmp_path):
    assert predict() == 0
    row = summary(tmp_path / "out")["patient001"]
    assert {row[name] for name in ("lv_edv_z", "lv_ef_z", "sex", "age_years", "heart_rate_bpm")} == {""}
    assert {summary(tmp_path / "out")["cine"][name] for name in ("bsa_m2", "lv_edvi_ml_m2")} == {""}


def test_a_table_that_does_not_fit_stops_before_anything_is_written(predict, tmp_path):
    with pytest.raises(InputError, match="eva: no such study in the input"):
        predict("study,sex\neva,f\n")
    with pytest.raises(InputError, match="it may be in metres"):
        predict("study,height_cm\ncine,1.6\n")
    assert not (tmp_path / "out" / "summary.csv").exists()


def test_the_table_is_not_replaced_by_an_output(predict, tmp_path):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "summary.csv"
    path.write_text("study,sex\ncine,f\n")
    with pytest.raises(InputError):
        predict(patients=path, overwrite=True)
    assert path.read_text() == "study,sex\ncine,f\n"


def test_papillary_muscles_are_moved_on_request_and_both_volumes_are_given(predict, tmp_path):
    # The images are classes, 0 to 3: Otsu's threshold finds no dark pixel in the cavity.
    assert predict("study,sex,age_years\ncine,f,56\n", convention="myocardium", pages=True) == 0
    row = summary(tmp_path / "out")["cine"]
    assert float(row["lv_papillary_ed_ml"]) == 0
    assert row["lv_edv_drawn_ml"] == row["lv_edv_ml"]
    assert row["lv_edv_z"] == ""
    page = (tmp_path / "out" / "cine.html").read_text(encoding="utf-8")
    assert "count to the myocardium: 0 ml at end diastole" in page
    assert "these masks count them to the myocardium" in page


def test_the_options_of_the_command():
    given = read(["foanet", "predict", "STUDIES", "OUT", "--patients=p.csv", "--bsa=dubois"], program=FOANET)
    assert (given["patients"], given["bsa"]) == ("p.csv", "dubois")
    usual = read(["foanet", "predict", "STUDIES", "OUT"], program=FOANET)
    assert (usual["bsa"], usual["papillary"]) == ("mosteller", None)
