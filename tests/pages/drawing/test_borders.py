"""Borders of masks: their area is the number of pixels, whatever the mask, and their lines run where pixels differ."""

import re

import numpy as np
import pytest
from scipy import ndimage

from foanet_jax.pages.drawing.borders import borders, svg_path


def enclosed(loop) -> float:
    """The signed area of a polygon."""
    x, y = np.array(loop, float).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def read(path: str) -> list[list[tuple[int, int]]]:
    """The corners of the lines in a path."""
    loops = []
    for kind, first, second in re.findall(r"([Mhvz])(-?\d+)?(?: (-?\d+))?", path):
        if kind == "M":
            x, y = int(first), int(second)
            loops.append([(x, y)])
        elif kind in "hv":
            x, y = (x + int(first), y) if kind == "h" else (x, y + int(first))
            loops[-1].append((x, y))
    return loops


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_area_is_the_number_of_pixels(share):
    rng = np.random.default_rng(0)
    for _ in range(40):
        part = rng.random(rng.integers(1, 14, 2)) < share
        loops = read(svg_path(part))
        assert sum(map(enclosed, loops)) == part.sum()
        # Every line turns at each of its corners, and ends where it starts.
        for loop in loops:
            steps = np.diff(np.array([*loop, loop[0]]), axis=0)
            assert (np.count_nonzero(steps, axis=1) == 1).all()


def test_lines_run_between_different_pixels():
    part = np.random.default_rng(1).random((9, 12)) < 0.4
    drawn = set()
    for loop in read(svg_path(part)):
        for (x, y), (next_x, next_y) in zip(loop, [*loop[1:], loop[0]], strict=True):
            if y == next_y:
                drawn |= {("across", y, k) for k in range(min(x, next_x), max(x, next_x))}
            else:
                drawn |= {("down", k, x) for k in range(min(y, next_y), max(y, next_y))}
    padded = np.pad(part, 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
    down = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    assert drawn == {("across", *at) for at in across.tolist()} | {("down", *at) for at in down.tolist()}


def test_a_line_for_each_piece_and_each_hole():
    part = np.zeros((9, 9), bool)
    part[1:6, 1:6], part[3, 3], part[7, 7] = True, False, True
    areas = sorted(map(enclosed, borders(part)))
    assert areas == [-1, 1, 25]
    assert ndimage.label(part)[1] == 2


@pytest.mark.parametrize(("rows", "lines"), [([[1, 0], [0, 1]], 2), ([[0, 1], [1, 0]], 1)])
def test_pixels_that_touch_at_a_corner(rows, lines):
    assert len(borders(np.array(rows, bool))) == lines


def test_path_of_two_pixels():
    part = np.zeros((5, 6), bool)
    part[2, 3:5] = True
    assert svg_path(part) == "M3 2h2v1h-2z"
    assert svg_path(np.zeros((5, 6), bool)) == ""
