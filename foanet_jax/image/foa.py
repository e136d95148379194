"""Focus of attention (FOA): the Gaussian weight of Eq. 5."""

import jax.numpy as jnp


def foa_weights(shape: tuple[int, int], centre, delta, *, xp=jnp):
    """Computes the weight of Eq. 5, ω(a, b) = α exp(−|(a, b) − (a*, b*)|² / δ²), at each pixel of a grid.

    α is 1, because the Gauss normalisation that follows cancels it.

    Args:
        shape: (H, W).
        centre: (a*, b*) in px of the grid, the middle of the localization box.
        delta: scale δ in px of the grid.
        xp: `jax.numpy` or `numpy`.

    Returns:
        (H, W) float32.
    """
    rows = xp.arange(shape[0], dtype=xp.float32)[:, None] - centre[0]
    columns = xp.arange(shape[1], dtype=xp.float32)[None, :] - centre[1]
    return xp.exp(-(rows**2 + columns**2) / delta**2)
