"""Grey values of a picture."""

import numpy as np


def intensity_window(voxels: np.ndarray) -> tuple[float, float]:
    """The grey values that become black and white: all but the outermost percent, never equal."""
    low, high = np.percentile(voxels, [1, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0
