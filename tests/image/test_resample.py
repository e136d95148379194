"""Resampling: exact where it must be, SciPy's numbers elsewhere, the algebra of maps and the paper's round trip."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from foanet_jax.image.resample import compose, invert, resize_matrix, resized_shape, sample_images, sample_labels

SAMPLE = jax.jit(sample_images, static_argnames=("shape", "method"))
SAMPLE_LABELS = jax.jit(sample_labels, static_argnames=("shape", "classes", "method"))
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]], np.float32)
IN, OUT = (23, 31), (29, 26)


def random_map(seed: int) -> np.ndarray:
    """A float32 map that turns, scales, shears and shifts, some of it beyond the input's borders."""
    generator = np.random.default_rng(seed)
    linear = generator.uniform(-1.2, 1.2, (2, 2)) + np.eye(2) * generator.choice([-0.5, 0.5])
    shift = np.array(IN) / 2 - linear @ (np.array(OUT) / 2) + generator.uniform(-5, 5, 2)
    return np.concatenate([linear, shift[:, None]], axis=1).astype(np.float32)


def points(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(2, H, W) input coordinates of every output pixel, float64."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.einsum("ij,jhw->ihw", matrix.astype(np.float64), np.stack([rows, columns, np.ones(shape)]))


def keys_kernel(x: np.ndarray) -> np.ndarray:
    """Keys (1981), Eq. 15: the cubic convolution kernel of third order."""
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def cubic_by_definition(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Every pixel of the border-repeating image times the kernel at its distance."""
    margin = 40
    wide = np.pad(image.astype(np.float64), margin, "edge")
    height, width = wide.shape
    rows = keys_kernel(at[0].ravel()[:, None] + margin - np.arange(height))
    columns = keys_kernel(at[1].ravel()[:, None] + margin - np.arange(width))
    return np.einsum("ph,hw,pw->p", rows, wide, columns).reshape(at.shape[1:])


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_identity_and_whole_shifts_are_exact(method):
    images = np.random.default_rng(0).normal(size=(2, *IN)).astype(np.float32)
    np.testing.assert_array_equal(SAMPLE(images, IDENTITY, IN, method=method), images)
    shift = IDENTITY + np.array([[0, 0, 3], [0, 0, -2]], np.float32)
    found = SAMPLE(images, shift, IN, method=method)
    np.testing.assert_array_equal(found, np.pad(images, ((0, 0), (0, 3), (2, 0)), "edge")[:, 3:, :-2])


def test_identity_and_whole_shifts_of_labels_are_exact():
    labels = np.random.default_rng(0).integers(0, 5, (2, *IN)).astype(np.uint8)
    for method in ("nearest", "linear"):
        found = SAMPLE_LABELS(labels, IDENTITY, IN, 5, method=method)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, labels)
        shift = IDENTITY + np.array([[0, 0, -1], [0, 0, 4]], np.float32)
        expected = np.pad(labels, ((0, 0), (1, 0), (0, 4)), "edge")[:, :-1, 4:]
        np.testing.assert_array_equal(SAMPLE_LABELS(labels, shift, IN, 5, method=method), expected)


def test_linear_keeps_a_ramp():
    rows, columns = np.mgrid[: IN[0], : IN[1]]
    ramp = (2 * rows - 3 * columns + 5).astype(np.float32)
    matrix = np.array([[0.37, 0.21, 1.3], [-0.3, 0.55, 10.2]], np.float32)
    at = points(matrix, OUT)
    inside = (at[0] >= 0) & (at[0] <= IN[0] - 1) & (at[1] >= 0) & (at[1] <= IN[1] - 1)
    assert inside.mean() > 0.8
    found = np.asarray(SAMPLE(ramp[None], matrix, OUT))[0]
    np.testing.assert_allclose(found[inside], (2 * at[0] - 3 * at[1] + 5)[inside], atol=2e-5)


def test_cubic_keeps_quadratics():
    rows, columns = np.mgrid[: IN[0], : IN[1]] / 10
    matrix = np.array([[0.37, 0.21, 2.3], [-0.3, 0.55, 11.2]], np.float32)
    at = points(matrix, OUT)
    inside = (at[0] >= 1) & (at[0] <= IN[0] - 2) & (at[1] >= 1) & (at[1] <= IN[1] - 2)
    assert inside.mean() > 0.8

    def quadratic(a, b):
        return 0.3 * a**2 - 0.7 * a * b + 0.2 * b**2 + a - 2 * b + 1

    found = np.asarray(SAMPLE(quadratic(rows, columns).astype(np.float32)[None], matrix, OUT, method="cubic"))[0]
    np.testing.assert_allclose(found[inside], quadratic(*at / 10)[inside], atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_images_equal_scipy_and_keys(seed):
    images = np.random.default_rng(seed).random((2, *IN)).astype(np.float32)
    matrix = random_map(seed)
    at = points(matrix, OUT)
    linear, cubic = (np.asarray(SAMPLE(images, matrix, OUT, method=method)) for method in ("linear", "cubic"))
    for number, image in enumerate(images):
        expected = ndimage.map_coordinates(image.astype(np.float64), at, order=1, mode="nearest")
        np.testing.assert_allclose(linear[number], expected, atol=1e-5)
        np.testing.assert_allclose(cubic[number], cubic_by_definition(image, at), atol=2e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_labels_equal_scipy(seed):
    classes = 4
    labels = np.random.default_rng(seed).integers(0, classes, (2, *IN)).astype(np.uint8)
    matrix = random_map(seed)
    at = points(matrix, OUT)
    nearest, linear = (
        np.asarray(SAMPLE_LABELS(labels, matrix, OUT, classes, method=method)) for method in ("nearest", "linear")
    )
    away = (np.abs(at - np.floor(at) - 0.5) > 1e-4).all(axis=0)
    for number, image in enumerate(labels):
        expected = ndimage.map_coordinates(image, at, order=0, mode="nearest")
        np.testing.assert_array_equal(nearest[number][away], expected[away])
        votes = np.stack(
            [
                ndimage.map_coordinates((image == c).astype(np.float64), at, order=1, mode="nearest")
                for c in range(classes)
            ]
        )
        second, first = np.sort(votes, axis=0)[-2:]
        clear = first - second > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(linear[number][clear], votes.argmax(axis=0)[clear])


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_extent_repeats_the_images_own_border(method):
    images = np.random.default_rng(2).random((1, *IN)).astype(np.float32)
    padded = np.full((1, 32, 40), 1e6, np.float32)
    padded[:, : IN[0], : IN[1]] = images
    found = SAMPLE(padded, random_map(5), OUT, extent=np.array(IN), method=method)
    np.testing.assert_allclose(found, SAMPLE(images, random_map(5), OUT, method=method), atol=1e-6)
    labels = (images * 3).astype(np.uint8)
    wide = np.full((1, 32, 40), 2, np.uint8)
    wide[:, : IN[0], : IN[1]] = labels
    if method != "cubic":
        np.testing.assert_array_equal(
            SAMPLE_LABELS(wide, random_map(5), OUT, 3, extent=np.array(IN), method=method),
            SAMPLE_LABELS(labels, random_map(5), OUT, 3, method=method),
        )


def test_channels_are_sampled_alike():
    images = np.random.default_rng(4).random((2, *IN, 3)).astype(np.float32)
    found = SAMPLE(images, random_map(1), OUT)
    assert found.shape == (2, *OUT, 3)
    for channel in range(3):
        np.testing.assert_allclose(
            found[..., channel], SAMPLE(images[..., channel], random_map(1), OUT), rtol=0, atol=1e-6
        )


numbers = functools.partial(st.floats, allow_nan=False, width=64)


@st.composite
def maps(draw):
    """Invertible maps: rotation, then scales from 1/4 to 4 either sign, then a shear, and a shift."""
    theta = draw(numbers(-np.pi, np.pi))
    rotation = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    scales = np.diag([draw(numbers(0.25, 4)) * draw(st.sampled_from([-1, 1])) for _ in range(2)])
    shear = np.array([[1, draw(numbers(-1, 1))], [0, 1]])
    shift = [[draw(numbers(-300, 300))], [draw(numbers(-300, 300))]]
    return np.concatenate([rotation @ scales @ shear, shift], axis=1)


def apply(matrix, point):
    return matrix[:, :2] @ point + matrix[:, 2]


@settings(deadline=None, max_examples=100)
@given(maps(), maps(), maps(), numbers(-500, 500), numbers(-500, 500))
def test_algebra_of_maps(first, second, third, a, b):
    point = np.array([a, b])
    np.testing.assert_allclose(apply(invert(first), apply(first, point)), point, rtol=0, atol=1e-9)
    np.testing.assert_allclose(apply(first, apply(invert(first), point)), point, rtol=0, atol=1e-9)
    np.testing.assert_allclose(apply(compose(first, second), point), apply(first, apply(second, point)), atol=1e-9)
    left, right = compose(compose(first, second), third), compose(first, compose(second, third))
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(compose(first, invert(first)), IDENTITY, atol=1e-9)
    np.testing.assert_allclose(
        invert(compose(first, second)), compose(invert(second), invert(first)), rtol=1e-9, atol=1e-8
    )


def test_resize_matrix_by_hand():
    # Twice as fine: output pixels 0 and 1 are the halves of input pixel 0, so that they lie at −1/4 and +1/4 px.
    np.testing.assert_allclose(resize_matrix((1, 2), (0.5, 1)), [[0.5, 0, -0.25], [0, 0.5, -0.25]])
    np.testing.assert_allclose(resize_matrix((1, 1), (2, 3), (10, 20)), [[2, 0, 10.5], [0, 3, 21]])
    np.testing.assert_array_equal(resize_matrix((0.7, 0.7), (0.7, 0.7), (4, 5)), [[1, 0, 4], [0, 1, 5]])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 300), st.integers(1, 300), numbers(0.2, 3), numbers(0.2, 3), st.integers(0, 50))
def test_pixel_edges_of_a_resized_region_coincide(rows, columns, coarse, fine, origin):
    matrix = resize_matrix((coarse, coarse), (fine, fine), (origin, 2 * origin))
    np.testing.assert_allclose(apply(matrix, [-0.5, -0.5]), [origin - 0.5, 2 * origin - 0.5], atol=1e-9)
    shape = resized_shape((rows, columns), (coarse, coarse), (fine, fine))
    assert shape[0] == max(1, round(rows * coarse / fine))
    assert shape[1] == max(1, round(columns * coarse / fine))
    # The last pixel's edge lies within half an output pixel of the region's, unless one pixel had to do.
    end = apply(matrix, np.array(shape) - 0.5) + 0.5 - [origin, 2 * origin]
    error = np.abs(end - [rows, columns]) * coarse
    assert all(error <= fine / 2 + 1e-9) or 1 in shape


FINE, COARSE = 0.65, 1.37


def there_and_back(sample, images):
    """1.37 mm → 0.65 mm → 1.37 mm."""
    shape = images.shape[1:3]
    fine = resized_shape(shape, (COARSE, COARSE), (FINE, FINE))
    assert fine == (143, 190)
    matrix = resize_matrix((COARSE, COARSE), (FINE, FINE))
    up = sample(images, matrix.astype(np.float32), fine)
    return np.asarray(sample(up, invert(matrix).astype(np.float32), shape))


@pytest.mark.parametrize(("method", "tolerance"), [("linear", 0.04), ("cubic", 0.005)])
def test_round_trip_of_a_smooth_image(method, tolerance):
    rows, columns = np.mgrid[:68, :90]
    image = np.sin(2 * np.pi * rows / 17) * np.cos(2 * np.pi * columns / 23)
    back = there_and_back(functools.partial(SAMPLE, method=method), image[None].astype(np.float32))[0]
    inner = (slice(3, -3), slice(3, -3))
    assert np.abs(back - image)[inner].max() < tolerance
    # A shift of half a pixel would show in the gradient of the error.
    assert np.abs((back - image)[inner].mean()) < 1e-3


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_round_trip_of_a_disc(method):
    rows, columns = np.mgrid[:68, :90]
    disc = ((rows - 31.3) ** 2 + (columns - 44.8) ** 2 < 21.5**2).astype(np.uint8)

    def sample(labels, matrix, shape):
        return SAMPLE_LABELS(labels, matrix, shape, 2, method=method)

    back = there_and_back(sample, disc[None])[0]
    assert 2 * (back & disc).sum() / (back.sum() + disc.sum()) > 0.99
