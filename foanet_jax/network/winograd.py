"""3×3 convolutions with a quarter of the products: Winograd's F(4×4, 3×3) (Lavin & Gray 2016, Sec. 4).

Along one axis, a tile of 4 outputs y of a 3-tap kernel g over 6 inputs d is a product of polynomials, known from
its values at 6 points: y = Aᵀ[(G g) ⊙ (Bᵀ d)], and so is the kernel's gradient, ∂g = Gᵀ[(Bᵀ d) ⊙ (A ∂y)]; two axes
nest. The ⊙ of all tiles and channels are 36 matrix products, of 36 instead of 144 multiplications a tile.

The points are 0, ±2/3, ±3/2 and ∞. Their float32 error is a third of the usual 0, ±1, ±2, ∞'s (reciprocal pairs:
Barabasz et al., ACM TOMS 46(4), 2020).
"""

from collections.abc import Sequence
from fractions import Fraction

import jax.numpy as jnp
import numpy as np

OUT, TAPS = 4, 3
SIZE = OUT + TAPS - 1
POINTS = tuple(Fraction(*point) for point in ((0, 1), (2, 3), (-2, 3), (3, 2), (-3, 2)))


def cook_toom(points: Sequence[Fraction] = POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (4, 6), G (6, 3) and Bᵀ (6, 6) of five points and ∞ (Toom–Cook, transposed).

    Row i of Bᵀ holds the coefficients of ∏_{j≠i} (x − p_j), the last those of all five factors; row i of G the
    powers of p_i over ∏_{j≠i} (p_i − p_j); column i of Aᵀ the powers of p_i.
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
    """Of ∏ (x − root), the lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


AT, G, BT = cook_toom()
NESTED_AT, NESTED_G = (np.kron(matrix, matrix).astype(np.float32) for matrix in (AT, G))  # columns lead


def _combine(matrix: np.ndarray, parts: Sequence) -> list:
    """Rows of a small matrix times equally shaped arrays, as sums that XLA fuses."""
    rows = []
    for row in matrix:
        terms = [part if factor == 1 else part * factor for factor, part in zip(row, parts, strict=True) if factor]
        rows.append(sum(terms[1:], terms[0]))
    return rows


def tile_count(batch: int, height: int, width: int) -> int:
    """Tiles of 4×4 outputs that cover the images."""
    return batch * -(-height // OUT) * -(-width // OUT)


def _transform(images, matrix: np.ndarray, rows: int, columns: int):
    """The `rows`×`columns` tiles of (B, H, W, C) by a (6, taps) matrix along both axes: (36, tiles, C)."""
    _, taps = matrix.shape
    reach = [slice(tap, tap + OUT * (rows - 1) + 1, OUT) for tap in range(taps)]
    tall = jnp.stack(_combine(matrix, [images[:, window] for window in reach]))
    reach = [slice(tap, tap + OUT * (columns - 1) + 1, OUT) for tap in range(taps)]
    both = jnp.stack(_combine(matrix, [tall[:, :, :, window] for window in reach]))
    return both.reshape(SIZE**2, -1, images.shape[-1])


def _inputs(images):
    """Bᵀ d B of every tile of zero-padded images, and the numbers of tiles along both axes."""
    _, height, width, _ = images.shape
    rows, columns = -(-height // OUT), -(-width // OUT)
    padded = jnp.pad(images, ((0, 0), (1, 1 + rows * OUT - height), (1, 1 + columns * OUT - width), (0, 0)))
    return _transform(padded, BT, rows, columns), rows, columns


def _outputs(products, shape: tuple[int, ...], rows: int, columns: int):
    """Aᵀ M A of every tile's products (36, tiles, C), put together and cut to (B, H, W, C) `shape`."""
    batch, height, width, channels = shape
    tiles = NESTED_AT @ products.reshape(SIZE**2, -1)
    # x and y are the pixel in its tile.
    tiles = tiles.reshape(OUT, OUT, batch, rows, columns, channels).transpose(2, 3, 1, 4, 0, 5)
    images = tiles.reshape(batch, rows * OUT, columns * OUT, channels)
    return images[:, :height, :width]


def _weights(kernel):
    """G g Gᵀ of a kernel (3, 3, I, O): (36, I, O)."""
    return (NESTED_G @ kernel.swapaxes(0, 1).reshape(TAPS**2, -1)).reshape(SIZE**2, *kernel.shape[2:])


def convolve(images, kernel):
    """Zero-padded convolution, stride 1: (B, H, W, I) with kernel (3, 3, I, O) gives (B, H, W, O)."""
    inputs, rows, columns = _inputs(images)
    products = jnp.einsum("nti,nio->nto", inputs, _weights(kernel))
    return _outputs(products, (*images.shape[:3], kernel.shape[-1]), rows, columns)


def images_gradient(gradient, kernel):
    """The gradient (B, H, W, I) of `convolve`'s images: its output's (B, H, W, O) with the kernel turned by 180°."""
    inputs, rows, columns = _inputs(gradient)
    products = jnp.einsum("nto,nio->nti", inputs, _weights(kernel[::-1, ::-1]))
    return _outputs(products, (*gradient.shape[:3], kernel.shape[2]), rows, columns)


def kernel_gradient(images, gradient):
    """The gradient (3, 3, I, O) of `convolve`'s kernel: images (B, H, W, I), its output's gradient (B, H, W, O)."""
    _, height, width, channels = images.shape
    maps = gradient.shape[-1]
    inputs, rows, columns = _inputs(images)
    padded = jnp.pad(gradient, ((0, 0), (0, rows * OUT - height), (0, columns * OUT - width), (0, 0)))
    outputs = _transform(padded, AT.T, rows, columns)
    products = jnp.einsum("nti,nto->nio", inputs, outputs)
    kernel = NESTED_G.T @ products.reshape(SIZE**2, -1)
    return kernel.reshape(TAPS, TAPS, channels, maps).swapaxes(0, 1)
