"""Bounding boxes: per slice, their union over the volume, margin, cropping and pasting (Sec. II-B, III-C, III-F)."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle of pixels, half-open: rows top ≤ a < bottom, columns left ≤ b < right."""

    top: int
    left: int
    bottom: int
    right: int

    def __post_init__(self):
        if self.top >= self.bottom or self.left >= self.right:
            raise ValueError(f"box {dataclasses.astuple(self)} (top, left, bottom, right) is empty")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, in px."""
        return self.bottom - self.top, self.right - self.left

    @property
    def centre(self) -> tuple[float, float]:
        """(a*, b*) of Eq. 5: the centre in pixel coordinates, where pixel centres have integer coordinates."""
        return (self.top + self.bottom - 1) / 2, (self.left + self.right - 1) / 2

    @property
    def slices(self) -> tuple[slice, slice]:
        """The slices that index the box in the last two axes of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def widen(self, margin: int, shape: tuple[int, int]) -> "Box":
        """Returns the box with `margin` px added on each side, clipped to an image of `shape` rows and columns."""
        return Box(
            max(0, self.top - margin),
            max(0, self.left - margin),
            min(shape[0], self.bottom + margin),
            min(shape[1], self.right + margin),
        )

    def overlap(self, other: "Box") -> float:
        """Returns the intersection over union with another box: 0 if they are disjoint, 1 if they are equal."""
        rows = max(0, min(self.bottom, other.bottom) - max(self.top, other.top))
        columns = max(0, min(self.right, other.right) - max(self.left, other.left))
        both = rows * columns
        return both / (self.shape[0] * self.shape[1] + other.shape[0] * other.shape[1] - both)

    def touches_border(self, shape: tuple[int, int]) -> bool:
        """Returns whether a side of the box lies on the border of an image of `shape` rows and columns."""
        return self.top == 0 or self.left == 0 or self.bottom == shape[0] or self.right == shape[1]


def whole_image(shape: tuple[int, int]) -> Box:
    """Returns the box of a whole image of `shape` rows and columns."""
    return Box(0, 0, shape[0], shape[1])


def bounding_box(mask: np.ndarray) -> Box | None:
    """Returns the smallest box around the true pixels of an (H, W) mask; None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def union_box(boxes) -> Box | None:
    """Returns the smallest box that contains all boxes (Fig. 8a).

    Args:
        boxes: boxes, or None for slices without an object.

    Returns:
        None if there is no box among them.
    """
    found = [box for box in boxes if box is not None]
    if not found:
        return None
    return Box(
        min(box.top for box in found),
        min(box.left for box in found),
        max(box.bottom for box in found),
        max(box.right for box in found),
    )


def slice_boxes(mask: np.ndarray) -> list[Box | None]:
    """Returns a bounding box for each slice of an (…, H, W) mask, in C order; None for a slice without true pixels."""
    return [bounding_box(plane) for plane in mask.reshape(-1, *mask.shape[-2:])]


def crop(array: np.ndarray, box: Box) -> np.ndarray:
    """Returns the part of an (…, H, W) array inside the box, on the study's own grid.

    Pictures and tests use it. The crop for Net.2 comes from `prepare.prepare`, which cuts and resizes in one
    interpolation.
    """
    return array[(..., *box.slices)]


def paste(array: np.ndarray, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """Puts an (…, h, w) crop back at its box in an array of zeros. This is the zero padding of Sec. III-C.

    Args:
        array: the crop.
        box: the box of the crop; its shape must be (h, w).
        shape: (H, W) of the whole image.

    Returns:
        (…, H, W).
    """
    if array.shape[-2:] != box.shape:
        raise ValueError(f"the array has {array.shape[-2:]} px, but its box has {box.shape} px; they must be equal")
    whole = np.zeros((*array.shape[:-2], *shape), array.dtype)
    whole[(..., *box.slices)] = array
    return whole
