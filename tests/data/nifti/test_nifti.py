"""NIfTI in and out: equal to nibabel on sound files, InputError on all others."""

import gzip
import itertools
import os
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.orientation import to_canonical
from foanet_jax.data.nifti.studies import class_indices, require_same_grid, study_from_volume
from foanet_jax.data.nifti.write import write_mask, write_nifti
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError

AFFINE = np.array([[-1.5, 0, 0, 10], [0, -1.25, 0, 20], [0, 0, 8, -30], [0, 0, 0, 1]])


def save(path, array, affine=AFFINE, **fields):
    """A file by nibabel, with header fields changed as given."""
    image = nib.Nifti1Image(array, affine)
    nib.save(image, path)
    if fields:
        patch(path, **fields)
    return path


def patch(path, **fields):
    """Changes header fields of a file in place; `pixdim_3=0` sets one element."""
    content = path.read_bytes()
    compressed = content[:2] == b"\x1f\x8b"
    content = gzip.decompress(content) if compressed else content
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        field, _, index = name.rpartition("_") if name[-1].isdigit() else (name, "", "")
        if index:
            header[field][int(index)] = value
        else:
            header[field] = value
    content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


def volume_of(tmp_path, shape=(5, 4, 3), dtype=np.int16, name="image.nii.gz", **kwargs):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    return array, save(tmp_path / name, array, **kwargs)


def study_of(path, **options):
    return study_from_volume(read_nifti(path, **options), patient="p", case="c", classes=("background", "heart"))


def code_of(path, **options):
    with pytest.raises(InputError) as caught:
        read_nifti(path, **options)
    assert str(path) in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 1), (5, 4, 3, 2), (5, 4, 3, 2, 1), (5, 4, 3, 1, 1, 1)])
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_axes_are_reversed(tmp_path, shape, name):
    array, path = volume_of(tmp_path, shape, name=name)
    volume = read_nifti(path)
    expected = array.reshape((*shape, 1, 1)[:4]).T
    np.testing.assert_array_equal(volume.data, expected)
    assert volume.data.dtype == np.float32
    assert volume.spacing_mm == (8, 1.25, 1.5)
    np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-6)


def test_slice_without_a_thickness(tmp_path):
    _, path = volume_of(tmp_path, (5, 4))
    volume = read_nifti(patch(path, pixdim_3=0, srow_x=(-1.5, 0, 0, 10), srow_z=0))
    assert volume.spacing_mm == (1, 1.25, 1.5)
    np.testing.assert_allclose(volume.affine[:, 2], (0, 0, 1, 0))


def test_third_axis_as_time(tmp_path):
    array, path = volume_of(tmp_path)
    volume = read_nifti(path, third_axis="time")
    assert volume.data.shape == (3, 1, 4, 5)
    assert volume.spacing_mm == (1, 1.25, 1.5)
    np.testing.assert_array_equal(volume.data[:, 0], array.T)
    mask = (volume.data > 50).astype(np.uint8)
    write_mask(mask, study_of(path, third_axis="time"), tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii.gz").dataobj, array > 50)
    with pytest.raises(InputError, match="third_axis"):
        read_nifti(path, third_axis="frames")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"])
def test_equals_nibabel(tmp_path, kind, endianness, dtype):
    array = np.random.default_rng(1).integers(0, 100, (4, 3, 2)).astype(dtype)
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(dtype)
    header["scl_slope"], header["scl_inter"] = 2.5, -3
    path = tmp_path / "image.nii.gz"
    image = kind(array, AFFINE, header)
    image.header.set_slope_inter(2.5, -3)
    nib.save(image, path)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.data, nib.load(path).get_fdata(dtype=np.float64).astype(np.float32).T[None])
    np.testing.assert_array_equal(volume.affine, nib.load(path).affine)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_units_become_mm(tmp_path, unit, factor):
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.diag([*(AFFINE.diagonal()[:3] / factor), 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "image.nii")
    volume = read_nifti(tmp_path / "image.nii")
    np.testing.assert_allclose(volume.spacing_mm, (8, 1.25, 1.5), rtol=1e-6)
    np.testing.assert_allclose(volume.affine.diagonal()[:3], AFFINE.diagonal()[:3], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "unit", "step", "seconds"),
    [
        ((2, 2, 2, 20), "sec", 0.04, 0.04),
        ((2, 2, 2, 20), "msec", 40, 0.04),
        ((2, 2, 2, 20), "usec", 40_000, 0.04),
        ((2, 2, 2, 20), "unknown", 0.04, None),
        ((2, 2, 2, 20), "sec", 1, None),  # what is written where nobody knows
        ((2, 2, 2, 20), "sec", np.nan, None),
        ((2, 2, 2, 1), "sec", 0.04, None),
        ((2, 2, 2), "sec", 0.04, None),
    ],
)
def test_the_time_from_frame_to_frame(tmp_path, shape, unit, step, seconds):
    image = nib.Nifti1Image(np.zeros(shape, np.uint8), AFFINE)
    image.header.set_xyzt_units("mm", unit)
    nib.save(image, tmp_path / "image.nii")
    study = study_of(patch(tmp_path / "image.nii", pixdim_4=step))
    assert study.frame_seconds == (None if seconds is None else pytest.approx(seconds))


