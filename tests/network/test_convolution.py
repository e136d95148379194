"""Convolution's quick forms: the same values and gradients as XLA's own over shapes, borders and dilations."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.network import convolution, winograd
from foanet_jax.network.convolution import convolve, convolve_plainly


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_relatively_close(found, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def with_gradients(function, images, kernel, cotangent):
    @jax.jit
    def both(images, kernel, cotangent):
        value, pull = jax.vjp(function, images, kernel)
        return value, *pull(cotangent)

    return both(images, kernel, cotangent)


def by_definition(images, kernel, dilation: int):
    """The sum over taps, in float64."""
    _, height, width, _ = images.shape
    around = ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0))
    padded = np.pad(images.astype(np.float64), around)
    return sum(
        padded[:, y * dilation : y * dilation + height, x * dilation : x * dilation + width] @ kernel[y, x]
        for y in range(3)
        for x in range(3)
    )


def test_toom_cook_is_exact():
    """A polynomial product of degree 2 × 3, transposed: three taps slid over six inputs, in whole numbers."""
    at, g, bt = winograd.cook_toom([Fraction(n) for n in (0, 1, -1, 2, -2)])
    kernel, inputs = np.array([2, -3, 5]), np.array([1, 4, -2, 7, 0, 3])
    np.testing.assert_allclose(at @ ((g @ kernel) * (bt @ inputs)), np.correlate(inputs, kernel), atol=1e-12)
    # Lavin & Gray 2016, Sec. 4.3, up to the sign and scale that G takes from Bᵀ.
    np.testing.assert_allclose(bt[0], [4, 0, -5, 0, 1, 0])
    np.testing.assert_allclose(at, [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
    np.testing.assert_allclose(g[0], [1 / 4, 0, 0])


@pytest.mark.parametrize(
    ("batch", "height", "width", "inputs", "outputs"),
    [(1, 4, 4, 1, 1), (2, 5, 7, 3, 2), (1, 1, 9, 2, 4), (3, 8, 6, 5, 5), (1, 11, 2, 4, 3)],
)
def test_winograd_is_the_convolution_and_its_gradients(batch, height, width, inputs, outputs):
    images, kernel = normal(0, batch, height, width, inputs), normal(1, 3, 3, inputs, outputs)
    cotangent = normal(2, batch, height, width, outputs)
    value, to_images, to_kernel = with_gradients(convolve_plainly, images, kernel, cotangent)
    assert_relatively_close(value, by_definition(images, kernel, 1))
    assert_relatively_close(winograd.convolve(images, kernel), value)
    assert_relatively_close(winograd.images_gradient(cotangent, kernel), to_images)
    assert_relatively_close(winograd.kernel_gradient(images, cotangent), to_kernel)


# By the form of what images get and of what the kernel gets; borders that are no multiple of a tile or of the dilation.
CASES = {
    ("winograd", "winograd"): [
        (1, 34, 37, 32, 33, 1),
        (2, 27, 22, 32, 32, 1),
        (1, 33, 39, 32, 32, 2),
        (1, 36, 31, 32, 32, 3),
    ],
    ("plain", "winograd"): [(2, 33, 31, 24, 9, 1), (1, 40, 40, 5, 16, 1), (1, 41, 38, 16, 9, 2)],
    ("patches", "patches"): [(1, 6, 5, 128, 130, 1), (2, 5, 7, 130, 128, 2)],
    ("plain", "few inputs"): [(2, 33, 32, 3, 10, 1), (1, 6, 7, 1, 9, 2)],
    ("few outputs", "few outputs"): [(2, 33, 32, 10, 2, 1), (1, 6, 7, 40, 4, 2), (1, 40, 40, 64, 3, 1)],
    ("plain", "plain"): [(2, 9, 8, 32, 40, 1)],
}


@pytest.mark.parametrize("case", [case for cases in CASES.values() for case in cases])
def test_convolution_equals_the_plain_form(case):
    batch, height, width, inputs, outputs, dilation = case
    images, kernel = normal(3, batch, height, width, inputs), normal(4, 3, 3, inputs, outputs)
    cotangent = normal(5, batch, height, width, outputs)
    found = with_gradients(lambda i, k: convolve(i, k, dilation=dilation), images, kernel, cotangent)
    expected = with_gradients(lambda i, k: convolve_plainly(i, k, dilation), images, kernel, cotangent)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert_relatively_close(one, other)
    assert_relatively_close(found[0], by_definition(images, kernel, dilation))


@pytest.mark.parametrize(("forms", "case"), [(forms, case) for forms, cases in CASES.items() for case in cases])
def test_cases_take_the_forms_they_are_named_after(forms, case):
    """So that a changed threshold does not leave a form untested."""
    batch, height, width, inputs, outputs, dilation = case
    images = jax.ShapeDtypeStruct((batch, height, width, inputs), jnp.float32)
    of_images = of_kernel = "plain"
    if inputs <= convolution.FEW_CHANNELS:
        of_kernel = "few inputs"
    elif outputs <= convolution.FEW_CHANNELS:
        of_images = of_kernel = "few outputs"
    elif convolution.takes_winograd(images, outputs, dilation):
        of_images = of_kernel = "winograd"
    elif convolution.has_tiles(images, dilation):
        of_kernel = "winograd"
    elif min(inputs, outputs) >= convolution.MANY_CHANNELS:
        of_images = of_kernel = "patches"
    assert (of_images, of_kernel) == forms


def test_one_by_one_is_a_matrix_product():
    images, kernel = normal(6, 2, 5, 4, 7), normal(7, 1, 1, 7, 3)
    cotangent = normal(8, 2, 5, 4, 3)
    found = with_gradients(convolve, images, kernel, cotangent)
    for one, other in zip(found, with_gradients(convolve_plainly, images, kernel, cotangent), strict=True):
        assert_relatively_close(one, other)


def test_bfloat16_is_left_to_xla():
    images, kernel = (jnp.asarray(a, jnp.bfloat16) for a in (normal(9, 1, 40, 40, 32), normal(10, 3, 3, 32, 32)))
    found = convolve(images, kernel)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, convolve_plainly(images, kernel))


@pytest.mark.parametrize("shape", [(1, 12, 10), (2, 9, 7)])
def test_dilated_bfloat16_goes_by_phases(shape):
    """Of multiples of the dilation and others: within a rounding of the plain form in float32, gradients too."""
    images, kernel, cotangent = normal(11, *shape, 6), normal(12, 3, 3, 6, 5), normal(13, *shape, 5)
    half = [jnp.asarray(array, jnp.bfloat16) for array in (images, kernel, cotangent)]
    found = with_gradients(lambda i, k: convolve(i, k, dilation=2), *half)
    exact = [array.astype(jnp.float32) for array in half]
    expected = with_gradients(lambda i, k: convolve_plainly(i, k, 2), *exact)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (jnp.bfloat16, other.shape)
        assert_relatively_close(one.astype(jnp.float32), other, 2**-8)
    text = jax.jit(functools.partial(convolve, dilation=2)).lower(*half[:2]).as_text()
    assert "stablehlo.convolution" in text
    assert "rhs_dilate = [2, 2]" not in text
