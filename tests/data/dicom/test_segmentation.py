"""DICOM segmentations as archives and viewers take them."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from foanet_jax.data.dicom import find_dicom, write_mask_dicom_seg
from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.pages.drawing.style import class_colours
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


@pytest.fixture
def cine(tmp_path):
    paths = series(tmp_path / "in", "eva", 4, shape=(3, 5, 8, 9), PatientName="Eva^Maria")
    edit_all(paths, **PRIVATE)
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


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_another_validator_finds_no_errors(tmp_path, cine):
    study = load(tmp_path / "in")
    for path in write(study, random_mask(study), tmp_path / "out"):
        told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, timeout=60)
        errors = [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]
        # The UIDs of the images are under the root for examples.
        assert [error for error in errors if "example root for UID" not in error] == []
