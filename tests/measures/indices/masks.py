"""Masks of analytic shapes, and the truth of them."""

import numpy as np

from foanet_jax.data.study import LV_CLASSES
from foanet_jax.measures.indices.short_axis import lv_indices

PX = 0.65
SPACING = (8.0, PX, PX)
# LVQuan19's order and where each sector of 60° begins, written out a second time.
NAMES = ("is", "i", "il", "al", "a", "as")
BEGINS = (210, 150, 90, 30, 330, 270)


def measure(mask, *, classes=LV_CLASSES, spacing_mm=SPACING, septum_degrees=270.0):
    return lv_indices(mask, classes=classes, spacing_mm=spacing_mm, septum_degrees=septum_degrees)


def drawn(cavity, heart, *, pixel_mm=(PX, PX), shape=(160, 160), centre=(79.7, 80.2)):
    """(1, 1, H, W) mask from two functions of (x right, y up) in mm about the centre, both true inside."""
    rows, columns = np.indices(shape)
    x, y = (columns - centre[1]) * pixel_mm[1], (centre[0] - rows) * pixel_mm[0]
    mask = np.where(cavity(x, y), 2, np.where(heart(x, y), 1, 0))
    return mask.astype(np.uint8)[None, None]


def disc(radius, at=(0.0, 0.0)):
    return lambda x, y: (x - at[0]) ** 2 + (y - at[1]) ** 2 < radius**2


def ellipse(half_x, half_y):
    return lambda x, y: (x / half_x) ** 2 + (y / half_y) ** 2 < 1


def sector_means(radius, turn=0.0):
    """(6,) mean over each sector of a function of the angle clockwise from the top, in degrees."""
    offsets = (np.arange(600) + 0.5) / 10
    return np.array([radius(begin + turn + offsets).mean() for begin in BEGINS])


def diameters(means):
    """IS-AL, I-A, IL-AS from the mean radii of the sectors IS, I, IL, AL, A, AS."""
    return np.array([means[0] + means[3], means[1] + means[4], means[2] + means[5]])


def assert_close(measured, truth):
    """Within 2 % or 0.5 mm, whichever is more."""
    np.testing.assert_array_less(np.abs(measured - truth), np.maximum(0.02 * np.abs(truth), 0.5))


def ring(radius=20.0, wall=9.0, **options):
    return drawn(disc(radius), disc(radius + wall), **options)


def blocks(*counts):
    """(T, 2, 10, 10) with counts of voxels of classes 1, 2, … in each frame, half of them in each slice."""
    mask = np.zeros((len(counts), 2, 10, 10), np.uint8)
    for frame, of_frame in zip(mask, counts, strict=True):
        start = 0
        for index, count in enumerate(of_frame, 1):
            frame.reshape(2, 100)[:, start : start + count // 2] = index
            start += count // 2
    return mask


# Four frames of right ventricle, myocardium and cavity.
BEATING = blocks((40, 60, 80), (30, 62, 50), (20, 64, 32), (36, 60, 70))
