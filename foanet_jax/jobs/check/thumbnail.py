"""Thumbnails of studies."""

import numpy as np
from matplotlib.colors import to_rgb
from scipy import ndimage

from foanet_jax.data.study import Study
from foanet_jax.image.window import intensity_window
from foanet_jax.pages.drawing.style import class_colours

THUMBNAIL_PX = 240
THUMBNAIL_MM = 160.0


def thumbnail_of(study: Study) -> np.ndarray:
    """Draws the middle one of the labelled slices of a study, with filled and outlined classes.

    Returns:
        (THUMBNAIL_PX, THUMBNAIL_PX, 3) uint8.
    """
    _, slices, height, width = study.voxels.shape
    labels = study.labels if study.labels is not None else np.zeros(study.voxels.shape, np.uint8)
    with_labels = np.argwhere(labels.any(axis=(2, 3)))
    if len(with_labels):
        frame = int(with_labels[0][0])
        of_frame = with_labels[with_labels[:, 0] == frame][:, 1]
        z = int(of_frame[len(of_frame) // 2])
        inside = np.argwhere(labels[frame, z])
        centre = (inside.min(axis=0) + inside.max(axis=0)) / 2
    else:
        frame, z, centre = 0, slices // 2, np.array([height - 1, width - 1]) / 2
    image, mask = study.voxels[frame, z], labels[frame, z]
    offsets = (np.arange(THUMBNAIL_PX) + 0.5 - THUMBNAIL_PX / 2) * THUMBNAIL_MM / THUMBNAIL_PX
    grid = np.meshgrid(*(centre[axis] + offsets / study.spacing_mm[1 + axis] for axis in (0, 1)), indexing="ij")
    low, high = intensity_window(image)
    grey = np.clip((ndimage.map_coordinates(image, grid, order=1, mode="nearest") - low) / (high - low), 0, 1)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    for index, colour in enumerate(class_colours(study.classes).values(), start=1):
        part = ndimage.map_coordinates((mask == index).astype(np.float32), grid, order=1) > 0.5
        ink = np.array(to_rgb(colour))
        rgb[part] = 0.7 * rgb[part] + 0.3 * ink
        rgb[part & ~ndimage.binary_erosion(part, iterations=2)] = ink
    for axis, size in enumerate((height, width)):
        rgb[(grid[axis] < -0.5) | (grid[axis] > size - 0.5)] = to_rgb("#1d2329")
    return np.round(255 * rgb).astype(np.uint8)
