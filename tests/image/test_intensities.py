"""Intensities: gain, ghosts, blur and noise by hand and by SciPy, inside the extent alone."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from foanet_jax.image.augment import Augmentation
from foanet_jax.image.boxes import whole_image
from foanet_jax.image.intensities import blurred, gain, ghosted, pixel_noise
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
