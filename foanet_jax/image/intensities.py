"""Random changes of intensities, as scanners make them; none depends on how far a grid is padded."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from foanet_jax.image.normalise import moments


class Intensities(NamedTuple):
    """What is changed before the focus of attention; what is None is not compiled.

    Attributes:
        gamma, noise, seed: exponent; noise level in units of σ, and its seed.
        bias: (5,) coefficients, see `gain`.
        ghosts: (N,) shares of each slice's signal.
        ghost_step: (2,) distance of the ghosts, px.
        blur: (2,) standard deviation along rows and columns, px.
    """

    gamma: Any
    noise: Any
    seed: Any
    bias: Any = None
    ghosts: Any = None
    ghost_step: Any = None
    blur: Any = None


def change_intensities(volume, inside, extent, change: Intensities):
    """A volume (N, H, W) with its intensities changed: bias, motion, blur, gamma, noise.

    Args:
        volume: resampled images.
        inside: (N, H, W) boolean, the pixels that belong to the volume.
        extent: (2,) rows and columns of each image.
        change: one draw.
    """
    if change.bias is not None:
        low = jnp.min(jnp.where(inside, volume, jnp.inf))
        volume = (volume - low) * gain(volume.shape[1:], extent, change.bias) + low
    if change.ghosts is not None:
        volume = ghosted(volume, extent, change.ghosts, change.ghost_step)
    if change.blur is not None:
        volume = blurred(volume, extent, change.blur)

    def gamma_and_noise(volume):
        low = jnp.min(jnp.where(inside, volume, jnp.inf))
        high = jnp.max(jnp.where(inside, volume, -jnp.inf))
        span = jnp.maximum(high - low, 1e-12)
        volume = ((volume - low) / span).clip(0, 1) ** change.gamma * span + low
        _, sigma = moments(volume, inside)
        return volume + change.noise * sigma * pixel_noise(change.seed, volume.shape)

    changed = (change.gamma != 1) | (change.noise > 0)
    return jax.lax.cond(changed, gamma_and_noise, lambda volume: volume, volume)


def gain(shape: tuple[int, int], extent, coefficients):
    """(H, W) exp(a u + b v + c u² + d uv + e v²), u and v running from −1 to 1 over the extent's rows and columns."""
    along = [2 * jnp.arange(n) / jnp.maximum(size - 1, 1) - 1 for n, size in zip(shape, extent, strict=True)]
    u, v = along[0].clip(-1, 1)[:, None], along[1].clip(-1, 1)[None, :]
    a, b, c, d, e = coefficients
    return jnp.exp(a * u + b * v + c * u**2 + d * u * v + e * v**2)


def ghosted(volume, extent, shares, step):
    """Each image with a share of its signal moved to two ghosts, `step` px before and after, around the extent's ends.

    What a periodic motion does along the phase direction, in its first order.
    """
    share = shares[:, None, None]
    ghosts = sum(_rolled(volume, extent, sign * step) for sign in (-1, 1)) / 2
    return (1 - share) * volume + share * ghosts


def _rolled(volume, extent, step):
    rows, columns = (
        jnp.mod(jnp.arange(n) - d, size) for n, d, size in zip(volume.shape[1:], step, extent, strict=True)
    )
    return volume[:, rows][:, :, columns]


def blurred(volume, extent, sigma):
    """Each image under a Gaussian of `sigma` px along rows and columns, cut off and renormalised at the borders."""
    rows, columns = (_blur_matrix(n, size, s) for n, size, s in zip(volume.shape[1:], extent, sigma, strict=True))
    return jnp.einsum("ih,nhj->nij", rows, jnp.einsum("jw,nhw->nhj", columns, volume))


def _blur_matrix(size: int, extent, sigma):
    """(size, size) weights of each pixel in each other one's mean along an axis."""
    at = jnp.arange(size, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * ((at[:, None] - at) / jnp.maximum(sigma, 1e-3)) ** 2)
    weights = jnp.where((at < extent)[None, :], weights, 0)
    return weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1e-12)


def pixel_noise(seed, shape: tuple[int, int, int]):
    """Standard normal noise (N, H, W) whose value at a pixel is the same on a wider grid."""
    count, height, width = shape

    def row(image, number):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), image), number)
        return jax.random.normal(key, (width,))  # Of a longer row these are the first.

    return jax.vmap(jax.vmap(row, (None, 0)), (0, None))(jnp.arange(count), jnp.arange(height))
