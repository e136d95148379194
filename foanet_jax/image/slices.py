"""Slices of a stack that have no contrast, or another brightness than the slices beside them."""

import numpy as np

# Spans of neighbouring slices differ by a factor of 1.42 at most in ACDC's 100 patients; a quarter more is allowed.
JUMP = 1.75
# Slices closer than this come from one three-dimensional acquisition, which has one brightness.
THINNEST_MM = 3.0
# A slice with less than this share of the stack's typical span shows nothing but noise.
LEAST_SHARE = 0.02


def blank_planes(voxels: np.ndarray) -> np.ndarray:
    """(T, Z) bool: which images have no contrast.

    An image has none where all its pixels are equal, or where they span less than LEAST_SHARE of what the images of
    the study span typically.

    Args:
        voxels: (T, Z, H, W).
    """
    ranges = np.ptp(voxels, axis=(2, 3))
    return (ranges == 0) | (ranges < LEAST_SHARE * np.median(ranges))


def levels(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 5th percentile of each slice over all frames, and the span from there to the 95th: two arrays (Z,).

    Every second row and column is looked at.
    """
    planes = np.moveaxis(voxels[:, :, ::2, ::2], 1, 0).reshape(voxels.shape[1], -1)
    low, high = np.percentile(planes, [5, 95], axis=1)
    return low, high - low


def jumps(voxels: np.ndarray, slice_mm: float) -> np.ndarray:
    """(Z,) factor by which each slice is brighter (> 1) or darker than the median of the slices, where they jump.

    All ones where the spans of neighbouring slices agree up to a factor of JUMP, and where the slices are thinner than
    THINNEST_MM. Slices without contrast are left out, and are 1.

    Args:
        voxels: (T, Z, H, W).
        slice_mm: distance from slice to slice.
    """
    factors = np.ones(voxels.shape[1])
    shown = ~blank_planes(voxels).all(axis=0)
    if slice_mm < THINNEST_MM or shown.sum() < 2:
        return factors
    _, span = levels(voxels[:, shown])
    if (span <= 0).any() or np.abs(np.diff(np.log(span))).max() <= np.log(JUMP):
        return factors
    factors[shown] = span / np.median(span)
    return factors


def with_even_brightness(voxels: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The voxels with each slice scaled and shifted so that its 5th and 95th percentiles are the median slice's.

    Args:
        voxels: (T, Z, H, W).
        factors: of `jumps`; slices of all-ones factors stay as they are.

    Returns:
        (T, Z, H, W) float32.
    """
    if (factors == 1).all():
        return voxels
    low, _ = levels(voxels)
    shape = (1, -1, 1, 1)
    scaled = (voxels - low.reshape(shape)) / factors.reshape(shape) + np.median(low)
    return scaled.astype(np.float32)
