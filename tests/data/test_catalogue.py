"""Data sets by name, and files to predict on."""

import unicodedata

import nibabel as nib
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from foanet_jax.data.catalogue import open_catalogue, read_input
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.refs import natural_key, safe_case
from foanet_jax.system.errors import InputError


def save(path, shape=(6, 5, 4), affine=None):
    array = np.random.default_rng(0).integers(0, 300, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return array


def code_and_text(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("name", "looked_for"), [("acdc", "Info.cfg"), ("lvquan19", "patientN.mat"), ("mmwhs2017", "mr_train_10XX_image")]
)
def test_roots_that_hold_nothing(tmp_path, name, looked_for):
    code, text = code_and_text(open_catalogue, name, tmp_path / "none")
    assert code == "missing-root"
    assert "none" in text
    (tmp_path / "file").write_text("")
    assert code_and_text(open_catalogue, name, tmp_path / "file")[0] == "missing-root"
    (tmp_path / "folder").mkdir()
    code, text = code_and_text(open_catalogue, name, tmp_path / "folder")
    assert code == "empty-root"
    assert looked_for in text


def test_unknown_names_and_options(tmp_path):
    code, text = code_and_text(open_catalogue, "acdc2", tmp_path)
    assert code == "unknown-catalogue"
    assert all(name in text for name in ("acdc2", "acdc", "lvquan19", "mmwhs2017"))
    code, text = code_and_text(open_catalogue, "mmwhs2017", tmp_path, axis="axial")
    assert code == "unknown-option"
    assert "slice_axis" in text


def test_options_arrive(tmp_path):
    save(tmp_path / "mr_train_1001_image.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.eye(4)), tmp_path / "mr_train_1001_label.nii.gz")
    (ref,) = open_catalogue("mmwhs2017", tmp_path, slice_axis="sagittal")
    assert ref.load().voxels.shape == (1, 6, 4, 5)


def test_one_file(tmp_path):
    array = save(tmp_path / "heart scan.nii.gz")
    (ref,) = read_input(tmp_path / "heart scan.nii.gz", classes=("background", "heart"))
    assert ref.case == "heart_scan"
    study = ref.load()
    assert (study.case, study.classes, study.labels) == ("heart_scan", ("background", "heart"), None)
    np.testing.assert_array_equal(study.voxels[0], array.T)
    (ref,) = read_input(tmp_path / "heart scan.nii.gz", third_axis="time")
    assert ref.load().voxels.shape == (4, 1, 5, 6)


def test_reoriented_input_goes_back(tmp_path):
    array = save(tmp_path / "a.nii", affine=np.array([[0, 0, -2, 0], [0, 3, 0, 0], [4, 0, 0, 0], [0, 0, 0, 1.0]]))
    study = read_input(tmp_path / "a.nii", slice_axis="axial")[0].load()
    assert study.voxels.shape == (1, 6, 5, 4)
    write_mask((study.voxels > 100).astype(np.uint8), study, tmp_path / "mask.nii")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "mask.nii").dataobj), array > 100)


def test_a_folder(tmp_path):
    for name in ("b10.nii", "b2.nii.gz", "b2_gt.nii.gz", "b2_label.nii.gz", "b2.nii", "._b2.nii.gz", "B2.NII.GZ"):
        save(tmp_path / "image.nii")
        (tmp_path / "image.nii").rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "folder.nii").mkdir()
    scipy.io.savemat(tmp_path / "patient1.mat", {"image": np.zeros((6, 5, 3)), "pix_spacing": 1.0})
    refs = read_input(tmp_path)
    assert sorted(ref.case for ref in refs) == ["B2", "b10", "b2-2", "b2-3", "patient1"]
    study = next(ref for ref in refs if ref.case == "patient1").load()
    assert study.voxels.shape == (3, 1, 6, 5)
    assert study.labels is None


def test_labels_of_mat_files_are_ignored(tmp_path):
    ones = np.ones((6, 5, 3), np.uint8)
    scipy.io.savemat(tmp_path / "a.mat", {"image": ones, "pix_spacing": 1.0, "endo": ones, "epi": ones})
    (ref,) = read_input(tmp_path / "a.mat")
    assert ref.load().labels is None


def test_input_that_is_not_there(tmp_path):
    assert code_and_text(read_input, tmp_path / "none.nii")[0] == "missing-file"
    code, text = code_and_text(read_input, tmp_path)
    assert code == "empty-root"
    assert "*.nii" in text
    (tmp_path / "a.dcm").write_text("")
    assert code_and_text(read_input, tmp_path / "a.dcm")[0] == "unknown-format"


@given(st.lists(st.text(max_size=12), max_size=6))
@hypothesis_settings(deadline=None, max_examples=100)
def test_case_ids_are_safe_and_unique(stems):
    taken = set()
    cases = [safe_case(stem, taken) for stem in stems]
    assert len({case.lower() for case in cases}) == len(cases)
    for case in cases:
        assert case
        assert not case.startswith(".")
        assert len(case.encode()) < 220
        assert unicodedata.normalize("NFC", case) == case
        assert {unicodedata.category(c)[0] for c in case if c not in "._-"} <= set("LMN")
    sorted(stems, key=natural_key)


def test_long_names_are_cut():
    taken = set()
    assert [len(safe_case("ä" + "long" * 100, taken)) for _ in range(2)] == [199, 201]
