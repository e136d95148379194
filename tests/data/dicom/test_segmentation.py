"""DICOM segmentations as archives and viewers take them."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from foanet_jax.data.dicom import find_dicom, write_mask_dicom_seg
from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.data.masks.dicomseg import read_dicom_seg
from foanet_jax.pages.drawing.style import class_colours
from tests.data.dicom.enhanced import write_enhanced
from tests.data.dicom.export import series
from tests.data.dicom.test_dicom import edit_all

highdicom = pytest.importorskip("highdicom")
# The person's values in these tags must not leave with a segmentation.
PRIVATE = {
    "PatientBirthDate": "19700203",
    "PatientSex": "F",
    "PatientAge": "054Y",
    "PatientComments": "Xaver",
    "ReferringPhysicianName": "Xaver^Doctor",
    "StudyDescription": "Xaver",
    "AccessionNumber": "Xaver1",
    "StudyID": "Xaver2",
    "StudyDate": "20240102",
    "InstitutionName": "Xaver",
    "OperatorsName": "Xaver^Operator",
}


def load(folder, **options):
    (ref,) = find_dicom(folder, wanted=Wanted(series=("all",), **options)).refs
    return ref.load()


def random_mask(study):
    return np.random.default_rng(5).integers(0, 3, study.voxels.shape).astype(np.uint8)


def write(study, mask, folder):
    return write_mask_dicom_seg(mask, study, folder / "seg.dcm", colours=class_colours(study.classes))


def references(dataset):
    """All SOP instance UIDs that a dataset refers to, at any depth."""
    found = {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    return found - {""}


def reference(number):
    """An object of an archive's book-keeping, as images from scanners refer to it."""
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", f"2.999.77.{number}"
    return [item]


@pytest.fixture
def cine(tmp_path):
    paths = series(tmp_path / "in", "eva", 4, shape=(3, 5, 8, 9), PatientName="Eva^Maria")
    kept = ("ReferencedStudySequence", "ReferencedPatientSequence", "ReferencedPerformedProcedureStepSequence")
    edit_all(paths, **PRIVATE, **{name: reference(number) for number, name in enumerate(kept)})
    return paths


def test_every_reference_is_to_an_image_of_the_source(tmp_path, cine):
    study = load(tmp_path / "in")
    images = {str(pydicom.dcmread(path).SOPInstanceUID) for path in cine}
    written = write(study, random_mask(study), tmp_path / "out")
    assert len(written) == 3
    found = [references(pydicom.dcmread(path)) for path in written]
    assert all(len(uids) == 5 for uids in found)
    assert set().union(*found) == images


def test_the_patient_stays_and_nothing_else_of_the_person(tmp_path, cine):
    study = load(tmp_path / "in")
    for path in write(study, random_mask(study), tmp_path / "out"):
        written = highdicom.seg.segread(path)
        assert (written.PatientID, written.PatientName) == ("eva", "Eva^Maria")
        assert written.StudyInstanceUID == pydicom.dcmread(cine[0]).StudyInstanceUID
        content = path.read_bytes()
        assert b"Xaver" not in content
        assert all(value.encode() not in content for value in PRIVATE.values() if len(value) > 3)
        assert not written.PatientSex


def test_colours(tmp_path, cine):
    study = load(tmp_path / "in")
    written = highdicom.seg.segread(write(study, random_mask(study), tmp_path / "out")[0])
    for segment, name in zip(written.SegmentSequence, study.classes[1:], strict=True):
        lab = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
        expected = bytes.fromhex(class_colours(study.classes)[name][1:])
        # Some of these colours lie beyond what 8 bits of Lab can hold exactly.
        np.testing.assert_allclose(lab.to_rgb(), list(expected), atol=3)


