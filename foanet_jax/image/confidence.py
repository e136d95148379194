"""Confidence of a segmentation, computed on the device from the network's class probabilities."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

BAND_PX = 2  # width of the band on each side of an outline, in px of the network's grid


@dataclasses.dataclass(frozen=True)
class Confidence:
    """Summary of the segmentation network's probabilities over a study.

    These are not calibrated probabilities: neural networks are usually overconfident.

    The values always come from the original image, also with test-time augmentation. There are two reasons: the mean
    over rotated images is more accurate but less certain, and the calibration was fitted to values of the original
    image. For an ensemble, the probabilities of the networks are averaged.

    Attributes:
        classes: for each foreground class, its mean probability over the pixels where it is the most probable class;
            NaN if there are none.
        foreground: the same over all foreground classes together; NaN if there is no foreground.
        border_entropy: mean entropy within BAND_PX of the outline of the foreground, divided by its largest possible
            value. 0: the network is certain; 1: all classes are equally probable; NaN: there is no outline.
        soft_dice: for each foreground class, the Dice that the probabilities themselves expect of the mask: twice the
            probability inside the class, divided by the probability in the whole box plus the pixels of the class. 0 if
            no pixel has the class.
        agreement: mean Dice of the foreground over all pairs of views. A view is one network of an ensemble or one
            rotated image of test-time augmentation. NaN if no view has foreground, None if there is only one view.
    """

    classes: Mapping[str, float]
    foreground: float
    border_entropy: float
    soft_dice: Mapping[str, float] = dataclasses.field(default_factory=dict)
    agreement: float | None = None


def confidence_of(
    tallies: Iterable[np.ndarray], classes: Sequence[str], overlaps: Iterable[np.ndarray] = ()
) -> Confidence:
    """Combines the results of `tally` and `overlap` on all parts of a study.

    Args:
        tallies: results of `tally`, one per part.
        classes: class names by index, background first.
        overlaps: results of `overlap`, one per part; empty if there is only one view.
    """
    sums, counts, masses = np.sum([np.asarray(part, np.float64) for part in tallies], axis=0)
    means = [_ratio(total, count) for total, count in zip(sums, counts, strict=True)]
    return Confidence(
        classes=dict(zip(classes[1:], means[1:-1], strict=True)),
        foreground=_ratio(sums[1:-1].sum(), counts[1:-1].sum()),
        border_entropy=means[-1],
        soft_dice={
            name: _ratio(2 * sums[index], masses[index] + counts[index]) if counts[index] else 0.0
            for index, name in enumerate(classes[1:], start=1)
        },
        agreement=_agreement(overlaps),
    )


@jax.jit
def tally(maps, extent, count):
    """Sums probabilities and entropy over some slices; `confidence_of` computes means from these sums.

    Args:
        maps: (N, H, W, C) probabilities.
        extent: (rows, columns) of the grid that belong to the images; the rest is padding.
        count: number of slices that belong to the study; the rest is padding.

    Returns:
        (3, C + 1). Row 0 has, for each class, the sum of its probability over the pixels where it is the most probable
        class. Its last entry is the sum of the entropy within the band. Row 1 has the numbers of these pixels. Row 2
        has, for each class, the sum of its probability over all pixels; its last entry is 0.
    """
    classes = maps.shape[-1]
    inside = _inside(maps.shape[:3], extent, count)
    labels = jnp.argmax(maps, axis=-1)
    chosen = (labels[..., None] == jnp.arange(classes)) & inside[..., None]
    foreground = (labels > 0) & inside
    # The image border is not an outline of the mask: the pixels beyond it are unknown, not background.
    band = _widened(foreground) & _widened(~foreground & inside) & inside
    entropy = -xlogy(maps, maps).sum(-1) / math.log(classes)
    sums = jnp.sum(maps, axis=(0, 1, 2), where=chosen)
    counts = jnp.sum(chosen, axis=(0, 1, 2), dtype=jnp.float32)
    masses = jnp.sum(maps, axis=(0, 1, 2), where=inside[..., None])
    last = jnp.stack([jnp.sum(entropy, where=band), jnp.sum(band, dtype=jnp.float32), jnp.float32(0)])
    return jnp.concatenate([jnp.stack([sums, counts, masses]), last[:, None]], axis=1)


@jax.jit
def overlap(views, extent, count):
    """Counts the foreground pixels that each pair of views has in common.

    Args:
        views: V probability maps (N, H, W, C) of the same slices.
        extent, count: as for `tally`.

    Returns:
        (V, V) numbers of pixels. The diagonal has the number of foreground pixels of each view.
    """
    foreground = jnp.stack([jnp.argmax(maps, axis=-1) > 0 for maps in views])
    foreground &= _inside(foreground.shape[1:], extent, count)
    pixels = foreground.reshape(len(views), -1).astype(jnp.float32)
    return pixels @ pixels.T  # exact: float32 holds integers below 2²⁴ exactly


def _agreement(overlaps: Iterable[np.ndarray]) -> float | None:
    """Returns the mean Dice over all pairs of views, from the numbers of pixels that they have in common."""
    parts = [np.asarray(part, np.float64) for part in overlaps]
    if not parts:
        return None
    common = sum(parts[1:], parts[0])
    sizes = np.diagonal(common)
    pairs = list(itertools.combinations(range(len(common)), 2))
    dice = [_ratio(2 * common[i, j], sizes[i] + sizes[j]) for i, j in pairs if sizes[i] + sizes[j]]
    return _ratio(sum(dice), len(dice))


def _inside(shape: Sequence[int], extent, count):
    """Returns the mask of the pixels of (N, H, W) that are not padding."""
    slices, height, width = shape
    inside = (jnp.arange(height)[:, None] < extent[0]) & (jnp.arange(width)[None, :] < extent[1])
    return inside[None] & (jnp.arange(slices) < count)[:, None, None]


def _widened(mask):
    """Dilates a boolean (N, H, W) mask by BAND_PX along rows and columns."""
    for axis in (1, 2):
        window = [1, 1, 1]
        window[axis] = 2 * BAND_PX + 1
        mask = jax.lax.reduce_window(mask, False, jax.lax.bitwise_or, window, (1, 1, 1), "SAME")
    return mask


def _ratio(total: float, count: float) -> float:
    return float(total / count) if count else math.nan