def test_affine_by_quaternion_and_without_any(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 3, 2), np.uint8), None)
    image.set_sform(None, 0)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "q.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "q.nii").affine, AFFINE, rtol=1e-6)
    patch(tmp_path / "q.nii", qform_code=0, pixdim_0=0)
    np.testing.assert_allclose(read_nifti(tmp_path / "q.nii").affine, nib.load(tmp_path / "q.nii").affine, rtol=1e-6)


def test_a_file_that_is_not_there(tmp_path):
    assert code_of(tmp_path / "none.nii.gz") == "missing-file"
    assert code_of(tmp_path) == "not-a-file"
    assert code_of(tmp_path / ("long" * 100)) == "unreadable"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b"hello", "not-nifti"),
        (b"\x1f\x8b", "truncated"),
        (b"\x1f\x8b" + bytes(400), "corrupt"),
        (gzip.compress(b"", mtime=0), "not-nifti"),
        (gzip.compress(b"hello" * 1000, mtime=0), "not-nifti"),
        (struct.pack("<i", 348), "truncated"),
        (struct.pack("<i", 348) + bytes(400), "not-nifti"),
        (struct.pack(">i", 540) + bytes(600), "not-nifti"),
    ],
)
def test_content_that_is_no_nifti(tmp_path, content, code):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(content)
    assert code_of(path) == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"magic": b"ni1"}, "not-nifti"),
        ({"magic": b"n+3"}, "not-nifti"),
        ({"dim_0": 1}, "dimensions"),
        ({"dim_0": 0}, "dimensions"),
        ({"dim_0": -3}, "dimensions"),
        ({"dim_0": 8}, "dimensions"),
        ({"dim_0": 5, "dim_5": 2}, "dimensions"),
        ({"dim_1": 0}, "dimensions"),
        ({"dim_2": -1}, "dimensions"),
        ({"dim_1": 6}, "truncated"),
        ({"dim_1": 4}, "size-mismatch"),
        ({"dim_1": 32767, "dim_2": 32767}, "too-large"),
        ({"datatype": 32}, "dtype"),
        ({"datatype": 128}, "dtype"),
        ({"datatype": 2304}, "dtype"),
        ({"datatype": 1536}, "dtype"),
        ({"datatype": 999}, "dtype"),
        ({"datatype": 16}, "truncated"),
        ({"datatype": 2}, "size-mismatch"),
        ({"pixdim_1": np.nan}, "spacing"),
        ({"pixdim_1": np.inf}, "spacing"),
        ({"pixdim_2": 0}, "spacing"),
        ({"pixdim_3": -8}, "spacing"),
        ({"pixdim_3": 1e6}, "spacing"),
        ({"pixdim_3": 1e-6}, "spacing"),
        ({"srow_x": 0}, "affine"),
        ({"srow_x": np.nan}, "affine"),
        ({"srow_y": (-1.5, 0, 0, 10)}, "affine"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 5}, "affine"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "affine"),
        ({"sform_code": 0, "qform_code": 1, "qoffset_x": np.inf}, "affine"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "scaling"),
        ({"scl_slope": 1e38, "scl_inter": 0}, "non-finite"),
        ({"vox_offset": 100}, "header"),
        ({"vox_offset": np.nan}, "header"),
        ({"vox_offset": 1e9}, "header"),
        ({"vox_offset": 400}, "truncated"),
    ],
)
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_headers_that_are_refused(tmp_path, name, fields, code):
    _, path = volume_of(tmp_path, name=name)
    assert code_of(patch(path, **fields)) == code


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_voxels_that_are_not_finite(tmp_path, value):
    array = np.zeros((3, 3, 3))
    array[1, 2, 0] = value
    path = save(tmp_path / "image.nii.gz", array)
    assert code_of(path) == "non-finite"
    with pytest.raises(InputError, match="1 of 27"):
        read_nifti(path)


