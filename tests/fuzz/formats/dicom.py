"""DICOM series, and Sunnybrook's contours on them."""

import contextlib
import io
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pydicom
from pydicom import uid as uids
from pydicom.fileset import FileSet

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.dicom import pixels
from foanet_jax.data.dicom.decoding import Decoder
from foanet_jax.data.phantom.writers import write_dicom, write_sunnybrook
from foanet_jax.data.readers.sunnybrook import list_sunnybrook
from foanet_jax.data.study import LV_CLASSES, Study
from tests.data.dicom.compressed import rewrite
from tests.data.dicom.enhanced import write_enhanced
from tests.fuzz.readings import check_studies
from tests.fuzz.seeds import Packing, Seed, Target, some, words

_AFFINE = np.array([[-1.5, 0, 0, 10], [0, 0, -8, -20], [0, -2, 0, 30], [0, 0, 0, 1.0]])


def dicom_seeds() -> list[Seed]:
    """A slice of two frames, a stack of two slices and two single images: each transfer syntax that is read."""
    seeds = []
    for number, (syntax, shape) in enumerate(
        (
            (uids.ExplicitVRLittleEndian, (2, 1, 4, 5)),
            (uids.ImplicitVRLittleEndian, (1, 2, 4, 5)),
            (uids.ExplicitVRBigEndian, (1, 1, 4, 5)),
            (uids.RLELossless, (1, 1, 4, 5)),
        )
    ):
        voxels = some(*shape, high=900).astype(np.float32)
        study = Study("p", f"p{number}", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=_AFFINE)
        files = {}
        with tempfile.TemporaryDirectory() as folder:
            for path in write_dicom(study, folder):
                files[f"anna/{path.name}"] = _in_syntax(path, syntax)
        order = ">" if syntax == uids.ExplicitVRBigEndian else "<"
        name, content = next(iter(files.items()))
        target = Target(name, words(content, step=2, letters="HI", order=order))
        seeds.append(Seed(files, [target], _read_dicom, check_studies))
    return seeds


