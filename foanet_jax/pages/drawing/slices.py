"""Sheets of slices: comparison of rows (Fig. 5), localization and differences (Fig. 8), whole heart (Fig. 9), cases."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from foanet_jax.measures.metrics import PatientScore
from foanet_jax.pages.drawing import tiles
from foanet_jax.pages.drawing.lettering import fitted, text_width
from foanet_jax.pages.drawing.sheet import Sheet, tiles_across
from foanet_jax.pages.drawing.style import WIDTH, class_colours
from foanet_jax.pages.gallery import Plane

# Sizes of the region that is shown, relative to the box with its margin: close to it, or with the body around it.
_CLOSE, _WIDE = 1.1, 2.2
_CAPTION = 10.5  # pt, of a sheet's captions


def draw_row_comparison(
    slices: Sequence[Sequence[Plane]], titles: Sequence[str], *, class_name: str, title: str, path: str | Path
) -> None:
    """Draws image, truth, and the prediction of every row with its Dice, for several slices (Fig. 5).

    The tiles show the smallest box in which a row segmented the slice. Without localization, this is the whole image.

    Args:
        slices: for each slice, the planes of the rows, in the order of the titles.
        titles: the titles of the rows.
        class_name: the class whose Dice is shown.
        title: the text above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no slice or no row, or a slice does not have one plane for each row.
    """
    if not slices or not titles or any(len(planes) != len(titles) for planes in slices):
        raise ValueError(
            f"{[len(planes) for planes in slices]} planes for {len(titles)} rows; pass one for each row and slice"
        )
    across = _columns(titles)
    down = math.ceil((len(titles) + 2) / across)
    colours = class_colours(slices[0][0].classes)
    firsts = [planes[0] for planes in slices]
    sheet = Sheet(
        columns=across,
        block_rows=down * len(slices),
        tiles_per_block=1,
        aspect=1.0,
        title=title,
        note=f"Dice: {class_name}, this slice only",
        legend=[*tiles.class_handles(colours), tiles.truth_handle()],
    )
    for number, planes in enumerate(slices):
        box = min((plane.box for plane in planes), key=lambda box: math.prod(box.shape))
        cut = [tiles.zoomed(plane, box, _CLOSE) for plane in planes]
        captions = [(planes[0].patient, tiles.where(planes[0], firsts)), ("truth", "")]
        # The Dice is that of the whole slice: a row without localization may have stray regions outside the tile.
        captions += [(name, tiles.dice_text(plane, class_name)) for name, plane in zip(titles, planes, strict=True)]
        for panel, caption in enumerate(captions):
            place = (number * down + panel // across, panel % across)
            _caption(sheet, place, *caption)
            axes = sheet.tile(place, 0)
            if panel == 0:
                tiles.show_image(axes, cut[0])
            elif panel == 1:
                tiles.show_mask(axes, cut[0], cut[0].truth, colours)
            else:
                tiles.show_prediction(axes, cut[panel - 2], colours)
    sheet.save(path)


def draw_localizations(planes: Sequence[Plane], *, title: str, path: str | Path) -> None:
    """Draws the box of the heart (blue) and the box with its margin (red dots) on slices of several patients (Fig. 8a).

    Args:
        planes: one for each tile.
        title: the text above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no plane.
    """
    sheet, places = _sheet(planes, tiles_per_block=1, title=title, note="", legend=tiles.box_handles())
    for plane, place in zip(planes, places, strict=True):
        _caption(sheet, place, plane.patient, tiles.where(plane, planes))
        cut = tiles.zoomed(plane, plane.box, _WIDE)
        axes = sheet.tile(place, 0)
        tiles.show_image(axes, cut)
        tiles.show_boxes(axes, cut)
    sheet.save(path)


def draw_differences(planes: Sequence[Plane], *, class_name: str, title: str, path: str | Path) -> None:
    """Draws prediction with truth and, below, their difference, on slices of several patients (Fig. 8b).

    Args:
        planes: one for each pair of tiles.
        class_name: the class whose Dice is shown.
        title: the text above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no plane.
    """
    colours = class_colours(planes[0].classes) if planes else {}
    legend = [*tiles.class_handles(colours), tiles.truth_handle(), tiles.difference_handle()]
    note = f"Dice: {class_name}, this slice only"
    sheet, places = _sheet(planes, tiles_per_block=2, title=title, note=note, legend=legend)
    for plane, place in zip(planes, places, strict=True):
        _caption(sheet, place, plane.patient, tiles.dice_text(plane, class_name))
        cut = tiles.zoomed(plane, plane.box, _CLOSE)
        tiles.show_prediction(sheet.tile(place, 0), cut, colours)
        tiles.show_difference(sheet.tile(place, 1), cut, colours)
    sheet.save(path)


def draw_structures(planes: Sequence[Plane], *, title: str, path: str | Path) -> None:
    """Draws localization, truth and prediction below each other, with a column for each slice (Fig. 9).

    Args:
        planes: planes of one patient, one for each column.
        title: the text above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no plane.
    """
    colours = class_colours(planes[0].classes) if planes else {}
    legend = [*tiles.class_handles(colours), *tiles.box_handles()]
    note = "from above: image, truth, prediction"
    sheet, places = _sheet(planes, tiles_per_block=3, title=title, note=note, legend=legend)
    for plane, place in zip(planes, places, strict=True):
        sheet.caption(place, tiles.where(plane, planes), "")
        cut = tiles.zoomed(plane, plane.box, _CLOSE)
        axes = sheet.tile(place, 0)
        tiles.show_image(axes, cut)
        tiles.show_boxes(axes, cut)
        tiles.show_mask(sheet.tile(place, 1), cut, cut.truth, colours)
        tiles.show_mask(sheet.tile(place, 2), cut, cut.prediction, colours)
    sheet.save(path)


def draw_cases(
    worst: Sequence[tuple[Plane, PatientScore]],
    best: Sequence[tuple[Plane, PatientScore]],
    *,
    title: str,
    path: str | Path,
) -> None:
    """Draws the worst patients above the best: prediction with truth, the difference, and the means of the patient.

    Up to three patients are on one line.

    Args:
        worst, best: for each patient a slice and the scores, the most extreme patient first.
        title: the text above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no patient.
    """
    if not worst and not best:
        raise ValueError("no patient to draw; pass at least one")
    if len(worst) + len(best) <= 3:
        lines, order = [[*worst, *reversed(best)]], "from worst to best"
    else:
        lines, order = [list(worst), list(best)], "above: worst, below: best"
    colours = class_colours([*worst, *best][0][0].classes)
    sheet = Sheet(
        # A single patient must not fill the page.
        columns=2 * max(2, *map(len, lines)),
        block_rows=len(lines),
        tiles_per_block=1,
        aspect=1.0,
        title=title,
        note=f"{order} · 95HD in mm",
        legend=[*tiles.class_handles(colours), tiles.truth_handle(), tiles.difference_handle()],
    )
    for row, line in enumerate(lines):
        for column, (plane, score) in enumerate(line):
            left, right = (row, 2 * column), (row, 2 * column + 1)
            _caption(sheet, left, plane.patient, f"DC {score.dc:.3f}")
            _caption(sheet, right, f"95HD {score.hd95_mm:.1f}", f"BDC {score.bdc:.2f}")
            cut = tiles.zoomed(plane, plane.box, _CLOSE)
            tiles.show_prediction(sheet.tile(left, 0), cut, colours)
            tiles.show_difference(sheet.tile(right, 0), cut, colours)
    sheet.save(path)


def draw_worst(cases: Sequence[tuple[Plane, str, Mapping[str, float]]], *, title: str, path: str | Path) -> None:
    """Draws the worst cases, two on a line: prediction with truth, the difference, and the class that failed.

    Args:
        cases: for each case a slice, the class with the lowest Dice, and the Dice of every class over the whole case.
        title: the text above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no case.
    """
    if not cases:
        raise ValueError("no case to draw; pass at least one")
    colours = class_colours(cases[0][0].classes)
    sheet = Sheet(
        columns=4,
        block_rows=math.ceil(len(cases) / 2),
        tiles_per_block=1,
        aspect=1.0,
        title=title,
        note="worst first · DC of the whole case",
        legend=[*tiles.class_handles(colours), tiles.truth_handle(), tiles.difference_handle()],
    )
    for number, (plane, failed, dc) in enumerate(cases):
        row, column = divmod(number, 2)
        left, right = (row, 2 * column), (row, 2 * column + 1)
        _caption(sheet, left, plane.case, tiles.where(plane, [case[0] for case in cases]))
        others = " · ".join(f"{value:.2f}" for name, value in dc.items() if name != failed)
        _caption(sheet, right, f"{failed} {dc[failed]:.2f}", others)
        cut = tiles.zoomed(plane, plane.box, _CLOSE)
        tiles.show_prediction(sheet.tile(left, 0), cut, colours)
        tiles.show_difference(sheet.tile(right, 0), cut, colours)
    sheet.save(path)


def _sheet(
    planes: Sequence[Plane], *, tiles_per_block: int, title: str, note: str, legend: list
) -> tuple[Sheet, list[tuple[int, int]]]:
    """Returns a sheet with a block for each plane, and the places of the blocks."""
    if not planes:
        raise ValueError("no slice to draw; pass at least one")
    across = tiles_across(len(planes))
    sheet = Sheet(
        columns=across,
        block_rows=math.ceil(len(planes) / across),
        tiles_per_block=tiles_per_block,
        aspect=1.0,
        title=title,
        note=note,
        legend=legend,
    )
    return sheet, [divmod(number, across) for number in range(len(planes))]


def _columns(titles: Sequence[str]) -> int:
    """Returns the number of columns for image, truth and rows: few empty places, and room for titles with a Dice."""
    panels = len(titles) + 2
    room = 50 + min(max(text_width(title, _CAPTION) for title in titles), 160)
    fitting = [columns for columns in range(4, 8) if WIDTH / columns - 14 >= room]
    return (
        panels if panels in fitting or panels < 4 else min(fitting, key=lambda columns: (-panels % columns, -columns))
    )


def _caption(sheet: Sheet, place: tuple[int, int], left: str, right: str) -> None:
    """Writes text above a tile. The text on the left is shortened if the text on the right leaves too little room."""
    room = sheet.tile_width - text_width(right, _CAPTION) - 10
    sheet.caption(place, fitted(left, room, _CAPTION), right)
