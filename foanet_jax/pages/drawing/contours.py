"""Contours on slices and frames, without fills, so that the tissue can be seen."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.image.boxes import Box
from foanet_jax.image.window import intensity_window
from foanet_jax.pages.drawing.marks import limit, outline, outline_box, show_grey
from foanet_jax.pages.drawing.overlay import heart_window
from foanet_jax.pages.drawing.sheet import Sheet, evenly, tiles_across
from foanet_jax.pages.drawing.style import BOX_COLOUR, MARGIN_COLOUR, class_colours
from foanet_jax.pages.drawing.tiles import box_handles, class_handles


def draw_contours(
    voxels: np.ndarray,
    mask: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    classes: Sequence[str],
    title: str,
    path: str | Path,
    boxes: Sequence[Box] = (),
    marks: Mapping[int, str] | None = None,
    most_frames: int = 6,
    most_slices: int = 8,
    most_tiles: int = 20,
) -> None:
    """Draws slices below each other and frames beside each other, cut to the region of the heart, with contours.

    Studies of one slice or one frame fill the sheet row by row.

    Args:
        voxels: (T, Z, H, W) intensities.
        mask: (T, Z, H, W) class indices.
        spacing_mm: (slice, row, column), for the shape of the tiles.
        classes: names by index; 0 is the background.
        title: the text above the tiles.
        path: the picture to write.
        boxes: the box of the heart and, if given, the box with its margin.
        marks: texts for some frames, such as {0: "ED"}. These frames are always drawn.
        most_frames, most_slices: limits for a 4D cine, chosen evenly among the slices that show the heart.
        most_tiles: limit for other studies, chosen evenly too.

    Raises:
        ValueError: the shapes differ or are not (T, Z, H, W), or there are more than two boxes.
    """
    voxels, mask = np.asarray(voxels), np.asarray(mask)
    if voxels.ndim != 4 or mask.shape != voxels.shape or voxels.size == 0:
        raise ValueError(f"voxels {voxels.shape}, mask {mask.shape}; pass two arrays of the same shape (T, Z, H, W)")
    if len(boxes) > 2:
        raise ValueError(f"{len(boxes)} boxes; pass the box of the heart and the box with its margin")
    marks = marks or {}
    frames, slices = voxels.shape[:2]
    heart = mask > 0
    shown = np.flatnonzero(heart.any((0, 2, 3))).tolist() or list(range(slices))
    both = frames > 1 and len(shown) > 1
    chosen_slices = evenly(shown, most_slices if both else most_tiles)
    chosen_frames = choose_frames(frames, most_frames if both else most_tiles, marks)
    tiles = [(t, z) for z in chosen_slices for t in chosen_frames]
    across = len(chosen_frames) if both else tiles_across(len(tiles))
    pixel_mm = (float(spacing_mm[1]), float(spacing_mm[2]))
    window = heart_window(heart, boxes, pixel_mm)
    low, high = intensity_window(voxels)
    colours = class_colours(classes)
    sheet = Sheet(
        columns=across,
        block_rows=math.ceil(len(tiles) / across),
        tiles_per_block=1,
        aspect=window.shape[0] * pixel_mm[0] / (window.shape[1] * pixel_mm[1]),
        title=title,
        note=f"{len(tiles)} of {frames * slices} images" if len(tiles) < frames * slices else "",
        legend=[*class_handles(colours), *box_handles()[: len(boxes)]],
    )
    for number, (t, z) in enumerate(tiles):
        place = divmod(number, across)
        where = [f"slice {z + 1}"] if slices > 1 else []
        where += [f"frame {t + 1}"] if frames > 1 else []
        sheet.caption(place, " · ".join(where), marks.get(t, ""))
        axes = sheet.tile(place, 0)
        show_grey(axes, voxels[t, z][window.slices], low, high)
        part = mask[t, z][window.slices]
        for index, name in enumerate(classes[1:], start=1):
            outline(axes, part == index, colours[name], 1.4, "solid")
        for box, colour, style in zip(boxes, (BOX_COLOUR, MARGIN_COLOUR), ("solid", "dotted"), strict=False):
            outline_box(axes, box, colour, style, origin=(window.top, window.left))
        limit(axes, part.shape)
    sheet.save(path)


def choose_frames(count: int, most: int, wanted: Sequence[int] | Mapping[int, str]) -> list[int]:
    """Returns at most `most` of `count` frames, evenly spread. The wanted frames replace their nearest neighbours."""
    chosen = evenly(range(count), most)
    for frame in sorted(wanted):
        others = [other for other in chosen if other not in wanted]
        if frame not in chosen and others:
            chosen.remove(min(others, key=lambda other: abs(other - frame)))
            chosen.append(frame)
    return sorted(chosen)
