"""The beating heart with its contours, as an animation."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from foanet_jax.image.window import intensity_window
from foanet_jax.pages.drawing.overlay import heart_window
from foanet_jax.pages.drawing.sheet import evenly
from foanet_jax.pages.drawing.style import class_colours
from foanet_jax.system.atomic import atomic_path

MOST_SLICES = 9
HEARTBEAT_S = 1.0

# The number of greys among the 256 colours. The others are the colours of the classes, at several opacities, on greys.
_GREYS, _UNDER = 64, 8
# Noise does not compress. With so many pixels in all frames together, the file stays below 2 MB.
_MOST_PIXELS, _MOST_SIDE = 3_000_000, 720
_GAP, _LETTERS, _LINE, _NARROWEST = 4, 15, 24, 260
_LINE_WIDTH = 1.7


def draw_beat(
    voxels: np.ndarray,
    mask: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    classes: Sequence[str],
    path: str | Path,
    marks: Mapping[int, str] | None = None,
    frame_seconds: float | None = None,
    most_slices: int = MOST_SLICES,
) -> None:
    """Writes a GIF that repeats for ever: one or several slices with contours, cut to the region of the heart.

    Args:
        voxels: (T, Z, H, W) intensities.
        mask: (T, Z, H, W) class indices.
        spacing_mm: (slice, row, column).
        classes: names by index; 0 is the background.
        path: the .gif file to write.
        marks: texts for some frames, such as {0: "end diastole"}.
        frame_seconds: time between frames in s; if None, all frames together take HEARTBEAT_S.
        most_slices: the largest number of slices, chosen evenly among those that show the heart.

    Raises:
        ValueError: the shapes differ or are not (T, Z, H, W), there is only one frame, or the time is not positive.
    """
    voxels, mask = np.asarray(voxels), np.asarray(mask)
    if voxels.ndim != 4 or mask.shape != voxels.shape or voxels.size == 0:
        raise ValueError(f"voxels {voxels.shape}, mask {mask.shape}; pass two arrays of the same shape (T, Z, H, W)")
    frames = len(voxels)
    if frames < 2:
        raise ValueError("the study has one frame; use draw_contours")
    duration = frame_duration_ms(frames, frame_seconds)
    heart = mask > 0
    slices = np.flatnonzero(heart.any((0, 2, 3))).tolist() or list(range(voxels.shape[1]))
    slices = evenly(slices, most_slices)
    window = heart_window(heart[:, slices], (), (float(spacing_mm[1]), float(spacing_mm[2])))
    size_mm = (window.shape[0] * spacing_mm[1], window.shape[1] * spacing_mm[2])
    across = _tiles_across(len(slices), size_mm[0] / size_mm[1])
    down = math.ceil(len(slices) / across)
    px_per_mm = min(
        _MOST_SIDE / (across * size_mm[1]),
        _MOST_SIDE / (down * size_mm[0]),
        math.sqrt(_MOST_PIXELS / (frames * len(slices) * size_mm[0] * size_mm[1])),
    )
    tile = (max(1, round(size_mm[0] * px_per_mm)), max(1, round(size_mm[1] * px_per_mm)))
    width = max(across * (tile[1] + _GAP) - _GAP, _NARROWEST)
    font = ImageFont.truetype(findfont("DejaVu Sans"), _LETTERS)
    legend, legend_lines = _legend(class_colours(classes), width, font)
    below = down * (tile[0] + _GAP)
    shape = (below + _LINE * (1 + legend_lines), width)

    low, high = intensity_window(voxels)
    grey = np.clip((voxels[:, slices][..., *window.slices] - low) / (high - low), 0, 1)
    cut = mask[:, slices][..., *window.slices]
    colours = class_colours(classes)
    slots = list(dict.fromkeys(colours.values()))
    named = np.zeros((len(slots), *shape))
    for name, (x, line) in legend.items():
        slot = slots.index(colours[name])
        named[slot] = np.maximum(named[slot], _ink(shape, [(x, below + (line + 1) * _LINE, name)], font))
    pictures = []
    for t in range(frames):
        canvas = np.full(shape, 0.07)
        lines = named.copy()
        for number in range(len(slices)):
            top, left = number // across * (tile[0] + _GAP), number % across * (tile[1] + _GAP)
            place = (slice(top, top + tile[0]), slice(left, left + tile[1]))
            canvas[place] = resized(grey[t, number], tile)
            for index, name in enumerate(classes[1:], start=1):
                line = lines[slots.index(colours[name])][place]
                np.maximum(line, contour_coverage(cut[t, number] == index, tile, _LINE_WIDTH), out=line)
        said = f"frame {t + 1}/{frames}" + (f" · {marks[t]}" if marks and t in marks else "")
        texts = [(6, below + 2, said)]
        if voxels.shape[1] > 1:
            texts += [
                (number % across * (tile[1] + _GAP) + 5, number // across * (tile[0] + _GAP) + 3, f"{z + 1}")
                for number, z in enumerate(slices)
            ]
        letters = _ink(shape, texts, font)
        pictures.append(_indexed(canvas * (1 - letters) + 0.93 * letters, lines))
    palette = _palette(slots)
    images = [Image.frombytes("P", shape[::-1], picture.tobytes()) for picture in pictures]
    for image in images:
        image.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        images[0].save(
            temporary, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=False
        )


def frame_duration_ms(frames: int, frame_seconds: float | None) -> int:
    """Returns how long a frame is shown, in ms: whole hundredths of a second, and at least two, as browsers require.

    Raises:
        ValueError: the time between frames is not positive.
    """
    seconds = HEARTBEAT_S / frames if frame_seconds is None else frame_seconds
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{seconds} s between frames; pass a positive time, or None if it is not known")
    return max(20, 10 * round(100 * seconds))


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resamples an (H, W) image linearly to a grid of another shape over the same area."""
    # No matrix products: their threads wait for each other if the cores are busy with other work.
    above, share = _neighbours(image.shape[0], shape[0])
    rows = image[above] + share[:, None] * (image[np.minimum(above + 1, image.shape[0] - 1)] - image[above])
    left, share = _neighbours(image.shape[1], shape[1])
    return rows[:, left] + share * (rows[:, np.minimum(left + 1, image.shape[1] - 1)] - rows[:, left])


