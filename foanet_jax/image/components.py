"""The greatest connected component (Sec. III-C)."""

import numpy as np
from scipy import ndimage


def greatest_component(mask: np.ndarray) -> np.ndarray:
    """The greatest face-connected component of a boolean (Z, H, W) or (H, W) mask; of equal ones, the first."""
    components, count = ndimage.label(mask)
    if count <= 1:
        return mask.astype(bool)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def keep_greatest(labels: np.ndarray) -> np.ndarray:
    """Labels (T, Z, H, W) with foreground outside the greatest component set to background.

    All classes together are one object; each time frame's (Z, H, W) volume is filtered by itself, so that a
    cine is filtered in 2D per frame and a volume in 3D.
    """
    kept = np.stack([greatest_component(frame > 0) for frame in labels])
    return np.where(kept, labels, 0).astype(labels.dtype)
