"""The same images in each transfer syntax; damaged codestreams, and a decoder that breaks down."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid as uids
from pydicom.encaps import encapsulate, get_frame

from foanet_jax.data.dicom import list_dicom, read_dicom_series
from foanet_jax.data.dicom.decoding import Decoder, child, decoder
from foanet_jax.data.dicom.decoding.codestream import codestream_shape
from foanet_jax.data.dicom.headers import read_headers
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError
from tests.data.dicom.compressed import LOSSLESS, rewrite

CODESTREAMS = tuple(syntax for syntax in LOSSLESS if syntax.is_compressed and "JPEG" in syntax.name)
SHAPE = (16, 18)


@pytest.fixture(scope="module")
def voxels():
    return np.random.default_rng(7).integers(-50, 900, (3, 2, *SHAPE)).astype(np.float32)


@pytest.fixture
def series(tmp_path, voxels):
    """Six files: two slices of three frames."""
    return write_dicom(Study("p", "p", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=np.eye(4)), tmp_path / "anna")


def compressed(path, syntax):
    """The codestream of a file that is rewritten in this syntax."""
    rewrite(path, syntax)
    return get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)


def replace(path, codestream):
    image = pydicom.dcmread(path)
    image.PixelData = encapsulate([codestream])
    image.save_as(path)


def refusal(*files):
    with pytest.raises(InputError) as caught:
        read_dicom_series(files)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name.replace(" ", "_"))
def test_the_same_voxels_in_every_syntax(series, syntax, voxels):
    plain = read_dicom_series(series)
    for path in series:
        rewrite(path, syntax)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    (study,) = (ref.load() for ref in list_dicom(series[0].parent))
    np.testing.assert_array_equal(study.voxels, voxels)
    np.testing.assert_array_equal(study.affine, plain.affine)
    assert study.spacing_mm == plain.spacing_mm
    assert study.frame_seconds == plain.frame_seconds


@pytest.mark.parametrize("syntax", [uids.DeflatedExplicitVRLittleEndian, *CODESTREAMS], ids=str)
@pytest.mark.parametrize(("allocated", "bits"), [(16, 12), (8, 8)])
def test_unsigned_pixels_of_fewer_bits(series, syntax, allocated, bits):
    values = np.random.default_rng(3).integers(0, 2**bits, SHAPE)
    values[0, :2] = 0, 2**bits - 1
    image = pydicom.dcmread(series[0])
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = allocated, bits, bits - 1, 0
    image["PixelData"].VR = "OB" if allocated == 8 else "OW"
    image.PixelData = values.astype(f"<u{allocated // 8}").tobytes()
    image.RescaleSlope, image.RescaleIntercept = 2, -7
    image.save_as(series[0])
    rewrite(series[0], syntax)
    np.testing.assert_array_equal(read_dicom_series(series[:1]).voxels[0, 0], values * 2 - 7)


@pytest.mark.parametrize(
    ("syntax", "most"), [(uids.JPEGBaseline8Bit, 6), (uids.JPEGLSNearLossless, 6), (uids.JPEG2000, 6)], ids=str
)
def test_lossy_images_are_read_too(series, syntax, most):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    values = (5 * rows + 6 * columns).astype(np.uint8)
    image = pydicom.dcmread(series[0])
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image["PixelData"].VR = "OB"
    image.PixelData = values.tobytes()
    image.save_as(series[0])
    rewrite(series[0], syntax)
    assert pydicom.dcmread(series[0]).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_allclose(read_dicom_series(series[:1]).voxels[0, 0], values, atol=most)


def test_a_stack_starts_one_child(series, monkeypatch):
    started = []
    start = subprocess.Popen

    def counting(*args, **options):
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(decoder.subprocess, "Popen", counting)
    read_dicom_series(series)
    assert not started
    for path in series:
        rewrite(path, uids.JPEG2000Lossless)
    read_dicom_series(series)
    (process,) = started
    assert process.returncode is not None


def test_the_child_has_limits_and_no_jax(series):
    limits = Path("/proc/self/limits")
    if not limits.exists():
        pytest.skip("limits are read from /proc")
    rewrite(series[0], uids.JPEG2000Lossless)
    ((image,), _) = read_headers(series[:1])
    with Decoder() as at:
        at.decode(compressed(series[1], uids.JPEG2000Lossless), image)
        place = Path(f"/proc/{at._process.pid}")
        lines = (place / "limits").read_text().splitlines()
        limit = {line[:26].strip(): line[26:].split()[0] for line in lines}
        loaded = (place / "maps").read_text()
    assert limit["Max address space"] == str(child.MEMORY_BYTES) == str(2**30)
    assert limit["Max file size"] == limit["Max core file size"] == "0"
    assert int(limit["Max cpu time"]) <= child.SECONDS + 30
    assert "gdcm" in loaded
    assert not any(name in loaded for name in ("jaxlib", "/scipy/", "/h5py/"))


# Damaged codestreams.


@pytest.mark.parametrize("syntax", CODESTREAMS, ids=str)
def test_damaged_codestreams(series, syntax):
    codestream = compressed(series[0], syntax)
    for damaged in (codestream[:40], bytes(64), b"no codestream at all"):
        replace(series[0], damaged)
        code, text = refusal(series[0])
        assert code == "corrupt"
        assert str(series[0]) in text
        assert syntax.name in text


@pytest.mark.parametrize("syntax", CODESTREAMS, ids=str)
def test_a_codestream_of_another_shape(series, syntax):
    """18 × 16 pixels are as many as 16 × 18 and would be read line by line into the wrong places."""
    codestream = compressed(series[0], syntax)
    assert codestream_shape(codestream) == (*SHAPE, 1)
    for other in series:
        image = pydicom.dcmread(other)
        image.Rows, image.Columns = image.Columns, image.Rows
        image.save_as(other)
    code, text = refusal(series[0])
    assert code == "size-mismatch"
    assert "are 16 × 18 with 1 samples each where the header declares 18 × 16" in text


def test_codestreams_that_say_nothing():
    for content in (b"", b"\xff\xd8", b"\xff\xd8\xff\xd8\0\2", b"\xff\xd8\0\0\0\0", b"\xff\x4f\xff\x51\0\0"):
        assert codestream_shape(content) is None
    assert codestream_shape(b"\xff\xd8\xff\xff\xff\xc3\0\x0b\x10\0\x07\0\x09\x01") == (7, 9, 1)


def test_compressed_pixels_in_an_uncompressed_syntax(series):
    rewrite(series[0], uids.JPEG2000Lossless)
    image = pydicom.dcmread(series[0])
    image.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    series[0].write_bytes(
        series[0].read_bytes().replace(uids.JPEG2000Lossless.encode(), uids.ExplicitVRLittleEndian.encode() + b"\0\0\0")
    )
    code, text = refusal(series[0])
    assert code == "transfer-syntax"
    assert "compressed" in text


# Children that break down.


READY = "import os, sys, time; os.write(1, b'r'); sys.stdin.buffer.readline(); "


@pytest.mark.parametrize(
    ("program", "seconds", "reason"),
    [
        (READY + "import ctypes; ctypes.string_at(0)", 600, "broke down"),
        (READY + "os.write(1, b'o')", 600, "broke down"),
        ("raise SystemExit", 600, "broke down"),
        (READY + "time.sleep(600)", 0.5, "took more than 0.5 s"),
        (READY + "os.write(1, b'm'); time.sleep(600)", 600, "took more than 1 GiB"),
    ],
)
def test_a_child_that_breaks_down(series, tmp_path, monkeypatch, program, seconds, reason):
    codestream = compressed(series[0], uids.JPEGLSLossless)
    ((image,), _) = read_headers(series[:1])
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(child, "__file__", str(tmp_path / "child.py"))
    with Decoder(seconds=seconds) as at:
        with pytest.raises(InputError) as caught:
            at.decode(codestream, image)
        assert at._process is None
    text = str(caught.value)
    assert caught.value.code == "decoder"
    assert reason in text
    assert all(part in text for part in (str(series[0]), "JPEG-LS Lossless", "gdcmconv --raw"))


def test_memory_is_limited():
    """The child cannot take as much as a whole GiB more."""
    program = "import child; child._limit(); bytearray(child.MEMORY_BYTES)"
    folder = Path(child.__file__).parent
    came = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert came.stderr.splitlines()[-1] == "MemoryError"
