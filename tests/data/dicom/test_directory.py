"""DICOMDIR is followed, and nothing that it names is missed in silence."""

import logging

import pydicom
import pytest
from pydicom.fileset import FileSet

from foanet_jax.data.dicom import find_dicom
from foanet_jax.data.dicom.directory import listed_images
from foanet_jax.data.inputs import find_studies
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.system.overwriting import identity
from tests.data.dicom.test_dicom import edit_all, study_of


@pytest.fixture
def medium(tmp_path):
    """A medium with two series of three frames and two slices, written by pydicom; and its image files by series."""
    files = FileSet()
    for number in (1, 2):
        paths = write_dicom(study_of(case=f"eva {number}"), tmp_path / "made" / str(number))
        edit_all(paths, PatientID="eva", PatientName="Eva", StudyInstanceUID="2.999.1", StudyDate="20240101")
        edit_all(paths, StudyTime="120000", StudyID="1", Modality="MR", SeriesNumber=number)
        for path in paths:
            files.add(pydicom.dcmread(path))
    folder = tmp_path / "medium"
    files.write(folder)
    files._stage["t"].cleanup()  # It would be left to the garbage collector, with a warning.
    return folder


def by_series(folder):
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "DICOMDIR":
            files.setdefault(str(pydicom.dcmread(path).SeriesInstanceUID), []).append(path)
    return files


def shapes(found):
    return [ref.load().voxels.shape[:2] for ref in found.refs]


def test_the_files_that_it_names(medium):
    expected = {path: series for series, paths in by_series(medium).items() for path in paths}
    assert listed_images(medium / "DICOMDIR") == expected
    for path in (medium, medium / "DICOMDIR"):
        found = find_dicom(path)
        assert shapes(found) == [(3, 2), (3, 2)]
        assert not found.failing
        assert set(found.files) == set(expected)


def test_it_is_no_image_that_is_passed_over(medium, caplog):
    with caplog.at_level(logging.INFO):
        find_dicom(medium)
    assert "passed over" not in caplog.text


def test_only_what_it_names_is_read(medium):
    write_dicom(study_of(case="other"), medium / "more")
    assert len(find_dicom(medium / "DICOMDIR").refs) == 2
    assert len(find_dicom(medium).refs) == 3


def test_files_are_protected(medium):
    found = find_studies(medium / "DICOMDIR")
    assert len(found.refs) == 2
    assert {identity(path) for paths in by_series(medium).values() for path in paths} <= set(found.read)


def test_names_in_other_letters(medium):
    """A medium's names are in capitals; some systems show them in small letters."""
    for folder in sorted((path for path in medium.rglob("*") if path.is_dir()), reverse=True):
        folder.rename(folder.with_name(folder.name.lower()))
    assert shapes(find_dicom(medium / "DICOMDIR")) == [(3, 2), (3, 2)]


def test_a_missing_file_fails_with_its_series(medium):
    first, second = by_series(medium).values()
    first[2].unlink()
    for path in (medium, medium / "DICOMDIR"):
        found = find_dicom(path)
        assert len(found.refs) == 2
        (case,) = found.failing
        assert found.failing[case][first[2]].code == "missing-file"
        (loaded,) = [ref.load() for ref in found.refs if ref.case != case]
        assert loaded.header.files[0][0] in second


def test_a_series_that_was_not_copied_is_told(medium, caplog):
    first, _ = by_series(medium).values()
    for path in first:
        path.unlink()
    found = find_dicom(medium)
    assert shapes(found) == [(3, 2)]
    assert not found.failing
    assert "the DICOMDIR names 6 images of series that are not here at all" in caplog.text


def test_a_damaged_one(medium, caplog):
    content = (medium / "DICOMDIR").read_bytes()
    (medium / "DICOMDIR").write_bytes(content[: len(content) // 2])
    assert shapes(find_dicom(medium)) == [(3, 2), (3, 2)]
    assert "Eva" not in caplog.text
    (medium / "DICOMDIR").write_bytes(content[:140])
    assert find_dicom(medium / "DICOMDIR").failing


def test_names_that_lead_out_of_the_folder_are_not_followed(medium):
    directory = pydicom.dcmread(medium / "DICOMDIR")
    images = [record for record in directory.DirectoryRecordSequence if record.DirectoryRecordType == "IMAGE"]
    for record, name in zip(images, (["..", "made"], ["/etc/passwd"], [""], ["a/../../b"]), strict=False):
        with pydicom.config.disable_value_validation():
            record.ReferencedFileID = name
    directory.save_as(medium / "DICOMDIR")
    listed = listed_images(medium / "DICOMDIR")
    assert len(listed) == len(images) - 4
    assert all(path.is_relative_to(medium) for path in listed)
