"""ACDC's layouts by hand, and the data set itself where it is there."""

import pickle
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.readers.acdc import list_acdc, read_acdc
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.jobs.check import check_data_set
from foanet_jax.system.errors import InputError

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "acdc"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the ACDC data set is not beside the project")

AFFINE = np.diag([-1.0, -1, 1, 1])


def write_patient(parent, number, frames=(1, 12), info=None, suffix=".nii.gz"):
    patient = f"patient{number:03d}"
    folder = parent / patient
    folder.mkdir(parents=True)
    info = f"ED: {frames[0]}\nES: {frames[1]}\nGroup: DCM\nNbFrame: 30\n" if info is None else info
    (folder / "Info.cfg").write_text(info)
    rng = np.random.default_rng(number)
    for frame in frames:
        stem = f"{patient}_frame{frame:02d}"
        save(folder / f"{stem}{suffix}", rng.integers(0, 300, (6, 5, 4)).astype(np.int16))
        save(folder / f"{stem}_gt{suffix}", rng.integers(0, 4, (6, 5, 4)).astype(np.uint8))
    return folder


def save(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)


def code_of(ref):
    with pytest.raises(InputError) as caught:
        ref.load()
    return caught.value.code


@pytest.mark.parametrize("parents", [[""], ["training", "testing"], ["database/training"]])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_layouts(tmp_path, parents, suffix):
    for number, parent in enumerate(parents, 1):
        write_patient(tmp_path / parent, number, suffix=suffix)
    refs = list_acdc(tmp_path)
    cases = [f"patient{number:03d}_frame{frame}" for number in range(1, len(parents) + 1) for frame in ("01", "12")]
    assert [ref.case for ref in refs] == cases
    assert {ref.group for ref in refs} == {"DCM"}
    study = refs[0].load()
    assert (study.patient, study.case, study.group) == ("patient001", "patient001_frame01", "DCM")
    assert study.classes == ACDC_CLASSES
    assert study.voxels.shape == (1, 4, 5, 6)
    np.testing.assert_array_equal(study.voxels[0], np.asarray(nib.load(study.source).dataobj).T)
    assert [study.case for study in read_acdc(tmp_path)] == cases


def test_a_single_patient(tmp_path, monkeypatch):
    folder = write_patient(tmp_path, 7)
    assert len(list_acdc(folder)) == 2
    monkeypatch.chdir(folder)
    assert [ref.patient for ref in list_acdc(".")] == ["patient007", "patient007"]


def test_refs_travel_to_other_processes(tmp_path):
    write_patient(tmp_path, 1)
    ref = list_acdc(tmp_path)[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ref)).load().voxels, ref.load().voxels)


def test_all_problems_are_named_at_once(tmp_path):
    write_patient(tmp_path, 1)
    (tmp_path / "patient001" / "patient001_frame01_gt.nii.gz").unlink()
    (write_patient(tmp_path, 2) / "Info.cfg").unlink()
    write_patient(tmp_path, 3, info="ED: one\nES: 12\n")
    write_patient(tmp_path, 4)
    (tmp_path / "patient004" / "patient004_frame12.nii.gz").unlink()
    with pytest.raises(InputError) as caught:
        list_acdc(tmp_path)
    assert caught.value.code == "incomplete"
    for named in ("patient001_frame01_gt", "patient002/Info.cfg", "ED is 'one'", "patient004_frame12.nii.gz missing"):
        assert named in str(caught.value)


def test_labels_that_do_not_fit(tmp_path):
    folder = write_patient(tmp_path, 1)
    ref = list_acdc(tmp_path)[0]
    path = folder / "patient001_frame01_gt.nii.gz"
    labels = np.zeros((6, 5, 4), np.float32)
    save(path, labels[:5])
    assert code_of(ref) == "shape-mismatch"
    save(path, labels, np.diag([1.0, -1, 1, 1]))
    assert code_of(ref) == "affine-mismatch"
    for value in (4, -1, 0.5):
        labels[0, 0, 0] = value
        save(path, labels)
        assert code_of(ref) == "unknown-label"
        with pytest.raises(InputError, match=f"{value:g}.*"):
            ref.load()
    path.write_bytes(path.read_bytes()[:-20])
    assert code_of(ref) == "truncated"


@real_data
def test_the_data_set():
    refs = list_acdc(REAL)
    assert len(refs) == 200
    groups = {ref.patient: ref.group for ref in refs}
    assert Counter(groups.values()) == {"DCM": 20, "HCM": 20, "MINF": 20, "NOR": 20, "RV": 20}
    for ref in refs:
        study = ref.load()
        assert study.case == ref.case
        assert study.voxels.shape[0] == 1
        # All files have sides of 1 in their affine; the true ones are in pixdim.
        assert 5 <= study.spacing_mm[0] <= 10
        assert 0.70 <= study.spacing_mm[1] == study.spacing_mm[2] <= 1.95
        # A ventricle may be gone from the outermost slices, but none is from a whole volume.
        assert set(np.unique(study.labels)) == {0, 1, 2, 3}


@real_data
def test_frames_of_the_one_cine():
    refs = list_acdc(REAL / "patient090")
    assert [ref.case for ref in refs] == ["patient090_frame04", "patient090_frame11"]
    cine = read_nifti(REAL / "patient090" / "patient090_4d.nii.gz")
    assert cine.data.shape == (12, 7, 224, 154)
    for ref, frame in zip(refs, (4, 11), strict=True):
        np.testing.assert_array_equal(ref.load().voxels[0], cine.data[frame - 1])
    (of_all,) = list_acdc(REAL, frames="cine")
    assert (of_all.patient, of_all.case, of_all.group) == ("patient090", "patient090_4d", "RV")
    study = of_all.load()
    np.testing.assert_array_equal(study.voxels, cine.data)
    assert study.labels is None
    assert [finding.code for finding in check_data_set([of_all]).findings] == ["no-labels", "affine-spacing"]


@real_data
def test_masks_of_the_data_set_go_back(tmp_path):
    study = list_acdc(REAL / "patient001")[0].load()
    write_mask(study.labels, study, tmp_path / "mask.nii.gz")
    ours, theirs = nib.load(tmp_path / "mask.nii.gz"), nib.load(REAL / "patient001" / "patient001_frame01_gt.nii.gz")
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    np.testing.assert_array_equal(ours.header["pixdim"], theirs.header["pixdim"])
