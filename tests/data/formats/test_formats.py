"""NRRD, MetaImage, Analyze and NIfTI pairs, against the libraries that wrote them and the same image as NIfTI."""

import bz2
import gzip
import logging
import os
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.formats import SUFFIXES
from foanet_jax.data.nifti.file import read_grid, read_nifti
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.system.errors import InputError

TURN = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
SPACING, ORIGIN = (1.25, 1.5, 8.0, 1.0), (10.5, -20.25, 30.75, 0.0)
WRITTEN = (".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")


def itk_image(shape, dtype):
    """An image of 2 to 4 dimensions, tilted where it has slices; `shape` is (…, rows, columns)."""
    array = np.random.default_rng(len(shape)).integers(0, 200, shape).astype(dtype)
    made = SimpleITK.GetImageFromArray(array, isVector=False)
    axes = len(shape)
    direction = np.eye(axes)
    if axes > 2:
        direction[:3, :3] = TURN
    made.SetSpacing(SPACING[:axes])
    made.SetOrigin(ORIGIN[:axes])
    made.SetDirection(direction.ravel().tolist())
    return array, made


def code_of(path):
    with pytest.raises(InputError) as caught:
        read_nifti(path)
    assert str(path.parent) in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 3, 5, 4)])
def test_one_image_in_every_format(tmp_path, shape, dtype, compressed):
    """Equal voxels, spacing, affine and mask, whatever format SimpleITK wrote the image in."""
    array, made = itk_image(shape, dtype)
    grid = (*(1,) * (4 - len(shape)), *shape)
    affine = np.eye(4)
    axes = min(3, len(shape))
    affine[:axes, :axes] = np.array(made.GetDirection()).reshape(len(shape), -1)[:axes, :axes] * SPACING[:axes]
    affine[:axes, 3] = ORIGIN[:axes]
    affine = np.diag([-1, -1, 1, 1]) @ affine  # ITK's world is LPS+.
    masks = []
    for suffix in WRITTEN:
        path = tmp_path / f"{suffix.replace('.', '')}" / f"heart{suffix}"
        path.parent.mkdir()
        SimpleITK.WriteImage(made, str(path), useCompression=compressed)
        (ref,) = read_input(path)
        study = ref.load()
        np.testing.assert_array_equal(study.voxels, array.reshape(grid))
        assert study.spacing_mm == pytest.approx((SPACING[2] if axes == 3 else 1.0, SPACING[1], SPACING[0]), rel=1e-7)
        np.testing.assert_allclose(study.affine, affine, atol=1e-5)
        assert read_grid(path).shape == grid
        mask = (study.voxels > 100).astype(np.uint8)
        write_mask(mask, study, path.parent / "mask.nii.gz")
        saved = nib.load(path.parent / "mask.nii.gz")
        np.testing.assert_array_equal(np.asarray(saved.dataobj), (array > 100).T)
        np.testing.assert_allclose(saved.affine, affine, atol=1e-5)
        # The independent reader puts the mask where it has the image.
        read, wanted = SimpleITK.ReadImage(str(path.parent / "mask.nii.gz")), SimpleITK.ReadImage(str(path))
        assert read.GetSize() == wanted.GetSize()
        np.testing.assert_allclose(read.GetSpacing()[:axes], wanted.GetSpacing()[:axes], rtol=1e-6)
        np.testing.assert_allclose(read.GetOrigin(), wanted.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(read.GetDirection(), wanted.GetDirection(), atol=1e-5)
        masks.append(np.asarray(saved.dataobj))
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


def test_a_third_axis_of_time(tmp_path):
    array, made = itk_image((3, 5, 4), np.int16)
    for suffix in (".nrrd", ".mha", ".img"):
        SimpleITK.WriteImage(made, str(tmp_path / f"a{suffix}"))
        volume = read_nifti(tmp_path / f"a{suffix}", third_axis="time")
        np.testing.assert_array_equal(volume.data[:, 0], array)
        assert volume.spacing_mm[0] == 1.0


@pytest.mark.parametrize(
    "kind", [nib.Spm2AnalyzeImage, nib.Spm99AnalyzeImage, nib.AnalyzeImage, nib.Nifti1Pair, nib.Nifti2Pair]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_pairs_as_nibabel_reads_them(tmp_path, kind, order, packed, caplog):
    caplog.set_level(logging.WARNING)
    array = np.random.default_rng(0).integers(0, 200, (4, 5, 3)).astype(np.int16)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    made = kind(array, np.diag([-1.25, 1.5, 8.0, 1.0]), header)
    made.to_filename(tmp_path / "a.img")
    for matrix in tmp_path.glob("*.mat"):
        matrix.unlink()
    wanted = nib.load(tmp_path / "a.img")
    stored, affine = np.asarray(wanted.dataobj), wanted.affine
    if packed:
        for suffix in (".hdr", ".img"):
            path = tmp_path / f"a{suffix}"
            (tmp_path / f"a{suffix}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    for path in sorted(tmp_path.iterdir()):
        volume = read_nifti(path)
        np.testing.assert_array_equal(volume.data[0].T, stored)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
        assert volume.spacing_mm == (8.0, 1.5, 1.25)
    assert ("which side is left" in caplog.text) == ("Analyze" in kind.__name__)
    (ref,) = read_input(tmp_path)
    assert ref.case == "a"


def test_spm_s_scale_and_matrix(tmp_path):
    array = np.array([[[0, 1, 2], [3, 4, 5]]], np.int16)
    made = nib.Spm99AnalyzeImage(array, np.diag([-2, 2, 2, 1.0]))
    made.header.set_slope_inter(0.5)
    made.to_filename(tmp_path / "a.img")
    # SPM's matrix turns the image: read without it, the image would lie elsewhere.
    assert (tmp_path / "a.mat").exists()
    assert code_of(tmp_path / "a.hdr") == "affine"
    assert [ref.case for ref in read_input(tmp_path)] == ["a"]
    (tmp_path / "a.mat").unlink()
    np.testing.assert_allclose(read_nifti(tmp_path / "a.hdr").data[0].T, nib.load(tmp_path / "a.img").get_fdata())


def test_pairs_that_are_not_whole(tmp_path):
    nib.Nifti1Pair(np.zeros((4, 5, 3), np.int16), np.eye(4)).to_filename(tmp_path / "a.img")
    header, image = tmp_path / "a.hdr", tmp_path / "a.img"
    whole = image.read_bytes()
    image.write_bytes(whole[:-1])
    assert code_of(header) == "truncated"
    image.write_bytes(whole + b"\0")
    assert code_of(header) == "size-mismatch"
    image.unlink()
    assert code_of(header) == "missing-file"
    image.write_bytes(whole)
    header.rename(tmp_path / "b.hdr")
    assert code_of(image) == "missing-file"
    (tmp_path / "A.HDR").write_bytes((tmp_path / "b.hdr").read_bytes())
    image.rename(tmp_path / "A.IMG")
    assert read_nifti(tmp_path / "A.IMG").data.shape == (1, 3, 5, 4)
    nib.Nifti1Image(np.zeros((4, 5, 3), np.int16), np.eye(4)).to_filename(tmp_path / "c.nii")
    (tmp_path / "c.nii").rename(tmp_path / "c.hdr")
    (tmp_path / "c.img").write_bytes(whole)
    assert code_of(tmp_path / "c.hdr") == "not-nifti"


NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 5 3",
    "space directions": "(1.25,0,0) (0,1.5,0) (0,0,8)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,2,3)",
}
VOXELS = np.arange(60, dtype="<i2")


def nrrd(path, body=None, lines=(), **fields):
    """A NRRD file with some fields changed; None leaves one out."""
    every = {**NRRD, **{name.replace("_", " "): value for name, value in fields.items()}}
    text = "".join(f"{name}: {value}\n" for name, value in every.items() if value is not None)
    text = "\n".join(["NRRD0005", "# a comment", "key:=a value: of a user", *lines, text, ""])
    path.write_bytes(text.encode() + (VOXELS.tobytes() if body is None else body))
    return path


@pytest.mark.parametrize(
    ("fields", "affine"),
    [
        ({}, [[-1.25, 0, 0, -1], [0, -1.5, 0, -2], [0, 0, 8, 3]]),
        ({"space": "RAS"}, [[1.25, 0, 0, 1], [0, 1.5, 0, 2], [0, 0, 8, 3]]),
        ({"space": "left-anterior-superior"}, [[-1.25, 0, 0, -1], [0, 1.5, 0, 2], [0, 0, 8, 3]]),
        ({"space": None, "space dimension": "3"}, [[-1.25, 0, 0, -1], [0, -1.5, 0, -2], [0, 0, 8, 3]]),
        ({"space origin": None}, [[-1.25, 0, 0, 0], [0, -1.5, 0, 0], [0, 0, 8, 0]]),
        (
            {"space": None, "space directions": None, "space origin": None, "spacings": "1.25 1.5 8"},
            [[-1.25, 0, 0, 0], [0, -1.5, 0, 0], [0, 0, 8, 0]],
        ),
    ],
)
def test_spaces_of_nrrd_by_hand(tmp_path, fields, affine):
    volume = read_nifti(nrrd(tmp_path / "a.nrrd", **fields))
    np.testing.assert_allclose(volume.affine[:3], affine, atol=1e-6)
    np.testing.assert_array_equal(volume.data.ravel(), VOXELS)
    assert volume.spacing_mm == (8.0, 1.5, 1.25)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("gz", gzip.compress), ("raw", bytes)])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_bodies_of_nrrd(tmp_path, encoding, pack, endian):
    body = VOXELS.astype(">i2" if endian == "big" else "<i2").tobytes()
    volume = read_nifti(nrrd(tmp_path / "a.nrrd", pack(body), encoding=encoding, endian=endian))
    np.testing.assert_array_equal(volume.data.ravel(), VOXELS)
    (tmp_path / "voxels.bin").write_bytes(pack(body))
    detached = nrrd(tmp_path / "b.nhdr", b"", encoding=encoding, endian=endian, data_file="voxels.bin")
    np.testing.assert_array_equal(read_nifti(detached).data.ravel(), VOXELS)


