"""What a prediction says of files whose geometry is wrong, and what it measures."""

import csv
import json

import nibabel as nib
import numpy as np
import pydicom
import pytest

from foanet_jax.data.nifti.geometry import UNIT_AFFINE
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
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
