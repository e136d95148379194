"""DICOM: geometry by hand, every kind of damage, and the way there and back."""

import logging
import pickle
import random
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid as uids

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.dicom import (
    DicomSource,
    holds_dicom,
    is_dicom,
    list_dicom,
    read_dicom_series,
    write_mask_dicom_seg,
)
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, Study
from foanet_jax.system.errors import InputError

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "sunnybrook" / "dicoms"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the Sunnybrook data are not beside the project")

# Columns run to the left, rows to the feet, slices to the back: a coronal view, in RAS+, of 1.5 × 2 × 8 mm.
CORONAL = np.array([[-1.5, 0, 0, 10], [0, 0, -8, -20], [0, -2, 0, 30], [0, 0, 0, 1.0]])


def study_of(shape=(3, 2, 4, 5), case="phantom", affine=CORONAL, spacing_mm=(8.0, 2.0, 1.5), scale=1.0):
    voxels = np.random.default_rng(7).integers(-50, 900, shape).astype(np.float32) * np.float32(scale)
    return Study(case, case, voxels, spacing_mm, LV_CLASSES, affine=affine)


def edit(path, **values):
    """Rewrites a file with some tags changed, or without those that are None."""
    with pydicom.config.disable_value_validation():
        image = pydicom.dcmread(path)
        for tag, value in values.items():
            if value is None:
                delattr(image, tag)
            else:
                setattr(image, tag, value)
        image.save_as(path)


def edit_all(paths, **values):
    for path in paths:
        edit(path, **values)


def code_and_text(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value.code, str(caught.value)


def load_all(path):
    return [ref.load() for ref in list_dicom(path)]


@pytest.fixture
def series(tmp_path):
    """Six files: two slices of three frames."""
    return write_dicom(study_of(), tmp_path / "anna")


# Geometry.


def test_affine_by_hand(tmp_path):
    """An oblique sagittal image with unequal pixel sides; DICOM's words are row spacing first, column axis first."""
    paths = write_dicom(study_of((2, 2, 3, 4)), tmp_path)
    # Along the columns to the left and back (LPS+, 3-4-5), down the rows to the feet: the slices follow each other
    # along (0.6, 0.8, 0) × (0, 0, −1) = (−0.8, 0.6, 0), here by 10 mm.
    edit_all(paths, PixelSpacing=[2.0, 0.5], ImageOrientationPatient=[0.6, 0.8, 0, 0, 0, -1])
    edit_all(paths[:2], ImagePositionPatient=[100, -50, 25])
    edit_all(paths[2:], ImagePositionPatient=[92, -44, 25])
    (study,) = load_all(tmp_path)
    np.testing.assert_allclose(study.spacing_mm, (10, 2, 0.5))
    # RAS+ has x and y of LPS+ with the other sign.
    expected = [[-0.3, 0, 8, -100], [-0.4, 0, -6, 50], [0, -2, 0, 25], [0, 0, 0, 1]]
    np.testing.assert_allclose(study.affine, expected, atol=1e-12)
    # Column 3, row 2 of the second slice: 0.5·3 mm along, 2·2 mm down, from its own corner.
    np.testing.assert_allclose(study.affine @ [3, 2, 1, 1], [-(92 + 0.9), -(-44 + 1.2), 25 - 4, 1])


def test_the_affine_is_what_nifti_gets(tmp_path, series):
    (study,) = load_all(series[0].parent)
    mask = np.random.default_rng(1).integers(0, 3, study.voxels.shape).astype(np.uint8)
    write_mask(mask, study, tmp_path / "mask.nii.gz")
    image = nib.load(tmp_path / "mask.nii.gz")
    assert image.shape == (5, 4, 2, 3)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(3, 2, 1, 0), mask)
    np.testing.assert_allclose(image.affine, CORONAL, atol=1e-6)
    np.testing.assert_allclose(image.header.get_zooms()[:3], (1.5, 2, 8))


