"""Gauss normalisation of a patient's whole volume (Sec. III-B)."""

import jax.numpy as jnp


def moments(images, mask):
    """Computes the mean μ and the standard deviation σ of all pixels inside a mask.

    Args:
        images: (N, H, W).
        mask: boolean, broadcastable to `images`.

    Returns:
        μ and σ, float32 scalars.
    """
    inside = jnp.broadcast_to(mask, images.shape)
    count = jnp.sum(inside, dtype=jnp.float32)
    mean = jnp.sum(jnp.where(inside, images, 0)) / count
    mean += jnp.sum(jnp.where(inside, images - mean, 0)) / count  # corrects the rounding error of a long sum
    variance = jnp.sum(jnp.where(inside, images - mean, 0) ** 2) / count
    return mean, jnp.sqrt(variance)


def gauss_normalise(images, mask):
    """Normalises images to (I − μ)/σ, with μ and σ over the mask's pixels of all images (Sec. III-B).

    The result is zero outside the mask. A volume with σ = 0, up to float32 rounding, gives zeros everywhere; the code
    that reads a study reports this error, because it knows the study's name.

    Args:
        images: (N, H, W).
        mask: boolean, broadcastable to `images`: pixels that belong to the volume.
    """
    mean, sigma = moments(images, mask)
    # For equal values, rounding errors alone give a σ of about 1e-7 of the mean. They must not be amplified to σ = 1.
    contrast = sigma > 1e-6 * jnp.abs(mean)
    return jnp.where(mask & contrast, (images - mean) / jnp.where(contrast, sigma, 1), 0)
