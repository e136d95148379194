"""Orders of axes that no image has, and the legitimate ones that look odd."""

import itertools
import re

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.api import study_of_array
from foanet_jax.data.inputs import read_input
from foanet_jax.data.layout import has_frames_for_slices, is_cut_across
from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.studies import study_from_volume
from foanet_jax.data.study import LV_CLASSES
from foanet_jax.system.errors import InputError

SIDES = {"x": 1.25, "y": 1.5, "z": 8.0, "t": 1.0}


def beating_heart(frames=20, slices=10, size=40, slice_mm=8.0, seed=0):
    """(T, Z, H, W) a bright ball of 32 mm radius in a body, whose radius changes over the beat, with noise."""
    z, y, x = np.meshgrid(
        (np.arange(slices) - slices / 3) * slice_mm,
        *2 * [(np.arange(size) - size / 2) * 100 / size],
        indexing="ij",
    )
    away = np.sqrt(x**2 + y**2 + z**2)
    body = 200 * (np.hypot(x, y) < 45 - z / 9) + 150 * np.sin(x / 7 + z / 7) * np.sin(y / 8 - z / 9)
    radii = 26 + 6 * np.cos(2 * np.pi * np.arange(frames) / frames)
    heart = np.stack([np.where(away < radius, 600.0, body) for radius in radii])
    return (heart + np.random.default_rng(seed).normal(0, 5, heart.shape)).astype(np.int16)


def stored(array, order, path):
    """A (T, Z, H, W) array as a file with its axes in this order, such as "xytz", with the zooms of each."""
    file_array = array.transpose(["tzyx".index(axis) for axis in order])
    image = nib.Nifti1Image(file_array, np.diag([*(SIDES[axis] for axis in order[:3]), 1]))
    nib.save(image, path)
    return path


def load(path, **options):
    return study_from_volume(read_nifti(path, **options), patient="p", case="c", classes=LV_CLASSES)


@pytest.mark.parametrize("order", ["".join(order) for order in itertools.permutations("xyzt")])
def test_every_order_of_a_4d_file(tmp_path, order):
    """(X, Y, Z, T) and its transpose are read; of the others, the call in the message makes the file right."""
    array = beating_heart(frames=20, slices=10, size=96)
    path = stored(array, order, tmp_path / "a.nii")
    if order in ("xyzt", "yxzt"):
        assert load(path).voxels.shape == array.shape
        return
    with pytest.raises(InputError, match=r"expected \(columns, rows, slices, frames\)") as caught:
        load(path)
    assert caught.value.code == "axis-order"
    call = re.search(r"np\.\w+\(data, ([\d, ]+|\([\d, ]+\))\)", str(caught.value))[0]
    mended = eval(call, {"np": np, "data": np.asarray(nib.load(path).dataobj)})  # what users type
    read = mended.transpose(3, 2, 1, 0)
    assert read.shape == array.shape
    assert any(np.array_equal(read, expected) for expected in (array, array.transpose(0, 1, 3, 2)))


@pytest.mark.parametrize("order", ["zxy", "zyx", "xzy", "yzx"])
@pytest.mark.parametrize("size", [20, 96, 256])
def test_slices_along_another_axis_of_a_3d_file(tmp_path, order, size):
    array = beating_heart(1, 10, size)
    array[0, 3, 4, 5] = 9999
    path = stored(array, order + "t", tmp_path / "a.nii")
    image = nib.load(path)
    path = tmp_path / "b.nii"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., 0], image.affine), path)
    with pytest.raises(InputError, match=r"expected \(columns, rows, slices, frames\)") as caught:
        load(path)
    assert caught.value.code == "axis-order"
    data, affine = np.asarray(nib.load(path).dataobj), image.affine
    calls = re.search(r"(np\.moveaxis\(data, \d, 2\)) and (affine\[:, \[[\d, ]+\]\])", str(caught.value))
    mended, turned = (eval(call, {"np": np, "data": data, "affine": affine}) for call in calls.groups())
    nib.save(nib.Nifti1Image(mended, turned), tmp_path / "c.nii")
    study = load(tmp_path / "c.nii")
    assert study.voxels.shape == (1, 10, size, size)
    assert study.spacing_mm[0] == 8
    # Each voxel is where it was in the world.
    brightest = np.argwhere(data == data.max())[0]
    there = np.argwhere(mended == mended.max())[0]
    np.testing.assert_allclose(affine @ [*brightest, 1], turned @ [*there, 1])
    assert mended.shape[2] == 10


def test_thick_slices_of_a_whole_heart_are_put_in_order_by_the_affine(tmp_path):
    """A model that reorients volumes reads any order of axes."""
    array = beating_heart(1, 10, 96)
    image = nib.Nifti1Image(
        array[0].transpose(0, 2, 1), np.array([[0, 1.25, 0, 0], [0, 0, 1.5, 0], [8, 0, 0, 0], [0, 0, 0, 1]])
    )
    nib.save(image, tmp_path / "a.nii")
    (ref,) = read_input(tmp_path / "a.nii", slice_axis="axial")
    assert ref.load().voxels.shape == (1, 10, 96, 96)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 160, 512, 512),
        (1, 500, 120, 160),
        (1, 112, 340, 340),
        (1, 60, 20, 20),
        (1, 100, 256, 256),
        (30, 1, 256, 208),
        (1, 1, 256, 256),
        (1, 12, 256, 216),
        (30, 1, 80, 80),
        (200, 1, 128, 96),
        (20, 60, 256, 256),
        (1, 20, 20, 20),
        (2, 10, 216, 256),
        (1, 3, 4, 5),
    ],
)
def test_shapes_of_true_images(shape):
    assert not is_cut_across(shape)