def contour_coverage(part: np.ndarray, shape: tuple[int, int], width: float) -> np.ndarray:
    """Returns the share of each pixel that the contour of a mask covers, on a grid of another shape over the same area.

    The contour is where the interpolated signed distance to the border of the mask is 0. This line is smooth; an
    interpolated mask would show steps.

    Args:
        part: (H, W) bool.
        shape: rows and columns of the result.
        width: width of the line, in px of the result.
    """
    if not part.any():
        return np.zeros(shape)
    scale = (shape[0] / part.shape[0], shape[1] / part.shape[1])
    # Padding closes the line where the mask touches the border of the image.
    padded = np.pad(part, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=scale)
    outside = ndimage.distance_transform_edt(~padded, sampling=scale)
    # The border is half a pixel away from the pixel centres on both sides.
    signed = inside - outside - np.sign(inside - outside) * (scale[0] + scale[1]) / 4
    signed = ndimage.gaussian_filter(signed, 0.6)[1:-1, 1:-1]
    return np.clip(width / 2 + 0.5 - np.abs(resized(signed, shape)), 0, 1)


def _neighbours(size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixel before each of `length` points over `size` pixels, and the weight of the pixel after it."""
    at = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
    before = at.astype(int)
    return before, at - before


def _tiles_across(count: int, aspect: float) -> int:
    """Returns the number of columns that gives the largest tiles in a square; of equal choices, the fewest rows."""
    return max(
        range(1, count + 1), key=lambda columns: (min(1 / columns, 1 / aspect / math.ceil(count / columns)), columns)
    )


def _ink(shape: tuple[int, int], texts: Sequence[tuple[int, int, str]], font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Returns the share of each pixel that is covered by texts at (x, y) px."""
    ink = Image.new("L", shape[::-1])
    for x, y, text in texts:
        ImageDraw.Draw(ink).text((x, y), text, fill=255, font=font)
    return np.asarray(ink) / 255


def _legend(names: Iterable[str], width: int, font: ImageFont.FreeTypeFont) -> tuple[dict[str, tuple[int, int]], int]:
    """Returns the position of each name (x in px, and its line) and the number of lines."""
    places, x, line = {}, 6, 0
    for name in names:
        length = math.ceil(font.getlength(name))
        if x > 6 and x + length > width:
            x, line = 6, line + 1
        places[name] = (x, line)
        x += length + 14
    return places, line + 1 if places else 0


def _indexed(grey: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Returns (H, W) uint8 indices of the palette: greys, and on a line the colour of the topmost line on a grey."""
    picture = np.round(grey * (_GREYS - 1)).astype(np.uint8)
    levels = _levels(len(lines))
    under = np.round(grey * (_UNDER - 1)).astype(int)
    for slot, line in enumerate(lines):
        level = np.round(line * levels).astype(int)
        colour = _GREYS + (slot * levels + level - 1) * _UNDER + under
        picture = np.where(level > 0, colour, picture).astype(np.uint8)
    return picture


def _palette(slots: Sequence[str]) -> np.ndarray:
    """Returns the palette that `_indexed` uses, (256, 3) uint8."""
    palette = np.zeros((256, 3))
    palette[:_GREYS] = np.linspace(0, 1, _GREYS)[:, None]
    levels = _levels(len(slots))
    opaque = (np.arange(levels)[:, None, None] + 1) / levels
    for slot, colour in enumerate(slots):
        blend = opaque * np.array(to_rgb(colour)) + (1 - opaque) * np.linspace(0, 1, _UNDER)[:, None]
        start = _GREYS + slot * levels * _UNDER
        palette[start : start + levels * _UNDER] = blend.reshape(-1, 3)
    return np.round(255 * palette).astype(np.uint8)


def _levels(slots: int) -> int:
    """Returns the number of opacities for which the palette has room. There are at most 17 colours of classes."""
    return min(8, (256 - _GREYS) // (_UNDER * max(1, slots)))
