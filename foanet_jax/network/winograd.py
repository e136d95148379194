"""Winograd convolution F(4×4, 3×3): 3×3 convolutions with a quarter of the multiplications (Lavin & Gray 2016, Sec. 4).

Along one axis, a tile of 4 outputs y depends on 6 inputs d and a 3-tap kernel g. It is computed like a product of
polynomials, from values at 6 points: y = Aᵀ[(G g) ⊙ (Bᵀ d)]. The gradient of the kernel has the same form,
∂g = Gᵀ[(Bᵀ d) ⊙ (A ∂y)]. In 2D the transforms are applied along both axes. The products ⊙ over all tiles and channels
become 36 matrix products, with 36 instead of 144 multiplications per tile.

The points are 0, ±2/3, ±3/2 and ∞. Their float32 error is a third of the error with the usual points 0, ±1, ±2 and ∞
(reciprocal pairs: Barabasz et al., ACM TOMS 46(4), 2020).
"""

from collections.abc import Sequence
from fractions import Fraction

import jax.numpy as jnp
import numpy as np

OUT, TAPS = 4, 3
SIZE = OUT + TAPS - 1
POINTS = tuple(Fraction(*point) for point in ((0, 1), (2, 3), (-2, 3), (3, 2), (-3, 2)))


def cook_toom(points: Sequence[Fraction] = POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the transform matrices Aᵀ (4, 6), G (6, 3) and Bᵀ (6, 6) for five points and ∞ (transposed Toom–Cook).

    Row i of Bᵀ holds the coefficients of ∏_{j≠i} (x − p_j), and its last row those of the product of all five factors.
    Row i of G holds the powers of p_i divided by ∏_{j≠i} (p_i − p_j). Column i of Aᵀ holds the powers of p_i.
    """
    last = [Fraction(0)]
    bt, g = [], []
    for point in points:
        others = [other for other in points if other != point]
        weight = Fraction(1)
        for other in others:
            weight *= point - other
        bt.append(_coefficients(others) + last)
        g.append([point**power / weight for power in range(TAPS)])
    bt.append(_coefficients(points))
    g.append([Fraction(power == TAPS - 1) for power in range(TAPS)])
    at = [[point**power for point in points] + [Fraction(power == OUT - 1)] for power in range(OUT)]
    exact = (np.array([[float(entry) for entry in row] for row in matrix]) for matrix in (at, g, bt))
    return tuple(exact)  # type: ignore[return-value]


def _coefficients(roots: Sequence[Fraction]) -> list[Fraction]:
    """Returns the coefficients of ∏ (x − root), lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


AT, G, BT = cook_toom()
NESTED_AT, NESTED_G = (np.kron(matrix, matrix).astype(np.float32) for matrix in (AT, G))  # column index first


def _combine(matrix: np.ndarray, parts: Sequence) -> list:
    """Multiplies a small matrix by a list of arrays of one shape. The products are sums that XLA can fuse."""
    rows = []
    for row in matrix:
        terms = [part if factor == 1 else part * factor for factor, part in zip(row, parts, strict=True) if factor]
        rows.append(sum(terms[1:], terms[0]))
    return rows


def tile_count(batch: int, height: int, width: int) -> int:
    """Returns the number of tiles of 4×4 outputs that cover the images."""
    return batch * -(-height // OUT) * -(-width // OUT)


def _transform(images, matrix: np.ndarray, rows: int, columns: int):
    """Multiplies each of `rows`×`columns` tiles of (B, H, W, C) with a (6, taps) matrix along both axes.

    Returns:
        (36, tiles, C).
    """
    _, taps = matrix.shape
    reach = [slice(tap, tap + OUT * (rows - 1) + 1, OUT) for tap in range(taps)]
    tall = jnp.stack(_combine(matrix, [images[:, window] for window in reach]))
    reach = [slice(tap, tap + OUT * (columns - 1) + 1, OUT) for tap in range(taps)]
    both = jnp.stack(_combine(matrix, [tall[:, :, :, window] for window in reach]))
    return both.reshape(SIZE**2, -1, images.shape[-1])


def _inputs(images):
    """Returns Bᵀ d B of each tile of the zero-padded images, and the numbers of tiles along both axes."""
    _, height, width, _ = images.shape
    rows, columns = -(-height // OUT), -(-width // OUT)
    padded = jnp.pad(images, ((0, 0), (1, 1 + rows * OUT - height), (1, 1 + columns * OUT - width), (0, 0)))
    return _transform(padded, BT, rows, columns), rows, columns


def _outputs(products, shape: tuple[int, ...], rows: int, columns: int):
    """Computes Aᵀ M A of each tile's products (36, tiles, C), joins the tiles and crops to `shape` (B, H, W, C)."""
    batch, height, width, channels = shape
    tiles = NESTED_AT @ products.reshape(SIZE**2, -1)
    # The first axis is the column inside a tile, and the second axis is the row.
    tiles = tiles.reshape(OUT, OUT, batch, rows, columns, channels).transpose(2, 3, 1, 4, 0, 5)
    images = tiles.reshape(batch, rows * OUT, columns * OUT, channels)
    return images[:, :height, :width]


def _weights(kernel):
    """Computes G g Gᵀ of a kernel (3, 3, I, O): (36, I, O)."""
    return (NESTED_G @ kernel.swapaxes(0, 1).reshape(TAPS**2, -1)).reshape(SIZE**2, *kernel.shape[2:])


def convolve(images, kernel):
    """Convolves (B, H, W, I) with a kernel (3, 3, I, O) to (B, H, W, O), with zero padding and stride 1."""
    inputs, rows, columns = _inputs(images)
    products = jnp.einsum("nti,nio->nto", inputs, _weights(kernel))
    return _outputs(products, (*images.shape[:3], kernel.shape[-1]), rows, columns)


def images_gradient(gradient, kernel):
    """Computes the gradient (B, H, W, I) of `convolve` with respect to its images.

    Args:
        gradient: (B, H, W, O) gradient with respect to the output.
        kernel: (3, 3, I, O).
    """
    inputs, rows, columns = _inputs(gradient)
    products = jnp.einsum("nto,nio->nti", inputs, _weights(kernel[::-1, ::-1]))
    return _outputs(products, (*gradient.shape[:3], kernel.shape[2]), rows, columns)


def kernel_gradient(images, gradient):
    """Computes the gradient (3, 3, I, O) of `convolve` with respect to its kernel.

    Args:
        images: (B, H, W, I).
        gradient: (B, H, W, O) gradient with respect to the output.
    """
    _, height, width, channels = images.shape
    maps = gradient.shape[-1]
    inputs, rows, columns = _inputs(images)
    padded = jnp.pad(gradient, ((0, 0), (0, rows * OUT - height), (0, columns * OUT - width), (0, 0)))
    outputs = _transform(padded, AT.T, rows, columns)
    products = jnp.einsum("nti,nto->nio", inputs, outputs)
    kernel = NESTED_G.T @ products.reshape(SIZE**2, -1)
    return kernel.reshape(TAPS, TAPS, channels, maps).swapaxes(0, 1)
