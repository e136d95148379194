"""What is found to predict on, what it is called, and that nothing is left out in silence."""

import gzip
import os
import unicodedata
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from foanet_jax.data.inputs import HIDDEN, LABELS, LINKED_FOLDERS, OTHER, find_studies, read_input, source_of
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.refs import safe_case
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError


def save(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 300, (6, 5, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([1.5, 1.5, 8.0, 1.0])), path)
    return path


def dicom(folder, seed=0):
    voxels = np.random.default_rng(seed).integers(0, 900, (1, 2, 4, 5)).astype(np.float32)
    study = Study(f"p{seed}", f"p{seed}", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=np.diag([-1.5, -2.0, 8.0, 1.0]))
    return write_dicom(study, folder)


def cases(*paths):
    return [ref.case for ref in read_input(list(paths))]


def outcomes(found):
    """What comes of loading each study: True, or the error's code."""

    def load(ref):
        try:
            return ref.load().case == ref.case
        except InputError as error:
            return error.code

    return {ref.case: load(ref) for ref in found.refs}


def test_folders_below(tmp_path):
    """BIDS, UK Biobank and ACDC: a study has the name of its patient, once."""
    for name in (
        "sub-01/anat/sub-01_cine.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_cine.nii.gz",
        "sub-1/anat/cine.nii.gz",
        "1000215/sa.nii.gz",
        "1000215/la_2ch.nii.gz",
        "training/patient001/patient001_frame01.nii.gz",
        "p1/p1.nii",
        "p10/p1.nii",
        "top.nii",
    ):
        save(tmp_path / name)
    found = find_studies(tmp_path)
    assert {ref.source: ref.case for ref in found.refs} == {
        "top.nii": "top",
        "1000215/la_2ch.nii.gz": "1000215_la_2ch",
        "1000215/sa.nii.gz": "1000215_sa",
        "p1/p1.nii": "p1",
        "p10/p1.nii": "p10_p1",
        "sub-01/anat/sub-01_cine.nii.gz": "sub-01_cine",
        "sub-01/ses-2/anat/sub-01_ses-2_cine.nii.gz": "sub-01_ses-2_cine",
        "sub-1/anat/cine.nii.gz": "sub-1_anat_cine",
        "training/patient001/patient001_frame01.nii.gz": "training_patient001_frame01",
    }
    assert set(outcomes(found).values()) == {True}
    assert found.describe() == ""


def test_every_format_in_one_folder(tmp_path):
    """NIfTI beside DICOM, pairs once, and the voxels of a header not as a file of their own."""
    save(tmp_path / "a.nii.gz")
    image = SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    for name in ("b.nrrd", "c.nhdr", "d.mha", "e.mhd", "f.hdr"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
    dicom(tmp_path / "eva" / "series1")
    dicom(tmp_path / "bob", 1)
    found = find_studies(tmp_path)
    assert outcomes(found) == dict.fromkeys(["a", "b", "c", "d", "e", "f", "bob", "eva_series1"], True)
    assert found.dicom == {"bob", "eva_series1"}
    voxels = [ref.load().voxels for ref in found.refs[:6]]
    assert all(np.array_equal(voxels[0], other) for other in voxels)
    assert found.describe() == ""
    sources = {ref.case: source_of(ref, ref.load(), found) for ref in found.refs}
    assert (sources["a"], sources["eva_series1"], sources["bob"]) == ("a.nii.gz", "eva/series1", "bob")


def test_what_cannot_be_read_is_a_study_that_fails(tmp_path):
    save(tmp_path / "good.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "annexed")
    (tmp_path / "link without ending").symlink_to(tmp_path / "annexed")
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "broken.nii.gz").write_bytes(gzip.compress(b"no"))
    (tmp_path / "half.img").write_bytes(b"0" * 240)
    (tmp_path / "alone.hdr").write_bytes(b"0" * 348)
    (tmp_path / "b.nrrd").write_bytes(b"NRRD0004\n\n")
    (tmp_path / "b.mha").write_bytes(b"")
    (tmp_path / "x.mat").write_bytes(b"")
    (tmp_path / "scan").mkdir()
    for number in (1, 2):
        (tmp_path / "scan" / f"{number}.dcm").write_bytes(b"no DICOM")
    os.mkfifo(tmp_path / "pipe.nii")
    found = find_studies(tmp_path)
    assert outcomes(found) == {
        "good": True,
        "link": "missing-file",
        "link_without_ending": "missing-file",
        "empty": "empty-file",
        "broken": "not-nifti",
        "half": "missing-file",
        "alone": "missing-file",
        "b": "empty-file",
        "b-2": "header",
        "x": "empty-file",
        "pipe": "not-a-file",
        "scan_1.dcm": "not-dicom",
    }
    assert found.describe() == ""


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    save(tmp_path / "good.nii.gz")
    save(tmp_path / "closed" / "a.nii.gz")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert outcomes(find_studies(tmp_path)) == {"good": True, "closed": "unreadable"}


def test_what_is_passed_over_is_counted(tmp_path):
    save(tmp_path / "a.nii.gz")
    for name in ("a_gt.nii.gz", "a_label.nii", "a_SEG.nii.gz", "a_dseg.nii.gz", "a.seg.nrrd", "labels/a.nii.gz"):
        save(tmp_path / name.replace(".nrrd", ".nii"))
        if name.endswith(".nrrd"):
            (tmp_path / name.replace(".nrrd", ".nii")).rename(tmp_path / name)
    for name in (".hidden.nii", "._a.nii.gz", "notes.txt", "table.csv", "more.txt", "README"):
        (tmp_path / name).write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path)
    found = find_studies(tmp_path)
    assert [ref.case for ref in found.refs] == ["a"]
    assert found.passed_over == {LABELS: 6, HIDDEN: 3, OTHER: 4, LINKED_FOLDERS: 1}
    assert "4 other kinds of files (.csv 1, .txt 2, no ending 1)" in found.describe()
    # A file that is named is read, whatever it is called.
    assert cases(tmp_path / "a_gt.nii.gz") == ["a_gt"]