def _in_syntax(path: Path, syntax: uids.UID) -> bytes:
    image = pydicom.dcmread(path)
    stream = io.BytesIO()
    if syntax == uids.RLELossless:
        image.compress(syntax, generate_instance_uid=False)
    elif syntax == uids.ExplicitVRBigEndian:
        image.PixelData = image.pixel_array.astype(">i2").tobytes()
        image["PixelData"].VR = "OW"
    image.file_meta.TransferSyntaxUID = syntax
    little, implicit = syntax != uids.ExplicitVRBigEndian, syntax == uids.ImplicitVRLittleEndian
    pydicom.dcmwrite(stream, image, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
    return stream.getvalue()


def _read_dicom(folder: Path) -> list[Study]:
    return [ref.load() for ref in read_input(folder)]


def bare_seeds() -> list[Seed]:
    """Two slices without preamble: with meta information, and without it in each uncompressed transfer syntax."""
    seeds = []
    for number, (syntax, has_meta) in enumerate(
        (
            (uids.ExplicitVRLittleEndian, True),
            (uids.ExplicitVRLittleEndian, False),
            (uids.ImplicitVRLittleEndian, False),
            (uids.ExplicitVRBigEndian, False),
        )
    ):
        files = {}
        with tempfile.TemporaryDirectory() as folder:
            for path in write_dicom(_study(f"b{number}", (1, 2, 4, 5)), folder):
                content = _in_syntax(path, syntax)
                files[f"anna/{path.name}"] = content[132:] if has_meta else content[_start(content) :]
        order = ">" if syntax == uids.ExplicitVRBigEndian else "<"
        name, content = next(iter(files.items()))
        seeds.append(
            Seed(files, [Target(name, words(content, step=2, letters="HI", order=order))], _read_dicom, check_studies)
        )
    return seeds


def compressed_seeds() -> list[Seed]:
    """An image in each transfer syntax that the child process decodes, and a deflated one."""
    seeds = []
    for syntax in (
        uids.JPEGLossless,
        uids.JPEGLosslessSV1,
        uids.JPEGLSLossless,
        uids.JPEG2000Lossless,
        uids.JPEGLSNearLossless,
        uids.JPEG2000,
        uids.JPEGBaseline8Bit,
        uids.DeflatedExplicitVRLittleEndian,
    ):
        with tempfile.TemporaryDirectory() as folder:
            (path,) = write_dicom(_study("c", (1, 1, 16, 18)), folder)
            if syntax == uids.JPEGBaseline8Bit:
                _make_8_bits(path)
            rewrite(path, syntax)
            content = path.read_bytes()
        packing = DEFLATED if syntax == uids.DeflatedExplicitVRLittleEndian else None
        fields = words(content if packing is None else packing.unpack(content)[0], step=1, letters="BHI", order="<")
        fields += [] if packing else words(content, step=1, letters="HI", order=">")
        target = Target("anna/1.dcm", fields, packing)
        seeds.append(Seed({target.name: content}, [target], _read_with_one_child, check_studies))
    return seeds


def enhanced_seeds() -> list[Seed]:
    """A cine of two slices in one file: frames told apart in each way, groups shared or not, in several syntaxes."""
    seeds = []
    for times, shared, syntax in (
        ("trigger", True, uids.ExplicitVRLittleEndian),
        ("temporal", False, uids.ImplicitVRLittleEndian),
        ("dimension", True, uids.RLELossless),
        ("none", True, uids.DeflatedExplicitVRLittleEndian),
    ):
        with tempfile.TemporaryDirectory() as folder:
            singles = write_dicom(_study("e", (2, 2, 4, 5)), folder)
            path = write_enhanced(singles, Path(folder) / "enhanced.dcm", times=times, shared=shared)
            if syntax != uids.ExplicitVRLittleEndian:
                rewrite(path, syntax)
            content = path.read_bytes()
        packing = DEFLATED if syntax == uids.DeflatedExplicitVRLittleEndian else None
        fields = words(content if packing is None else packing.unpack(content)[0], step=2, letters="HI")
        target = Target("anna/1.dcm", fields, packing)
        seeds.append(Seed({target.name: content}, [target], _read_dicom, check_studies))
    return seeds


def directory_seeds() -> list[Seed]:
    """A DICOMDIR with a slice of two frames: the DICOMDIR or an image is damaged."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as made:
        listed = FileSet()
        listed.UID = "2.999.1"  # The same in every run.
        for path in write_dicom(_study("d", (2, 1, 4, 5)), folder):
            image = pydicom.dcmread(path)
            image.PatientID, image.StudyID, image.StudyDate, image.StudyTime = "d", "1", "20240101", "120000"
            listed.add(image)
        listed.write(made)
        listed._stage["t"].cleanup()  # It would be left to the garbage collector, with a warning.
        files = {
            str(path.relative_to(made)): path.read_bytes() for path in sorted(Path(made).rglob("*")) if path.is_file()
        }
    targets = [Target(name, words(content, step=2, letters="HI")) for name, content in files.items()]
    return [Seed(files, targets, _read_dicom, check_studies)]


def _study(case: str, shape: tuple[int, int, int, int]) -> Study:
    voxels = some(*shape, high=200).astype(np.float32)
    return Study("p", case, voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=_AFFINE)


def _make_8_bits(path: Path) -> None:
    image = pydicom.dcmread(path)
    image.PixelData = np.frombuffer(image.PixelData, "<i2").astype(np.uint8).tobytes()
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image["PixelData"].VR = "OB"
    image.save_as(path)


def _start(content: bytes) -> int:
    """Where the data set of a file starts, after the meta information."""
    return 144 + struct.unpack_from("<I", content, 140)[0]


def _inflate(content: bytes) -> list[bytes]:
    start = _start(content)
    return [zlib.decompress(content[start:], -zlib.MAX_WBITS), content[:start]]


def _deflate(parts: Sequence[bytes]) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return parts[1] + packer.compress(parts[0]) + packer.flush()


DEFLATED = Packing(_inflate, _deflate)
_CHILD = Decoder()


def _read_with_one_child(folder: Path) -> list[Study]:
    """As _read_dicom, but the child process is not started again for each file, unless the file before broke it."""
    with mock.patch.object(pixels, "Decoder", return_value=contextlib.nullcontext(_CHILD)):
        return _read_dicom(folder)


def sunnybrook_seeds() -> list[Seed]:
    """A patient of one labelled slice: contours and the table that ties them to images; its images are DICOM."""
    rows, columns = np.mgrid[:16, :18]
    radius = np.hypot(rows - 7.2, columns - 8.7)
    labels = np.where(radius < 3.5, 2, np.where(radius < 6, 1, 0)).astype(np.uint8)[None, None]
    study = Study("p", "p", labels * np.float32(100), (8.0, 1.2, 1.4), LV_CLASSES, labels, np.diag([-1.4, -1.2, 8, 1]))
    with tempfile.TemporaryDirectory() as folder:
        write_sunnybrook(study, folder, patient="SCD0000101", original="SC-HF-I-1")
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    targets = [Target(name, text=True) for name in files if name.endswith((".txt", ".csv"))]
    return [Seed(files, targets, _read_sunnybrook, check_studies)]


def _read_sunnybrook(folder: Path) -> list[Study]:
    return [ref.load() for ref in list_sunnybrook(folder)]
