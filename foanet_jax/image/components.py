"""The largest connected component of a mask (Sec. III-C)."""

import numpy as np
from scipy import ndimage


def greatest_component(mask: np.ndarray) -> np.ndarray:
    """Returns the largest face-connected component of a boolean (Z, H, W) or (H, W) mask.

    If several components have the same size, the first one in C order is returned.
    """
    components, count = ndimage.label(mask)
    if count <= 1:
        return mask.astype(bool)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def keep_greatest(labels: np.ndarray) -> np.ndarray:
    """Sets foreground outside the largest component to background (Sec. III-C).

    All foreground classes together count as one object. Each time frame is filtered separately, as a (Z, H, W) volume.
    Therefore a single-slice cine is filtered in 2D, and a stack in 3D.

    Args:
        labels: (T, Z, H, W).

    Returns:
        Labels of the same shape and dtype.
    """
    kept = np.stack([greatest_component(frame > 0) for frame in labels])
    return np.where(kept, labels, 0).astype(labels.dtype)
