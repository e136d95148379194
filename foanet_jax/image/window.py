"""Intensity window for display."""

import numpy as np


def intensity_window(voxels: np.ndarray) -> tuple[float, float]:
    """Returns the intensities to display as black and white: the 1st and the 99.5th percentile, never equal."""
    low, high = np.percentile(voxels, [1, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0