def test_bytes_before_the_voxels(tmp_path):
    for skip, before in (("7", 7), ("-1", 11)):
        (tmp_path / "voxels.raw").write_bytes(b"x" * before + VOXELS.tobytes())
        volume = read_nifti(nrrd(tmp_path / "a.nhdr", b"", data_file="voxels.raw", byte_skip=skip))
        np.testing.assert_array_equal(volume.data.ravel(), VOXELS)
    text = f"NDims = 3\nDimSize = 4 5 3\nElementSpacing = 1 1 8\nElementType = MET_SHORT\nHeaderSize = {-1}\n"
    (tmp_path / "a.mhd").write_text(text + "ElementDataFile = voxels.raw\n")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.mhd").data.ravel(), VOXELS)


def test_frames_of_nrrd(tmp_path):
    """An axis that is no direction in space is time, in the third place too, whatever `third_axis` says."""
    cine = nrrd(
        tmp_path / "cine.nrrd",
        dimension="3",
        space_directions="(1.25,0,0) (0,1.5,0) none",
        kinds="domain domain list",
    )
    volume = read_nifti(cine)
    assert volume.data.shape == (3, 1, 5, 4)
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([-1.25, -1.5, 1.0]), atol=1e-6)
    np.testing.assert_array_equal(volume.data.ravel(), VOXELS)
    whole = {"dimension": "4", "sizes": "4 5 1 3", "kinds": "domain domain domain time"}
    volume = read_nifti(nrrd(tmp_path / "b.nrrd", space_directions="(1.25,0,0) (0,1.5,0) (0,0,8) none", **whole))
    assert (volume.data.shape, volume.spacing_mm) == ((3, 1, 5, 4), (8.0, 1.5, 1.25))
    # Slicer's sequences have the frames first: every voxel's frames together.
    first = {"dimension": "4", "sizes": "3 4 5 1", "kinds": "list domain domain domain"}
    path = nrrd(tmp_path / "c.nrrd", space_directions="none (1.25,0,0) (0,1.5,0) (0,0,8)", **first)
    assert code_of(path) == "dimensions"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "block"}, "dtype"),
        ({"type": None}, "header"),
        ({"endian": None}, "header"),
        ({"encoding": "bzip2"}, "header"),
        ({"encoding": "ascii"}, "header"),
        ({"sizes": "4 5"}, "header"),
        ({"sizes": "4 5 -3"}, "dimensions"),
        ({"sizes": "4 5 99999999999999999999"}, "header"),
        ({"sizes": "30000 30000 3"}, "too-large"),
        ({"sizes": "4 5 4"}, "truncated"),
        ({"sizes": "4 5 2"}, "size-mismatch"),
        ({"dimension": "5"}, "dimensions"),
        ({"dimension": "x"}, "header"),
        ({"kinds": "RGB-color domain domain"}, "dimensions"),
        ({"space": "scanner-xyz"}, "affine"),
        ({"space directions": "(1,0,0) (0,1,0)"}, "header"),
        ({"space directions": "(1,0,0) (0,1,0) (0,nan,1)"}, "header"),
        ({"space directions": "(1,0,0) (0,1,0) (1,0,0)"}, "affine"),
        ({"space directions": "(1,0,0) (0,1,0) (0,0,0)"}, "spacing"),
        ({"space directions": "none (0,1,0) (0,0,1)"}, "dimensions"),
        ({"space directions": None}, "spacing"),
        ({"space directions": None, "spacings": "1 1 1e300"}, "spacing"),
        ({"space directions": "(1,0,0) (0,1e200,0) (0,0,8)"}, "spacing"),
        ({"space units": '"cm" "cm" "cm"'}, "spacing"),
        ({"line skip": "1"}, "header"),
        ({"byte skip": "-2"}, "header"),
        ({"byte skip": "9999"}, "truncated"),
        ({"data file": "/etc/passwd"}, "header"),
        ({"data file": "../voxels.raw"}, "header"),
        ({"data file": "away/../../voxels.raw"}, "header"),
        ({"data file": "leads-out.raw"}, "header"),
        ({"data file": "none.raw"}, "missing-file"),
        ({"data file": "away"}, "not-a-file"),
        ({"data file": "LIST"}, "header"),
        ({"data file": "v%03d.raw 1 3 1"}, "header"),
        ({"data file": "x" * 5000}, "header"),
    ],
)
def test_headers_of_nrrd_that_are_refused(tmp_path, fields, code):
    folder = tmp_path / "in"
    (folder / "away").mkdir(parents=True)
    (tmp_path / "voxels.raw").write_bytes(VOXELS.tobytes())
    (folder / "leads-out.raw").symlink_to(tmp_path / "voxels.raw")
    assert code_of(nrrd(folder / "a.nhdr", **fields)) == code