def test_a_landmark(tmp_path):
    """One bright voxel, and its place in the world from the file's own tags."""
    study = study_of((1, 3, 6, 7))
    study.voxels[:] = 0
    study.voxels[0, 2, 4, 1] = 500
    write_dicom(study, tmp_path)
    (back,) = load_all(tmp_path)
    _, z, row, column = np.argwhere(back.voxels == 500)[0]
    found = back.affine @ [column, row, z, 1]
    np.testing.assert_allclose(found[:3], [10 - 1.5, -20 - 16, 30 - 8])


def test_slices_against_the_normal_come_back_in_reverse(tmp_path):
    affine = CORONAL @ np.diag([1, 1, -1, 1.0])
    study = study_of(affine=affine)
    write_dicom(study, tmp_path)
    (back,) = load_all(tmp_path)
    np.testing.assert_array_equal(back.voxels, study.voxels[:, ::-1])
    np.testing.assert_allclose(back.affine @ [1, 2, 0, 1], affine @ [1, 2, 1, 1])


def test_a_single_slice_is_as_thick_as_it_says(tmp_path, series):
    refs = list_dicom(series[0])
    assert [(ref.patient, ref.case) for ref in refs] == [("1", "1")]
    study = refs[0].load()
    assert study.voxels.shape == (1, 1, 4, 5)
    assert study.spacing_mm == (8, 2, 1.5)
    edit(series[0], SliceThickness=None)
    assert read_dicom_series([series[0]]).spacing_mm == (1, 2, 1.5)


# There and back.


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (1, 4, 5, 3), (6, 1, 3, 3), (1, 1, 2, 2)])
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_round_trip(tmp_path, shape, scale):
    study = study_of(shape, scale=scale)
    paths = write_dicom(study, tmp_path / "SC HF 1")
    assert [path.name for path in paths] == [f"{n + 1}.dcm" for n in range(shape[0] * shape[1])]
    (ref,) = list_dicom(tmp_path / "SC HF 1")
    assert ref.patient == ref.case == "SC_HF_1"
    back = pickle.loads(pickle.dumps(ref)).load()
    step = 0 if scale == 1 else (study.voxels.max() - study.voxels.min()) / 65535
    np.testing.assert_allclose(back.voxels, study.voxels, atol=0.51 * step, rtol=1e-6 if step else 0)
    assert back.voxels.dtype == np.float32
    np.testing.assert_allclose(back.spacing_mm, study.spacing_mm)
    np.testing.assert_allclose(back.affine, study.affine, atol=1e-9)
    assert back.labels is None
    assert isinstance(back.header, DicomSource)
    assert back.header.files[-1][-1] == paths[-1]


def test_writing_is_deterministic(tmp_path):
    write_dicom(study_of(), tmp_path / "a")
    write_dicom(study_of(), tmp_path / "b")
    for name in ("1.dcm", "6.dcm"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_sheared_affine_is_not_written(tmp_path):
    affine = CORONAL.copy()
    affine[0, 2] = 4
    assert code_and_text(write_dicom, study_of(affine=affine), tmp_path / "none")[0] == "layout"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kept", ["TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "AcquisitionTime"])
def test_files_in_any_order_and_any_tag_for_time(tmp_path, series, kept):
    names = [f"{n:08x}" for n in range(len(series))]
    random.Random(3).shuffle(names)
    for n, path in enumerate(series):
        edit(path, AcquisitionTime=f"0812{n % 3 + 10:02d}.5")
        for tag in ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "AcquisitionTime"):
            if tag != kept:
                edit(path, **{tag: None})
        path.rename(tmp_path / names[n])
    (study,) = load_all(tmp_path)
    np.testing.assert_array_equal(study.voxels, study_of().voxels)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ([[10, 50, 90], [5, 47, 89]], 0.041),  # beats of two slices differ: the mean of 40 and 42 ms
        ([[0, 40, 120], [0, 40, 120]], None),
        ([[0, 400, 800], [0, 400, 800]], None),
        ([[0, 40, 80], [0, 40, None]], None),
        ([[7, 7, 7], [7, 7, 7]], None),
    ],
)
def test_the_time_from_frame_to_frame(series, times, seconds):
    for path, time in zip(series, (time for its in times for time in its), strict=True):
        edit(path, TriggerTime=time)
    (study,) = load_all(series[0].parent)
    assert study.frame_seconds == (None if seconds is None else pytest.approx(seconds))


