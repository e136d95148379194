"""Small files that declare or hold gigabytes are refused before those take memory: a child has 200 MiB to spare."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pydicom
import pytest
import scipy.io
from pydicom import uid as uids

from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
from tests.data.dicom.compressed import rewrite

ROOT = Path(__file__).parents[2]
SPARE_MIB = 200


def nifti_header(*shape):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header["pixdim"][1:4] = 0.3
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + bytes(4)


def zeros_after(head, mib, wbits):
    """A deflated stream of `head` and that many MiB of zeros, a KiB for each; its checksum no reader gets to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # Blocks after a full flush know nothing of those before, so that one can be repeated.
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * mib + packer.flush()


def mat5(*, declared, mib):
    """A compressed array whose tag declares so many bytes."""
    packed = zeros_after(struct.pack("<II", 14, declared), mib, 15)
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed


def image(rows=4, columns=5):
    voxels = np.ones((1, 1, rows, columns), np.float32)
    return Study("p", "p", voxels, (8.0, 1.0, 1.0), LV_CLASSES, affine=np.eye(4))


def dicom(folder, syntax, rows, columns):
    (path,) = write_dicom(image(16, 18), folder)
    rewrite(path, syntax)
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = rows, columns
    dataset.save_as(path)
    return path.read_bytes()


def deflated_dicom(folder, mib):
    """A sound header, and that many MiB more than its pixels."""
    (path,) = write_dicom(image(), folder)
    content = path.read_bytes()
    meta = 132 + 12 + struct.unpack_from("<I", content, 140)[0]
    start = content[:meta].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    start = start[:140] + struct.pack("<I", len(start) - 144) + start[144:]
    # The length of the syntax, and that of the pixels.
    start = start.replace(b"\x10\0UI\x14\0", b"\x10\0UI\x16\0")
    at = content.index(b"\xe0\x7f\x10\0OW\0\0") + 8
    return start + zeros_after(content[meta:at] + struct.pack("<I", 40 + mib * 2**20) + bytes(40), mib, -15)


def declaring(content, rows, columns):
    """A JPEG 2000 image with another size in its codestream, and 600 kB after it."""
    at = content.index(b"\xff\x4f\xff\x51") + 8
    return content[:at] + struct.pack(">II", columns, rows) + content[at + 8 :] + noise_element()


def noise_element():
    """A private element with as much in it as the pixels of the size that is declared could take at least."""
    return struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 600_000) + np.random.default_rng(0).bytes(600_000)


