"""The focus of attention of Eq. 5, by hand, and that Gauss normalisation cancels its α."""

import math

import jax
import numpy as np
import pytest

from foanet_jax.image.foa import foa_weights
from foanet_jax.image.normalise import gauss_normalise


def test_eq_5_by_hand():
    weights = foa_weights((9, 11), (4, 5), 3.0)
    assert weights.shape == (9, 11)
    assert weights[4, 5] == 1
    assert weights[4, 8] == pytest.approx(math.exp(-1), rel=1e-6)
    assert weights[1, 5] == pytest.approx(math.exp(-1), rel=1e-6)
    assert weights[2, 6] == pytest.approx(math.exp(-(4 + 1) / 9), rel=1e-6)
    assert weights[0, 0] == pytest.approx(math.exp(-(16 + 25) / 9), rel=1e-6)


def test_centre_between_pixels_and_outside():
    weights = np.asarray(foa_weights((4, 6), (1.5, 2.5), 2.0))
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    assert weights[1, 2] == pytest.approx(math.exp(-(0.25 + 0.25) / 4), rel=1e-6)
    assert foa_weights((4, 6), (-3.0, 0.0), 2.0)[0, 0] == pytest.approx(math.exp(-9 / 4), rel=1e-6)


def test_every_pixel_equals_the_formula():
    centre, delta = (7.25, 3.5), 6.4
    expected = [[math.exp(-(math.dist((a, b), centre) ** 2) / delta**2) for b in range(9)] for a in range(16)]
    np.testing.assert_allclose(foa_weights((16, 9), centre, delta), expected, rtol=2e-6)


@pytest.mark.parametrize("alpha", [2.7, 0.01, 400.0])
def test_alpha_cancels(alpha):
    images = np.random.default_rng(1).normal(3, 2, (4, 12, 14)).astype(np.float32)
    weights = foa_weights((12, 14), (5, 6), 5.0)
    normalise = jax.jit(gauss_normalise)
    mask = np.ones((12, 14), bool)
    plain = normalise(weights * images, mask)
    np.testing.assert_allclose(normalise(np.float32(alpha) * weights * images, mask), plain, atol=1e-5)
