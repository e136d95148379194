"""The networks' primitives: hand values, XLA's own pooling, and plain transposed convolutions with all gradients."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from foanet_jax.network.convolution import convolve
from foanet_jax.network.primitives import (
    bilinear_kernel,
    extent_at,
    extent_mask,
    max_pool,
    up_matrix,
    up_then_convolve,
    upsample,
    upsample_learned,
)

# (stride, height, width, channels, maps)
SIZES = [(1, 6, 5, 3, 2), (2, 5, 7, 3, 4), (4, 3, 2, 5, 2), (8, 2, 3, 1, 3), (16, 1, 2, 4, 1)]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_gradients(function, cotangent, *arguments):
    """A function's value and its gradients by all arguments, weighted by the cotangent."""

    @jax.jit
    def both(cotangent, *arguments):
        value, pull = jax.vjp(function, *arguments)
        return value, *pull(cotangent)

    return both(cotangent, *arguments)


def assert_relatively_close(found, expected, tolerance=1e-5):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-3))


def plain_up(features, stride: int):
    """The bilinear up-convolution as XLA's transposed convolution, channel by channel."""
    if stride == 1:
        return features
    batch, height, width, channels = features.shape
    alone = jnp.moveaxis(features, -1, 1).reshape(batch * channels, height, width, 1)
    taps = np.array([1 - abs((t + 0.5) / stride - 1) for t in range(2 * stride)], np.float32)
    kernel = (taps[:, None] * taps)[..., None, None]
    padding = [(3 * stride // 2 - 1,) * 2] * 2
    up = lax.conv_transpose(alone, kernel, (stride, stride), padding, precision="highest")
    return jnp.moveaxis(up.reshape(batch, channels, height * stride, width * stride), 1, -1)


def loop_up(features: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """A transposed convolution by definition: every pixel adds its copy of its channel's kernel."""
    batch, height, width, channels = features.shape
    out = np.zeros((batch, (height + 1) * stride, (width + 1) * stride, channels))
    for row in range(height):
        for column in range(width):
            part = out[:, row * stride : (row + 2) * stride, column * stride : (column + 2) * stride]
            part += features[:, row, column, None, None, :].astype(np.float64) * kernel
    half = stride // 2
    return out[:, half : half + height * stride, half : half + width * stride]


@pytest.mark.parametrize("kind", ["normal", "ties", "relu", "constant"])
def test_max_pool_is_xlas_bit_by_bit(kind):
    features = normal(0, 2, 8, 10, 3)
    if kind == "ties":
        features = np.round(features)
    if kind == "relu":
        features = np.maximum(features - 0.5, 0)
    if kind == "constant":
        features = np.ones_like(features)
    cotangent = normal(1, 2, 4, 5, 3)

    def xla(features):
        return nn.max_pool(features, (2, 2), (2, 2))

    for found, expected in zip(
        with_gradients(max_pool, cotangent, features), with_gradients(xla, cotangent, features), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_max_pool_sends_ties_to_the_first():
    features = jnp.array([[1.0, 1, 0, 3], [1, 1, 3, 3]]).reshape(1, 2, 4, 1)
    slope = jax.grad(lambda x: (max_pool(x) * jnp.array([[[[5.0], [7.0]]]])).sum())(features)
    np.testing.assert_array_equal(slope[0, :, :, 0], [[5, 0, 0, 7], [0, 0, 0, 0]])


def test_convolve_by_hand():
    image = np.zeros((1, 5, 5, 1), np.float32)
    image[0, 2, 2] = 1
    kernel = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1)
    # Cross-correlation: a point shows the kernel turned by 180°.
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = np.arange(9).reshape(3, 3)[::-1, ::-1]
    np.testing.assert_array_equal(convolve(image, kernel)[0, :, :, 0], expected)
    wide = np.zeros((5, 5))
    wide[::2, ::2] = np.arange(9).reshape(3, 3)[::-1, ::-1]
    np.testing.assert_array_equal(convolve(image, kernel, dilation=2)[0, :, :, 0], wide)


def test_extents():
    extent = jnp.array([[5, 32], [16, 1]])
    np.testing.assert_array_equal(extent_at(extent, 4), [[2, 8], [4, 1]])
    np.testing.assert_array_equal(extent_at(extent, 16), [[1, 2], [1, 1]])
    mask = extent_mask(jnp.array([[1, 2], [2, 3]]), 2, 3)
    np.testing.assert_array_equal(mask[..., 0], [[[1, 1, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]]])


def test_up_matrix_by_hand():
    # Stride 2: fine pixel 2m + 1 lies a quarter past pixel m. At the borders the missing neighbour counts as zero.
    np.testing.assert_array_equal(
        up_matrix(3, 2), np.array([[3, 0, 0], [3, 1, 0], [1, 3, 0], [0, 3, 1], [0, 1, 3], [0, 0, 3]]) / 4
    )
    np.testing.assert_array_equal(
        up_matrix(2, 4), np.array([[5, 0], [7, 0], [7, 1], [5, 3], [3, 5], [1, 7], [0, 7], [0, 5]]) / 8
    )


@pytest.mark.parametrize(("stride", "height", "width", "channels", "maps"), SIZES)
def test_upsample_is_a_transposed_convolution(stride, height, width, channels, maps):
    features = normal(stride, 2, height, width, channels)
    found = upsample(features, stride=stride)
    assert_relatively_close(found, plain_up(features, stride), 1e-6)
    if stride > 1:
        assert_relatively_close(found, loop_up(features, bilinear_kernel(stride, channels), stride), 1e-6)


@pytest.mark.parametrize(("stride", "height", "width", "channels", "maps"), SIZES[1:])
def test_upsample_learned_is_a_transposed_convolution(stride, height, width, channels, maps):
    features = normal(stride, 2, height, width, channels)
    fixed = upsample_learned(features, bilinear_kernel(stride, channels), stride=stride)
    assert_relatively_close(fixed, upsample(features, stride=stride), 1e-6)
    kernel = normal(3, 2 * stride, 2 * stride, channels)
    assert_relatively_close(upsample_learned(features, kernel, stride=stride), loop_up(features, kernel, stride), 1e-6)


@pytest.mark.parametrize(("stride", "height", "width", "channels", "maps"), SIZES)
def test_up_then_convolve_is_both_in_turn(stride, height, width, channels, maps):
    features, kernel = normal(stride, 2, height, width, channels), normal(9, 3, 3, channels, maps)
    cotangent = normal(5, 2, height * stride, width * stride, maps)

    def plain(features, kernel):
        return convolve(plain_up(features, stride), kernel)

    found = with_gradients(functools.partial(up_then_convolve, stride=stride), cotangent, features, kernel)
    for ours, expected in zip(found, with_gradients(plain, cotangent, features, kernel), strict=True):
        assert_relatively_close(ours, expected)


@pytest.mark.parametrize(
    ("stride", "extents"),
    [(2, [(9, 14), (10, 5)]), (4, [(9, 12), (5, 7)]), (8, [(17, 20), (24, 3)]), (16, [(19, 32), (1, 17)])],
)
def test_up_then_convolve_keeps_to_each_images_extent(stride, extents):
    """As if each image were alone on a grid of its own size, where all that lies beyond is zero."""
    height, width = (-(-max(sides) // stride) + 1 for sides in zip(*extents, strict=True))
    channels, maps = 3, 2
    features, kernel = normal(stride, 2, height, width, channels), normal(9, 3, 3, channels, maps)
    low = [(-(-rows // stride), -(-columns // stride)) for rows, columns in extents]
    for number, (rows, columns) in enumerate(low):
        features[number, rows:], features[number, :, columns:] = 0, 0
    cotangent = np.zeros((2, height * stride, width * stride, maps), np.float32)
    for number, (rows, columns) in enumerate(extents):
        cotangent[number, :rows, :columns] = normal(number, rows, columns, maps)

    def plain(features, kernel):
        images = []
        for number, (rows, columns) in enumerate(extents):
            alone = features[number : number + 1, : low[number][0], : low[number][1]]
            image = convolve(plain_up(alone, stride)[:, :rows, :columns], kernel)
            beyond = ((0, 0), (0, height * stride - rows), (0, width * stride - columns), (0, 0))
            images.append(jnp.pad(image, beyond))
        return jnp.concatenate(images)

    def ours(features, kernel):
        return up_then_convolve(features, kernel, stride=stride, extent=jnp.array(extents))

    value, by_features, by_kernel = with_gradients(ours, cotangent, features, kernel)
    expected = with_gradients(plain, cotangent, features, kernel)
    for number, (rows, columns) in enumerate(extents):
        assert_relatively_close(value[number, :rows, :columns], expected[0][number, :rows, :columns])
        rows, columns = low[number]
        assert_relatively_close(by_features[number, :rows, :columns], expected[1][number, :rows, :columns])
    assert_relatively_close(by_kernel, expected[2])


def test_a_full_extent_changes_nothing():
    features, kernel = normal(0, 2, 3, 4, 2), normal(1, 3, 3, 2, 3)
    whole = jnp.array([[12, 16], [12, 16]])
    assert_relatively_close(
        up_then_convolve(features, kernel, stride=4, extent=whole), up_then_convolve(features, kernel, stride=4), 1e-6
    )
