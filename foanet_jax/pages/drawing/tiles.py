"""Slices of several patients or rows as tiles of one size: cut to the heart, with masks, difference and boxes."""

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
    """The plane cut to a window that is square in mm, so that planes of all patients fill equal tiles.

    Args:
        plane: a slice.
        box: what the window is centred on, as far as it stays in the image.
        scale: the window's side over the longer side of the box; at most the image's longer side.

    Returns:
        A plane with image, masks and boxes cut, black where the image ends; its neighbours are left out.
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
    """The first pixel of a window of some length around a centre: inside the image, or around all of it."""
    if length >= size:
        return -((length - size) // 2)
    return min(max(round(centre - (length - 1) / 2), 0), size - length)


def show_image(axes: Axes, plane: Plane) -> None:
    """Draws the image alone."""
    show_grey(axes, plane.image, 0, 255)
    limit(axes, plane.image.shape)


def show_boxes(axes: Axes, plane: Plane) -> None:
    """Adds the object's box, blue, and the box with its margin, red and dotted (Fig. 8a)."""
    if plane.object_box is not None:
        outline_box(axes, plane.object_box, BOX_COLOUR, "solid")
    outline_box(axes, plane.box, MARGIN_COLOUR, "dotted")
    limit(axes, plane.image.shape)


def show_mask(axes: Axes, plane: Plane, mask: np.ndarray, colours: Mapping[str, str]) -> None:
    """Draws the image with a mask's classes filled and outlined."""
    show_grey(axes, plane.image, 0, 255)
    for index, name in enumerate(plane.classes[1:], start=1):
        fill(axes, mask == index, colours[name], 0.30)
        outline(axes, mask == index, colours[name], 1.3, "solid")
    limit(axes, plane.image.shape)


def show_prediction(axes: Axes, plane: Plane, colours: Mapping[str, str]) -> None:
    """Draws the image with the prediction filled and outlined, and the truth dashed."""
    show_mask(axes, plane, plane.prediction, colours)
    for index in range(1, len(plane.classes)):
        outline(axes, plane.truth == index, TRUTH_COLOUR, 0.8, _TRUTH_DASHES)
    limit(axes, plane.image.shape)


def show_difference(axes: Axes, plane: Plane, colours: Mapping[str, str]) -> None:
    """Draws the image with the classes where both agree, and yellow where they do not (Fig. 8b)."""
    show_grey(axes, plane.image, 0, 255)
    for index, name in enumerate(plane.classes[1:], start=1):
        fill(axes, (plane.prediction == index) & (plane.truth == index), colours[name], 0.30)
    fill(axes, plane.prediction != plane.truth, DIFFERENCE_COLOUR, 1.0)
    limit(axes, plane.image.shape)


def plane_dice(plane: Plane, class_name: str) -> float | None:
    """The Dice of one class on this slice alone; None where neither mask has it."""
    index = plane.classes.index(class_name)
    prediction, truth = plane.prediction == index, plane.truth == index
    return dice(prediction, truth) if prediction.any() or truth.any() else None


def dice_text(plane: Plane, class_name: str) -> str:
    """`plane_dice` as tiles have it."""
    value = plane_dice(plane, class_name)
    return "–" if value is None else f"{value:.2f}"


def where(plane: Plane, planes: Sequence[Plane]) -> str:
    """Which frame and slice, counted from 1, as far as the planes differ in them."""
    parts = []
    if any(other.frame for other in planes):
        parts.append(f"t {plane.frame + 1}")
    if any(other.slice_ for other in planes):
        parts.append(f"z {plane.slice_ + 1}")
    return " · ".join(parts)


def class_handles(colours: Mapping[str, str]) -> list[Any]:
    """Legend of the classes."""
    return [
        Patch(facecolor=(*to_rgb(colour), 0.35), edgecolor=colour, linewidth=1.5, label=name)
        for name, colour in colours.items()
    ]


def truth_handle() -> Any:
    """Legend of the dashed truth."""
    return Line2D([], [], color=TRUTH_COLOUR, linewidth=1.1, linestyle=_TRUTH_DASHES, label="truth")


def difference_handle() -> Any:
    """Legend of the yellow difference."""
    return Patch(facecolor=DIFFERENCE_COLOUR, label="difference")


def box_handles() -> list[Any]:
    """Legend of the two boxes."""
    return [
        Line2D([], [], color=BOX_COLOUR, linewidth=1.6, label="localization box"),
        Line2D([], [], color=MARGIN_COLOUR, linewidth=1.6, linestyle="dotted", label="with margin"),
    ]
