"""Smooth elastic deformations of the image plane, and shifts of single slices."""

import jax.numpy as jnp
import numpy as np

from foanet_jax.image.resample import compose


def elastic_field(lattice, shape: tuple[int, int], centre, step):
    """Interpolates the displacements of control points to all pixels of a grid by cubic B-splines.

    B-spline weights are positive and sum to one, so that no pixel moves further than the control points do. The lattice
    of control points repeats periodically and therefore covers a grid of any size.

    Args:
        lattice: (2, G, G) displacements of the control points along rows and columns.
        shape: rows and columns of the grid.
        centre: (row, column) of the first control point, px.
        step: distances between control points along rows and columns, px of the grid.

    Returns:
        (2, *shape) displacements, in the unit of `lattice`.
    """
    rows, columns = (_spline_matrix(n, lattice.shape[-1], c, s) for n, c, s in zip(shape, centre, step, strict=True))
    return jnp.einsum("hi,cij,wj->chw", rows, lattice, columns)


def _spline_matrix(size: int, points: int, centre, step):
    """Returns the (size, points) weights of the control points at each pixel of one axis."""
    place = (jnp.arange(size, dtype=jnp.float32) - centre) / step
    base = jnp.floor(place)
    t = place - base
    weights = [(1 - t) ** 3, (3 * t - 6) * t**2 + 4, ((3 - 3 * t) * t + 3) * t + 1, t**3]
    index = [jnp.mod(base + offset, points).astype(jnp.int32) for offset in (-1, 0, 1, 2)]
    return sum(w[:, None] / 6 * (i[:, None] == jnp.arange(points)) for i, w in zip(index, weights, strict=True))


def shifted_slices(matrix: np.ndarray, shifts: np.ndarray, count: int) -> np.ndarray:
    """Returns one map per slice. The map shifts the slice before it applies `matrix`.

    Args:
        matrix: (2, 3) map of all slices.
        shifts: (Z, 2) shifts of the slices of a stack in px of the output; all frames have the same shifts.
        count: T·Z, the number of slices in all frames.

    Returns:
        (count, 2, 3).
    """
    maps = [compose(matrix, np.array([[1.0, 0, row], [0, 1.0, column]])) for row, column in shifts]
    return np.stack(maps)[np.arange(count) % len(shifts)]
