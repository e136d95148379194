"""Enhanced MR: many frames in a file, checked against the same data as single frames."""

import random

import numpy as np
import pydicom
import pytest
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame

from foanet_jax.data.dicom import list_dicom, read_dicom_series, write_mask_dicom_seg
from foanet_jax.data.dicom.headers import read_headers
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError
from tests.data.dicom.compressed import rewrite
from tests.data.dicom.enhanced import write_enhanced

CORONAL = np.array([[-1.5, 0, 0, 10], [0, 0, -8, -20], [0, -2, 0, 30], [0, 0, 0, 1.0]])
FRAMES, SLICES, SHAPE = 3, 2, (16, 18)


@pytest.fixture
def series(tmp_path):
    """Six files: two slices of three frames, 40 ms apart."""
    voxels = np.random.default_rng(7).integers(-50, 900, (FRAMES, SLICES, *SHAPE)).astype(np.float32)
    study = Study("p", "p", 0.37 * voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=CORONAL, frame_seconds=0.04)
    paths = write_dicom(study, tmp_path / "single")
    # Each with a rescaling of its own.
    for number, path in enumerate(paths, 1):
        image = pydicom.dcmread(path)
        image.RescaleSlope, image.RescaleIntercept = number, -10 * number
        image.save_as(path)
    return paths


def edit(path, change):
    image = pydicom.dcmread(path)
    change(image)
    image.save_as(path)


def only(path):
    (ref,) = list_dicom(path)
    return ref.load()


def assert_same(study, single, *, seconds=True):
    np.testing.assert_array_equal(study.voxels, single.voxels)
    np.testing.assert_array_equal(study.affine, single.affine)
    assert study.spacing_mm == single.spacing_mm
    assert study.frame_seconds == (single.frame_seconds if seconds else None)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("times", ["trigger", "temporal", "dimension", "none"])
def test_the_same_as_single_frames(tmp_path, series, times, shared):
    single = read_dicom_series(series)
    assert single.frame_seconds == pytest.approx(0.04)
    # Whatever the order of the frames, if something else than it tells their time.
    files = random.Random(3).sample(series, len(series)) if times != "none" else series
    study = only(write_enhanced(files, tmp_path / "enhanced.dcm", times=times, shared=shared))
    assert_same(study, single, seconds=times in ("trigger", "temporal"))
    numbers = [[files.index(series[z * FRAMES + t]) + 1 for z in range(SLICES)] for t in range(FRAMES)]
    # Slices against the normal of the image come back in reverse, in the single frames as well.
    places = [[series.index(file) for file in row] for row in single.header.files]
    expected = tuple(tuple(files.index(series[place]) + 1 for place in row) for row in places)
    assert study.header.frame_numbers == expected
    assert sorted(map(sorted, study.header.frame_numbers)) == sorted(map(sorted, numbers))
    assert {file for row in study.header.files for file in row} == {tmp_path / "enhanced.dcm"}


def test_against_legacy_objects_of_highdicom(tmp_path, series):
    """An independent writer puts the tags of single images into groups of its own."""
    highdicom = pytest.importorskip("highdicom")
    images = [pydicom.dcmread(path) for path in series]
    for image in images:
        image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20240102"
        image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "080910"
        image.PatientBirthDate, image.ManufacturerModelName = "19700101", "x"
        image.MagneticFieldStrength, image.DeviceSerialNumber, image.SoftwareVersions = 1.5, "1", "1"
        image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    legacy = highdicom.legacy.LegacyConvertedEnhancedMRImage(
        legacy_datasets=images,
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
    )
    (tmp_path / "legacy").mkdir()
    legacy.save_as(tmp_path / "legacy" / "1.dcm")
    assert_same(only(tmp_path / "legacy"), read_dicom_series(series))


def test_a_file_for_each_slice_and_for_each_phase(tmp_path, series):
    single = read_dicom_series(series)
    by_slice = [series[:FRAMES], series[FRAMES:]]
    by_phase = [series[t::FRAMES] for t in range(FRAMES)]
    for name, parts in (("slices", by_slice), ("phases", by_phase)):
        folder = tmp_path / name
        folder.mkdir()
        for number, files in enumerate(parts):
            write_enhanced(files, folder / f"{number}.dcm")
        assert_same(only(folder), single)


@pytest.mark.parametrize(
    "syntax", [uids.ExplicitVRBigEndian, uids.RLELossless, uids.DeflatedExplicitVRLittleEndian], ids=str
)
def test_frames_in_other_syntaxes(tmp_path, series, syntax):
    path = write_enhanced(series, tmp_path / "enhanced.dcm")
    rewrite(path, syntax)
    assert_same(only(path), read_dicom_series(series))


@pytest.mark.parametrize("offsets", ["basic", "extended", "none"])
@pytest.mark.parametrize("syntax", [uids.JPEGLSLossless, uids.JPEG2000Lossless], ids=str)
def test_compressed_frames(tmp_path, series, syntax, offsets):
    single = read_dicom_series(series)
    path = write_enhanced(series, tmp_path / "enhanced.dcm")
    for file in series:
        rewrite(file, syntax)
    codestreams = [get_frame(pydicom.dcmread(file).PixelData, 0, number_of_frames=1) for file in series]
    image = pydicom.dcmread(path)
    if offsets == "extended":
        image.PixelData, image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = encapsulate_extended(codestreams)
    else:
        image.PixelData = encapsulate(codestreams, has_bot=offsets == "basic")
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(path)
    assert_same(only(path), single)


