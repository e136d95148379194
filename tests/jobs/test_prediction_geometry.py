"""What a prediction says of files whose geometry is wrong, and what it measures."""

import csv
import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest

from foanet_jax.data.frames import Place
from foanet_jax.data.nifti.geometry import UNIT_AFFINE
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.jobs import prediction
from foanet_jax.jobs.experiment.reviewing import pair_patients
from foanet_jax.measures.indices.study import measure_study
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError

# 16 × 14 × 4 voxels of 1.25 × 1.25 × 8 mm, all of them class 1: by hand 11.2 ml.
SHAPE, RIGHT_ML = (16, 14, 4), 11.2


def write(path, sides, pixdim=None, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(0).integers(0, 500, shape).astype(np.int16)
    image = nib.Nifti1Image(voxels, np.diag([*sides, 1]))
    image.header["pixdim"][1:4] = pixdim or sides
    nib.save(image, path)
    return path


def report(folder):
    return json.loads((folder / "predictions.json").read_text())


def test_a_contradiction_is_a_failed_study_and_a_given_spacing_the_remedy(made_up, tmp_path):
    write(tmp_path / "in" / "right.nii.gz", (1.25, 1.25, 8))
    write(tmp_path / "in" / "wrong.nii.gz", (1.25, 1.25, 8), (1, 1, 1))
    write(tmp_path / "in" / "acdc.nii.gz", (1, 1, 1), (1.25, 1.25, 8))
    assert made_up(tmp_path / "in", tmp_path / "out", pages=True) == 1
    told = report(tmp_path / "out")
    assert told["wrong"]["error"] == "spacing-contradicts"
    assert told["acdc"]["remarks"] == [UNIT_AFFINE]
    assert UNIT_AFFINE in (tmp_path / "out" / "acdc.html").read_text()
    assert "remarks" not in told["right"]
    given = {"spacing_mm": (8, 1.25, 1.25)}
    assert made_up(tmp_path / "in" / "wrong.nii.gz", tmp_path / "again", **given) == 0
    for folder, case in (("out", "right"), ("out", "acdc"), ("again", "wrong")):
        with (tmp_path / folder / f"{case}_volumes.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert float(row["heart_muscle_ml"]) == pytest.approx(RIGHT_ML)
        mask = nib.load(tmp_path / folder / f"{case}_seg.nii.gz")
        assert nib.imagestats.mask_volume(mask) / 1000 == pytest.approx(RIGHT_ML)


def blood(path, count, *, slices=5, slice_mm=10.0, shift=0.0):
    """A frame whose voxels are class indices: so many of blood in every slice, walled."""
    voxels = np.zeros((20, 16, slices), np.int16)
    voxels[2:18, 2:14] = ACDC_CLASSES.index("myocardium")
    inner = voxels[4:16, 4:12].reshape(-1, slices)
    inner[:count] = ACDC_CLASSES.index("cavity")
    voxels[4:16, 4:12] = inner.reshape(12, 8, slices)
    affine = np.diag([1.5, 1.5, slice_mm, 1])
    affine[0, 3] = shift
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


@pytest.mark.parametrize(
    ("other", "differ"),
    [
        ({}, ""),
        ({"slices": 3}, "size: 5 × 16 × 20 and 3 × 16 × 20 voxels"),
        ({"slice_mm": 6.0}, "spacing: 10 × 1.5 × 1.5 and 6 × 1.5 × 1.5 mm"),
        ({"shift": 3.0}, "place: 3 mm apart"),
        ({"shift": 0.1}, ""),  # rounded
    ],
)
def test_frames_on_different_grids_are_no_heartbeat(made_up, tmp_path, monkeypatch, caplog, other, differ):
    def read_classes(study, model, **_):
        mask = study.voxels.astype(np.uint8)
        return Prediction(mask, [None], None, Box(0, 0, *mask.shape[2:]), ())

    monkeypatch.setattr(prediction, "load_model", lambda _: SimpleNamespace(classes=ACDC_CLASSES))
    described = {"config": {"prediction": {}}, "slice_axis": None, "classes": list(ACDC_CLASSES)}
    monkeypatch.setattr(prediction, "load_description", lambda _: described)
    monkeypatch.setattr(prediction, "predict_study", read_classes)
    blood(tmp_path / "in" / "b_frame01.nii.gz", 82)
    blood(tmp_path / "in" / "b_frame12.nii.gz", 66, **other)
    assert made_up(tmp_path / "in", tmp_path / "out", pages=True) == 0
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        (beat,) = [row for row in csv.DictReader(file) if row["study"] == "b"]
    remarks = [entry.get("remarks", []) for entry in report(tmp_path / "out").values()]
    if not differ:
        # 5 slices of 82 and of 66 pixels: 100 · 16 / 82.
        assert float(beat["lv_ef_percent"]) == pytest.approx(19.512, abs=1e-3)
        assert remarks == [[], []]
        return
    assert not beat.get("lv_ef_percent")
    assert (beat["reasons"], beat["verdict"] in ("check", "reject")) == ("frames-differ", True)
    assert all(differ in told for (told,) in remarks)
    assert differ in caplog.text
    assert "19.5" not in (tmp_path / "out" / "index.html").read_text()


def test_the_evaluation_joins_equal_grids_only(caplog):
    mask = np.zeros((1, 2, 6, 6), np.uint8)
    mask[:, :, 1:5, 1:5], mask[:, :, 2:4, 2:4] = 2, 3
    cases = ("a_frame01", "a_frame09", "b_frame01", "b_frame02")
    indices = {case: measure_study(mask, classes=ACDC_CLASSES, spacing_mm=(8, 1, 1)) for case in cases}
    place = Place((2, 6, 6), (8.0, 1.0, 1.0), np.eye(4))
    places = dict.fromkeys(cases, place) | {"b_frame02": Place((2, 6, 6), (9.0, 1.0, 1.0), np.eye(4))}
    pairs = pair_patients(indices, indices, ACDC_CLASSES, places=places)
    assert {pair.patient for pair in pairs} == {"a"}
    assert "b: not joined to a heartbeat" in caplog.text


def test_the_mask_of_a_dicom_cine_has_its_frame_time(made_up, tmp_path):
    voxels = np.random.default_rng(1).integers(0, 500, (12, 2, 14, 16)).astype(np.float32)
    affine = np.diag([1.25, 1.25, 8, 1])
    study = Study("p", "p", voxels, (8.0, 1.25, 1.25), LV_CLASSES, affine=affine, frame_seconds=0.045)
    write_dicom(study, tmp_path / "in")
    triggers = {float(pydicom.dcmread(path).TriggerTime) for path in (tmp_path / "in").rglob("*.dcm")}
    assert np.diff(sorted(triggers)) == pytest.approx(45)
    assert made_up(tmp_path / "in", tmp_path / "out") == 0
    for path in (tmp_path / "out").glob("*.nii.gz"):
        header = nib.load(path).header
        assert header.get_zooms()[3] == pytest.approx(0.045)
        assert header.get_xyzt_units() == ("mm", "sec")


def test_a_given_spacing_that_is_none(made_up, tmp_path):
    with pytest.raises(InputError, match="three real numbers"):
        made_up(write(tmp_path / "a.nii", (1, 1, 1)), tmp_path / "out", spacing_mm=(8, 1))
