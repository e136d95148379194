"""How sure a network is of what it drew, from its probabilities, which stay on the device."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

BAND_PX = 2  # on either side of an outline, on the network's grid


@dataclasses.dataclass(frozen=True)
class Confidence:
    """The segmentation network's own probabilities, summed up over a study; no promise, as networks are overconfident.

    They are those of the image as it is, with test-time augmentation too: the mean over turned images is less certain
    where it is better, and what confidence was calibrated for is this. Of an ensemble they are the networks' mean.

    Attributes:
        classes: mean probability of each foreground class over the pixels where it is the likeliest; NaN where it is
            nowhere.
        foreground: the same over all foreground together; NaN where there is none.
        border_entropy: mean entropy within BAND_PX of the foreground's outline, over its greatest possible value: 0
            where the network is certain, 1 where all classes are alike to it; NaN where there is no outline.
        agreement: mean Dice of the foreground over all pairs of views, which are the networks of an ensemble and the
            turned images of test-time augmentation; NaN where no view shows any, None where there is but one view.
    """

    classes: Mapping[str, float]
    foreground: float
    border_entropy: float
    agreement: float | None = None


def confidence_of(
    tallies: Iterable[np.ndarray], classes: Sequence[str], overlaps: Iterable[np.ndarray] = ()
) -> Confidence:
    """What `tally` and `overlap` found on parts of a study, put together.

    Args:
        tallies: of each part.
        classes: names by index, background first.
        overlaps: of each part; none where there is but one view.
    """
    sums, counts = np.sum([np.asarray(part, np.float64) for part in tallies], axis=0)
    means = [_ratio(total, count) for total, count in zip(sums, counts, strict=True)]
    return Confidence(
        classes=dict(zip(classes[1:], means[1:-1], strict=True)),
        foreground=_ratio(sums[1:-1].sum(), counts[1:-1].sum()),
        border_entropy=means[-1],
        agreement=_agreement(overlaps),
    )


@jax.jit
def tally(maps, extent, count):
    """Sums over some slices' probabilities, from which `confidence_of` makes means.

    Args:
        maps: (N, H, W, C).
        extent: (rows, columns) of the grid that count.
        count: how many of the slices count.

    Returns:
        (2, C + 1): for each class the sum of its probability over the pixels where it is the likeliest, and last the
        entropy's within the band; below each, how many pixels.
    """
    classes = maps.shape[-1]
    inside = _inside(maps.shape[:3], extent, count)
    labels = jnp.argmax(maps, axis=-1)
    chosen = (labels[..., None] == jnp.arange(classes)) & inside[..., None]
    foreground = (labels > 0) & inside
    # Outside lies nothing to be unsure of: a mask that is cut by the border has no outline there.
    band = _widened(foreground) & _widened(~foreground & inside) & inside
    entropy = -xlogy(maps, maps).sum(-1) / math.log(classes)
    sums = jnp.sum(maps, axis=(0, 1, 2), where=chosen)
    counts = jnp.sum(chosen, axis=(0, 1, 2), dtype=jnp.float32)
    last = jnp.stack([jnp.sum(entropy, where=band), jnp.sum(band, dtype=jnp.float32)])
    return jnp.concatenate([jnp.stack([sums, counts]), last[:, None]], axis=1)


@jax.jit
def overlap(views, extent, count):
    """(V, V): how many pixels each pair of views of some slices has in common as foreground.

    Args:
        views: V maps (N, H, W, C) of the same slices.
        extent, count: as for `tally`.
    """
    foreground = jnp.stack([jnp.argmax(maps, axis=-1) > 0 for maps in views])
    foreground &= _inside(foreground.shape[1:], extent, count)
    pixels = foreground.reshape(len(views), -1).astype(jnp.float32)
    return pixels @ pixels.T  # whole numbers below 2²⁴, exact


def _agreement(overlaps: Iterable[np.ndarray]) -> float | None:
    """Mean Dice of all pairs of views from the pixels that they have in common."""
    parts = [np.asarray(part, np.float64) for part in overlaps]
    if not parts:
        return None
    common = sum(parts[1:], parts[0])
    sizes = np.diagonal(common)
    pairs = list(itertools.combinations(range(len(common)), 2))
    dice = [_ratio(2 * common[i, j], sizes[i] + sizes[j]) for i, j in pairs if sizes[i] + sizes[j]]
    return _ratio(sum(dice), len(dice))


def _inside(shape: Sequence[int], extent, count):
    """Which pixels of (N, H, W) are of the slices and the part of the grid that count."""
    slices, height, width = shape
    inside = (jnp.arange(height)[:, None] < extent[0]) & (jnp.arange(width)[None, :] < extent[1])
    return inside[None] & (jnp.arange(slices) < count)[:, None, None]


def _widened(mask):
    """A boolean (N, H, W) mask with all pixels within BAND_PX of it in rows and columns."""
    for axis in (1, 2):
        window = [1, 1, 1]
        window[axis] = 2 * BAND_PX + 1
        mask = jax.lax.reduce_window(mask, False, jax.lax.bitwise_or, window, (1, 1, 1), "SAME")
    return mask


def _ratio(total: float, count: float) -> float:
    return float(total / count) if count else math.nan