def test_slices_of_several_series(tmp_path):
    paths = series(tmp_path / "in", "eva", 4, shape=(2, 6, 8, 9))
    for z in range(6):
        edit_all(paths[2 * z : 2 * z + 2], SeriesInstanceUID=f"2.999.5.{z}", FrameOfReferenceUID=f"2.999.6.{z}")
    study = load(tmp_path / "in")
    assert study.voxels.shape[:2] == (2, 6)
    mask = random_mask(study)
    for t, path in enumerate(write(study, mask, tmp_path / "out")):
        segmentation = highdicom.seg.segread(path)
        sources = [str(pydicom.dcmread(file).SOPInstanceUID) for file in study.header.files[t]]
        assert references(segmentation) == set(sources)
        listed = {
            str(item.SeriesInstanceUID): [
                str(image.ReferencedSOPInstanceUID) for image in item.ReferencedInstanceSequence
            ]
            for item in segmentation.ReferencedSeriesSequence
        }
        assert listed == {f"2.999.5.{z}": [sources[z]] for z in range(6)}
        np.testing.assert_array_equal(
            segmentation.get_pixels_by_source_instance(sources, combine_segments=True), mask[t]
        )


def test_interpolated_slices_are_left_out(tmp_path):
    paths = series(tmp_path / "in", "eva", 4, shape=(2, 6, 8, 9))
    for path in paths[4:6]:
        path.unlink()
    study = load(tmp_path / "in", incomplete=True)
    mask = random_mask(study)
    segmentation = highdicom.seg.segread(write(study, mask, tmp_path / "out")[0])
    sources = [str(pydicom.dcmread(study.header.files[0][z]).SOPInstanceUID) for z in (0, 1, 3, 4, 5)]
    assert references(segmentation) == set(sources)
    back = segmentation.get_pixels_by_source_instance(sources, combine_segments=True)
    np.testing.assert_array_equal(back, mask[0, [0, 1, 3, 4, 5]])
    only = np.zeros_like(mask)
    only[:, 2] = 1
    assert write(study, only, tmp_path / "none") == []


def one_object(study, mask, folder):
    """The segmentation of a whole cine in one file."""
    (path,) = write_mask_dicom_seg(
        mask, study, folder / "seg.dcm", whole_cine=True, colours=class_colours(study.classes)
    )
    assert path == folder / "seg.dcm"
    return path