def test_equal_trigger_times_give_way_to_the_next_tag(series):
    edit_all(series, TriggerTime=0)
    (study,) = load_all(series[0].parent)
    np.testing.assert_array_equal(study.voxels, study_of().voxels)


@pytest.mark.parametrize("syntax", [uids.ImplicitVRLittleEndian, uids.ExplicitVRBigEndian, uids.RLELossless])
def test_transfer_syntaxes(series, syntax):
    for path in series:
        image = pydicom.dcmread(path)
        if syntax == uids.RLELossless:
            image.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
            image.save_as(path)
            continue
        if syntax == uids.ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<i2").astype(">i2").tobytes()
        image.file_meta.TransferSyntaxUID = syntax
        rewritten = pydicom.Dataset(image)
        rewritten.file_meta = image.file_meta
        rewritten.save_as(path, enforce_file_format=True)
    (study,) = load_all(series[0].parent)
    np.testing.assert_array_equal(study.voxels, study_of().voxels)


def test_rescaling_bits_and_padding(tmp_path):
    """Nine unsigned pixels of 12 bits, an overlay in the bits above, one byte of padding for 8-bit ones."""
    (path,) = write_dicom(study_of((1, 1, 3, 3)), tmp_path)
    values = np.arange(9, dtype="<u2") * 500
    edit(
        path,
        PixelData=(values | 0x8000).tobytes(),
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        RescaleSlope="0.5",
        RescaleIntercept="-7",
    )
    np.testing.assert_array_equal(read_dicom_series([path]).voxels.ravel(), values * 0.5 - 7)
    edit(path, PixelRepresentation=1)
    signed = np.where(values >= 2048, values.astype(int) - 4096, values)
    np.testing.assert_array_equal(read_dicom_series([path]).voxels.ravel(), signed * 0.5 - 7)
    image = pydicom.dcmread(path)
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.RescaleSlope, image.RescaleIntercept = 1, None
    image["PixelData"].VR = "OB"
    image.PixelData = bytes(range(9)) + b"\0"
    image.save_as(path)
    np.testing.assert_array_equal(read_dicom_series([path]).voxels.ravel(), range(9))


# Grouping.


def test_nested_folders_name_studies(tmp_path):
    for name in ("berta", "carl"):
        write_dicom(study_of(case=name), tmp_path / name / "deep" / "er")
    (tmp_path / "berta" / "notes.txt").write_text("nothing")
    (tmp_path / "berta" / ".hidden.dcm").write_bytes(bytes(128) + b"DICM")
    refs = list_dicom(tmp_path)
    assert [(ref.patient, ref.case) for ref in refs] == [("berta_deep_er",) * 2, ("carl_deep_er",) * 2]
    assert [ref.patient for ref in list_dicom(tmp_path / "carl")] == ["deep_er"]


