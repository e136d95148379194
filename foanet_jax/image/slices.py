"""Slices of a stack without contrast, and slices with another brightness than their neighbours."""

import numpy as np

# In the 100 patients of ACDC, the spans of neighbouring slices differ by a factor of at most 1.42. A quarter more is
# allowed.
JUMP = 1.75
# Slices that are closer than this are from one 3D acquisition, in which all slices have the same brightness.
THINNEST_MM = 3.0
# A slice whose range is less than this share of the typical range of the stack shows only noise.
LEAST_SHARE = 0.02


def blank_planes(voxels: np.ndarray) -> np.ndarray:
    """Finds the images without contrast, (T, Z) bool.

    An image has no contrast if all its pixels are equal, or if their range is less than LEAST_SHARE of the median range
    of the images in the study.

    Args:
        voxels: (T, Z, H, W).
    """
    ranges = np.ptp(voxels, axis=(2, 3))
    return (ranges == 0) | (ranges < LEAST_SHARE * np.median(ranges))


def levels(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 5th percentile of each slice over all frames, and the span from it to the 95th percentile.

    Both arrays are (Z,). Only every second row and column is used.
    """
    planes = np.moveaxis(voxels[:, :, ::2, ::2], 1, 0).reshape(voxels.shape[1], -1)
    low, high = np.percentile(planes, [5, 95], axis=1)
    return low, high - low


def jumps(voxels: np.ndarray, slice_mm: float) -> np.ndarray:
    """Returns the brightness of each slice relative to the median slice, (Z,), if it changes abruptly between slices.

    All factors are 1 if the spans of neighbouring slices differ by a factor of at most JUMP, or if slices are closer
    than THINNEST_MM. Slices without contrast are ignored; their factor is 1.

    Args:
        voxels: (T, Z, H, W).
        slice_mm: distance between slices in mm.
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
    """Scales and shifts each slice so that its 5th and 95th percentiles are those of the median slice.

    Args:
        voxels: (T, Z, H, W).
        factors: from `jumps`. If all are 1, the voxels are not changed.

    Returns:
        (T, Z, H, W) float32.
    """
    if (factors == 1).all():
        return voxels
    low, _ = levels(voxels)
    shape = (1, -1, 1, 1)
    scaled = (voxels - low.reshape(shape)) / factors.reshape(shape) + np.median(low)
    return scaled.astype(np.float32)