def test_a_whole_cine_in_one_object(tmp_path, cine):
    study = load(tmp_path / "in")
    mask = random_mask(study)
    mask[1, 2] = 0
    mask[2, :, :2] = 1
    path = one_object(study, mask, tmp_path / "out")
    segmentation = highdicom.seg.segread(path)
    sources = [[str(pydicom.dcmread(file).SOPInstanceUID) for file in its] for its in study.header.files]
    every = [uid for its in sources for uid in its]
    assert references(segmentation) == set(every)
    # highdicom's reader finds each plane by its source image.
    back = segmentation.get_pixels_by_source_instance(
        every, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(back, mask.reshape(-1, *mask.shape[2:]))
    # So does the project's own reader of masks.
    np.testing.assert_array_equal(read_dicom_seg(path, study, None), mask)
    (listed,) = segmentation.ReferencedSeriesSequence
    assert sorted(item.ReferencedSOPInstanceUID for item in listed.ReferencedInstanceSequence) == sorted(every)
    assert segmentation.NumberOfFrames == len(segmentation.PerFrameFunctionalGroupsSequence)
    assert segmentation.NumberOfFrames == sum((plane == label).any() for label in (1, 2) for t in mask for plane in t)
    # Everything else is that of a frame's own object.
    whole, alone = pydicom.dcmread(path), pydicom.dcmread(write(study, mask, tmp_path / "alone")[0])
    for keyword in (
        "SegmentSequence",
        "SharedFunctionalGroupsSequence",
        "PatientID",
        "PatientName",
        "StudyInstanceUID",
    ):
        assert whole[keyword] == alone[keyword], keyword


def test_the_dimensions_of_a_whole_cine(tmp_path, cine):
    """Segment, time, position: unique together, counted from 1, sorted, and consistent with what they point to."""
    study = load(tmp_path / "in")
    mask = random_mask(study)
    mask[1] = 0  # A frame in which nothing was found.
    segmentation = pydicom.dcmread(one_object(study, mask, tmp_path / "out"))
    pointers = [item.DimensionIndexPointer for item in segmentation.DimensionIndexSequence]
    assert pointers == [0x0062000B, 0x00209128, 0x00200032]
    groups = [item.FunctionalGroupPointer for item in segmentation.DimensionIndexSequence]
    assert groups == [0x0062000A, 0x00209111, 0x00209113]
    assert len({item.DimensionOrganizationUID for item in segmentation.DimensionIndexSequence}) == 1
    assert "DimensionOrganizationType" not in segmentation
    number_of = {
        str(pydicom.dcmread(path).SOPInstanceUID): (t, z)
        for t, its in enumerate(study.header.files)
        for z, path in enumerate(its)
    }
    found = []
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        segment, time, position = item.FrameContentSequence[0].DimensionIndexValues
        (source,) = item.DerivationImageSequence[0].SourceImageSequence
        t, z = number_of[source.ReferencedSOPInstanceUID]
        assert item.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment
        assert item.FrameContentSequence[0].TemporalPositionIndex == t + 1
        assert (time, position) == ({0: 1, 2: 2}[t], z + 1)
        place = pydicom.dcmread(study.header.files[t][z]).ImagePositionPatient
        np.testing.assert_allclose(item.PlanePositionSequence[0].ImagePositionPatient, place)
        found.append((segment, time, position))
    assert found == sorted(set(found))
    reader = highdicom.seg.segread(tmp_path / "out" / "seg.dcm")
    assert reader.are_dimension_indices_unique(pointers[1:])
    back = reader.get_pixels_by_dimension_index_values(
        [(2, z + 1) for z in range(5)], pointers[1:], combine_segments=True
    )
    np.testing.assert_array_equal(back, mask[2])


def test_one_segment_and_one_frame_in_a_whole_cine(tmp_path, cine):
    study = load(tmp_path / "in")
    mask = (random_mask(study) == 1).astype(np.uint8)
    segmentation = highdicom.seg.segread(one_object(study, mask, tmp_path / "out"))
    sources = [str(pydicom.dcmread(file).SOPInstanceUID) for its in study.header.files for file in its]
    back = segmentation.get_pixels_by_source_instance(sources, combine_segments=True)
    np.testing.assert_array_equal(back, mask.reshape(-1, *mask.shape[2:]))
    mask[1:] = 0
    (path,) = write_mask_dicom_seg(mask, study, tmp_path / "only" / "seg.dcm", whole_cine=True)
    assert path.name == "seg_frame1.dcm"  # The mask of a single frame is called by its frame.


def test_a_whole_cine_of_several_series_has_an_object_for_each_frame(tmp_path):
    paths = series(tmp_path / "in", "eva", 4, shape=(2, 6, 8, 9))
    for z in range(6):
        edit_all(paths[2 * z : 2 * z + 2], SeriesInstanceUID=f"2.999.5.{z}", FrameOfReferenceUID=f"2.999.6.{z}")
    study = load(tmp_path / "in")
    written = write_mask_dicom_seg(random_mask(study), study, tmp_path / "out" / "seg.dcm", whole_cine=True)
    assert [path.name for path in written] == ["seg_frame1.dcm", "seg_frame2.dcm"]


def test_a_whole_cine_of_one_enhanced_image(tmp_path):
    """Each plane refers to its frame of the one source object."""
    paths = series(tmp_path / "single", "eva", 4, shape=(3, 5, 8, 9))
    source = write_enhanced(paths, tmp_path / "in")
    study = load(tmp_path / "in")
    mask = random_mask(study)
    segmentation = pydicom.dcmread(one_object(study, mask, tmp_path / "out"))
    uid = pydicom.dcmread(study.header.files[0][0]).SOPInstanceUID
    assert source is not None
    assert references(segmentation) == {uid}
    assert len(segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    numbers = study.header.frame_numbers
    place_of = {number: (t, z) for t, its in enumerate(numbers) for z, number in enumerate(its)}
    back = np.zeros_like(mask)
    for item, plane in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True):
        number = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        back[place_of[number]][plane > 0] = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    np.testing.assert_array_equal(back, mask)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_another_validator_finds_no_errors(tmp_path, cine):
    study = load(tmp_path / "in")
    mask = random_mask(study)
    for path in (*write(study, mask, tmp_path / "out"), one_object(study, mask, tmp_path / "whole")):
        told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, timeout=60)
        errors = [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]
        # The UIDs of the images are under the root for examples.
        assert [error for error in errors if "example root for UID" not in error] == []
