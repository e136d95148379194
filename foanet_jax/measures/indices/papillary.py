"""Papillary muscles and trabeculae, by their intensity in the cavity."""

from collections.abc import Sequence

import numpy as np

from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, index_of, require_mask, require_spacing
from foanet_jax.system.errors import InputError

# The volumes of a study have this key beside the classes, if papillary muscles were moved to the myocardium.
PAPILLARY = "papillary muscles"
# A slice needs this many pixels of blood and of muscle for a threshold between them.
FEWEST_PIXELS = 10
_BINS = 256


def papillary_mask(voxels: np.ndarray, mask: np.ndarray, *, classes: Sequence[str]) -> np.ndarray:
    """Returns the dark pixels of the cavity: papillary muscles and trabeculae that the mask counts to it.

    In each slice, Otsu's threshold separates blood from muscle, over all pixels of cavity and myocardium. A slice with
    fewer than FEWEST_PIXELS of either has none. In balanced steady-state cines blood is brighter than muscle.

    Args:
        voxels: (T, Z, H, W) image.
        mask: (T, Z, H, W) class indices of the same shape.
        classes: names by index, with myocardium, and cavity or left ventricle.

    Returns:
        (T, Z, H, W) bool.

    Raises:
        InputError: "papillary" if in most slices the cavity is not brighter than the myocardium; or the mask and the
            image are of different shape, or the classes have no myocardium.
    """
    mask = require_mask(mask, classes)
    if voxels.shape != mask.shape:
        raise InputError("shape-mismatch", f"image {voxels.shape}, mask {mask.shape}; pass the mask of this image")
    cavity, wall = mask == index_of(classes, LV_CAVITY), mask == index_of(classes, [MYOCARDIUM])
    found = np.zeros(mask.shape, bool)
    brighter = []
    for place in np.ndindex(mask.shape[:2]):
        blood, muscle = voxels[place][cavity[place]], voxels[place][wall[place]]
        if min(len(blood), len(muscle)) < FEWEST_PIXELS:
            continue
        brighter.append(np.median(blood) > np.median(muscle))
        if brighter[-1]:
            threshold = otsu_threshold(np.concatenate([blood, muscle]))
            found[place] = cavity[place] & (voxels[place] <= threshold)
    if brighter and 2 * sum(brighter) <= len(brighter):
        raise InputError(
            "papillary",
            "the cavity is not brighter than the myocardium, so papillary muscles cannot be told from blood; leave out "
            "--papillary=myocardium",
        )
    return found


def otsu_threshold(values: np.ndarray) -> float:
    """Returns the threshold with the largest variance between the values up to it and those above it.

    (Otsu, IEEE Trans Syst Man Cybern 9:62–66, 1979.) The values are counted in 256 bins of equal width between the
    smallest and the largest; the threshold is the centre of a bin.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    total = np.cumsum(counts * centres)
    mean_below, mean_above = total[:-1] / below, (total[-1] - total[:-1]) / above
    return float(centres[:-1][np.argmax(below * above * (mean_below - mean_above) ** 2)])


def papillary_volumes_ml(
    voxels: np.ndarray, mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]
) -> np.ndarray:
    """Returns the volume of `papillary_mask` in each frame, (T,) ml.

    Args:
        voxels, mask, classes: see `papillary_mask`.
        spacing_mm: distances between slices, rows and columns.

    Raises:
        InputError: as for `papillary_mask`, or the spacing is not valid.
    """
    voxel_ml = float(np.prod(require_spacing(spacing_mm))) / 1000
    return papillary_mask(voxels, mask, classes=classes).sum(axis=(1, 2, 3)) * voxel_ml
