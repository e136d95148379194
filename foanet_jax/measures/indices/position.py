"""Where a short-axis stack lies in the patient: which way to look at it, and at which end the base is.

The names of the walls hold for a heart seen from the apex. An image whose rows or columns are stored in the opposite
order shows the heart in a mirror, with anterior and inferior wall exchanged. The pixels do not show this; the affine
does.
"""

import dataclasses
import itertools

import numpy as np

from foanet_jax.data.long_axis import FARTHEST_DEGREES, TO_APEX_RAS, degrees_between
from foanet_jax.image.boxes import Box

# Directions in RAS+ world axes.
_TO_BASE = -TO_APEX_RAS
# The right ventricle lies to the right of the left one and in front of it.
_TO_RIGHT_VENTRICLE = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
# A real short axis is oblique to all axes of the body. Axes within 5° of those of the body are a placeholder, as in
# ACDC, or another view.
_ALIGNED = np.cos(np.deg2rad(5))


@dataclasses.dataclass(frozen=True)
class View:
    """How to look at a stored stack so that it is seen from the apex, with the right ventricle's side on the left.

    Attributes:
        transposed: rows and columns are exchanged, before the next two steps.
        rows_reversed: the last row is on top.
        columns_reversed: the last column is on the left.
        base_first: the first slice is nearer to the base than the last one.
    """

    transposed: bool
    rows_reversed: bool
    columns_reversed: bool
    base_first: bool

    def planes(self, array: np.ndarray) -> np.ndarray:
        """Returns an (…, H, W) array as it is seen, (…, W, H) if transposed. The order of slices and frames stays."""
        seen = np.swapaxes(array, -2, -1) if self.transposed else array
        return seen[..., :: -1 if self.rows_reversed else 1, :: -1 if self.columns_reversed else 1]

    def spacing(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Returns the distances between slices, rows and columns as they are seen."""
        slice_mm, row_mm, column_mm = spacing_mm
        return (slice_mm, column_mm, row_mm) if self.transposed else (slice_mm, row_mm, column_mm)

    def box(self, box: Box, shape: tuple[int, int]) -> Box:
        """Returns a box of an image of `shape` rows and columns as it is seen."""
        (top, bottom), (left, right) = (box.top, box.bottom), (box.left, box.right)
        rows, columns = shape
        if self.transposed:
            (top, bottom), (left, right), (rows, columns) = (left, right), (top, bottom), (columns, rows)
        if self.rows_reversed:
            top, bottom = rows - bottom, rows - top
        if self.columns_reversed:
            left, right = columns - right, columns - left
        return Box(top, left, bottom, right)

    def describe(self) -> str:
        """Describes for the reader how the stored images were turned and mirrored."""
        done = [
            said
            for said, is_done in (
                ("rows and columns exchanged", self.transposed),
                ("top and bottom exchanged", self.rows_reversed),
                ("left and right exchanged", self.columns_reversed),
            )
            if is_done
        ]
        return f"from the apex ({', '.join(done) or 'as stored'})"


def find_view(affine: np.ndarray | None) -> View | None:
    """Finds the view from the apex of a short-axis stack.

    Args:
        affine: (4, 4) from (column, row, slice) indices to RAS+ world mm; None if it is not known.

    Returns:
        The view; None if the affine does not determine it, because its axes are those of the body, or because the
        plane is not a short axis.
    """
    if affine is None:
        return None
    axes = np.asarray(affine, float)[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    if (np.abs(axes).max(0) > _ALIGNED).all():
        return None
    normal = np.cross(axes[:, 0], axes[:, 1])
    if degrees_between(normal, _TO_BASE) > FARTHEST_DEGREES:
        return None
    found = []
    for transposed, rows_reversed, columns_reversed in itertools.product((False, True), repeat=3):
        right, down = (axes[:, 1], axes[:, 0]) if transposed else (axes[:, 0], axes[:, 1])
        right, down = -right if columns_reversed else right, -down if rows_reversed else down
        # In the view from the apex, right × down points to the base.
        if np.cross(right, down) @ _TO_BASE > 0:
            view = View(transposed, rows_reversed, columns_reversed, bool(axes[:, 2] @ _TO_BASE < 0))
            found.append((float(right @ -_TO_RIGHT_VENTRICLE), view))
    return max(found, key=lambda pair: pair[0])[1]


def contradicts(view: View, septum_degrees: np.ndarray, cavity_area_mm2: np.ndarray) -> bool:
    """Whether a mask shows the heart in a position that the affine excludes.

    Args:
        view: the view that the affine determines.
        septum_degrees: (Z,) direction of the septum in this view, clockwise from the top; NaN if it is unknown.
        cavity_area_mm2: (T, Z) areas of the cavity.

    Returns:
        True if the right ventricle is on the right side of the image, or if the basal half of the slices has less than
        half as much cavity as the apical half.
    """
    angles = np.deg2rad(septum_degrees[np.isfinite(septum_degrees)])
    areas = np.trim_zeros(np.asarray(cavity_area_mm2, float).sum(0))
    half = len(areas) // 2
    first, last = areas[:half].sum(), areas[len(areas) - half :].sum()
    base, apex = (first, last) if view.base_first else (last, first)
    return bool(np.sin(angles).sum() > 0 or base < apex / 2)