def test_truncated_and_longer_files(tmp_path):
    _, path = volume_of(tmp_path)
    content = path.read_bytes()
    for length in range(2, len(content), 7):
        path.write_bytes(content[:length])
        assert code_of(path) == "truncated"
    path.write_bytes(content + b"tail")
    assert code_of(path) == "corrupt"
    path.write_bytes(content + gzip.compress(b"more"))
    assert code_of(path) == "size-mismatch"


def written_by(writer, path, shape, seed):
    array = np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)
    if writer == "nibabel":
        nib.save(nib.Nifti1Image(array, AFFINE), path)
    else:
        # As the program of this name does, with the file's name and the time in gzip's header.
        with gzip.open(path, "wb") as file:
            file.write(nib.Nifti1Image(array, AFFINE).to_bytes())
    return path.read_bytes()


def flipped(content, bit):
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def unpacked(content):
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("writer", ["nibabel", "gzip"])
def test_flipped_bits_are_refused(tmp_path, writer, seed):
    path = tmp_path / "image.nii.gz"
    content = written_by(writer, path, (32, 32, 4), seed)
    # Of the gzip header's time and name no byte means anything: 300 flips of bits that do.
    drawn = np.random.default_rng(seed).permutation(8 * len(content)).tolist()
    harmful = (bit for bit in drawn if unpacked(flipped(content, bit)) != gzip.decompress(content))
    bits = list(itertools.islice(harmful, 300))
    assert len(bits) == 300
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        with pytest.raises(InputError):
            read_nifti(path)


@pytest.mark.parametrize("writer", ["nibabel", "gzip"])
def test_no_flipped_bit_changes_voxels(tmp_path, writer):
    path = tmp_path / "image.nii.gz"
    content = written_by(writer, path, (5, 4, 3), 3)
    sound = read_nifti(path)
    read = 0
    for bit in range(8 * len(content)):
        path.write_bytes(flipped(content, bit))
        try:
            volume = read_nifti(path)
        except InputError:
            continue
        read += 1
        np.testing.assert_array_equal(volume.data, sound.data)
        np.testing.assert_array_equal(volume.affine, sound.affine)
        assert volume.spacing_mm == sound.spacing_mm
        assert unpacked(path.read_bytes()) == gzip.decompress(content)
    # Time, name and kind of computer, and little else.
    assert read <= 8 * 25


@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=150)
def test_any_header_is_read_or_refused(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("header") / "image.nii"
    _, path = volume_of(path.parent, name="image.nii")
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place] = value
    path.write_bytes(content)
    try:
        volume = read_nifti(path, budget_bytes=2**20)
    except InputError:
        return
    assert np.isfinite(volume.data).all()
    assert np.isfinite(volume.affine).all()
    assert all(spacing > 0 for spacing in volume.spacing_mm)


def test_the_budget_counts_voxels_as_float32(tmp_path):
    _, path = volume_of(tmp_path)
    assert code_of(path, budget_bytes=239) == "too-large"
    read_nifti(path, budget_bytes=240)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 1), (5, 4, 3, 2), (5, 4, 3, 1), (5, 4, 3, 2, 1)])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_masks_lie_on_the_source(tmp_path, shape, endianness, name):
    array = np.random.default_rng(3).integers(0, 100, shape).astype(np.int16)
    image = nib.Nifti1Image(array, None, nib.Nifti1Header(endianness=endianness))
    image.set_sform(AFFINE, 3)
    image.set_qform(AFFINE, 1)
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_slope_inter(2, 1)
    nib.save(image, tmp_path / "image.nii.gz")
    study = study_of(tmp_path / "image.nii.gz")
    mask = (study.voxels > 100).astype(np.uint8)
    write_mask(mask, study, tmp_path / "out" / name)

    source, written = nib.load(tmp_path / "image.nii.gz"), nib.load(tmp_path / "out" / name)
    assert written.shape == source.shape
    assert written.header.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj), source.get_fdata() > 100)
    np.testing.assert_array_equal(written.affine, source.affine)
    for field in ("sform_code", "qform_code", "xyzt_units", "pixdim", "quatern_b", "srow_x", "dim"):
        np.testing.assert_array_equal(written.header[field], source.header[field])
    content = (tmp_path / "out" / name).read_bytes()
    content = gzip.decompress(content) if name.endswith("gz") else content
    header = nib.Nifti1Header(content[:348], check=False)
    assert (float(header["scl_slope"]), float(header["scl_inter"])) == (1, 0)
    assert os.listdir(tmp_path / "out") == [name]


