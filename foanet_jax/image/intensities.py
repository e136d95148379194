"""Augmentation of intensities, which imitates the variations between scanners.

The results do not depend on how far the grid is padded.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from foanet_jax.image.normalise import moments

_CLASS_EDGE_PX = 1.0  # σ of the blur of a class's border, so that shifted classes have no sharper edges than the image
_CURVE = (-2.0, 3.0)  # where the pieces of an intensity curve begin and end, in σ from the volume's mean


class Intensities(NamedTuple):
    """Changes of intensities before the focus of attention. A change that is None is left out of the program.

    Attributes:
        gamma: exponent.
        noise: standard deviation of the noise, in units of the volume's σ.
        seed: seed of the noise.
        bias: (5,) coefficients, see `gain`.
        ghosts: (N,) share of each slice's signal that the ghosts take.
        ghost_step: (2,) distances of the ghosts from the image along rows and columns, px.
        blur: (2,) standard deviation of the Gaussian blur along rows and columns, px.
        classes: (C,) shift of each class, in units of the volume's σ.
        slice_gains: (N,) factor of each slice.
        bands: (K,) factor of each band of spatial frequencies, from the finest to the coarsest.
        band_edges: (K, 2) standard deviations of the Gaussians that limit the bands, along rows and columns, px.
        curve: (P,) slopes of the intensity curve, see `toned`.
    """

    gamma: Any
    noise: Any
    seed: Any
    bias: Any = None
    ghosts: Any = None
    ghost_step: Any = None
    blur: Any = None
    classes: Any = None
    slice_gains: Any = None
    bands: Any = None
    band_edges: Any = None
    curve: Any = None


def change_intensities(volume, inside, extent, change: Intensities, labels=None):
    """Changes the intensities of a volume, in the order of `AugmentSpec`.

    Args:
        volume: (N, H, W) resampled images.
        inside: (N, H, W) boolean, the pixels that belong to the volume.
        extent: (2,) rows and columns of each image.
        change: one draw.
        labels: (N, H, W) classes of the pixels. Without them, the shifts of the classes are left out.

    Returns:
        (N, H, W).
    """
    if change.classes is not None and labels is not None:
        _, sigma = moments(volume, inside)
        volume = volume + sigma * blurred(change.classes[labels], extent, jnp.full(2, _CLASS_EDGE_PX))
    if change.bias is not None or change.slice_gains is not None:
        low = jnp.min(jnp.where(inside, volume, jnp.inf))
        factor = 1.0 if change.bias is None else gain(volume.shape[1:], extent, change.bias)
        if change.slice_gains is not None:
            factor = factor * change.slice_gains[:, None, None]
        volume = (volume - low) * factor + low
    if change.ghosts is not None:
        volume = ghosted(volume, extent, change.ghosts, change.ghost_step)
    if change.blur is not None:
        volume = blurred(volume, extent, change.blur)
    if change.bands is not None:
        volume = equalised(volume, extent, change.bands, change.band_edges)
    if change.curve is not None:
        volume = toned(volume, inside, change.curve)

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
    """Computes a smooth bias field, exp(a u + b v + c u² + d uv + e v²).

    Args:
        shape: (H, W) of the grid.
        extent: (2,) rows and columns of the image, over which u and v run from −1 to 1.
        coefficients: a, b, c, d, e.

    Returns:
        (H, W).
    """
    along = [2 * jnp.arange(n) / jnp.maximum(size - 1, 1) - 1 for n, size in zip(shape, extent, strict=True)]
    u, v = along[0].clip(-1, 1)[:, None], along[1].clip(-1, 1)[None, :]
    a, b, c, d, e = coefficients
    return jnp.exp(a * u + b * v + c * u**2 + d * u * v + e * v**2)


def ghosted(volume, extent, shares, step):
    """Moves a share of each image's signal to two ghost images, shifted by ± `step` px.

    This is the first-order effect of a periodic motion along the phase-encoding direction. Ghosts wrap around at the
    borders of the image.

    Args:
        volume: (N, H, W).
        extent: (2,) rows and columns of each image.
        shares: (N,) shares of the signal, half of it for each ghost.
        step: (2,) shift along rows and columns, px.
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
    """Blurs each image with a Gaussian. The weights are renormalised at the borders.

    Args:
        volume: (N, H, W).
        extent: (2,) rows and columns of each image.
        sigma: (2,) standard deviation along rows and columns, px.
    """
    rows, columns = (_blur_matrix(n, size, s) for n, size, s in zip(volume.shape[1:], extent, sigma, strict=True))
    return jnp.einsum("ih,nhj->nij", rows, jnp.einsum("jw,nhw->nhj", columns, volume))


def equalised(volume, extent, gains, edges):
    """Multiplies each band of spatial frequencies by its own factor.

    The bands are differences of Gaussian blurs; what is coarser than the last Gaussian is not changed.

    Args:
        volume: (N, H, W).
        extent: (2,) rows and columns of each image.
        gains: (K,) factors, from the finest band to the coarsest.
        edges: (K, 2) standard deviations of the Gaussians along rows and columns, px, from fine to coarse.
    """
    fine, changed = volume, 0.0
    for factor, sigma in zip(gains, edges, strict=True):
        coarse = blurred(volume, extent, sigma)
        changed, fine = changed + factor * (fine - coarse), coarse
    return changed + fine


def toned(volume, inside, slopes):
    """Applies a monotone, piecewise linear curve to the intensities.

    The pieces have equal lengths between μ − 2 σ and μ + 3 σ of the volume. Beyond them, the slope is 1.

    Args:
        volume: (N, H, W).
        inside: (N, H, W) boolean, the pixels that belong to the volume.
        slopes: (P,) positive slopes of the pieces.
    """
    mean, sigma = moments(volume, inside)
    knots = jnp.linspace(*_CURVE, len(slopes) + 1)
    changes = jnp.diff(slopes, prepend=1.0, append=1.0)
    level = (volume - mean) / jnp.maximum(sigma, 1e-12)
    bent = sum(change * jnp.maximum(level - knot, 0) for change, knot in zip(changes, knots, strict=True))
    return volume + sigma * bent


def _blur_matrix(size: int, extent, sigma):
    """Returns the (size, size) blur weights along one axis; each row sums to one."""
    at = jnp.arange(size, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * ((at[:, None] - at) / jnp.maximum(sigma, 1e-3)) ** 2)
    weights = jnp.where((at < extent)[None, :], weights, 0)
    return weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1e-12)


def pixel_noise(seed, shape: tuple[int, int, int]):
    """Returns standard normal noise (N, H, W); the value at a pixel does not depend on the size of the grid."""
    count, height, width = shape

    def row(image, number):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), image), number)
        return jax.random.normal(key, (width,))  # A longer row begins with the same numbers.

    return jax.vmap(jax.vmap(row, (None, 0)), (0, None))(jnp.arange(count), jnp.arange(height))