@pytest.mark.parametrize(
    "shape",
    [(1, 256, 256, 10), (1, 256, 10, 256), (256, 256, 10, 25), (256, 1, 256, 30), (1, 256, 256, 40), (1, 64, 64, 12)],
)
def test_shapes_of_images_that_are_cut_across(shape):
    assert is_cut_across(shape)


@pytest.mark.parametrize(
    ("frames", "slices", "slice_mm"),
    [(20, 10, 8.0), (12, 7, 10.0), (8, 60, 2.0), (20, 60, 2.0), (3, 12, 8.0), (2, 30, 2.0)],
)
def test_cines_are_no_beats_along_their_slices(frames, slices, slice_mm):
    """Thick and thin slices, many and few frames."""
    assert not has_frames_for_slices(beating_heart(frames, slices, slice_mm=slice_mm))


def test_what_says_nothing_of_time():
    noise = np.random.default_rng(0).normal(size=(9, 9, 8, 8)).astype(np.float32)
    assert not has_frames_for_slices(noise)
    assert not has_frames_for_slices(np.ones_like(noise))
    assert not has_frames_for_slices(np.full_like(noise, 3e38) * np.sign(noise))
    assert not has_frames_for_slices(np.broadcast_to(noise[:1], noise.shape))
    assert has_frames_for_slices(beating_heart(20, 10).swapaxes(0, 1))


ARRAYS = [
    # What get_fdata() gives of a stack, a cine of one slice, a stack over time, a thin stack, an oblong image.
    ((256, 256, 10), (8, 1.25, 1.25), "slice", "axis-order", "array.transpose(2, 1, 0)"),
    ((256, 216, 25), (8, 1.25, 1.25), "time", "axis-order", "array.transpose(2, 1, 0)"),
    ((96, 96, 10, 20), (8, 1.25, 1.25), "slice", "axis-order", "array.transpose(3, 2, 1, 0)"),
    ((256, 256, 40), (2, 1.25, 1.25), "slice", "axis-order", "array.transpose(2, 1, 0)"),
    ((40, 40, 10), (1.25, 1.25, 8), "slice", "spacing", "array.transpose(2, 1, 0)"),
    ((256, 10, 256), (8, 1.25, 1.25), "slice", "axis-order", "np.moveaxis(array, 1, 0)"),
    # The array is right, and the spacing is in another order.
    ((10, 40, 40), (1.25, 1.25, 8), "slice", "spacing", "spacing_mm=(8, 1.25, 1.25)"),
    ((10, 40, 40), (1.25, 8, 1.5), "slice", "spacing", "spacing_mm=(8, 1.25, 1.5)"),
    ((10, 256, 256), (8000, 1250, 1250), "slice", "spacing", "three real numbers"),
    ((10, 256, 256), (8, 0.1, 0.1), "slice", "spacing", "so small"),
]


@pytest.mark.parametrize(("shape", "spacing", "third_axis", "code", "said"), ARRAYS)
def test_arrays_in_another_order(shape, spacing, third_axis, code, said):
    with pytest.raises(InputError) as caught:
        study_of_array(np.zeros(shape), spacing, third_axis=third_axis, classes=LV_CLASSES)
    assert caught.value.code == code
    assert said in str(caught.value)


def test_an_array_with_slices_before_frames():
    array = beating_heart(20, 10)
    options = {"third_axis": "slice", "classes": LV_CLASSES}
    assert study_of_array(array, (8, 2.5, 2.5), **options).voxels.shape == array.shape
    with pytest.raises(InputError, match=r"pass array.swapaxes\(0, 1\)") as caught:
        study_of_array(array.swapaxes(0, 1), (8, 2.5, 2.5), **options)
    assert caught.value.code == "axis-order"


@pytest.mark.parametrize(
    ("shape", "spacing", "third_axis"),
    [
        ((256, 256), (8, 1.25, 1.25), "slice"),
        ((30, 256, 208), (8, 1.25, 1.25), "time"),
        ((12, 20, 20), (8, 1.25, 1.25), "slice"),
        ((100, 128, 128), (1, 1, 1), "slice"),
        ((60, 128, 128), (2, 1.4, 1.25), "slice"),
        ((1, 12, 128, 128), (10, 1.25, 1.25), "slice"),
        ((20, 24), (8, 1.37, 1.25), "slice"),
    ],
)
def test_arrays_that_are_right(shape, spacing, third_axis):
    study = study_of_array(np.zeros(shape), spacing, third_axis=third_axis, classes=LV_CLASSES)
    assert study.spacing_mm == spacing
