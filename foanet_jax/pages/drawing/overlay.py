"""Predictions and truth on their images (Figs. 8 and 9)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from foanet_jax.image.boxes import Box
from foanet_jax.image.window import intensity_window
from foanet_jax.measures.metrics import dice
from foanet_jax.pages.drawing.marks import fill, limit, outline, outline_box, show_grey
from foanet_jax.pages.drawing.sheet import Sheet, evenly, tiles_across
from foanet_jax.pages.drawing.style import BOX_COLOUR, DIFFERENCE_COLOUR, MARGIN_COLOUR, TRUTH_COLOUR, class_colours


def draw_overlay(
    study_voxels: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray | None,
    *,
    spacing_mm: Sequence[float],
    classes: Sequence[str],
    boxes: Sequence[Box] | None = None,
    title: str,
    path: str | Path,
    max_tiles: int = 12,
) -> None:
    """Draws slices or frames with the prediction and, below each, the difference from the truth (Figs. 8 and 9).

    Fills and solid lines show the prediction, dashed white lines the truth. Pixels where the two differ are yellow. All
    tiles show the same region: the heart and the boxes.

    Args:
        study_voxels: (T, Z, H, W) intensities.
        prediction: (T, Z, H, W) class indices.
        truth: (T, Z, H, W) class indices; None if there is no truth. No difference is drawn then.
        spacing_mm: (slice, row, column), for the shape of the tiles.
        classes: names by index; 0 is the background.
        boxes: the box of the heart (blue) and, if given, the box with its margin (red, dotted).
        title: the text above the tiles.
        path: the picture to write; its suffix chooses the format, .png by default.
        max_tiles: the largest number of slices and frames, chosen evenly among those that show the heart.

    Raises:
        ValueError: the shapes differ or are not (T, Z, H, W), there are more than two boxes, or `max_tiles` is less
            than 1.
    """
    study_voxels, prediction = np.asarray(study_voxels), np.asarray(prediction)
    truth = None if truth is None else np.asarray(truth)
    if study_voxels.ndim != 4 or study_voxels.size == 0:
        raise ValueError(f"the shape of the voxels is {study_voxels.shape}; pass a study (T, Z, H, W), not empty")
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask is not None and mask.shape != study_voxels.shape:
            raise ValueError(f"{name} {mask.shape}, voxels {study_voxels.shape}; pass arrays of the same shape")
    boxes = list(boxes or ())
    if len(boxes) > 2:
        raise ValueError(f"{len(boxes)} boxes; pass the box of the heart and the box with its margin")
    if max_tiles < 1:
        raise ValueError(f"max_tiles is {max_tiles}; pass at least 1")

    heart = (prediction > 0) if truth is None else (prediction > 0) | (truth > 0)
    tiles, across = _choose_tiles(heart, max_tiles)
    pixel_mm = (float(spacing_mm[1]), float(spacing_mm[2]))
    window = heart_window(heart, boxes, pixel_mm)
    # The arrays are cut, not only the limits of the axes: a figure of 24 frames of 512×512 px would take a gigabyte.
    cut = window.slices
    low, high = intensity_window(study_voxels)
    colours = class_colours(classes)

    note = ""
    if truth is not None:
        note = "Dice: " + ("myocardium" if "myocardium" in classes else "mean of classes") + ", this slice only"
    sheet = Sheet(
        columns=across,
        block_rows=math.ceil(len(tiles) / across),
        tiles_per_block=1 if truth is None else 2,
        aspect=window.shape[0] * pixel_mm[0] / (window.shape[1] * pixel_mm[1]),
        title=title,
        note=note,
        legend=_overlay_legend(colours, truth is not None, len(boxes)),
    )
    for i, (frame, z) in enumerate(tiles):
        image = study_voxels[frame, z][cut]
        p = prediction[frame, z][cut]
        t = None if truth is None else truth[frame, z][cut]
        place = (i // across, i % across)
        score = "" if t is None else _tile_dice(p, t, classes)
        sheet.caption(place, _tile_caption(frame, z, study_voxels.shape), score)
        axes = sheet.tile(place, 0)
        show_grey(axes, image, low, high)
        for index, name in enumerate(classes[1:], start=1):
            fill(axes, p == index, colours[name], 0.30)
            outline(axes, p == index, colours[name], 1.5, "solid")
        if t is not None:
            for index in range(1, len(classes)):
                outline(axes, t == index, TRUTH_COLOUR, 0.9, (0, (3, 2)))
        for box, colour, style in zip(boxes, (BOX_COLOUR, MARGIN_COLOUR), ("solid", "dotted"), strict=False):
            outline_box(axes, box, colour, style, origin=(window.top, window.left))
        limit(axes, image.shape)
        if t is not None:
            axes = sheet.tile(place, 1)
            show_grey(axes, image, low, high)
            for index, name in enumerate(classes[1:], start=1):
                fill(axes, (p == index) & (t == index), colours[name], 0.30)
            fill(axes, p != t, DIFFERENCE_COLOUR, 1.0)
            limit(axes, image.shape)
    sheet.save(path)


def _choose_tiles(heart: np.ndarray, max_tiles: int) -> tuple[list[tuple[int, int]], int]:
    """Returns (frame, slice) pairs, evenly chosen among those that show the heart, and the number of columns.

    A 4D cine has a column for each chosen frame and a row for each chosen slice.
    """
    frames = np.flatnonzero(np.any(heart, axis=(1, 2, 3))).tolist()
    slices = np.flatnonzero(np.any(heart, axis=(0, 2, 3))).tolist()
    if not frames:
        frames, slices = list(range(heart.shape[0])), list(range(heart.shape[1]))
    if len(frames) > 1 and len(slices) > 1:
        n_frames = min(len(frames), 4, max_tiles)
        chosen = evenly(frames, n_frames)
        return [(t, z) for z in evenly(slices, max_tiles // n_frames) for t in chosen], len(chosen)
    tiles = evenly([(t, z) for t in frames for z in slices], max_tiles)
    return tiles, tiles_across(len(tiles))


def heart_window(heart: np.ndarray, boxes: Sequence[Box], pixel_mm: tuple[float, float]) -> Box:
    """Returns the window around heart and boxes, with a margin; the whole image if there are none."""
    height, width = heart.shape[-2:]
    plane = np.any(heart, axis=(0, 1))
    shown = list(boxes)
    if plane.any():
        rows, columns = np.flatnonzero(np.any(plane, axis=1)), np.flatnonzero(np.any(plane, axis=0))
        shown.append(Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1))
    if not shown:
        return Box(0, 0, height, width)
    top, left = min(box.top for box in shown), min(box.left for box in shown)
    bottom, right = max(box.bottom for box in shown), max(box.right for box in shown)
    # A tenth of the longer side in mm, so that the margin looks the same on all sides.
    side = max((bottom - top) * pixel_mm[0], (right - left) * pixel_mm[1])
    row_pad, column_pad = (max(2, round(0.1 * side / mm)) for mm in pixel_mm)
    return Box(
        max(top - row_pad, 0),
        max(left - column_pad, 0),
        min(bottom + row_pad, height),
        min(right + column_pad, width),
    )


def _tile_caption(frame: int, z: int, shape: tuple[int, ...]) -> str:
    """Returns frame and slice with their number, such as "slice 3/10", to show that counting starts from 1."""
    if shape[0] > 1 and shape[1] > 1:
        return f"slice {z + 1}/{shape[1]} · frame {frame + 1}/{shape[0]}"
    return f"frame {frame + 1}/{shape[0]}" if shape[0] > 1 else f"slice {z + 1}/{shape[1]}"


def _tile_dice(prediction: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> str:
    """Returns the Dice of a tile: of the myocardium if there is such a class, else the mean of the classes in it."""
    wanted = [classes.index("myocardium")] if "myocardium" in classes else range(1, len(classes))
    present = [i for i in wanted if (prediction == i).any() or (truth == i).any()]
    if not present:
        return "–"
    return f"{np.mean([dice(prediction == i, truth == i) for i in present]):.2f}"


def _overlay_legend(colours: dict[str, str], with_truth: bool, n_boxes: int) -> list[Any]:
    handles: list[Any] = [
        Patch(facecolor=(*to_rgb(colour), 0.35), edgecolor=colour, linewidth=1.5, label=name)
        for name, colour in colours.items()
    ]
    if with_truth:
        handles.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=1.1, linestyle=(0, (3, 2)), label="truth"))
        handles.append(Patch(facecolor=DIFFERENCE_COLOUR, label="difference"))
    if n_boxes:
        handles.append(Line2D([], [], color=BOX_COLOUR, linewidth=1.6, label="localization box"))
    if n_boxes > 1:
        handles.append(Line2D([], [], color=MARGIN_COLOUR, linewidth=1.6, linestyle="dotted", label="with margin"))
    return handles
