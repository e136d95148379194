"""The slices at end diastole and end systole with their contours: what is seen without scripts, and printed."""

import base64

import numpy as np

from foanet_jax.image.boxes import Box
from foanet_jax.pages.drawing.borders import svg_path
from foanet_jax.pages.drawing.overlay import heart_window
from foanet_jax.pages.drawing.sheet import evenly
from foanet_jax.pages.drawing.style import class_colours
from foanet_jax.pages.markup.elements import Html, tag
from foanet_jax.pages.study_page.counting import mark
from foanet_jax.pages.study_page.result import StudyResult
from foanet_jax.pages.study_page.viewer.greys import TYPE, encode_grey

MOST_SLICES = 18


def moments(result: StudyResult, window: tuple[float, float]) -> Html:
    """Returns the slices that show the heart, at end diastole and at end systole, cut to the region of the heart.

    A mark says whether the slice counts for the volumes.

    Of a study of one frame, they are those of that frame; if end diastole is not known, those of the first frame. Of
    many slices, MOST_SLICES are chosen evenly. With the player, each picture is a link to its image.

    Args:
        result: the result for one study.
        window: the intensities that are black and white.
    """
    ed, es = result.end_frames
    return tag("div", *(_moment(result, frame, window) for frame in {ed or 0: 0, es or 0: 0}), class_="moments")


def heart_region(result: StudyResult) -> Box:
    """Returns the region of the heart in all slices and frames; the whole image if there is no heart."""
    _, row_mm, column_mm = result.study.spacing_mm
    return heart_window(result.mask > 0, result.boxes, (row_mm, column_mm))


def _moment(result: StudyResult, frame: int, window: tuple[float, float]) -> Html:
    drawn = result.mask[frame].any((1, 2))
    drawn |= [bool(mark(result, frame, z)) for z in range(len(drawn))]  # Slices that were left out are shown too.
    shown = np.flatnonzero(drawn).tolist() or list(range(len(drawn)))
    chosen = evenly(shown, MOST_SLICES)
    moment = ""
    if len(result.mask) > 1:
        ed, es = result.end_frames
        moment = f"{'End diastole, f' if frame == ed else 'End systole, f' if frame == es else 'F'}rame {frame + 1}"
    some = f"{len(chosen)} of {len(shown)} slices" if len(chosen) < len(shown) else ""
    title = ": ".join(filter(None, (moment, some)))
    box = heart_region(result)
    tiles = [_tile(result, frame, z, box, window, moment) for z in chosen]
    return tag("div", *([tag("h3", title)] if title else []), tag("div", *tiles, class_="tiles"))


def _tile(result: StudyResult, frame: int, z: int, box: Box, window: tuple[float, float], moment: str) -> Html:
    _, row_mm, column_mm = result.study.spacing_mm
    (rows, columns), colours = box.shape, class_colours(result.study.classes)
    grey = encode_grey(result.study.voxels[frame, z][box.slices], window)
    paths = [(svg_path(result.mask[frame, z][box.slices] == index), colours[name]) for index, name in _drawn(result)]
    image = tag("image", href=data_uri(grey), width=columns, height=rows, preserveAspectRatio="none")
    outlines = [tag("path", d=path, stroke=colour, class_="outline") for path, colour in paths if path]
    place = f"Slice {z + 1}"
    picture = tag(
        "svg",
        tag("g", image, *outlines, transform=f"scale({column_mm:g} {row_mm:g})"),
        viewBox=f"0 0 {columns * column_mm:g} {rows * row_mm:g}",
        width=columns,
        height=rows,
        role="img",
        aria_label=", ".join(filter(None, (place, moment))),
    )
    return tag(
        "a",
        picture,
        tag("span", f"{place} {mark(result, frame, z)}".rstrip()),
        href="#images",
        data_frame=frame,
        data_slice=z,
    )


def _drawn(result: StudyResult) -> list[tuple[int, str]]:
    return list(enumerate(result.study.classes))[1:]


def data_uri(picture: bytes) -> str:
    """Returns a WebP file as an address that contains it."""
    return f"data:{TYPE};base64,{base64.b64encode(picture).decode()}"
