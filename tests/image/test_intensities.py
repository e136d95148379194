"""Intensities: gain, ghosts, blur and noise by hand and by SciPy, inside the extent alone."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from foanet_jax.image.augment import Augmentation
from foanet_jax.image.boxes import whole_image
from foanet_jax.image.intensities import (
    Intensities,
    blurred,
    change_intensities,
    equalised,
    gain,
    ghosted,
    pixel_noise,
    toned,
)
from foanet_jax.image.prepare import PrepareSpec, open_source, prepare

EXTENT = (9, 12)


def volume(seed=0, shape=(2, 16, 16)):
    found = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    found[:, EXTENT[0] :], found[:, :, EXTENT[1] :] = 1e3, 1e3
    return found


def inside(images):
    return np.asarray(images)[:, : EXTENT[0], : EXTENT[1]]


def test_gain_by_hand():
    found = np.asarray(gain((16, 16), EXTENT, np.float32([0.1, 0.2, 0.3, 0.4, 0.5])))
    assert np.isclose(found[0, 0], np.exp(-0.1 - 0.2 + 0.3 + 0.4 + 0.5))
    assert np.isclose(found[8, 11], np.exp(0.1 + 0.2 + 0.3 + 0.4 + 0.5))
    assert np.isclose(found[4, 0], np.exp(-0.2 + 0.5))
    assert np.isfinite(found).all()


def test_ghosts_are_shifted_copies_that_share_the_signal():
    images = volume()
    found = inside(ghosted(images, EXTENT, np.float32([0.0, 0.5]), np.int32([3, 0])))
    own = inside(images)
    np.testing.assert_array_equal(found[0], own[0])
    copies = (np.roll(own[1], 3, axis=0) + np.roll(own[1], -3, axis=0)) / 2
    np.testing.assert_allclose(found[1], 0.5 * own[1] + 0.5 * copies, atol=1e-6)
    np.testing.assert_allclose(found.sum((1, 2)), own.sum((1, 2)), atol=1e-4)


def test_blur_is_scipys_inside_and_keeps_constants_at_borders():
    wide = np.random.default_rng(2).normal(size=(1, 60, 50)).astype(np.float32)
    found = np.asarray(blurred(wide, (60, 50), np.float32([1.5, 0.8])))
    expected = gaussian_filter1d(
        gaussian_filter1d(wide.astype(float), 1.5, axis=1, truncate=8), 0.8, axis=2, truncate=8
    )
    np.testing.assert_allclose(found[:, 15:-15, 10:-10], expected[:, 15:-15, 10:-10], atol=1e-4)
    flat = volume()
    flat[:, :9, :12] = 4
    np.testing.assert_allclose(inside(blurred(flat, EXTENT, np.float32([3.0, 2.0]))), 4, rtol=1e-5)
    np.testing.assert_allclose(inside(blurred(volume(), EXTENT, np.float32([0.0, 0.0]))), inside(volume()), atol=1e-6)


def test_noise_is_normal_and_the_same_on_wider_grids():
    noise = np.asarray(pixel_noise(np.uint32(5), (2, 48, 64)))
    np.testing.assert_array_equal(np.asarray(pixel_noise(np.uint32(5), (3, 64, 80)))[:2, :48, :64], noise)
    assert abs(noise.mean()) < 0.04
    assert abs(noise.std() - 1) < 0.04
    flat = noise.reshape(-1)
    for lag in (1, 64, 48 * 64 // 2):
        assert abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 0.05


def test_contrast_and_brightness_come_after_normalisation():
    voxels = np.random.default_rng(3).normal(size=(1, 2, 30, 40)).astype(np.float32)
    options = (open_source(voxels), whole_image((30, 40)), (1, 1), PrepareSpec())
    plain = np.asarray(prepare(*options).images)
    toned = np.asarray(prepare(*options, augmentation=Augmentation(np.eye(2), tone=(1.5, -0.2))).images)
    np.testing.assert_allclose(toned[:, :30, :40], 1.5 * plain[:, :30, :40] - 0.2, atol=1e-5)
    assert not toned[:, 30:].any()


def test_bands_add_up_and_each_gain_acts_on_its_own_frequencies():
    wide = np.random.default_rng(4).normal(size=(1, 64, 48)).astype(np.float32)
    edges = np.float32([[1, 1], [2, 2], [4, 4]])
    same = np.asarray(equalised(wide, (64, 48), np.ones(3, np.float32), edges))
    np.testing.assert_allclose(same, wide, atol=1e-5)
    # A gain of 2 for the finest band adds once more what the first Gaussian removes.
    sharp = np.asarray(equalised(wide, (64, 48), np.float32([2, 1, 1]), edges))
    np.testing.assert_allclose(sharp, 2 * wide - np.asarray(blurred(wide, (64, 48), edges[0])), atol=1e-4)
    # A slow wave lies below all bands, whatever their gains are.
    slow = np.sin(2 * np.pi * np.arange(64) / 64)[None, :, None].repeat(48, 2).astype(np.float32)
    found = np.asarray(equalised(slow, (64, 48), np.float32([0, 0, 0]), edges))
    expected = gaussian_filter1d(slow.astype(float), 4, axis=1, truncate=8)
    np.testing.assert_allclose(found[:, 20:-20], expected[:, 20:-20], atol=1e-3)


def test_intensity_curve_is_monotone_and_by_hand():
    everywhere = np.ones((1, 1, 1001), bool)
    levels = np.linspace(-4, 4, 1001, dtype=np.float32)[None, None]
    slopes = np.exp(np.random.default_rng(1).uniform(-1, 1, 8)).astype(np.float32)
    found = np.asarray(toned(levels, everywhere, slopes)).ravel()
    assert (np.diff(found) > 0).all()
    mean, sigma = levels.mean(), levels.std()
    knots = mean + sigma * np.linspace(-2, 3, 9)
    heights = knots[0] + np.concatenate([[0], np.cumsum(slopes * np.diff(knots))])
    at = levels.ravel()
    expected = np.interp(at, knots, heights)
    expected = np.where(at < knots[0], at, np.where(at > knots[-1], heights[-1] + at - knots[-1], expected))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_classes_shift_and_slices_gain_by_hand():
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[:, :, 16:] = 2
    images = np.random.default_rng(6).normal(10, 1, labels.shape).astype(np.float32)
    everywhere = np.ones(labels.shape, bool)
    still = Intensities(np.float32(1), np.float32(0), np.uint32(0))
    shift = still._replace(classes=np.float32([0, 5, -0.5]))
    found = np.asarray(change_intensities(images, everywhere, (32, 32), shift, labels))
    np.testing.assert_allclose(found[:, :, :10], images[:, :, :10], atol=1e-5)
    np.testing.assert_allclose(found[:, :, 22:], images[:, :, 22:] - 0.5 * images.std(), atol=1e-4)
    np.testing.assert_array_equal(change_intensities(images, everywhere, (32, 32), shift), images)
    gains = still._replace(slice_gains=np.float32([1, 2]))
    low = images.min()
    found = np.asarray(change_intensities(images, everywhere, (32, 32), gains))
    np.testing.assert_allclose(found[0], images[0], atol=1e-5)
    np.testing.assert_allclose(found[1], low + 2 * (images[1] - low), atol=1e-4)