def hdf5(path, shape):
    """A dataset of which nothing is stored."""
    with h5py.File(path, "w") as file:
        file.create_dataset("image", shape=shape, dtype="f8", chunks=(64, 64))
    return path.read_bytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file of each kind, for the child to load all that reading takes."""
    folder, other = tmp_path_factory.mktemp("sound"), tmp_path_factory.mktemp("made")
    nib.save(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)), folder / "a.nii.gz")
    cine = {"image": np.ones((4, 5, 2)), "pix_spacing": 1.5}
    scipy.io.savemat(folder / "five.mat", cine, do_compression=True)
    with h5py.File(folder / "seven.mat", "w") as file:
        for name, value in cine.items():
            file[name] = value
    for syntax in (uids.ExplicitVRLittleEndian, uids.RLELossless, uids.JPEG2000Lossless):
        (folder / f"{syntax}.dcm").write_bytes(dicom(other, syntax, 16, 18))
    return folder


def test_bombs(tmp_path, sound):
    explicit, rle, j2k = uids.ExplicitVRLittleEndian, uids.RLELossless, uids.JPEG2000Lossless
    noise = np.random.default_rng(0).bytes(600_000)
    bombs = {
        # 2 GiB in 2 MiB, as the header says.
        "declared.nii.gz": (zeros_after(nifti_header(2048, 1024, 1024), 2048, 31), "too-large"),
        # The same behind a header of 1000 voxels.
        "longer.nii.gz": (zeros_after(nifti_header(10, 10, 10), 2048, 31), "size-mismatch"),
        # Half a GiB in the header, within the budget, and a few bytes that could not hold it.
        "lying.nii.gz": (zeros_after(nifti_header(1000, 1000, 500), 1, 31), "truncated"),
        # And with as many as could, but do not.
        "noise.nii.gz": (zeros_after(nifti_header(1000, 1000, 500) + noise, 1, 31), "truncated"),
        "lying.nii": (nifti_header(1000, 1000, 500) + noise, "truncated"),
        "declared.mat": (mat5(declared=2**31, mib=2048), "too-large"),
        "longer.mat": (mat5(declared=64, mib=2048), "corrupt"),
        "lying.mat": (mat5(declared=2**29, mib=1), "corrupt"),
        "declared-7.3.mat": (hdf5(tmp_path / "made.h5", (2**20, 2**20)), "too-large"),
        "lying-7.3.mat": (hdf5(tmp_path / "made.h5", (2**13, 2**13)), "corrupt"),
        "declared.dcm": (dicom(tmp_path / "made", explicit, 65535, 65535), "too-large"),
        "lying.dcm": (dicom(tmp_path / "made", explicit, 20_000, 20_000), "truncated"),
        "declared-rle.dcm": (dicom(tmp_path / "made", rle, 65535, 65535), "too-large"),
        "lying-rle.dcm": (dicom(tmp_path / "made", rle, 20_000, 20_000), "truncated"),
        "declared-2000.dcm": (dicom(tmp_path / "made", j2k, 65535, 65535), "too-large"),
        "lying-2000.dcm": (dicom(tmp_path / "made", j2k, 20_000, 20_000), "truncated"),
        # Half of a GiB that the child would have to take.
        "lying-codestream.dcm": (declaring(dicom(tmp_path / "made", j2k, 16_000, 16_000), 16_000, 16_000), "decoder"),
        "lying-header.dcm": (dicom(tmp_path / "made", j2k, 16_000, 16_000) + noise_element(), "size-mismatch"),
        "longer-deflated.dcm": (deflated_dicom(tmp_path / "made", 2048), "too-large"),
    }
    image_of = "NRRD0005\ntype: uchar\ndimension: 3\nsizes: {}\nspacings: 0.3 0.3 0.3\nencoding: {}\n\n"
    volume_of = "NDims = 3\nDimSize = {}\nElementSpacing = 0.3 0.3 0.3\nElementType = MET_UCHAR\n"
    volume_of += "CompressedData = True\nElementDataFile = LOCAL\n"
    packed = zeros_after(b"", 2048, 31)
    bombs |= {
        "declared.nrrd": (image_of.format("2048 1024 1024", "gzip").encode() + packed, "too-large"),
        "longer.nrrd": (image_of.format("10 10 10", "gzip").encode() + packed, "size-mismatch"),
        "lying.nrrd": (image_of.format("1000 1000 500", "gzip").encode() + zeros_after(b"", 1, 31), "truncated"),
        "raw.nrrd": (image_of.format("1000 1000 500", "raw").encode() + noise, "truncated"),
        "header.nrrd": (b"NRRD0005\n" + b"key:=value\n" * 190_000, "header"),
        "declared.mha": (volume_of.format("2048 1024 1024").encode() + zeros_after(b"", 2048, 15), "too-large"),
        "longer.mha": (volume_of.format("10 10 10").encode() + zeros_after(b"", 2048, 15), "size-mismatch"),
        "lying.mha": (volume_of.format("1000 1000 500").encode() + zeros_after(b"", 1, 15), "truncated"),
    }
    paths = []
    for name, (content, _) in bombs.items():
        assert len(content) < 2.2 * 2**20
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    command = [sys.executable, "-m", "tests.data.read_limited", str(SPARE_MIB), str(sound), *map(str, paths)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    came = {name: outcome for name, (outcome, _, _) in json.loads(child.stdout).items()}
    assert came == {name: code for name, (_, code) in bombs.items()}


def test_the_child_has_little_memory(tmp_path, sound):
    """What is refused above would not fit: an honest quarter of a GiB does not either."""
    path = tmp_path / "large.nii"
    path.write_bytes(nifti_header(1024, 1024, 256) + bytes(2**28))
    command = [sys.executable, "-m", "tests.data.read_limited", str(SPARE_MIB), str(sound), str(path)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(child.stdout)["large.nii"][0] == "MemoryError()"
