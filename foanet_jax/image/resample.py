"""Affine resampling of images, labels and probability maps in the image plane.

A map is a (2, 3) matrix that takes homogeneous output pixel coordinates (a, b, 1) to input pixel coordinates. Pixel
centres have integer coordinates. Outside the input's `extent` the nearest border pixel is repeated.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

METHODS = ("nearest", "linear", "cubic")


def resize_matrix(spacing_in: tuple[float, float], spacing_out: tuple[float, float], origin=(0.0, 0.0)) -> np.ndarray:
    """Returns the (2, 3) map from a grid of `spacing_out` mm to a region of a grid of `spacing_in` mm.

    The outer edges of the first pixels of both regions coincide (the half-pixel convention of image resizing).

    Args:
        spacing_in: (row, column) spacing of the input, mm.
        spacing_out: (row, column) spacing of the output, mm.
        origin: (row, column) of the region's first pixel in the input.
    """
    scale = np.asarray(spacing_out, np.float64) / np.asarray(spacing_in, np.float64)
    shift = np.asarray(origin, np.float64) + 0.5 * scale - 0.5
    return np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])


def resized_shape(
    shape: tuple[int, int], spacing_in: tuple[float, float], spacing_out: tuple[float, float]
) -> tuple[int, int]:
    """Returns the shape of a region of `shape` px after a change of spacing (mm): at least one row and one column."""
    return tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, spacing_in, spacing_out, strict=True))  # type: ignore[return-value]


def invert(matrix: np.ndarray) -> np.ndarray:
    """Returns the inverse (2, 3) map."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.concatenate([inverse, -inverse @ matrix[:, 2:]], axis=1)


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Returns the (2, 3) map p ↦ outer(inner(p))."""
    return np.concatenate([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]], axis=1)


def _taps(coordinate, size, method: str):
    """Returns (input index, weight) of each interpolation tap along one axis; indices are clipped to 0 … size − 1."""
    if method == "nearest":
        base = jnp.floor(coordinate + 0.5)
        offsets, weights = [0], [jnp.ones_like(coordinate)]
    else:
        base = jnp.floor(coordinate)
        t = coordinate - base
        if method == "linear":
            offsets, weights = [0, 1], [1 - t, t]
        else:  # Keys' cubic convolution, a = −1/2
            offsets = [-1, 0, 1, 2]
            weights = [
                ((-0.5 * t + 1) * t - 0.5) * t,
                (1.5 * t - 2.5) * t * t + 1,
                ((-1.5 * t + 2) * t + 0.5) * t,
                (0.5 * t - 0.5) * t * t,
            ]
    index = [jnp.clip(base + offset, 0, size - 1).astype(jnp.int32) for offset in offsets]
    return list(zip(index, weights, strict=True))


def _source_taps(matrix, shape, extent, width: int, method: str, displacement):
    """Returns (flat input index, weight) of each tap, arrays of (H·W,)."""
    rows = jnp.arange(shape[0], dtype=jnp.float32)[:, None]
    columns = jnp.arange(shape[1], dtype=jnp.float32)[None, :]
    if displacement is not None:
        rows, columns = rows + displacement[0], columns + displacement[1]
    at_row = (matrix[0, 0] * rows + matrix[0, 1] * columns + matrix[0, 2]).ravel()
    at_column = (matrix[1, 0] * rows + matrix[1, 1] * columns + matrix[1, 2]).ravel()
    row_taps, column_taps = _taps(at_row, extent[0], method), _taps(at_column, extent[1], method)
    return [(r * width + c, u * v) for r, u in row_taps for c, v in column_taps]


def _one_by_one(sample, images, matrices):
    """Applies `sample(images, matrix)` to each image with its own map."""
    return jax.vmap(lambda image, matrix: sample(image[None], matrix)[0])(images, matrices)


def sample_images(images, matrix, shape: tuple[int, int], *, extent=None, method: str = "linear", displacement=None):
    """Resamples images at the mapped points.

    Args:
        images: (N, H, W) or (N, H, W, C).
        matrix: (2, 3) map from output to input pixels; or (N, 2, 3), one map per image, which is slower.
        shape: output rows and columns.
        extent: (2,) rows and columns of the input that belong to the images; None: all.
        method: "nearest", "linear" or "cubic" (Keys' convolution, a = −1/2).
        displacement: (2, *shape) displacement of each output pixel before it is mapped, px of the output.

    Returns:
        (N, *shape) or (N, *shape, C).
    """
    if matrix.ndim == 3:
        sample = functools.partial(sample_images, shape=shape, extent=extent, method=method, displacement=displacement)
        return _one_by_one(sample, images, matrix)
    count, height, width = images.shape[:3]
    extent = (height, width) if extent is None else extent
    # The pixel axis is first, so that one gather operation reads a pixel of all images at once.
    columns = jnp.moveaxis(images.reshape(count, height * width, -1), 1, 0)
    out = 0.0
    for index, weight in _source_taps(matrix, shape, extent, width, method, displacement):
        out += columns[index] * weight[:, None, None]
    return jnp.moveaxis(out, 0, 1).reshape(count, *shape, *images.shape[3:])


def sample_labels(
    labels, matrix, shape: tuple[int, int], classes: int, *, extent=None, method: str = "linear", displacement=None
):
    """Resamples labels at the mapped points.

    "linear" takes the class with the largest sum of weights among the four neighbours. This is the argmax of linearly
    resampled one-hot maps. "nearest" takes the class of the nearest pixel.

    Args:
        labels: (N, H, W) class indices.
        classes: number of classes.
        matrix, shape, extent, method, displacement: as for `sample_images`.

    Returns:
        (N, *shape) uint8.
    """
    if matrix.ndim == 3:
        options: dict[str, Any] = {"extent": extent, "method": method, "displacement": displacement}
        return _one_by_one(functools.partial(sample_labels, shape=shape, classes=classes, **options), labels, matrix)
    count, height, width = labels.shape
    extent = (height, width) if extent is None else extent
    columns = labels.reshape(count, height * width).T
    taps = _source_taps(matrix, shape, extent, width, method, displacement)
    read = [(columns[index], weight) for index, weight in taps]
    votes = jnp.stack(
        [sum(jnp.where(label == c, weight[:, None], 0) for label, weight in read) for c in range(classes)]
    )
    return jnp.argmax(votes, axis=0).astype(jnp.uint8).T.reshape(count, *shape)
