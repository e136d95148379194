"""Gauss normalisation: mean 0 and σ 1 on the mask alone, zeros elsewhere and where there is no contrast."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foanet_jax.image.normalise import gauss_normalise, moments

SHAPE = (3, 13, 17)
NORMALISE = jax.jit(gauss_normalise)


def test_by_hand():
    images = np.array([[[1, 3], [5, 100]]], np.float32)
    mask = np.array([[True, True], [True, False]])
    mean, sigma = moments(images, mask)
    assert mean == 3
    assert sigma == pytest.approx((8 / 3) ** 0.5)
    root = (3 / 8) ** 0.5
    np.testing.assert_allclose(NORMALISE(images, mask), [[[-2 * root, 0], [2 * root, 0]]], rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_mean_and_sigma_on_the_mask_only(seed, offset, scale):
    generator = np.random.default_rng(seed)
    images = (offset + scale * generator.normal(size=SHAPE)).astype(np.float32)
    mask = generator.random(SHAPE) < 0.6
    outside = np.where(mask, images, generator.normal(size=SHAPE) * 1e6).astype(np.float32)
    found = np.asarray(NORMALISE(outside, mask))
    inside = images[mask].astype(np.float64)
    # float32 holds a mean of 1e3 to 3e-5, which is 3e-4 of a σ of 0.1.
    np.testing.assert_allclose(found[mask], (inside - inside.mean()) / inside.std(), atol=1e-3)
    np.testing.assert_allclose([found[mask].mean(), found[mask].std()], [0, 1], atol=1e-3)
    assert not found[~mask].any()


@settings(deadline=None, max_examples=20)
@given(st.floats(-100, 100), st.floats(0.5, 200))
def test_affine_changes_of_intensity_cancel(offset, gain):
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    mask = np.ones(SHAPE[1:], bool)
    expected = NORMALISE(images, mask)
    np.testing.assert_allclose(NORMALISE((gain * images + offset).astype(np.float32), mask), expected, atol=1e-4)
    np.testing.assert_allclose(NORMALISE(-images, mask), -expected, atol=1e-6)


# The mean of most of these is not the value itself in float32.
@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1000.3, -2.7e-3])
def test_no_contrast_gives_zeros(value):
    images = np.full(SHAPE, value, np.float32)
    found = NORMALISE(images, np.ones(SHAPE[1:], bool))
    np.testing.assert_array_equal(found, np.zeros(SHAPE))


def test_no_contrast_inside_the_mask_gives_zeros():
    images = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE[1:], bool)
    mask[2:5, 3:9] = True
    images[:, mask] = 4.0
    np.testing.assert_array_equal(NORMALISE(images, mask), np.zeros(SHAPE))
