"""Slices that were acquired twice, and stacks in which slices or frames are missing."""

import dataclasses

import numpy as np
import pydicom
import pytest

from foanet_jax.data.dicom import find_dicom, list_dicom
from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.data.phantom.writers import write_dicom
from tests.data.dicom.test_dicom import CORONAL, code_and_text, edit, edit_all, load_all, study_of

INCOMPLETE = Wanted(incomplete=True)
SHAPE = (4, 6, 4, 5)


def write(folder, shape=SHAPE, **options):
    """The files of a cine, by slice and frame."""
    paths = write_dicom(study_of(shape, **options), folder)
    return [paths[z * shape[0] : (z + 1) * shape[0]] for z in range(shape[1])]


def every(slices):
    return [path for paths in slices for path in paths]


def again(paths, folder, *, number, later, same_series=True, shift_ms=0.0, value=None):
    """Writes another acquisition of one slice, all of whose pixels are `value`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for n, path in enumerate(paths):
        image = pydicom.dcmread(path)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"2.999.77.{number}.{n + 1}"
        image.InstanceNumber = number + n
        image.AcquisitionTime = "130000" if later else "080000"
        image.TriggerTime = float(image.TriggerTime) + shift_ms
        if not same_series:
            image.SeriesInstanceUID, image.SeriesNumber = f"2.999.78.{number}", number
            image.SeriesTime = "130000" if later else "080000"
        if value is not None:
            image.PixelData = np.full((4, 5), value, "<i2").tobytes()
        image.save_as(folder / f"again{number}-{n}.dcm")
        written.append(folder / f"again{number}-{n}.dcm")
    return written


def load_one(folder, wanted=INCOMPLETE):
    (ref,) = find_dicom(folder, wanted=dataclasses.replace(wanted, series=("all",))).refs
    return ref.load()


@pytest.mark.parametrize("same_series", [True, False])
@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("shift_ms", [0.0, 7.0])
def test_the_later_acquisition_of_a_slice_is_kept(tmp_path, same_series, later, shift_ms):
    slices = write(tmp_path)
    edit_all(every(slices), AcquisitionTime="120000", SeriesTime="115000")
    again(slices[2], tmp_path, number=900, later=later, same_series=same_series, shift_ms=shift_ms, value=77)
    expected = study_of(SHAPE).voxels
    replaced = expected.copy()
    replaced[:, 2] = 77
    kept, first = load_one(tmp_path, Wanted()), load_one(tmp_path, Wanted(repeats="first"))
    np.testing.assert_array_equal(kept.voxels, replaced if later else expected)
    np.testing.assert_array_equal(first.voxels, expected if later else replaced)
    assert kept.frame_seconds == pytest.approx(0.25)
    name = "again900-0.dcm" if later else slices[2][0].name
    assert kept.remarks == (f"slice 3 was acquired twice: the last acquisition is used, that of {name}",)
    assert kept.findings == () or kept.findings[0][0] == "not-short-axis"


def test_every_slice_acquired_twice_in_one_series(tmp_path):
    """Instance numbers tell all images apart, but the cine has not twice as many frames."""
    slices = write(tmp_path, (4, 2, 4, 5))
    edit_all(every(slices), AcquisitionTime="120000")
    for number, paths in enumerate(slices):
        again(paths, tmp_path, number=900 + 100 * number, later=True, value=5)
    study = load_one(tmp_path, Wanted())
    assert study.voxels.shape[:2] == (4, 2)
    assert (study.voxels == 5).all()
    assert len(study.remarks) == 2


def test_an_acquisition_that_was_broken_off_is_not_kept(tmp_path):
    slices = write(tmp_path)
    edit_all(every(slices), AcquisitionTime="120000")
    again(slices[2][:2], tmp_path, number=900, later=True, value=5)
    study = load_one(tmp_path, Wanted())
    np.testing.assert_array_equal(study.voxels, study_of(SHAPE).voxels)
    assert study.remarks == (f"slice 3 was acquired twice: the first acquisition is used, that of {slices[2][0].name}",)


def test_series_of_a_slice_each_with_one_repeated(tmp_path):
    slices = write(tmp_path)
    for number, paths in enumerate(slices, 1):
        edit_all(paths, SeriesInstanceUID=f"2.999.{number}", SeriesNumber=number, SeriesTime=f"1200{number:02d}")
    again(slices[4], tmp_path, number=9, later=True, same_series=False, value=5)
    study = load_one(tmp_path, Wanted())
    assert study.voxels.shape == SHAPE
    assert (study.voxels[:, 4] == 5).all()
    assert len(study.remarks) == 1


def test_another_technique_repeats_nothing(tmp_path):
    slices = write(tmp_path)
    edit_all(every(slices), FlipAngle=50)
    edit_all(again(slices[4], tmp_path, number=9, later=True, same_series=False), FlipAngle=12)
    assert [study.voxels.shape[:2] for study in load_all(tmp_path)] == [(4, 6), (4, 1)]


def test_a_missing_slice_is_named_and_can_be_interpolated(tmp_path):
    slices = write(tmp_path)
    for path in slices[2]:
        path.unlink()
    code, text = code_and_text(load_all, tmp_path)
    assert code == "slice-gap"
    # The slices lie along y, 8 mm apart from y = 20 in LPS+.
    assert f"slice 3 is missing, after {slices[1][0].name}: it should be at (-10.0, 36.0, 30.0)" in text
    assert "8.00, 16.00, 8.00, 8.00 mm apart" in text
    assert "--incomplete" in text
    study, whole = load_one(tmp_path), study_of(SHAPE).voxels
    np.testing.assert_array_equal(study.voxels[:, [0, 1, 3, 4, 5]], whole[:, [0, 1, 3, 4, 5]])
    np.testing.assert_allclose(study.voxels[:, 2], (whole[:, 1] + whole[:, 3]) / 2)
    np.testing.assert_allclose(study.affine, CORONAL)
    assert study.spacing_mm == (8, 2, 1.5)
    assert study.header.made == (2,)
    assert ("incomplete-input", "slice 3 is missing: its images are the mean of its neighbours'") in study.findings


def test_a_damaged_file_is_left_out_on_request(tmp_path):
    slices = write(tmp_path)
    edit(slices[2][1], Rows=None)
    assert code_and_text(load_all, tmp_path)[0] == "missing-tag"
    found = find_dicom(tmp_path, wanted=INCOMPLETE)
    assert list(found.failing) == [found.refs[1].case]
    study = found.refs[0].load()
    assert study.voxels.shape == SHAPE
    messages = [message for code, message in study.findings if code == "incomplete-input"]
    assert messages[0].startswith("slice 3 has 3 images where the others have 4")
    assert messages[1] == "files that may belong to this stack cannot be read: 1"


def test_gaps_that_are_too_wide_are_not_filled(tmp_path):
    slices = write(tmp_path, (1, 9, 4, 5))
    for paths in slices[3:6]:
        paths[0].unlink()
    code, text = code_and_text(load_one, tmp_path)
    assert code == "slice-gap"
    assert "--incomplete" not in text


def test_fewer_frames_of_a_slice_are_named_and_can_be_chosen_by_time(tmp_path):
    slices = write(tmp_path, (8, 3, 4, 5))
    slices[1][2].unlink()
    slices[1][7].unlink()
    code, text = code_and_text(load_all, tmp_path)
    assert code == "frame-count"
    assert (
        f"6 images at slice 2 of 3 ({slices[1][0].name}, at (-10.0, 28.0, 30.0)), but 8 at each of the others" in text
    )
    study, whole = load_one(tmp_path), study_of((8, 3, 4, 5)).voxels
    # Frame 3 is halfway between 2 and 4; the earlier one of two equally near is taken.
    np.testing.assert_array_equal(study.voxels[:, 1], whole[[0, 1, 1, 3, 4, 5, 6, 6], 1])
    np.testing.assert_array_equal(study.voxels[:, [0, 2]], whole[:, [0, 2]])
    (message,) = [sentence for code, sentence in study.findings if code == "incomplete-input"]
    assert message.startswith("slice 2 has 6 images where the others have 8")
    assert study.frame_seconds == pytest.approx(0.125)


def test_fewer_than_half_of_the_frames_are_refused(tmp_path):
    slices = write(tmp_path, (8, 3, 4, 5))
    for path in slices[1][:5]:
        path.unlink()
    code, text = code_and_text(load_one, tmp_path)
    assert (code, "fewer than half" in text) == ("frame-count", True)


def test_a_rounded_orientation_is_named_and_can_be_ignored(tmp_path):
    slices = write(tmp_path)
    rounded = [1, 0.01, 0, 0, 0, -1]
    edit_all(slices[0], ImageOrientationPatient=rounded)
    code, text = code_and_text(load_all, tmp_path)
    assert code == "geometry"
    assert f"{slices[0][0]}: its ImageOrientationPatient differs by up to 0.01" in text
    study = load_one(tmp_path)
    np.testing.assert_array_equal(study.voxels, study_of(SHAPE).voxels)
    np.testing.assert_allclose(study.affine, CORONAL)
    assert [code for code, _ in study.findings if code == "incomplete-input"] == ["incomplete-input"]


@pytest.mark.parametrize("shifted", [0, 3, 5])
def test_a_slice_that_is_shifted_in_its_plane_is_named(tmp_path, shifted):
    slices = write(tmp_path, (2, 6, 4, 5))
    edit_all(slices[shifted], ImagePositionPatient=[-7, 20 + 8 * shifted, 34])
    code, text = code_and_text(load_all, tmp_path)
    assert code == "geometry"
    assert f"{slices[shifted][0]}: slice {shifted + 1} is shifted by 5 mm in its plane" in text
    assert "missing" not in text
    assert code_and_text(load_one, tmp_path)[0] == "geometry"


def test_series_of_a_slice_each_of_which_one_is_missing(tmp_path):
    slices = write(tmp_path, (4, 7, 4, 5))
    for number, paths in enumerate(slices, 1):
        edit_all(paths, SeriesInstanceUID=f"2.999.{number}", SeriesNumber=number)
    for path in slices[3]:
        path.unlink()
    assert "slice 4 is missing" in code_and_text(load_all, tmp_path)[1]
    assert load_one(tmp_path).voxels.shape[:2] == (4, 7)


def test_still_images_of_the_same_places_are_another_stack(tmp_path):
    """Late enhancement is often a series for each slice, as the cine is."""
    for name, shape, offset in (("cine", SHAPE, 0), ("late", (1, *SHAPE[1:]), 100)):
        for number, paths in enumerate(write(tmp_path / name, shape, case=name), 1 + offset):
            edit_all(
                paths,
                PatientID="p",
                StudyInstanceUID="2.999.1",
                FrameOfReferenceUID="2.999.2",
                SeriesInstanceUID=f"2.999.3.{number}",
            )
    assert sorted(ref.load().voxels.shape[:2] for ref in list_dicom(tmp_path)) == [(1, 6), (4, 6)]