def test_a_field_twice_and_no_field(tmp_path):
    assert code_of(nrrd(tmp_path / "a.nrrd", lines=["sizes: 4 5 3"])) == "header"
    assert code_of(nrrd(tmp_path / "a.nrrd", lines=["no field"])) == "header"
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0009\n\n")
    assert code_of(tmp_path / "a.nrrd") == "header"
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"x" * 2**20)
    assert code_of(tmp_path / "a.nrrd") == "header"
    (tmp_path / "a.nrrd").write_bytes(b"no")
    assert code_of(tmp_path / "a.nrrd") == "header"
    (tmp_path / "a.nrrd").write_bytes(b"")
    assert code_of(tmp_path / "a.nrrd") == "empty-file"


META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "1 2 3",
    "ElementSpacing": "1.25 1.5 8",
    "DimSize": "4 5 3",
    "ElementType": "MET_SHORT",
}


def meta(path, body=None, data="LOCAL", **fields):
    text = "".join(f"{name} = {value}\n" for name, value in {**META, **fields}.items() if value is not None)
    path.write_bytes(f"{text}ElementDataFile = {data}\n".encode() + (VOXELS.tobytes() if body is None else body))
    return path


def test_a_metaimage_by_hand(tmp_path):
    """The first axis runs along LPS+ y, the second along −x."""
    wanted = np.diag([-1, -1, 1, 1]) @ [[0, -1.5, 0, 1], [1.25, 0, 0, 2], [0, 0, 8, 3], [0, 0, 0, 1]]
    for body, fields in (
        (VOXELS.tobytes(), {}),
        (VOXELS.byteswap().tobytes(), {"BinaryDataByteOrderMSB": "True"}),
        (zlib.compress(VOXELS.tobytes()), {"CompressedData": "True"}),
        (gzip.compress(VOXELS.tobytes()), {"CompressedData": "True"}),
    ):
        volume = read_nifti(meta(tmp_path / "a.mha", body, **fields))
        np.testing.assert_array_equal(volume.data.ravel(), VOXELS)
        np.testing.assert_allclose(volume.affine, wanted, atol=1e-6)
        assert volume.spacing_mm == (8.0, 1.5, 1.25)
        (tmp_path / "voxels.raw").write_bytes(body)
        detached = read_nifti(meta(tmp_path / "a.mhd", b"", "voxels.raw", **fields))
        np.testing.assert_array_equal(detached.data, volume.data)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ObjectType": "Tube"}, "header"),
        ({"NDims": "5"}, "dimensions"),
        ({"DimSize": "4 5"}, "header"),
        ({"DimSize": "4 0 3"}, "dimensions"),
        ({"DimSize": "30000 30000 30000"}, "too-large"),
        ({"DimSize": "4 5 4"}, "truncated"),
        ({"ElementType": "MET_STRING"}, "dtype"),
        ({"ElementNumberOfChannels": "3"}, "dtype"),
        ({"ElementSpacing": None}, "spacing"),
        ({"ElementSpacing": "1 0 1"}, "spacing"),
        ({"ElementSpacing": "1 nan 1"}, "header"),
        ({"ElementSpacing": "1e300 1 1"}, "spacing"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "affine"),
        ({"Position": "1 2 3"}, "header"),
        ({"BinaryData": "False"}, "header"),
        ({"ElementByteOrderMSB": "True"}, "header"),
        ({"ElementToIntensityFunctionSlope": "2"}, "scaling"),
        ({"HeaderSize": "-7"}, "header"),
        ({"CompressedData": "perhaps"}, "header"),
        ({"CompressedData": "True"}, "corrupt"),
    ],
)
def test_headers_of_metaimage_that_are_refused(tmp_path, fields, code):
    assert code_of(meta(tmp_path / "a.mha", **fields)) == code