def test_mask_of_a_study_made_in_memory(tmp_path):
    study = Study("p", "c", np.zeros((4, 3, 2, 5), np.float32), (8, 1.25, 1.5), ("background", "heart"), affine=AFFINE)
    mask = np.random.default_rng(4).integers(0, 2, study.voxels.shape).astype(np.uint8)
    write_mask(mask, study, tmp_path / "mask.nii.gz")
    volume = read_nifti(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(volume.data, mask)
    assert volume.spacing_mm == study.spacing_mm
    np.testing.assert_array_equal(volume.affine, AFFINE)


def test_equal_masks_make_equal_files(tmp_path):
    _, path = volume_of(tmp_path)
    study = study_of(path)
    mask = np.ones(study.voxels.shape, np.uint8)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(mask, study, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_masks_that_are_refused_leave_nothing(tmp_path, monkeypatch):
    _, path = volume_of(tmp_path)
    study = study_of(path)
    mask = np.zeros(study.voxels.shape, np.uint8)
    out = tmp_path / "out"
    out.mkdir()
    for wrong, target in [
        (mask.astype(np.int64), "mask.nii.gz"),
        (mask[:, :1], "mask.nii.gz"),
        (mask.transpose(0, 1, 3, 2), "mask.nii.gz"),
        (mask, "mask.png"),
    ]:
        with pytest.raises(InputError):
            write_mask(wrong, study, out / target)
    (out / "folder.nii.gz").mkdir()
    with pytest.raises(InputError):
        write_mask(mask, study, out / "folder.nii.gz")
    (out / "folder.nii.gz").rmdir()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_mask(mask, study, out / "mask.nii.gz")
    assert os.listdir(out) == []


def orientation_affines():
    """Axes in all orders and directions: 6 · 8 of them."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((-1, 1), repeat=3):
            affine = np.zeros((4, 4))
            for axis, (world, sign, size) in enumerate(zip(order, signs, (1.5, 1.25, 8), strict=True)):
                affine[world, axis] = sign * size
            affine[:, 3] = (10, -20, 30, 1)
            yield affine


def test_there_and_back_in_all_48_orientations(tmp_path):
    affines = list(orientation_affines())
    assert len({affine.tobytes() for affine in affines}) == 48
    rng = np.random.default_rng(5)
    tilt = np.eye(4)
    tilt[:3, :3] = [[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]
    for index, affine in enumerate(affines):
        array = rng.integers(0, 2, (5, 4, 3) if index % 2 else (5, 4, 3, 2)).astype(np.uint8)
        path = save(tmp_path / "image.nii", array, tilt @ affine)
        for slice_axis, world in (("sagittal", 0), ("coronal", 1), ("axial", 2)):
            volume = to_canonical(read_nifti(path), slice_axis)
            study = study_from_volume(volume, patient="p", case="c", classes=("background", "heart"))
            rotation = volume.affine[:3, :3] / np.array(volume.spacing_mm[::-1])
            # Slices along the wanted axis, rows and columns along the others in order, all towards R, A and S.
            axes = [axis for axis in range(3) if axis != world] + [world]
            assert (rotation[axes, range(3)] > 0.9).all()
            # Each voxel is where it was in the world.
            column, row, slice_ = (int(rng.integers(size)) for size in volume.data.shape[:0:-1])
            place = np.linalg.solve(tilt @ affine, volume.affine @ [column, row, slice_, 1])
            frames = array.reshape(5, 4, 3, -1)[tuple(np.rint(place[:3]).astype(int))]
            np.testing.assert_array_equal(volume.data[:, slice_, row, column], frames)
            write_mask(study.voxels.astype(np.uint8), study, tmp_path / "mask.nii")
            np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "mask.nii").dataobj), array)
            np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").affine, nib.load(path).affine)


def test_canonical_refuses_other_axes(tmp_path):
    _, path = volume_of(tmp_path)
    with pytest.raises(InputError, match="axial"):
        to_canonical(read_nifti(path), "oblique")
    with pytest.raises(InputError, match="already"):
        to_canonical(to_canonical(read_nifti(path), "axial"), "axial")


@pytest.mark.parametrize(("value", "named"), [(1.5, "1.5"), (-1, "-1"), (7, "7")])
def test_labels_that_are_unknown(tmp_path, value, named):
    array = np.zeros((3, 3, 3), np.float32)
    array[0, 0, 0] = value
    volume = read_nifti(save(tmp_path / "labels.nii", array))
    with pytest.raises(InputError, match=named) as caught:
        class_indices(volume, {0: 0, 1: 1})
    assert caught.value.code == "unknown-label"
    assert "labels.nii" in str(caught.value)


@pytest.mark.parametrize(("dtype", "value"), [(np.float64, 0.9999999), (np.float32, 1.0009), (np.float64, 1 - 1e-12)])
def test_labels_that_are_almost_whole_numbers(tmp_path, dtype, value):
    array = np.zeros((3, 3, 3), dtype)
    array[0, 1, 2] = value
    labels = read_nifti(save(tmp_path / "labels.nii", array))
    expected = np.rint(nib.load(tmp_path / "labels.nii").get_fdata()).astype(np.uint8).T[None]
    np.testing.assert_array_equal(class_indices(labels, {0: 0, 1: 1}), expected)


@pytest.mark.parametrize(("value", "named"), [(0.998, "0.998"), (1.5, "1.5"), (0.5, "0.5"), (70000, "70000")])
def test_unknown_labels_are_shown_in_full(tmp_path, value, named):
    labels = read_nifti(save(tmp_path / "labels.nii", np.full((2, 2, 2), value, np.float32)))
    with pytest.raises(InputError, match=f"unknown label {named}; known are 0, 1"):
        class_indices(labels, {0: 0, 1: 1})


@pytest.mark.parametrize("greatest", [1e37, -1e37, 1e13, 1e-37])
def test_voxels_whose_squares_are_no_numbers(tmp_path, greatest):
    array = np.linspace(0, greatest, 27, dtype=np.float32).reshape(3, 3, 3)
    path = save(tmp_path / "image.nii", array)
    with pytest.raises(InputError, match="scl_slope") as caught:
        study_of(path)
    assert caught.value.code == "intensities"
    assert f"image.nii: the greatest voxel is {abs(greatest):.3g};" in str(caught.value)
    for inside in (9e11, -9e11, 2e-12, 0):
        study_of(save(tmp_path / "image.nii", array / greatest * np.float32(inside)))


def test_labels_of_another_grid(tmp_path):
    _, path = volume_of(tmp_path)
    image = read_nifti(path)
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.5
    for array, affine, code in [
        (np.zeros((4, 5, 3), np.uint8), AFFINE, "shape-mismatch"),
        (np.zeros((5, 4, 3), np.uint8), AFFINE * [[1], [1], [1.1], [1]], "spacing-mismatch"),
        (np.zeros((5, 4, 3), np.uint8), shifted, "affine-mismatch"),
    ]:
        labels = read_nifti(save(tmp_path / "labels.nii", array, affine))
        with pytest.raises(InputError) as caught:
            require_same_grid(image, labels)
        assert caught.value.code == code
        assert "labels.nii" in str(caught.value)
    shifted[0, 3] -= 0.45
    require_same_grid(image, read_nifti(save(tmp_path / "labels.nii", np.zeros((5, 4, 3), np.uint8), shifted)))


def test_write_nifti_is_read_as_it_was(tmp_path):
    data = np.random.default_rng(6).normal(size=(1, 3, 4, 5)).astype(np.float32)
    write_nifti(data, affine=AFFINE, spacing_mm=(8, 1.25, 1.5), path=tmp_path / "image.nii.gz")
    volume = read_nifti(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(volume.data, data)
    assert nib.load(tmp_path / "image.nii.gz").shape == (5, 4, 3)
