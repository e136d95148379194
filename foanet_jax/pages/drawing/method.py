"""Figures of the method: the focus of attention (Fig. 3) and temporal-like images (Fig. 4)."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from foanet_jax.image.boxes import Box
from foanet_jax.image.window import intensity_window
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.marks import outline_box, show_grey
from foanet_jax.pages.drawing.sheet import Sheet, evenly, tiles_across
from foanet_jax.pages.drawing.style import DPI, MARGIN_COLOUR, PAGE, QUIET_INK, WIDTH, write_text


def draw_foa_steps(
    image: np.ndarray,
    box: Box,
    crop: np.ndarray,
    weights: np.ndarray,
    focused: np.ndarray,
    *,
    path: str | Path,
    title: str = "Focus of attention",
) -> None:
    """Draws the steps of the focus of attention (Eq. 5, Fig. 3): image with box, crop, weights, crop × weights.

    Args:
        image: (H, W) intensities of one slice.
        box: the position of the crop in the image.
        crop: (h, w) intensities, at any resolution.
        weights: (h, w) ω of Eq. 5.
        focused: (h, w) crop times weights.
        path: the picture to write.
        title: the text above the panels.

    Raises:
        ValueError: an array is not two-dimensional, or crop, weights and focused differ in shape.
    """
    arrays = {"image": image, "crop": crop, "weights": weights, "focused": focused}
    for name, array in arrays.items():
        if np.ndim(array) != 2:
            raise ValueError(f"the shape of {name} is {np.shape(array)}; pass a plane (H, W)")
    if not np.shape(crop) == np.shape(weights) == np.shape(focused):
        raise ValueError(
            f"crop {crop.shape}, weights {weights.shape}, focused {focused.shape}; pass arrays of the same shape"
        )
    low, high = intensity_window(np.asarray(image))
    crop_low, crop_high = intensity_window(np.asarray(crop))
    captions = ("(a) image and box", "(b) crop", "(c) weights ω, Eq. 5", "(d) crop × ω")
    # All four panels have the same height. Each has the width that its shape requires.
    ratios = [np.shape(array)[1] / np.shape(array)[0] for array in arrays.values()]
    # A narrow panel needs room for its caption.
    gap, margin, bar, narrowest = 18, 24, 46, 160
    height = 520.0
    while True:
        slots = [max(height * ratio, narrowest) for ratio in ratios]
        used = sum(slots) + 3 * gap + bar
        if used <= WIDTH - 2 * margin:
            break
        height -= 1
    top, bottom = 84, 22
    total = height + top + bottom
    figure = Figure(figsize=(WIDTH / DPI, total / DPI), dpi=DPI, facecolor=PAGE)
    x = (WIDTH - used) / 2
    write_text(figure, x, total - 30, title, total, size=15)
    for i, (array, ratio, caption, slot) in enumerate(zip(arrays.values(), ratios, captions, slots, strict=True)):
        width = height * ratio
        axes = figure.add_axes((x / WIDTH, bottom / total, width / WIDTH, height / total))
        axes.set_axis_off()
        write_text(figure, x, total - 68, caption, total, size=11.5, colour=QUIET_INK)
        if i == 2:
            shown = axes.imshow(array, cmap="magma", vmin=0, vmax=max(float(np.max(array)), 1.0), aspect="auto")
            scale = figure.add_axes(((x + width + 8) / WIDTH, bottom / total, 10 / WIDTH, height / total))
            colour_bar = figure.colorbar(shown, cax=scale)
            colour_bar.outline.set_visible(False)
            scale.tick_params(colors=QUIET_INK, labelsize=9, length=2)
            x += bar
        else:
            limits = (low, high) if i == 0 else (min(crop_low, 0.0), crop_high)
            limits = (crop_low, crop_high) if i == 1 else limits
            axes.imshow(array, cmap="gray", vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="bilinear")
        if i == 0:
            outline_box(axes, box, MARGIN_COLOUR, "solid", width=2.0)
        x += slot + gap
    style.save(figure, path)


def draw_temporal_like(
    stack: np.ndarray, *, path: str | Path, title: str = "Temporal-like images", max_tiles: int = 6
) -> None:
    """Draws frames (or slices) above their temporal-like pseudo-colour images, R, G, B = n−1, n, n+1 (Fig. 4).

    Tissue that does not move is grey. Motion between neighbours, as in the heart, is coloured.

    Args:
        stack: (N, H, W, 3) temporal-like images; the green channel is the frame itself.
        path: the picture to write.
        title: the text above the tiles.
        max_tiles: the largest number of images, chosen evenly.

    Raises:
        ValueError: the stack has another shape, or `max_tiles` is less than 1.
    """
    stack = np.asarray(stack, float)
    if stack.ndim != 4 or stack.shape[-1] != 3 or stack.size == 0:
        raise ValueError(f"the shape of the stack is {stack.shape}; pass temporal-like images (N, H, W, 3), not empty")
    if max_tiles < 1:
        raise ValueError(f"max_tiles is {max_tiles}; pass at least 1")
    # All channels and images have the same grey scale. Otherwise a difference in brightness would look like motion.
    low, high = intensity_window(stack)
    scaled = np.clip((stack - low) / (high - low), 0, 1)
    chosen = evenly(list(range(stack.shape[0])), max_tiles)
    across = tiles_across(len(chosen))
    sheet = Sheet(
        columns=across,
        block_rows=math.ceil(len(chosen) / across),
        tiles_per_block=2,
        aspect=stack.shape[1] / stack.shape[2],
        title=title,
        note="above: image n · below: pseudo-colour",
        legend=[
            Patch(facecolor=(1, 0.15, 0.15), label="R = n−1"),
            Patch(facecolor=(0.1, 0.85, 0.1), label="G = n"),
            Patch(facecolor=(0.25, 0.4, 1), label="B = n+1"),
        ],
    )
    for i, n in enumerate(chosen):
        place = (i // across, i % across)
        sheet.caption(place, f"n = {n + 1}/{stack.shape[0]}", "")
        show_grey(sheet.tile(place, 0), scaled[n, :, :, 1], 0, 1)
        sheet.tile(place, 1).imshow(scaled[n], interpolation="bilinear", aspect="auto")
    sheet.save(path)
