"""Measured masks with a table of patients, and with papillary muscles by the image."""

import csv

import numpy as np
import pytest

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.jobs.studies.measurement import measure
from tests.measures.indices.test_papillary import heart

GRID = {"affine": np.diag([1.0, 1.0, 10.0, 1.0]), "spacing_mm": (10.0, 1.0, 1.0)}
LABELS = ["rv:1", "myocardium:2", "cavity:3"]


@pytest.fixture
def row(tmp_path):
    """`row(**options)` measures a heart of two frames with 0.54 ml of papillary muscles; returns its row."""
    mask, image, _ = heart()
    write_nifti(image, path=tmp_path / "in" / "p1.nii.gz", **GRID)
    write_nifti(mask, path=tmp_path / "masks" / "p1_seg.nii.gz", **GRID)
    (tmp_path / "patients.csv").write_text("study,height_cm,weight_kg,sex,age_years\np1,180,80,m,60\n")

    def run(**options):
        options = {"labels": LABELS, "pages": False, "patients": tmp_path / "patients.csv", **options}
        assert measure(tmp_path / "in", tmp_path / "masks", tmp_path / "out", overwrite=True, **options) == 0
        with (tmp_path / "out" / "summary.csv").open(newline="") as file:
            (found,) = csv.DictReader(file)
        return found

    return run


def test_reference_values_need_a_known_convention(row):
    unknown, cavity = row(), row(convention="cavity")
    assert float(unknown["bsa_m2"]) == float(cavity["bsa_m2"]) == 2
    assert float(cavity["lv_edvi_ml_m2"]) == pytest.approx(float(cavity["lv_edv_ml"]) / 2)
    assert unknown["lv_edv_z"] == ""
    assert float(cavity["lv_edv_z"]) == pytest.approx((float(cavity["lv_edv_ml"]) - 166) / 32)


def test_papillary_muscles_of_drawn_masks(row):
    drawn, moved = row(), row(convention="myocardium")
    assert float(moved["lv_papillary_ed_ml"]) == pytest.approx(0.54)
    assert float(moved["lv_edv_ml"]) == pytest.approx(float(drawn["lv_edv_ml"]) - 0.54)
    assert float(moved["lv_mass_g"]) == pytest.approx(float(drawn["lv_mass_g"]) + 1.05 * 0.54)
    assert moved["lv_edv_drawn_ml"] == pytest.approx(drawn["lv_edv_ml"])
