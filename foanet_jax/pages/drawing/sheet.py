"""A page of equal tiles, and the choice of the images on it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.style import DPI, INK, PAGE, QUIET_INK, WIDTH, write_text


class Sheet:
    """A dark page of equal tiles. It is laid out in pixels, so that nothing overlaps, whatever the number of tiles."""

    _MARGIN, _GAP, _DOWN, _TITLE, _CAPTION, _LEGEND_ROW, _BLOCK_GAP = 16, 12, 6, 48, 24, 26, 8

    def __init__(
        self,
        *,
        columns: int,
        block_rows: int,
        tiles_per_block: int,
        aspect: float,
        title: str,
        note: str,
        legend: list[Any],
    ):
        self.columns, self.per_block = columns, tiles_per_block
        usable = WIDTH - 2 * self._MARGIN - (columns - 1) * self._GAP
        # A single tile must not fill the screen, and tall tiles must not make the page very long.
        self.tile_width = min(usable / columns, 460.0, 460.0 / aspect)
        self.tile_height = self.tile_width * aspect
        used = columns * self.tile_width + (columns - 1) * self._GAP
        self.left = (WIDTH - used) / 2
        self.block = self._CAPTION + tiles_per_block * (self.tile_height + self._DOWN) + self._BLOCK_GAP
        legend_rows = math.ceil(len(legend) / 7)
        legend_columns = math.ceil(len(legend) / legend_rows)
        legend_height = self._LEGEND_ROW * legend_rows + 14
        self.height = round(self._TITLE + block_rows * self.block + legend_height)
        self.figure = Figure(figsize=(WIDTH / DPI, self.height / DPI), dpi=DPI, facecolor=PAGE)
        y = self.height - self._TITLE / 2
        # The note has 340 px. At this size, a letter is about 11 px wide.
        longest = 74 if note else 104
        title = title if len(title) <= longest else title[: longest - 1] + "…"
        write_text(self.figure, self._MARGIN, y, title, self.height, size=15)
        write_text(self.figure, WIDTH - self._MARGIN, y, note, self.height, size=10.5, colour=QUIET_INK, side="right")
        self.figure.legend(
            handles=legend,
            loc="center",
            bbox_to_anchor=(0.5, legend_height / 2 / self.height),
            ncols=legend_columns,
            frameon=False,
            labelcolor=INK,
            fontsize=11,
            handlelength=1.8,
            columnspacing=1.8,
        )

    def _top(self, place: tuple[int, int]) -> float:
        return self.height - self._TITLE - place[0] * self.block

    def _x(self, place: tuple[int, int]) -> float:
        return self.left + place[1] * (self.tile_width + self._GAP)

    def caption(self, place: tuple[int, int], left: str, right: str) -> None:
        """Writes text above a tile, on the left and on the right."""
        y = self._top(place) - self._CAPTION / 2
        write_text(self.figure, self._x(place) + 1, y, left, self.height, size=10.5, colour=QUIET_INK)
        right_edge = self._x(place) + self.tile_width - 1
        write_text(self.figure, right_edge, y, right, self.height, size=10.5, side="right")

    def tile(self, place: tuple[int, int], number: int) -> Axes:
        """Returns the axes of one tile of a block, without ticks."""
        y = self._top(place) - self._CAPTION - (number + 1) * self.tile_height - number * self._DOWN
        axes = self.figure.add_axes(
            (self._x(place) / WIDTH, y / self.height, self.tile_width / WIDTH, self.tile_height / self.height)
        )
        axes.set_axis_off()
        return axes

    def save(self, path: str | Path) -> None:
        """Writes the page."""
        style.save(self.figure, path)


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """Returns at most `count` items, evenly chosen. If there are two or more, the first and the last are among them."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def tiles_across(count: int) -> int:
    """Returns the number of columns, at most six, that fills the last row best."""
    if count <= 5:
        return count
    return min((4, 5, 6), key=lambda columns: (-count % columns, -columns))
