"""Functions that draw on one image: grey values, filled masks, contours and boxes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from foanet_jax.image.boxes import Box


def show_grey(axes: Axes, image: np.ndarray, low: float, high: float) -> None:
    """Draws an (H, W) image, black at `low` and white at `high`."""
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", aspect="auto")


def fill(axes: Axes, mask: np.ndarray, colour: str, alpha: float) -> None:
    """Colours the pixels of an (H, W) mask."""
    if mask.any():
        rgba = np.zeros((*mask.shape, 4), np.uint8)
        rgba[mask] = np.round(255 * np.array([*to_rgb(colour), alpha]))
        axes.imshow(rgba, interpolation="nearest", aspect="auto")


def outline(axes: Axes, mask: np.ndarray, colour: str, width: float, style: Any) -> None:
    """Draws the contour of an (H, W) mask."""
    if mask.any():
        # Padding closes the line where the mask touches the border of the image.
        padded = np.pad(mask.astype(float), 1)
        rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
        axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linewidths=width, linestyles=[style])


def outline_box(
    axes: Axes, box: Box, colour: str, style: str, *, origin: tuple[int, int] = (0, 0), width: float = 1.6
) -> None:
    """Draws a box around its pixels; `origin` is the (row, column) of the first pixel of the axes."""
    axes.add_patch(
        Rectangle(
            (box.left - origin[1] - 0.5, box.top - origin[0] - 0.5),
            box.shape[1],
            box.shape[0],
            fill=False,
            edgecolor=colour,
            linewidth=width,
            linestyle=style,
        )
    )


def limit(axes: Axes, shape: tuple[int, ...]) -> None:
    """Sets the limits of the axes to an image of this shape, whatever else was drawn."""
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
