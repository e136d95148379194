"""Sheets of slices: rows compared (Fig. 5), localization and differences (Fig. 8), the whole heart (Fig. 9), cases."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from foanet_jax.measures.metrics import PatientScore
from foanet_jax.pages.drawing import tiles
from foanet_jax.pages.drawing.lettering import fitted, text_width
from foanet_jax.pages.drawing.sheet import Sheet, tiles_across
from foanet_jax.pages.drawing.style import WIDTH, class_colours
from foanet_jax.pages.gallery import Plane

# Around the box with its margin: a little of what is beside it, or enough to see where in the body it lies.
_CLOSE, _WIDE = 1.1, 2.2
_CAPTION = 10.5  # pt, of a sheet's captions


def draw_row_comparison(
    slices: Sequence[Sequence[Plane]], titles: Sequence[str], *, class_name: str, title: str, path: str | Path
) -> None:
    """Image, truth, and every row's prediction with its Dice, slice below slice (Fig. 5).

    Tiles are cut to the smallest box that any row segmented the slice in: without localization it is the image.

    Args:
        slices: for each slice what each row made of it, in the order of the titles.
        titles: of the rows.
        class_name: whose Dice is printed.
        title: printed above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no slice or no row, or not one plane a row.
    """
    if not slices or not titles or any(len(planes) != len(titles) for planes in slices):
        raise ValueError(f"{[len(planes) for planes in slices]} planes of {len(titles)} rows; pass one a row and slice")
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
        note=f"Dice: {class_name}, this slice alone",
        legend=[*tiles.class_handles(colours), tiles.truth_handle()],
    )
    for number, planes in enumerate(slices):
        box = min((plane.box for plane in planes), key=lambda box: math.prod(box.shape))
        cut = [tiles.zoomed(plane, box, _CLOSE) for plane in planes]
        captions = [(planes[0].patient, tiles.where(planes[0], firsts)), ("truth", "")]
        # Of the whole slice: a row without localization may stray where no tile shows it.
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
    """The object's box in blue, and with its margin in red dots, on a slice of each of several patients (Fig. 8a).

    Args:
        planes: one a tile.
        title: printed above the tiles.
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
    """Prediction over the truth and, below it, where they differ, on a slice of each of several patients (Fig. 8b).

    Args:
        planes: one a pair of tiles.
        class_name: whose Dice is printed.
        title: printed above the tiles.
        path: the picture to write.

    Raises:
        ValueError: there is no plane.
    """
    colours = class_colours(planes[0].classes) if planes else {}
    legend = [*tiles.class_handles(colours), tiles.truth_handle(), tiles.difference_handle()]
    note = f"Dice: {class_name}, this slice alone"
    sheet, places = _sheet(planes, tiles_per_block=2, title=title, note=note, legend=legend)
    for plane, place in zip(planes, places, strict=True):
        _caption(sheet, place, plane.patient, tiles.dice_text(plane, class_name))
        cut = tiles.zoomed(plane, plane.box, _CLOSE)
        tiles.show_prediction(sheet.tile(place, 0), cut, colours)
        tiles.show_difference(sheet.tile(place, 1), cut, colours)
    sheet.save(path)


def draw_structures(planes: Sequence[Plane], *, title: str, path: str | Path) -> None:
    """Localization, truth and prediction below each other, slice beside slice, in the classes' colours (Fig. 9).

    Args:
        planes: of one patient, one a column.
        title: printed above the tiles.
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
    """The worst patients above the best ones: prediction over the truth, the difference, and the patient's means.

    Three patients and fewer share a line.

    Args:
        worst, best: a slice and the scores of each patient, the most extreme first.
        title: printed above the tiles.
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
        # One patient alone must not fill the page.
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
    """The cases that went worst, two a line: prediction over the truth, the difference, and the class that failed.

    Args:
        cases: of each a slice, the class of the lowest Dice, and the Dice of every class over the whole case.
        title: printed above the tiles.
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
    """A sheet with a block for each plane, and their places."""
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
    """Columns for image, truth and rows: few empty places, and room for usual titles with their Dice."""
    panels = len(titles) + 2
    room = 50 + min(max(text_width(title, _CAPTION) for title in titles), 160)
    fitting = [columns for columns in range(4, 8) if WIDTH / columns - 14 >= room]
    return (
        panels if panels in fitting or panels < 4 else min(fitting, key=lambda columns: (-panels % columns, -columns))
    )


def _caption(sheet: Sheet, place: tuple[int, int], left: str, right: str) -> None:
    """Writes above a tile, to its left as much as there is room for beside what stands to its right."""
    room = sheet.tile_width - text_width(right, _CAPTION) - 10
    sheet.caption(place, fitted(left, room, _CAPTION), right)
