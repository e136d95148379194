"""The border of a mask along the edges of its pixels, as SVG paths: what is drawn is exactly what was measured."""

import itertools
from collections.abc import Iterator

import numpy as np

Loop = list[tuple[int, int]]


def borders(part: np.ndarray) -> list[Loop]:
    """Returns the closed lines around the pixels of a mask.

    Each line runs along edges of pixels and has the mask on its right. The area inside outer lines less that inside
    holes is the number of pixels. Pixels that touch only at a corner are apart if they lie like a backslash, and
    together if they lie like a slash; the area is the same.

    Args:
        part: (H, W) bool.

    Returns:
        The corners (x, y) of each line in px. Pixel (row, column) covers x from column to column + 1 and y from row to
        row + 1.
    """
    padded = np.pad(np.asarray(part, bool), 1)
    # The four pixels around a grid point. A line turns there if one or three of them belong to the mask, and two lines
    # meet if two opposite ones do.
    square = padded[:-1, :-1].astype(np.uint8) + 2 * padded[:-1, 1:] + 4 * padded[1:, :-1] + 8 * padded[1:, 1:]
    turns = _TURNS[square]
    rows, columns = np.nonzero(turns)
    repeated = turns[rows, columns]
    y, x = np.repeat(rows, repeated).tolist(), np.repeat(columns, repeated).tolist()
    # Along a row, every second corner ends the horizontal line that its predecessor starts. Along a column as well.
    across = np.lexsort((y, x)).tolist()
    vertical = [0] * len(x)
    for first, second in zip(across[::2], across[1::2], strict=True):
        vertical[first], vertical[second] = second, first
    loops: list[Loop] = []
    seen = [False] * len(x)
    for start in range(0, len(x), 2):
        if seen[start]:
            continue
        # From the left end to the right end if the mask is below, so that it lies on the right.
        at = start if padded[y[start] + 1, x[start] + 1] else start + 1
        loop: Loop = []
        while not seen[at]:
            end = at ^ 1
            seen[at] = seen[end] = True
            loop += [(x[at], y[at]), (x[end], y[end])]
            at = vertical[end]
        loops.append(loop)
    return loops


def svg_path(part: np.ndarray) -> str:
    """Returns the borders of a mask as the path of an SVG, in px; "" for an empty mask.

    Args:
        part: (H, W) bool.
    """
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if not rows.size:
        return ""
    # Only the region of the mask is searched, which is often a hundredth of the image.
    top, left = int(rows[0]), int(columns[0])
    loops = borders(part[top : rows[-1] + 1, left : columns[-1] + 1])
    return "".join(piece for loop in loops for piece in _drawn(loop, top, left))


def _drawn(loop: Loop, top: int, left: int) -> Iterator[str]:
    # Lengths along the axes, one after the other: the shortest way to write such a line.
    yield f"M{left + loop[0][0]} {top + loop[0][1]}"
    for number, ((x, y), (next_x, next_y)) in enumerate(itertools.pairwise(loop)):
        yield f"v{next_y - y}" if number % 2 else f"h{next_x - x}"
    yield "z"


# By the four pixels around a grid point, as in `borders`: the number of corners there.
_TURNS = np.array([0, 1, 1, 0, 1, 0, 2, 1, 1, 2, 0, 1, 0, 1, 1, 0])
