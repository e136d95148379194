"""Array functions of the networks: pooling and up-convolution, in exact but faster forms.

The grid of a feature map may be larger than the image, because images are padded to shapes that are already compiled.
Rows and columns outside the image's `extent` stay zero, like the zero padding of a convolution. The result for an image
therefore does not depend on the amount of padding.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from foanet_jax.network.convolution import convolve


def extent_at(extent, stride: int):
    """Converts (B, 2) image sizes in px to sizes at a coarser stride, rounded up."""
    return -(-extent // stride)


def extent_mask(extent, height: int, width: int):
    """Returns a (B, H, W, 1) boolean mask of the grid's pixels that belong to each image of (B, 2) `extent`."""
    rows = jnp.arange(height)[None, :] < extent[:, :1]
    columns = jnp.arange(width)[None, :] < extent[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _quarters(grid):
    """Returns the four pixels of each 2×2 window, in row-major order."""
    return grid[:, 0::2, 0::2], grid[:, 0::2, 1::2], grid[:, 1::2, 0::2], grid[:, 1::2, 1::2]


@jax.custom_vjp
def max_pool(features):
    """Applies 2×2 max-pooling with stride 2 to (B, H, W, C), H and W even.

    If values are equal, the gradient goes to the first in row-major order, as with XLA's select-and-scatter. This
    explicit form is many times faster on a CPU and deterministic on a GPU.
    """
    a, b, c, d = _quarters(features)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _max_pool_forward(features):
    pooled = max_pool(features)
    return pooled, (features, pooled)


def _max_pool_backward(residuals, gradient):
    features, pooled = residuals
    a, b, c, _ = _quarters(features)
    is_a = a == pooled
    is_b = (b == pooled) & ~is_a
    is_c = (c == pooled) & ~(is_a | is_b)
    is_d = ~(is_a | is_b | is_c)
    zero = jnp.zeros((), gradient.dtype)
    parts = [jnp.where(chosen, gradient, zero) for chosen in (is_a, is_b, is_c, is_d)]
    batch, height, width, channels = pooled.shape
    top = jnp.stack(parts[:2], axis=3)
    bottom = jnp.stack(parts[2:], axis=3)
    grid = jnp.stack([top, bottom], axis=2)
    return (grid.reshape(batch, 2 * height, 2 * width, channels),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _computes(size) -> Any:
    """Returns the module that computes matrices of this size: NumPy, or `jax.numpy` if the size is symbolic."""
    return jnp if export.is_symbolic_dim(size) else np


def up_matrix(size: int, stride: int):
    """Returns the (size·stride, size) matrix of the fixed bilinear up-convolution along one axis.

    It is a transposed convolution with kernel size 2·stride, stride `stride` and triangle weights on half-pixel
    centres. Fully convolutional networks usually initialise their up-convolutions with these weights. Values outside
    the image count as zero.
    """
    xp = _computes(size)
    fine = (xp.arange(size * stride, dtype=np.float32) + 0.5) / stride - 0.5
    return xp.maximum(0, 1 - xp.abs(fine[:, None] - xp.arange(size, dtype=np.float32)[None, :]))


def _tap_matrices(size: int, stride: int, valid):
    """Returns the matrices (B, size·stride, 3, size) of an up-convolution, shifted by each tap of a 3-tap kernel.

    Row x of tap d reads the up-sampled row x + d − 1, which is zero outside the image (its first `valid` rows).
    """
    xp, fine = _computes(size), size * stride
    padded = xp.pad(up_matrix(size, stride), ((1, 1), (0, 0)))
    shifted = xp.stack([padded[tap : tap + fine] for tap in range(3)], axis=1)
    if valid is None:
        return jnp.asarray(shifted)[None]
    source = xp.arange(fine)[:, None] + np.arange(3)[None, :] - 1
    return jnp.where((source < valid[:, None, None])[..., None], shifted, 0)


def up_then_convolve(features, kernel, *, stride: int, extent=None):
    """Computes an up-convolution to full resolution and then a zero-padded 3×3 convolution, at low resolution.

    Both operations are linear. Tap (y, x) of the kernel is a product over channels, which commutes with the up-sampling
    U and with the shift S of that tap. Let P be the nine products at low resolution. Then
    out = Σ_yx (S_y U) P_yx (S_x U)ᵀ: two small matrix products per axis replace a convolution at full resolution. `S U`
    is zero outside the image, so the result is exact at the borders too.

    Args:
        features: (B, h, w, C), zero outside the extent.
        kernel: (3, 3, C, L).
        stride: up-sampling factor.
        extent: (B, 2) image sizes at full resolution, or None if the images fill the grid.

    Returns:
        (B, h·stride, w·stride, L).
    """
    if stride == 1:
        return convolve(features, kernel)
    _, height, width, _ = features.shape
    rows = _tap_matrices(height, stride, None if extent is None else extent[:, 0])
    columns = _tap_matrices(width, stride, None if extent is None else extent[:, 1])
    dtype = features.dtype
    products = jnp.einsum("bijc,yxcl->bijyxl", features, kernel)
    if extent is None:
        wide = jnp.einsum("bijyxl,pxj->biypl", products, columns[0].astype(dtype))
        return jnp.einsum("biypl,qyi->bqpl", wide, rows[0].astype(dtype))
    wide = jnp.einsum("bijyxl,bpxj->biypl", products, columns.astype(dtype))
    return jnp.einsum("biypl,bqyi->bqpl", wide, rows.astype(dtype))


def upsample(features, *, stride: int):
    """Applies the fixed bilinear up-convolution: (B, h, w, C) to (B, h·stride, w·stride, C)."""
    if stride == 1:
        return features
    _, height, width, _ = features.shape
    rows = jnp.asarray(up_matrix(height, stride), features.dtype)
    columns = jnp.asarray(up_matrix(width, stride), features.dtype)
    return jnp.einsum("qi,bipc->bqpc", rows, jnp.einsum("pj,bijc->bipc", columns, features))


def upsample_learned(features, kernel, *, stride: int):
    """Applies an up-convolution with one learned kernel per channel, computed phase by phase.

    It is a transposed convolution with kernel size 2·stride. Output row m·stride + t − stride/2 is
    x[m]·k[t] + x[m−1]·k[t+stride], so that each phase t is a weighted sum over a 2×2 neighbourhood.

    Args:
        features: (B, h, w, C).
        kernel: (2·stride, 2·stride, C).
        stride: an even up-sampling factor.

    Returns:
        (B, h·stride, w·stride, C).
    """
    batch, height, width, channels = features.shape
    padded = jnp.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)))
    phases = kernel.reshape(2, stride, 2, stride, channels)
    terms = [
        padded[:, 1 - y : height + 2 - y, 1 - x : width + 2 - x][:, :, None, :, None, :]
        * phases[y, :, x][None, None, :, None, :, :]
        for y in range(2)
        for x in range(2)
    ]
    out = sum(terms[1:], terms[0]).reshape(batch, (height + 1) * stride, (width + 1) * stride, channels)
    half = stride // 2
    return out[:, half : half + height * stride, half : half + width * stride]


def bilinear_kernel(stride: int, channels: int) -> np.ndarray:
    """Returns the (2·stride, 2·stride, channels) kernel with which `upsample_learned` equals `upsample`."""
    taps = 1 - np.abs((np.arange(2 * stride) + 0.5) / stride - 1)
    return np.repeat((taps[:, None] * taps[None, :])[..., None], channels, axis=-1).astype(np.float32)
