"""Files without the preamble of 128 bytes and "DICM", as some archives and old scanners write them."""

import json
import logging
import struct

import matplotlib.image
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import uid as uids

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.dicom import is_dicom, list_dicom, read_dicom_series
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError
from tests.data.dicom.compressed import rewrite


@pytest.fixture
def series(tmp_path):
    """Six files: two slices of three frames."""
    voxels = np.random.default_rng(7).integers(-50, 900, (3, 2, 16, 18)).astype(np.float32)
    return write_dicom(Study("p", "p", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=np.eye(4)), tmp_path / "anna")


def strip(path, *, meta=True):
    """Removes the preamble and, with `meta`, the meta information."""
    content = path.read_bytes()
    length = struct.unpack_from("<I", content, 140)[0]
    path.write_bytes(content[132 + 12 + length :] if meta else content[132:])


UNCOMPRESSED = [uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian, uids.ExplicitVRBigEndian]


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=str)
@pytest.mark.parametrize("some", [True, False])
def test_files_without_preamble_and_meta_information(series, syntax, some):
    whole = read_dicom_series(series)
    for path in series[1:4] if some else series:
        if syntax != uids.ExplicitVRLittleEndian:
            rewrite(path, syntax)
        strip(path)
        assert is_dicom(path)
        with pytest.raises(pydicom.errors.InvalidDicomError):
            pydicom.dcmread(path)
    (study,) = (ref.load() for ref in list_dicom(series[0].parent))
    np.testing.assert_array_equal(study.voxels, whole.voxels)
    np.testing.assert_array_equal(study.affine, whole.affine)


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, uids.DeflatedExplicitVRLittleEndian, uids.JPEG2000Lossless], ids=str)
def test_files_without_preamble(series, syntax):
    whole = read_dicom_series(series)
    for path in series:
        if syntax != uids.ExplicitVRLittleEndian:
            rewrite(path, syntax)
        strip(path, meta=False)
    (ref,) = read_input(series[0].parent)
    np.testing.assert_array_equal(ref.load().voxels, whole.voxels)


def test_a_report_without_preamble_is_passed_over(series, caplog):
    image = pydicom.dcmread(series[0])
    image.SOPClassUID = uids.BasicTextSRStorage
    report = series[0].with_name("report")
    image.save_as(report)
    strip(report)
    with caplog.at_level(logging.WARNING):
        assert len(list_dicom(series[0].parent)) == 1
    assert "report: Basic Text SR Storage, no MR image" in caplog.text


def test_a_damaged_file_without_preamble_is_not_lost(series):
    strip(series[0])
    series[0].write_bytes(series[0].read_bytes()[:300])
    with pytest.raises(InputError, match="no ") as caught:
        list_dicom(series[0].parent)[0].load()
    assert str(series[0]) in str(caught.value)


def test_other_files_are_no_dicom(tmp_path, series):
    """Among them those that start like a data set and that pydicom reads with force."""
    strip(series[0])
    bare = series[0].read_bytes()
    contents = {
        "empty": b"",
        "text": b"no DICOM at all\n" * 40,
        "json": json.dumps({"SOPClassUID": uids.MRImageStorage}).encode(),
        "zeros": bytes(4096),
        "eights": b"\x08\0" * 2048,
        "voxels": np.arange(8, 2000, dtype="<u2").tobytes(),
        "noise": b"\x08\0" + np.random.default_rng(0).bytes(4000),
        "start": bare[:40],
        "shifted": b"\0" + bare,
        "other-class": bare.replace(b"1.2.840.10008.5.1.4.1.1.4", b"1.2.840.10008.9.1.4.1.1.4"),
        "name-of-a-class": b"\x08\0\x70\0LO\x1a\0" + b"1.2.840.10008.5.1.4.1.1.4 ",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    matplotlib.image.imsave(tmp_path / "image.png", np.zeros((4, 4)))
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 8, np.int16), np.eye(4)), tmp_path / "volume.nii")
    for path in (*(tmp_path / name for name in contents), tmp_path / "image.png", tmp_path / "volume.nii"):
        assert not is_dicom(path), path