def test_nothing_to_read_says_what_there_is(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"passed over: 1 other kinds of files \(.txt 1\)") as caught:
        read_input(tmp_path)
    assert caught.value.code == "empty-root"


def test_several_paths_and_patterns(tmp_path):
    for name in ("x/a.nii", "x/b.nii", "y/c.nii", "odd[1],2.nii"):
        save(tmp_path / name)
    assert cases(tmp_path / "x", tmp_path / "y" / "c.nii") == ["a", "b", "c"]
    assert cases(tmp_path / "*" / "*.nii") == ["a", "b", "c"]
    assert cases(tmp_path / "**" / "[ab].nii") == ["a", "b"]
    # What is there is no pattern, and what is named twice is one study.
    assert cases(tmp_path / "odd[1],2.nii") == ["odd_1_2"]
    assert cases(tmp_path / "x", tmp_path / "x" / "a.nii", tmp_path / "*" / "a.nii") == ["a", "b"]
    sources = [ref.source for ref in read_input([tmp_path / "x", tmp_path / "y"])]
    assert sources == [str(tmp_path / "x" / "a.nii"), str(tmp_path / "x" / "b.nii"), str(tmp_path / "y" / "c.nii")]
    for wrong in (tmp_path / "none" / "*.nii", tmp_path / "none"):
        with pytest.raises(InputError) as caught:
            read_input([tmp_path / "x", wrong])
        assert caught.value.code == "missing-file"


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("患者一", "患者一"),
        ("Иванов", "Иванов"),
        ("Müller", "Müller"),
        (unicodedata.normalize("NFD", "Müller"), "Müller"),
        ("हिन्दी", "हिन्दी"),
        ("heart scan (2)", "heart_scan_2"),
        ("a=b;c", "a_b_c"),
        ("con", "_con"),
    ],
)
def test_names_depend_on_nothing_else(tmp_path, name, case):
    save(tmp_path / f"{name}.nii")
    assert cases(tmp_path) == [case]
    for other in ("Петров", "患者二", "study", "🫀", "zz"):
        save(tmp_path / f"{other}.nii")
        assert case in cases(tmp_path)


def test_names_without_a_letter_are_stable():
    """A checksum of the name itself: CRC-32 of its UTF-8."""
    names = ("🫀", "...", "\udcff", "🫁")
    wanted = [f"study-{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}" for name in names]
    assert len(set(wanted)) == 4
    assert [safe_case(name, set()) for name in names] == wanted


def test_long_names_fit_in_a_file_system(tmp_path):
    """A name is at most 255 bytes, endings included, and is cut between characters."""
    name = "心" * 83
    path = save(tmp_path / "a.nii").rename(tmp_path / f"{name}.nii")
    (case,) = cases(path)
    assert case == "心" * 66
    (tmp_path / f"{case}_dicom_seg_and_more_to_come").mkdir()


def test_true_clashes(tmp_path):
    for name in ("a b.nii", "a_b.nii", "A_B.nii.gz"):
        save(tmp_path / name)
    assert cases(tmp_path) == ["A_B", "a_b-2", "a_b-3"]