@pytest.mark.parametrize("data", ["../v.raw", "/dev/zero", "LIST", "v%02d.raw 1 3 1", "none.raw", "leads-out.raw"])
def test_voxels_elsewhere(tmp_path, data):
    (tmp_path / "v.raw").write_bytes(VOXELS.tobytes())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "leads-out.raw").symlink_to(tmp_path / "v.raw")
    assert code_of(meta(tmp_path / "in" / "a.mhd", b"", data)) in ("header", "missing-file")


def test_compressed_voxels_that_are_not_whole(tmp_path):
    packed = zlib.compress(VOXELS.tobytes())
    options = {"CompressedData": "True"}
    assert code_of(meta(tmp_path / "a.mha", packed[:-3], **options)) == "truncated"
    assert code_of(meta(tmp_path / "a.mha", packed[:-1] + b"x", **options)) == "corrupt"  # its checksum
    assert code_of(meta(tmp_path / "a.mha", packed + b"x", **options)) == "corrupt"
    assert code_of(meta(tmp_path / "a.mha", zlib.compress(VOXELS[:-1].tobytes()), **options)) == "truncated"
    assert code_of(meta(tmp_path / "a.mha", zlib.compress(VOXELS.tobytes() + b"x"), **options)) == "size-mismatch"
    assert code_of(nrrd(tmp_path / "a.nrrd", bz2.compress(VOXELS.tobytes()), encoding="gzip")) == "corrupt"


def test_a_pipe_in_the_place_of_the_voxels(tmp_path):
    os.mkfifo(tmp_path / "v.raw")
    assert code_of(meta(tmp_path / "a.mhd", b"", "v.raw")) == "not-a-file"


def test_every_suffix_is_tested():
    assert set(SUFFIXES) == {*WRITTEN[1:], ".hdr.gz", ".img.gz"}
