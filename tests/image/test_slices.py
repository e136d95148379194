"""Blank slices and brightness that jumps, on stacks whose answer is known."""

import numpy as np
import pytest

from foanet_jax.image.slices import blank_planes, jumps, with_even_brightness

RNG = np.random.default_rng(0)
STACK = RNG.uniform(10, 110, (3, 6, 32, 32)).astype(np.float32)
GAINS = np.array([1, 4, 0.3, 8, 2, 1], np.float32)


def test_a_blank_slice_and_a_blank_frame():
    voxels = STACK.copy()
    voxels[:, 5] = 7  # constant in all frames
    voxels[1, 2] = RNG.uniform(0, 1, (32, 32))  # 1 % of the others' range
    blank = blank_planes(voxels)
    assert [tuple(place) for place in np.argwhere(blank)] == [(0, 5), (1, 2), (1, 5), (2, 5)]
    assert not blank_planes(STACK).any()
    assert blank_planes(np.zeros((1, 2, 4, 4), np.float32)).all()


def test_gains_are_found_and_undone():
    voxels = STACK * GAINS[:, None, None]
    factors = jumps(voxels, 8.0)
    # Relative to the median gain, (1 + 2)/2; uniform noise of 100 px per slice has its percentiles within 5 %.
    np.testing.assert_allclose(factors, GAINS / 1.5, rtol=0.05)
    even = with_even_brightness(voxels, factors)
    assert even.dtype == np.float32
    np.testing.assert_array_equal(jumps(even, 8.0), np.ones(6))
    span = np.percentile(even, 95, axis=(0, 2, 3)) - np.percentile(even, 5, axis=(0, 2, 3))
    np.testing.assert_allclose(span, span[0], rtol=0.05)


@pytest.mark.parametrize("gain", [1.0, 1.4, 1.7])
def test_what_scanners_do_is_left_as_it_is(gain):
    voxels = STACK.copy()
    voxels[:, 3] *= gain
    factors = jumps(voxels, 8.0)
    np.testing.assert_array_equal(factors, np.ones(6))
    assert with_even_brightness(voxels, factors) is voxels


def test_one_acquisition_and_single_slices_have_one_brightness():
    voxels = STACK * GAINS[:, None, None]
    np.testing.assert_array_equal(jumps(voxels, 1.5), np.ones(6))
    np.testing.assert_array_equal(jumps(voxels[:, :1], 8.0), np.ones(1))


def test_a_blank_slice_is_no_jump():
    voxels = STACK.copy()
    voxels[:, 0] = 0
    np.testing.assert_array_equal(jumps(voxels, 8.0), np.ones(6))
