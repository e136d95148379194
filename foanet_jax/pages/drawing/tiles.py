"""Slices of several patients or rows as tiles of the same size, with masks, differences and boxes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from foanet_jax.image.boxes import Box
from foanet_jax.measures.metrics import dice
from foanet_jax.pages.drawing.marks import fill, limit, outline, outline_box, show_grey
from foanet_jax.pages.drawing.style import BOX_COLOUR, DIFFERENCE_COLOUR, MARGIN_COLOUR, TRUTH_COLOUR
from foanet_jax.pages.gallery import Plane

_TRUTH_DASHES = (0, (3, 2))


def zoomed(plane: Plane, box: Box, scale: float) -> Plane:
    """Cuts a plane to a window that is square in mm, so that the planes of all patients fill equal tiles.

    Args:
        plane: a slice.
        box: the centre of the window, as far as the window stays inside the image.
        scale: the side of the window divided by the longer side of the box. The window has at most the longer side of
            the image.

    Returns:
        A plane with image, masks and boxes cut. It is black outside the image, and it has no neighbouring images.
    """
    shape, spacing = plane.image.shape, plane.spacing_mm

    def longest_mm(sizes: tuple[int, ...]) -> float:
        return max(size * mm for size, mm in zip(sizes, spacing, strict=True))

    side_mm = min(scale * longest_mm(box.shape), longest_mm(shape))
    rows, columns = (max(1, round(side_mm / mm)) for mm in spacing)
    top = _start(box.centre[0], rows, shape[0])
    left = _start(box.centre[1], columns, shape[1])

    def cut(array: np.ndarray) -> np.ndarray:
        tile = np.zeros((rows, columns), array.dtype)
        inside = array[max(top, 0) : top + rows, max(left, 0) : left + columns]
        tile[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
        return tile

    def moved(box: Box) -> Box:
        return Box(box.top - top, box.left - left, box.bottom - top, box.right - left)

    return dataclasses.replace(
        plane,
        image=cut(plane.image),
        truth=cut(plane.truth),
        prediction=cut(plane.prediction),
        object_box=None if plane.object_box is None else moved(plane.object_box),
        box=moved(plane.box),
        before=None,
        after=None,
    )


def _start(centre: float, length: int, size: int) -> int:
    """Returns the first pixel of a window around a centre. The window is inside the image, or contains all of it."""
    if length >= size:
        return -((length - size) // 2)
    return min(max(round(centre - (length - 1) / 2), 0), size - length)


def show_image(axes: Axes, plane: Plane) -> None:
    """Draws only the image."""
    show_grey(axes, plane.image, 0, 255)
    limit(axes, plane.image.shape)


def show_boxes(axes: Axes, plane: Plane) -> None:
    """Adds the box of the heart (blue) and the box with its margin (red, dotted) (Fig. 8a)."""
    if plane.object_box is not None:
        outline_box(axes, plane.object_box, BOX_COLOUR, "solid")
    outline_box(axes, plane.box, MARGIN_COLOUR, "dotted")
    limit(axes, plane.image.shape)


def show_mask(axes: Axes, plane: Plane, mask: np.ndarray, colours: Mapping[str, str]) -> None:
    """Draws the image with the classes of a mask, filled and with contours."""
    show_grey(axes, plane.image, 0, 255)
    for index, name in enumerate(plane.classes[1:], start=1):
        fill(axes, mask == index, colours[name], 0.30)
        outline(axes, mask == index, colours[name], 1.3, "solid")
    limit(axes, plane.image.shape)


def show_prediction(axes: Axes, plane: Plane, colours: Mapping[str, str]) -> None:
    """Draws the image with the prediction, filled and with contours, and the truth as dashed contours."""
    show_mask(axes, plane, plane.prediction, colours)
    for index in range(1, len(plane.classes)):
        outline(axes, plane.truth == index, TRUTH_COLOUR, 0.8, _TRUTH_DASHES)
    limit(axes, plane.image.shape)


def show_difference(axes: Axes, plane: Plane, colours: Mapping[str, str]) -> None:
    """Draws the image with the classes where prediction and truth agree, and yellow where they differ (Fig. 8b)."""
    show_grey(axes, plane.image, 0, 255)
    for index, name in enumerate(plane.classes[1:], start=1):
        fill(axes, (plane.prediction == index) & (plane.truth == index), colours[name], 0.30)
    fill(axes, plane.prediction != plane.truth, DIFFERENCE_COLOUR, 1.0)
    limit(axes, plane.image.shape)


def plane_dice(plane: Plane, class_name: str) -> float | None:
    """Returns the Dice of one class on this slice only; None if neither mask has the class."""
    index = plane.classes.index(class_name)
    prediction, truth = plane.prediction == index, plane.truth == index
    return dice(prediction, truth) if prediction.any() or truth.any() else None


def dice_text(plane: Plane, class_name: str) -> str:
    """Returns `plane_dice` as text for a tile."""
    value = plane_dice(plane, class_name)
    return "–" if value is None else f"{value:.2f}"


def where(plane: Plane, planes: Sequence[Plane]) -> str:
    """Returns frame and slice, counted from 1, each only if the planes differ in it."""
    parts = []
    if any(other.frame for other in planes):
        parts.append(f"t {plane.frame + 1}")
    if any(other.slice_ for other in planes):
        parts.append(f"z {plane.slice_ + 1}")
    return " · ".join(parts)


def class_handles(colours: Mapping[str, str]) -> list[Any]:
    """Returns the legend of the classes."""
    return [
        Patch(facecolor=(*to_rgb(colour), 0.35), edgecolor=colour, linewidth=1.5, label=name)
        for name, colour in colours.items()
    ]


def truth_handle() -> Any:
    """Returns the legend of the dashed truth."""
    return Line2D([], [], color=TRUTH_COLOUR, linewidth=1.1, linestyle=_TRUTH_DASHES, label="truth")


def difference_handle() -> Any:
    """Returns the legend of the yellow difference."""
    return Patch(facecolor=DIFFERENCE_COLOUR, label="difference")


def box_handles() -> list[Any]:
    """Returns the legend of the two boxes."""
    return [
        Line2D([], [], color=BOX_COLOUR, linewidth=1.6, label="localization box"),
        Line2D([], [], color=MARGIN_COLOUR, linewidth=1.6, linestyle="dotted", label="with margin"),
    ]