def test_several_stacks_in_a_file_are_several_studies(tmp_path, series):
    """Phase images beside magnitude, as flow scans have them: a stack each, of the frames that belong to it."""
    path = write_enhanced([*series, *series], tmp_path / "enhanced.dcm", shared=False)

    def exchange(image):
        for group in image.PerFrameFunctionalGroupsSequence[len(series) :]:
            group.MRImageFrameTypeSequence[0].ComplexImageComponent = "PHASE"
            group.PixelValueTransformationSequence[0].RescaleIntercept = 5000

    edit(path, exchange)
    magnitude, phase = (ref.load() for ref in list_dicom(path))
    assert_same(magnitude, read_dicom_series(series))
    numbers = np.array(magnitude.header.frame_numbers)
    np.testing.assert_array_equal(phase.header.frame_numbers, numbers + len(series))
    # The intercepts are −10 times the number of the image, and 5000.
    np.testing.assert_array_equal(phase.voxels, magnitude.voxels + 10 * numbers[..., None, None] + 5000)


def test_the_record_of_a_frame(tmp_path, series):
    images, notes = read_headers([write_enhanced(series, tmp_path / "enhanced.dcm")])
    assert not notes
    assert [image.frame for image in images] == [1, 2, 3, 4, 5, 6]
    assert {image.frames_in_file for image in images} == {6}
    assert len({image.instance for image in images}) == 1
    assert len({image.identity for image in images}) == 6
    singles, _ = read_headers(series)
    assert {(image.frame, image.frames_in_file) for image in singles} == {(None, 1)}
    for image, single in zip(images, singles, strict=True):
        assert image.slope == single.slope
        assert image.kind == single.kind
        np.testing.assert_array_equal(image.position, single.position)


def test_frames_that_are_chosen(tmp_path, series):
    path = write_enhanced(series, tmp_path / "enhanced.dcm")
    study = read_dicom_series([path], frames_of={path: {2, 5}})
    np.testing.assert_array_equal(study.voxels, read_dicom_series([series[1], series[4]]).voxels)


# What is wrong with a file.


def remove(tag, frame=3):
    def change(image):
        delattr(image.PerFrameFunctionalGroupsSequence[frame], tag)

    return change


def spoil_spacing(image):
    image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 1]


def enlarge(image):
    image.Rows = image.Columns = 30000


def shorten(image):
    image.PixelData = image.PixelData[:-2]


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (remove("PlanePositionSequence"), "missing-tag", "frame 4: no ImagePositionPatient"),
        (spoil_spacing, "spacing", "frame 1: PixelSpacing 0, 1"),
        (lambda image: setattr(image, "NumberOfFrames", 7), "dimensions", "7 frames, but functional groups for 6"),
        (lambda image: setattr(image, "NumberOfFrames", None), "dimensions", "1 frames, but functional groups for 6"),
        (lambda image: delattr(image, "PerFrameFunctionalGroupsSequence"), "dimensions", "functional groups for 0"),
        (shorten, "truncated", "6 frames of 16 × 18"),
        (lambda image: setattr(image, "PixelData", image.PixelData + bytes(4)), "size-mismatch", "6 frames of 16 × 18"),
        (enlarge, "too-large", "6 frames of 30000 rows"),
    ],
)
def test_damage(tmp_path, series, change, code, text):
    path = write_enhanced(series, tmp_path / "enhanced.dcm")
    edit(path, change)
    with pytest.raises(InputError) as caught:
        only(path)
    assert caught.value.code == code
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_frame_that_occurs_twice(tmp_path, series):
    """Only its order tells it from the other: the slice has a frame more than the others."""
    path = write_enhanced([*series, series[0]], tmp_path / "enhanced.dcm", times="none")
    with pytest.raises(InputError) as caught:
        only(path)
    assert caught.value.code == "frame-count"
    assert f"{tmp_path}: 3 images" in str(caught.value)


def test_empty_sequences_do_not_end_in_a_traceback(tmp_path, series):
    path = write_enhanced(series, tmp_path / "enhanced.dcm")

    def empty(image):
        image.SharedFunctionalGroupsSequence = []
        image.PerFrameFunctionalGroupsSequence = [Dataset() for _ in series]

    edit(path, empty)
    with pytest.raises(InputError, match="frame 1: no PixelSpacing"):
        only(path)


# Segmentation objects.


def test_segmentations_refer_to_frames(tmp_path, series):
    """Each plane refers to the frame that it lies on, by its number, and the list of objects has the file once."""
    highdicom = pytest.importorskip("highdicom")
    path = write_enhanced(random.Random(3).sample(series, len(series)), tmp_path / "enhanced.dcm")
    study = only(path)
    mask = np.random.default_rng(1).integers(0, 3, study.voxels.shape).astype(np.uint8)
    source = pydicom.dcmread(path)
    groups = source.PerFrameFunctionalGroupsSequence
    written = write_mask_dicom_seg(mask, study, tmp_path / "seg.dcm")
    assert len(written) == FRAMES
    for t, file in enumerate(written):
        segmentation = highdicom.seg.segread(file)
        (listed,) = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert (listed.ReferencedSOPClassUID, listed.ReferencedSOPInstanceUID) == (
            uids.EnhancedMRImageStorage,
            source.SOPInstanceUID,
        )
        assert "ReferencedFrameNumber" not in listed
        numbers = study.header.frame_numbers[t]
        for frame in segmentation.PerFrameFunctionalGroupsSequence:
            (item,) = frame.DerivationImageSequence[0].SourceImageSequence
            assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
            assert item.ReferencedSOPClassUID == uids.EnhancedMRImageStorage
            assert item.ReferencedFrameNumber in numbers
            position = groups[item.ReferencedFrameNumber - 1].PlanePositionSequence[0].ImagePositionPatient
            assert frame.PlanePositionSequence[0].ImagePositionPatient == position
        found = segmentation.get_pixels_by_source_frame(source.SOPInstanceUID, list(numbers), combine_segments=True)
        np.testing.assert_array_equal(found, mask[t])
