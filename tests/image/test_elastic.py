"""Deformations: B-splines by SciPy, bounded, without folds, whatever the padding; slices out of their place."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from foanet_jax.image.augment import LATTICE, NO_AUGMENTATION, Augmentation, AugmentSpec, draw_augmentation
from foanet_jax.image.boxes import whole_image
from foanet_jax.image.elastic import elastic_field, shifted_slices
from foanet_jax.image.prepare import PrepareSpec, open_source, prepare

LATTICES = np.random.default_rng(0).uniform(-1, 1, (2, LATTICE, LATTICE)).astype(np.float32)


def test_field_is_scipys_b_spline():
    shape, centre, step = (21, 30), (10.0, 14.5), (7.0, 5.0)
    field = np.asarray(elastic_field(LATTICES, shape, np.float32(centre), np.float32(step)))
    basis = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    axes = []
    for size, middle, distance in zip(shape, centre, step, strict=True):
        place = (np.arange(size) - middle) / distance
        copies = np.arange(-2 * LATTICE, 2 * LATTICE)
        weights = np.nan_to_num(basis(place[:, None] - copies[None]))
        axes.append(sum(weights[:, n * LATTICE : (n + 1) * LATTICE] for n in range(4)))
    np.testing.assert_allclose(field, np.einsum("hi,cij,wj->chw", axes[0], LATTICES, axes[1]), atol=1e-5)
    assert np.abs(field).max() <= 1


def test_the_greatest_deformation_that_is_allowed_does_not_fold():
    worst = 24 * 0.48 * np.sign(LATTICES)
    rows, columns = np.asarray(elastic_field(worst, (200, 200), np.float32((100, 100)), np.float32((24, 24))))
    row_r, row_c = np.gradient(rows)
    column_r, column_c = np.gradient(columns)
    assert ((1 + row_r) * (1 + column_c) - row_c * column_r).min() > 0
    with pytest.raises(ValueError, match=r"elastic_mm=12\.0.*the image folds"):
        AugmentSpec(elastic_mm=12.0)


def test_constant_displacement_moves_image_and_labels_alike():
    """All control points 3 mm down and 2 mm left: rows are 1.5 mm apart, columns 1 mm."""
    labels = np.zeros((1, 2, 20, 24), np.uint8)
    labels[:, :, 8:12, 9:14] = 1
    lattice = np.stack([np.full((LATTICE, LATTICE), 3.0), np.full((LATTICE, LATTICE), -2.0)])
    moved = prepare(
        open_source(labels.astype(np.float32), labels),
        whole_image((20, 24)),
        (1.5, 1.0),
        PrepareSpec(),
        augmentation=Augmentation(np.eye(2), lattice=lattice, lattice_mm=20.0),
    )
    expected = np.roll(labels[0], (-2, 2), axis=(1, 2))  # Pixels are read where they are displaced to.
    np.testing.assert_array_equal(moved.labels[:, :20, :24], expected)
    np.testing.assert_array_equal(np.asarray(moved.images)[:, :20, :24] > 0, expected > 0)


def test_each_slice_is_shifted_by_its_own_amount_alike_in_every_frame():
    labels = np.zeros((2, 3, 20, 24), np.uint8)
    labels[:, :, 8:12, 9:14] = 1
    shifts = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, -3.0]])
    moved = prepare(
        open_source(labels.astype(np.float32), labels),
        whole_image((20, 24)),
        (1.0, 1.0),
        PrepareSpec(),
        augmentation=Augmentation(np.eye(2), shifts=shifts),
    )
    for n in range(6):
        expected = np.roll(labels[0, 0], -shifts[n % 3].astype(int), axis=(0, 1))
        np.testing.assert_array_equal(moved.labels[n, :20, :24], expected)
        np.testing.assert_array_equal(np.asarray(moved.images)[n, :20, :24] > 0, expected > 0)
    assert shifted_slices(np.eye(2, 3), shifts, 8).shape == (8, 2, 3)


def test_a_whole_draw_does_not_depend_on_the_bucket():
    """Everything at once, noise as well."""
    spec = AugmentSpec(
        rotation_degrees=20,
        stretch=0.2,
        elastic_mm=5,
        slice_shift_mm=3,
        gamma=0.3,
        noise=0.3,
        bias=0.5,
        motion=0.4,
        blur_mm=2,
        contrast=0.2,
        brightness=0.2,
        classes=0.5,
        slice_gain=0.2,
        bands=0.5,
        curve=0.5,
    )
    change = draw_augmentation((4,), spec, slices=3)
    voxels = np.random.default_rng(1).normal(size=(1, 3, 30, 40)).astype(np.float32)
    source = open_source(voxels, (voxels > 0).astype(np.uint8))
    found = [
        np.asarray(
            prepare(source, whole_image((30, 40)), (1, 1), PrepareSpec(bucket=bucket, foa=True), augmentation=c).images
        )
        for bucket, c in ((16, change), (64, change), (16, NO_AUGMENTATION))
    ]
    np.testing.assert_allclose(found[1][:, :30, :40], found[0][:, :30, :40], atol=2e-4)
    assert not found[1][:, 30:].any()
    assert np.abs(found[2] - found[0]).max() > 0.3


def test_new_fields_change_nothing_but_themselves():
    old = draw_augmentation((3,), AugmentSpec(rotation_degrees=30, flip=True, scale=0.2, gamma=0.3, noise=0.1))
    new = draw_augmentation(
        (3,),
        AugmentSpec(
            rotation_degrees=30, flip=True, scale=0.2, gamma=0.3, noise=0.1, elastic_mm=4, bias=0.2, slice_shift_mm=2
        ),
        slices=9,
    )
    np.testing.assert_array_equal(old.linear, new.linear)
    assert (old.gamma, old.noise, old.noise_seed) == (new.gamma, new.noise, new.noise_seed)
    assert (old.lattice, old.bias, old.shifts, old.ghosts, old.blur_mm, old.tone) == (None,) * 6
    assert (old.classes, old.slice_gains, old.bands, old.curve) == (None,) * 4
    again = draw_augmentation((3,), AugmentSpec(elastic_mm=4), slices=2)
    np.testing.assert_array_equal(again.lattice, new.lattice)


def test_draws_keep_to_their_ranges():
    spec = AugmentSpec(
        stretch=0.2,
        elastic_mm=6,
        slice_shift_mm=3,
        bias=0.4,
        motion=0.3,
        blur_mm=1,
        contrast=0.2,
        brightness=0.1,
        classes=0.5,
        slice_gain=0.2,
        bands=0.6,
        curve=0.7,
    )
    draws = [draw_augmentation((n,), spec, slices=4) for n in range(200)]
    for draw in draws:
        sizes = np.linalg.svd(draw.linear)[1]
        assert sizes[0] <= np.exp(0.2)
        assert sizes[0] * sizes[1] == pytest.approx(1)  # Areas stay.
    found = {
        "stretch": np.log([np.linalg.svd(draw.linear)[1][0] for draw in draws]).max() / 0.2,
        "elastic": max(np.abs(draw.lattice).max() for draw in draws) / 6,
        "shift": max(np.abs(draw.shifts).max() for draw in draws) / 3,
        "bias": max(np.abs(draw.bias).sum() for draw in draws) / 0.4,
        "motion": max(draw.ghosts.max() for draw in draws) / 0.3,
        "blur": max(draw.blur_mm for draw in draws),
        "contrast": max(abs(np.log(draw.tone[0])) for draw in draws) / 0.2,
        "brightness": max(abs(draw.tone[1]) for draw in draws) / 0.1,
        "classes": max(np.abs(draw.classes).max() for draw in draws) / 0.5,
        "slice_gain": max(np.abs(np.log(draw.slice_gains)).max() for draw in draws) / 0.2,
        "bands": max(np.abs(np.log(draw.bands)).max() for draw in draws) / 0.6,
        "curve": max(np.abs(np.log(draw.curve)).max() for draw in draws) / 0.7,
    }
    assert all(draw.classes[0] == 0 for draw in draws)
    assert all(0.9 < value <= 1 + 1e-9 for value in found.values()), found
    assert all(0.1 <= max(draw.ghost_step) <= 0.5 and min(draw.ghost_step) == 0 for draw in draws)