def test_one_series_a_slice_is_joined(tmp_path):
    paths = write_dicom(study_of((3, 4, 4, 5)), tmp_path)
    for n, path in enumerate(paths):
        edit(path, SeriesInstanceUID=f"2.999.{n // 3 + 1}", SeriesNumber=n // 3 + 1)
    (study,) = load_all(tmp_path)
    np.testing.assert_array_equal(study.voxels, study_of((3, 4, 4, 5)).voxels)


@pytest.mark.parametrize(
    ("change", "count", "reason"),
    [
        ({"SeriesInstanceUID": "2.999.9", "ImagePositionPatient": [-10, -3, 30]}, 4, "even stack"),
        ({"SeriesInstanceUID": "2.999.9", "PixelSpacing": [2, 2]}, 4, "even stack"),
        ({"SeriesInstanceUID": "2.999.9", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, 4, "even stack"),
        ({"SeriesInstanceUID": "2.999.9", "StudyInstanceUID": "2.999.7"}, 4, "even stack"),
    ],
)
def test_series_that_do_not_fit_stay_apart(tmp_path, caplog, change, count, reason):
    """The second of four slices is moved or told apart: three are uneven, or it stands alone beside them."""
    paths = write_dicom(study_of((3, 4, 4, 5)), tmp_path)
    for n, path in enumerate(paths):
        edit(path, SeriesInstanceUID=f"2.999.{n // 3 + 1}", SeriesNumber=n // 3 + 1)
    edit_all(paths[3:6], **change)
    with caplog.at_level(logging.INFO):
        studies = load_all(tmp_path)
    assert [study.voxels.shape[:2] for study in studies] == [(3, 1)] * count
    assert reason in caplog.text
    assert len({study.case for study in studies}) == count


@pytest.mark.parametrize("reference", ["2.999.8", None])
def test_series_of_a_slice_without_a_common_frame_of_reference_are_joined(tmp_path, reference):
    """As anonymised images are: their geometry is one even stack."""
    paths = write_dicom(study_of((3, 4, 4, 5)), tmp_path)
    for n, path in enumerate(paths):
        edit(path, SeriesInstanceUID=f"2.999.{n // 3 + 1}", SeriesNumber=n // 3 + 1)
    edit_all(paths[3:6], FrameOfReferenceUID=reference)
    (study,) = load_all(tmp_path)
    np.testing.assert_array_equal(study.voxels, study_of((3, 4, 4, 5)).voxels)


def test_two_views_in_one_series(tmp_path):
    paths = write_dicom(study_of((3, 4, 4, 5)), tmp_path)
    edit_all(paths[:6], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    for n, path in enumerate(paths[:6]):
        edit(path, ImagePositionPatient=[-5 * (n // 3), 0, 0])
    assert [study.spacing_mm[0] for study in load_all(tmp_path)] == [5, 8]
    assert [ref.case for ref in list_dicom(tmp_path)][1].endswith("_series1-2")
    assert code_and_text(read_dicom_series, paths)[0] == "geometry"


def test_magnitude_and_phase_are_two_studies(tmp_path, series):
    for path in series:
        other = path.with_name(f"phase{path.name}")
        shutil.copy(path, other)
        edit(other, ImageType=["DERIVED", "PRIMARY", "P"], SOPInstanceUID=f"2.999.5.{path.stem}")
    assert [study.voxels.shape for study in load_all(tmp_path)] == [(3, 2, 4, 5)] * 2


def test_what_is_no_image_is_passed_over(tmp_path, series, caplog):
    shutil.copy(series[0], series[0].with_name("report"))
    edit(series[0].with_name("report"), SOPClassUID=uids.BasicTextSRStorage)
    shutil.copy(series[0], series[0].with_name("film"))
    image = pydicom.dcmread(series[0].with_name("film"))
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = uids.SecondaryCaptureImageStorage
    image.file_meta.TransferSyntaxUID = uids.JPEGBaseline8Bit
    image.PixelData = pydicom.encaps.encapsulate([b"\0" * 8])
    image["PixelData"].is_undefined_length = True
    image.save_as(series[0].with_name("film"))
    with caplog.at_level(logging.WARNING):
        assert len(list_dicom(tmp_path)) == 1
    assert "report: Basic Text SR Storage, no MR image" in caplog.text
    assert "film: Secondary Capture Image Storage" in caplog.text
    for path in series:
        path.unlink()
    assert code_and_text(list_dicom, tmp_path)[0] == "no-images"


# What is wrong with a file.


BAD_TAGS = [
    ({"Rows": None}, "missing-tag", "no Rows"),
    ({"Rows": 0}, "dimensions", "0 rows"),
    ({"PixelSpacing": None}, "missing-tag", "no PixelSpacing"),
    ({"PixelSpacing": [0, 1]}, "spacing", "0, 1"),
    ({"PixelSpacing": [1]}, "tag-value", "PixelSpacing"),
    ({"PixelSpacing": ["nan", "1"]}, "tag-value", "PixelSpacing"),
    ({"PixelSpacing": [1, 2, 3]}, "tag-value", "PixelSpacing"),
    ({"PixelSpacing": [1, -2]}, "spacing", "-2"),
    ({"ImageOrientationPatient": None}, "missing-tag", "ImageOrientationPatient"),
    ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orientation", "right angles"),
    ({"ImageOrientationPatient": [0] * 6}, "orientation", "unit"),
    ({"ImagePositionPatient": None}, "missing-tag", "ImagePositionPatient"),
    ({"ImagePositionPatient": ["inf", "0", "0"]}, "tag-value", "ImagePositionPatient"),
    ({"ImagePositionPatient": [1e9, 0, 0]}, "position", "1e+09"),
    ({"RescaleSlope": 0}, "scaling", "slope"),
    ({"RescaleSlope": "inf"}, "scaling", "slope"),
    ({"RescaleIntercept": "nan"}, "scaling", "RescaleIntercept"),
    ({"BitsAllocated": 12}, "pixel-format", "12 bits allocated"),
    ({"BitsStored": 17}, "pixel-format", "17 stored"),
    ({"HighBit": 7}, "pixel-format", "high bit 7"),
    ({"PixelRepresentation": 2}, "pixel-format", "representation 2"),
    ({"PixelRepresentation": None}, "missing-tag", "PixelRepresentation"),
    ({"SamplesPerPixel": 3}, "pixel-format", "3 samples"),
    ({"PhotometricInterpretation": "MONOCHROME1"}, "pixel-format", "MONOCHROME1"),
    ({"SOPInstanceUID": None}, "missing-tag", "SOPInstanceUID"),
    ({"SeriesInstanceUID": None}, "missing-tag", "SeriesInstanceUID"),
    ({"NumberOfFrames": 4}, "no-images", "4 frames in one object"),
    ({"Rows": 60000, "Columns": 60000}, "too-large", "60000 rows"),
    ({"Rows": 4000, "Columns": 4000}, "truncated", "4000 × 4000"),
]


@pytest.mark.parametrize(("change", "code", "text"), BAD_TAGS)
def test_bad_tags(tmp_path, change, code, text):
    (path,) = write_dicom(study_of((1, 1, 4, 5)), tmp_path)
    edit(path, **change)
    found, message = code_and_text(load_all, tmp_path)
    assert found == code
    assert text in message
    assert str(path) in message


def test_truncated_pixels(series):
    content = series[2].read_bytes()
    for cut in (1, 39):
        series[2].write_bytes(content[:-cut])
        code, text = code_and_text(load_all, series[0].parent)
        assert code in ("truncated", "corrupt")
        assert str(series[2]) in text


def test_more_pixels_than_declared(series):
    edit(series[0], PixelData=bytes(44))
    assert code_and_text(load_all, series[0].parent)[0] == "size-mismatch"
    edit(series[0], PixelData=None)
    assert code_and_text(load_all, series[0].parent)[0] == "truncated"


def test_not_dicom(tmp_path):
    path = tmp_path / "text.dcm"
    path.write_text("no DICOM at all" * 20)
    assert code_and_text(list_dicom, path)[0] == "not-dicom"
    assert code_and_text(list_dicom, tmp_path)[0] == "empty-root"
    assert code_and_text(list_dicom, tmp_path / "none")[0] == "missing-file"
    assert code_and_text(read_dicom_series, [tmp_path / "none"])[0] == "missing-file"
    assert code_and_text(read_dicom_series, [])[0] == "no-images"
    path.write_bytes(bytes(128) + b"DICM")
    assert is_dicom(path)
    assert code_and_text(list_dicom, path)[0] == "missing-tag"
    assert not is_dicom(tmp_path)


@pytest.mark.parametrize("syntax", [uids.HTJ2KLossless, uids.JPEGExtended12Bit, uids.MPEG2MPML])
def test_other_transfer_syntaxes_are_named(series, syntax):
    image = pydicom.dcmread(series[0])
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = pydicom.encaps.encapsulate([b"\0" * 8])
    image["PixelData"].is_undefined_length = True
    image.save_as(series[0])
    code, text = code_and_text(list_dicom, series[0].parent)
    assert code == "transfer-syntax"
    assert syntax in text
    assert syntax.name in text
    assert "gdcmconv --raw" in text


def test_enhanced_objects_without_functional_groups_are_named(series):
    image = pydicom.dcmread(series[0])
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = uids.EnhancedMRImageStorage
    image.save_as(series[0])
    code, text = code_and_text(list_dicom, series[0])
    assert code == "dimensions"
    assert f"{series[0]}: 1 frames, but functional groups for 0" in text


def test_all_bad_files_are_named_at_once(series):
    edit(series[0], Rows=None)
    edit(series[4], PixelSpacing=None)
    code, text = code_and_text(list_dicom, series[0].parent)
    assert code == "incomplete"
    assert "1.dcm: no Rows" in text
    assert "5.dcm: no PixelSpacing" in text


def test_a_damaged_file_spoils_the_studies_of_its_folder_alone(tmp_path):
    for patient in ("anna", "bert"):
        write_dicom(study_of(case=patient), tmp_path / patient)
    damaged = sorted((tmp_path / "anna").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:200])
    lost = tmp_path / "carl"
    lost.mkdir()
    (lost / "only.dcm").write_bytes(damaged.read_bytes())
    refs = {ref.case: ref for ref in list_dicom(tmp_path)}
    assert set(refs) == {"anna", "bert", "carl"}
    assert refs["bert"].load().voxels.shape == (3, 2, 4, 5)
    for case, file in {"anna": damaged, "carl": lost / "only.dcm"}.items():
        with pytest.raises(InputError, match=re.escape(str(file))):
            refs[case].load()


def test_stacks_that_are_none(tmp_path, series):
    folder = series[0].parent
    series[4].rename(tmp_path / "away")
    code, text = code_and_text(load_all, folder)
    assert code == "frame-count"
    assert "2 images" in text
    assert "3 at" in text

    shutil.copy(series[0], folder / "copy.dcm")
    code, text = code_and_text(load_all, folder)
    assert code == "duplicate"
    assert "copy.dcm" in text


def test_images_that_nothing_tells_apart(series):
    for path in series:
        edit(path, TriggerTime=5, TemporalPositionIdentifier=1, InstanceNumber=1)
    code, text = code_and_text(load_all, series[0].parent)
    assert code == "duplicate"
    assert "TriggerTime" in text


def test_a_slice_is_missing(tmp_path):
    paths = write_dicom(study_of((1, 5, 4, 5)), tmp_path)
    paths[1].unlink()
    code, text = code_and_text(load_all, tmp_path)
    assert code == "slice-gap"
    assert "16.00, 8.00, 8.00" in text


def test_a_slice_is_moved_in_its_plane(tmp_path):
    paths = write_dicom(study_of((2, 1, 4, 5)), tmp_path)
    edit(paths[1], ImagePositionPatient=[-13, 20, 30])
    assert code_and_text(load_all, tmp_path)[0] == "geometry"


def test_sizes_differ(series):
    edit(series[5], Columns=4, PixelData=bytes(32))
    assert code_and_text(read_dicom_series, series)[0] == "size-mismatch"


def test_the_budget_counts_all_images(series):
    code, text = code_and_text(read_dicom_series, series, budget_bytes=479)
    assert code == "too-large"
    assert "3 frames × 2 slices × 4 × 5" in text
    assert read_dicom_series(series, budget_bytes=480).voxels.nbytes == 480


def test_mixed_patients(tmp_path):
    write_dicom(study_of(case="one"), tmp_path / "a")
    for path in write_dicom(study_of(case="two"), tmp_path / "b"):
        path.rename(tmp_path / "a" / f"x{path.name}")
    assert code_and_text(list_dicom, tmp_path)[0] == "mixed-patients"
    assert code_and_text(read_dicom_series, sorted((tmp_path / "a").iterdir()))[0] == "mixed-patients"


def test_nothing_names_the_patient(tmp_path, series, caplog):
    secret = "Quentin^Xaver"
    edit_all(series, PatientName=secret, PatientID=secret, PatientBirthDate="19700101", StudyDescription=secret)
    edit(series[0], SOPClassUID=uids.BasicTextSRStorage)
    with caplog.at_level(logging.DEBUG):
        refs = list_dicom(tmp_path)
        said = [code_and_text(refs[0].load)[1]]
        for change in ({"Rows": 0}, {"PixelSpacing": None}, {"PatientID": "another"}):
            edit(series[1], **change)
            said.append(code_and_text(list_dicom, tmp_path)[1])
    shown = repr(refs) + "".join(said) + caplog.text
    assert "Quentin" not in shown
    assert "another" not in shown.replace("another patient", "")
    study = read_dicom_series(series[3:])
    assert "Quentin" not in repr(study)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_never_ends_in_a_traceback(tmp_path_factory, data):
    """Bytes changed, cut out, doubled or cut off anywhere in a file."""
    folder = _damaged_folder(tmp_path_factory)
    content = bytearray(folder.pristine)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["set", "cut", "double", "end"]))
        # Most of the file is header; the pixels are its last 40 bytes.
        place = data.draw(st.integers(0, len(content) - 2))
        length = data.draw(st.integers(1, 12))
        if kind == "set":
            content[place : place + length] = data.draw(st.binary(min_size=1, max_size=length))
        elif kind == "cut":
            del content[place : place + length]
        elif kind == "double":
            content[place:place] = content[place : place + length]
        else:
            del content[max(140, place) :]
    folder.path.write_bytes(content)
    try:
        studies = load_all(folder.path.parent)
    except InputError:
        return
    for study in studies:
        assert np.isfinite(study.voxels).all()
        assert np.isfinite(study.affine).all()
        assert all(0 < side < np.inf for side in study.spacing_mm)


class _Damaged:
    def __init__(self, path):
        self.path = path
        self.pristine = path.read_bytes()


_CACHE: dict[str, _Damaged] = {}


def _damaged_folder(factory):
    if "folder" not in _CACHE:
        paths = write_dicom(study_of((1, 2, 4, 5)), factory.mktemp("damaged"))
        _CACHE["folder"] = _Damaged(paths[0])
    return _CACHE["folder"]


# As input to predict on.


def test_read_input(tmp_path, series):
    (ref,) = read_input(series[0].parent, classes=ACDC_CLASSES)
    study = ref.load()
    assert (ref.case, study.classes, study.voxels.shape) == ("anna", ACDC_CLASSES, (3, 2, 4, 5))
    bare = tmp_path / "image"
    shutil.copy(series[0], bare)
    assert read_input(bare)[0].load().voxels.shape == (1, 1, 4, 5)
    assert read_input(series[0])[0].case == "1"
    assert holds_dicom(tmp_path)
    (tmp_path / "none").mkdir()
    assert code_and_text(read_input, tmp_path / "none")[0] == "empty-root"
    (tmp_path / "none" / "x.dcm").write_text("x")
    assert code_and_text(read_input, tmp_path / "none" / "x.dcm")[0] == "unknown-format"


# Segmentation objects.


def test_segmentation_round_trip(tmp_path, series):
    highdicom = pytest.importorskip("highdicom")
    edit_all(series, PatientName="Quentin^Xaver", StudyDate="20240102", PatientBirthDate="19700101")
    study = load_all(series[0].parent)[0]
    mask = np.random.default_rng(5).integers(0, 3, study.voxels.shape).astype(np.uint8)
    mask[1] = 0
    written = write_mask_dicom_seg(mask, study, tmp_path / "out" / "seg.dcm")
    assert [path.name for path in written] == ["seg_frame1.dcm", "seg_frame3.dcm"]
    for t, path in zip((0, 2), written, strict=True):
        segmentation = highdicom.seg.segread(path)
        sources = [pydicom.dcmread(file).SOPInstanceUID for file in study.header.files[t]]
        back = segmentation.get_pixels_by_source_instance(sources, combine_segments=True)
        np.testing.assert_array_equal(back, mask[t])
        assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == ["myocardium", "cavity"]
        assert (segmentation.PatientName, segmentation.PatientID) == ("Quentin^Xaver", "phantom")
        assert not segmentation.StudyDate
        assert not segmentation.PatientBirthDate
    write_mask_dicom_seg(mask[:1], first_frame(study), tmp_path / "one.dcm", keep_patient=True)
    kept = highdicom.seg.segread(tmp_path / "one.dcm")
    assert (kept.PatientName, kept.StudyDate) == ("Quentin^Xaver", "20240102")


def first_frame(study):
    return read_dicom_series(study.header.files[0])


def test_segmentations_are_refused(tmp_path, series, monkeypatch):
    pytest.importorskip("highdicom")
    study = load_all(series[0].parent)[0]
    mask = np.ones(study.voxels.shape, np.uint8)
    path = tmp_path / "seg.dcm"
    assert code_and_text(write_mask_dicom_seg, mask[:1], study, path)[0] == "shape-mismatch"
    assert code_and_text(write_mask_dicom_seg, 0 * mask, study, path)[0] == "unknown-label"
    assert code_and_text(write_mask_dicom_seg, 3 * mask, study, path)[0] == "unknown-label"
    assert code_and_text(write_mask_dicom_seg, mask, study_of(), path)[0] == "not-dicom"
    assert code_and_text(write_mask_dicom_seg, mask, study, tmp_path)[0] == "output-path"
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    code, text = code_and_text(write_mask_dicom_seg, mask, study, path)
    assert code == "missing-package"
    assert "pip install highdicom" in text
    assert not path.exists()


# Real files.


@real_data
def test_real_cines():
    refs = list_dicom(REAL)
    assert [(ref.patient, ref.case) for ref in refs] == [("SCD0000101",) * 2, ("SCD0000301",) * 2]
    first, second = (ref.load() for ref in refs)
    assert first.voxels.shape == (20, 12, 256, 256)
    assert second.voxels.shape == (20, 10, 256, 256)
    np.testing.assert_allclose(first.spacing_mm, (10, 1.367188, 1.367188), rtol=1e-5)
    np.testing.assert_allclose(second.spacing_mm, (8, 1.2891, 1.2891), rtol=1e-4)
    for study in (first, second):
        # Base and apex of a left ventricle: apex to the left, to the front and below.
        step = study.affine[:3, 2] / study.spacing_mm[0]
        assert np.linalg.norm(step) == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(np.linalg.norm(study.affine[:3, :3], axis=0), study.spacing_mm[::-1], rtol=1e-4)
        # Files are numbered slice by slice, frame by frame.
        numbers = np.array([[int(path.stem) for path in row] for row in study.header.files])
        slices = numbers.shape[1]
        np.testing.assert_array_equal(numbers, np.arange(20)[:, None] + 20 * np.arange(slices)[::-1] + 1)
    number = pydicom.dcmread(REAL / "SCD0000101" / "59.dcm", specific_tags=["PixelData"])
    np.testing.assert_array_equal(first.voxels[18, 9].ravel(), np.frombuffer(number.PixelData, "<i2"))
