"""Gauss normalisation of a patient's whole volume (Sec. III-B)."""

import jax.numpy as jnp


def moments(images, mask):
    """μ and σ of images (N, H, W) over the pixels of a boolean `mask`, broadcastable to them."""
    inside = jnp.broadcast_to(mask, images.shape)
    count = jnp.sum(inside, dtype=jnp.float32)
    mean = jnp.sum(jnp.where(inside, images, 0)) / count
    mean += jnp.sum(jnp.where(inside, images - mean, 0)) / count  # What rounding took from a long sum.
    variance = jnp.sum(jnp.where(inside, images - mean, 0) ** 2) / count
    return mean, jnp.sqrt(variance)


def gauss_normalise(images, mask):
    """(I − μ)/σ with μ and σ over all pixels of `mask` in all images; zero elsewhere.

    A volume with σ = 0, up to the rounding of float32, gives zeros: what to make of it, with a name, is for
    those who read it.

    Args:
        images: (N, H, W).
        mask: boolean, broadcastable to `images`: pixels that belong to the volume.
    """
    mean, sigma = moments(images, mask)
    # Rounding alone leaves equal values a σ of some 1e-7 of their mean, which must not be blown up to 1.
    contrast = sigma > 1e-6 * jnp.abs(mean)
    return jnp.where(mask & contrast, (images - mean) / jnp.where(contrast, sigma, 1), 0)
