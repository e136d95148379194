"""Which studies are found in DICOM files of any layout of folders, what they are called, and what fails alone."""

import logging
import shutil

import pydicom
import pytest
from pydicom import uid as uids

from foanet_jax.data.dicom import find_dicom, list_dicom
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.refs import natural_key
from foanet_jax.system.errors import InputError
from tests.data.dicom.test_dicom import code_and_text, edit, edit_all, study_of


def outcomes(folder):
    """What comes of loading each study: its shape, or the error's code."""

    def load(ref):
        try:
            return ref.load().voxels.shape[:2]
        except InputError as error:
            return error.code

    return {ref.case: load(ref) for ref in find_dicom(folder).refs}


def patient(folder, name, *numbers, shape=(3, 2, 4, 5), flat=False):
    """Series of one patient, each in a folder below or all in one folder; returns the files of each."""
    written = []
    for number in numbers:
        place = folder / (f"{name}{number}" if flat else f"s{number}")
        paths = write_dicom(study_of(shape, case=f"{name} {number}"), place)
        edit_all(paths, PatientID=name, StudyInstanceUID="2.999.1", SeriesNumber=number)
        if flat:
            paths = [path.rename(folder / f"{name}{number}-{path.name}") for path in paths]
            place.rmdir()
        written.append(paths)
    return written


def without_header(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("flat", [True, False])
def test_a_damaged_file_fails_alone(tmp_path, flat):
    """Each slice of the cines has all its frames, so that the file can be missing from neither."""
    folder = tmp_path / "eva"
    first, _ = patient(folder, "eva", 1, 2, flat=flat)
    lost = first[0].parent / "lost"
    shutil.copy(first[0], lost)
    without_header(lost)
    names = ("eva_series1", "eva_series2") if flat else ("s1", "s2")
    failed = "eva_lost" if flat else "s1_lost"
    assert outcomes(folder) == {names[0]: (3, 2), names[1]: (3, 2), failed: "missing-tag"}


@pytest.mark.parametrize("length", [132, 140, 200, 340, 400, 440, 500])
def test_a_file_that_was_cut_off_anywhere_fails(tmp_path, length):
    """It is no object of another kind, which would be passed over."""
    (paths,) = patient(tmp_path / "eva", "eva", 1, flat=True)
    shutil.copy(paths[0], paths[0].with_name("lost"))
    paths[0].with_name("lost").write_bytes(paths[0].read_bytes()[:length])
    found = outcomes(tmp_path / "eva")
    assert len(found) == 2 - (found["eva"] != (3, 2))
    assert any(isinstance(value, str) for value in found.values())


def test_a_damaged_file_that_a_slice_lacks_fails_with_its_series(tmp_path):
    first, _ = patient(tmp_path / "eva", "eva", 1, 2, flat=True)
    without_header(first[4])
    assert outcomes(tmp_path) == {"eva_series1": "missing-tag", "eva_series2": (3, 2)}


def test_a_stack_of_one_frame_may_lack_a_damaged_slice(tmp_path):
    """Three of four slices are even, too: without the fourth, volumes would be wrong and nothing would show it."""
    first, second = patient(tmp_path / "eva", "eva", 1, 2, shape=(1, 4, 4, 5), flat=True)
    without_header(second[3])
    assert outcomes(tmp_path) == {"eva_series1": "missing-tag", "eva_series2": "missing-tag"}
    # What a file is of can be read where only another part of its header is wrong.
    shutil.copy(first[0], second[3])
    edit(second[3], SeriesInstanceUID=pydicom.dcmread(second[0]).SeriesInstanceUID, Rows=None)
    assert outcomes(tmp_path) == {"eva_series1": (1, 4), "eva_series2": "missing-tag"}


def test_a_series_that_cannot_be_read_fails_alone_with_one_line(tmp_path):
    first, _ = patient(tmp_path / "eva", "eva", 1, 2, shape=(20, 3, 4, 5), flat=True)
    edit_all(first, PhotometricInterpretation="RGB")
    assert outcomes(tmp_path) == {"eva": (20, 3), f"eva_{first[0].stem}": "incomplete"}
    found = find_dicom(tmp_path)
    refs, failing = found.refs, found.failing
    assert list(failing) == [refs[1].case]
    text = code_and_text(refs[1].load)[1]
    assert text.splitlines() == [
        "60 of 60 DICOM files cannot be used:",
        f"- {sorted(first, key=lambda path: natural_key(path.name))[0]} and 59 more: 1 samples a pixel, RGB colours; "
        "only MONOCHROME2 can be read",
    ]


@pytest.mark.parametrize("flat", [True, False])
def test_a_folder_of_two_patients_fails_alone(tmp_path, flat):
    patient(tmp_path / "both", "anna", 1, flat=flat)
    stray = patient(tmp_path / "more", "bert", 1, flat=True)[0]
    for path in stray:
        path.rename(tmp_path / "both" / ("" if flat else "s1") / path.name)
    patient(tmp_path / "carl", "carl", 1, flat=flat)
    found = outcomes(tmp_path)
    assert [value for name, value in found.items() if name.startswith("carl")] == [(3, 2)]
    assert sorted(map(str, found.values())) == ["(3, 2)", "mixed-patients"]


def test_names_do_not_depend_on_other_patients_or_folders(tmp_path):
    patient(tmp_path / "scans" / "eva", "eva", 3)
    assert list(outcomes(tmp_path / "scans")) == ["eva_s3"]
    patient(tmp_path / "scans" / "eva", "eva", 4)
    patient(tmp_path / "scans" / "bob", "bob", 3)
    patient(tmp_path / "scans", "carl", 7, flat=True)
    assert set(outcomes(tmp_path / "scans")) == {"scans", "eva_s3", "eva_s4", "bob_s3"}


def test_what_is_passed_over_is_one_line_of_each_kind(tmp_path, caplog):
    (paths,) = patient(tmp_path, "eva", 1, flat=True)
    for number in range(5):
        report = tmp_path / f"report{number}"
        shutil.copy(paths[0], report)
        edit(report, SOPClassUID=uids.BasicTextSRStorage)
    with caplog.at_level(logging.WARNING):
        assert list(outcomes(tmp_path).values()) == [(3, 2)]
    assert [text for text in caplog.messages if "passed over" in text] == [
        f"passed over {tmp_path / 'report0'} and 4 more: Basic Text SR Storage, no MR image"
    ]


def test_nothing_that_can_be_read(tmp_path):
    (paths,) = patient(tmp_path, "eva", 1, flat=True)
    for path in paths:
        without_header(path)
    assert list(outcomes(tmp_path).values()) == ["incomplete"]
    assert code_and_text(list_dicom, tmp_path)[0] == "incomplete"
