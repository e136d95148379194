"""Pictures: overlays (Figs. 8 and 9), FOA (Fig. 3), temporal-like images (Fig. 4), curves, box plots (Figs. 6–7).

Every function takes plain arrays or scores, makes its own `Figure`, writes one file atomically and
leaves no state behind, so that pictures can be drawn from several threads and without a display.
Figures are 1200 px wide, the width of a page at 150 dpi and of a browser's column.
"""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

from foanet_jax.atomic import atomic_path
from foanet_jax.image.boxes import Box
from foanet_jax.metrics import FOREGROUND, Score, dice, patient_means

# Told apart with deuteranopia and protanopia as well as by lightness, and all of them away from grey;
# the test computes both. Yellow, pure blue and pure red are kept for what they mean in Fig. 8.
CLASS_COLOURS = {
    "myocardium": "#00c896",
    "cavity": "#ff7f2a",
    "left ventricle": "#ff7f2a",
    "right ventricle": "#935ce6",
    "left atrium": "#5caee6",
    "right atrium": "#bf634d",
    "ascending aorta": "#33ffff",
    "pulmonary artery": "#8cffa3",
    "object": "#00c896",
}
_SPARE_COLOURS = ("#00c896", "#ff7f2a", "#935ce6", "#5caee6", "#bf634d", "#33ffff", "#8cffa3", "#f0389b")
DIFFERENCE_COLOUR = "#ffe600"
BOX_COLOUR = "#3d7bff"
MARGIN_COLOUR = "#ff3030"
TRUTH_COLOUR = "#ffffff"

_DPI = 100
_WIDTH = 1200
_PAGE = "#111315"
_INK = "#eceff1"
_QUIET_INK = "#9aa4ad"


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour for every foreground class: fixed by name where the paper or ACDC names it.

    Other names get a spare colour by a checksum of the name, so that the same classes look the same
    in every picture; two of one picture only share a colour once all the spare ones are taken.

    Args:
        classes: names by index; 0 is the background.
    """
    colours = {name: CLASS_COLOURS[name] for name in classes[1:] if name in CLASS_COLOURS}
    for name in classes[1:]:
        if name in colours:
            continue
        start = zlib.crc32(name.encode())
        order = [_SPARE_COLOURS[(start + i) % len(_SPARE_COLOURS)] for i in range(len(_SPARE_COLOURS))]
        colours[name] = next((colour for colour in order if colour not in colours.values()), order[0])
    return colours


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
    """Slices or frames with the prediction and, below each, its difference from the truth (Figs. 8 and 9).

    Fills and solid lines are the prediction, dashed white lines the truth, yellow the pixels where the
    two disagree. All tiles share one window, zoomed to the heart and the boxes.

    Args:
        study_voxels: (T, Z, H, W) intensities.
        prediction: (T, Z, H, W) class indices.
        truth: the same shape, or None where there is none: then no difference is drawn.
        spacing_mm: (slice, row, column), for the tiles' aspect.
        classes: names by index; 0 is the background.
        boxes: the localization box (blue) and, if given, the box with its margin (red, dotted).
        title: printed above the tiles.
        path: the picture to write; its suffix chooses the format, .png by default.
        max_tiles: at most so many slices, frames or both, evenly chosen among those with the heart in.

    Raises:
        ValueError: shapes differ or are not (T, Z, H, W), there are more than two boxes, or no tile is asked for.
    """
    study_voxels, prediction = np.asarray(study_voxels), np.asarray(prediction)
    truth = None if truth is None else np.asarray(truth)
    if study_voxels.ndim != 4 or study_voxels.size == 0:
        raise ValueError(f"voxels of shape {study_voxels.shape}; a study is (T, Z, H, W), none empty")
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask is not None and mask.shape != study_voxels.shape:
            raise ValueError(f"{name} {mask.shape} and voxels {study_voxels.shape} differ in shape")
    boxes = list(boxes or ())
    if len(boxes) > 2:
        raise ValueError(f"{len(boxes)} boxes; pass the localization box and the one with its margin")
    if max_tiles < 1:
        raise ValueError(f"max_tiles is {max_tiles}; draw at least one")

    heart = (prediction > 0) if truth is None else (prediction > 0) | (truth > 0)
    tiles, across = _choose_tiles(heart, max_tiles)
    pixel_mm = (float(spacing_mm[1]), float(spacing_mm[2]))
    window = _zoom(heart, boxes, pixel_mm)
    # Arrays are cut rather than the axes' limits: a figure of 24 whole 512×512 frames would take a gigabyte.
    cut = window.slices
    low, high = _intensity_window(study_voxels)
    colours = class_colours(classes)

    note = ""
    if truth is not None:
        note = "Dice: " + ("myocardium" if "myocardium" in classes else "mean of classes") + ", this slice alone"
    sheet = _Sheet(
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
        _show_grey(axes, image, low, high)
        for index, name in enumerate(classes[1:], start=1):
            _fill(axes, p == index, colours[name], 0.30)
            _outline(axes, p == index, colours[name], 1.5, "solid")
        if t is not None:
            for index in range(1, len(classes)):
                _outline(axes, t == index, TRUTH_COLOUR, 0.9, (0, (3, 2)))
        for box, colour, style in zip(boxes, (BOX_COLOUR, MARGIN_COLOUR), ("solid", "dotted"), strict=False):
            _draw_box(axes, box, colour, style, origin=(window.top, window.left))
        _limit(axes, image.shape)
        if t is not None:
            axes = sheet.tile(place, 1)
            _show_grey(axes, image, low, high)
            for index, name in enumerate(classes[1:], start=1):
                _fill(axes, (p == index) & (t == index), colours[name], 0.30)
            _fill(axes, p != t, DIFFERENCE_COLOUR, 1.0)
            _limit(axes, image.shape)
    sheet.save(path)


def draw_learning_curves(records: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Loss and its terms over steps, raw and smoothed, with the validation Dice on the right axis.

    Args:
        records: a run log's lines: {"kind": "train", "step", "epoch", "loss", "cce", "ssim", "dice"} and
            {"kind": "validation", "step", "epoch", "dice"}. Terms that a record lacks, or that are None,
            are left out; other kinds are ignored; of two records of one step the later counts, as after
            a resumed run.
        path: the picture to write.

    Raises:
        ValueError: no record has a loss or a validation Dice.
    """
    train: dict[int, Mapping[str, Any]] = {}
    validation: dict[int, Mapping[str, Any]] = {}
    for record in records:
        if record.get("kind") == "train":
            train[int(record["step"])] = record
        elif record.get("kind") == "validation":
            validation[int(record["step"])] = record
    terms = [
        ("loss", "loss (sum)", "#222222"),
        ("cce", "CCE", "#0072b2"),
        ("ssim", "SSIM", "#d55e00"),
        ("dice", "Dice loss", "#009e73"),
    ]
    curves = [(label, colour, *_series(train, key)) for key, label, colour in terms]
    curves = [curve for curve in curves if curve[2].size]
    validation_steps, validation_dice = _series(validation, "dice")
    if not curves and not validation_steps.size:
        raise ValueError("no record has a loss or a validation Dice; pass the lines of a run's log")

    figure = Figure(figsize=(_WIDTH / _DPI, 5.6), dpi=_DPI, facecolor="white")
    left = figure.add_axes((0.07, 0.115, 0.865, 0.78))
    handles = []
    for label, colour, steps, values in curves:
        left.plot(steps, values, color=colour, linewidth=0.7, alpha=0.22)
        left.plot(steps, _smooth(values), color=colour, linewidth=1.9)
        handles.append(Line2D([], [], color=colour, linewidth=1.9, label=label))
    if curves:
        # The first few steps may be far above all others, and would flatten what matters.
        everything = np.concatenate([values for *_, values in curves])
        highest = float(np.percentile(everything, 99.5)) * 1.08
        left.set_ylim(min(0.0, float(everything.min())), highest if highest > 0 else 1.0)
    left.set_ylabel("training loss")
    left.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.grid(True, axis="y", color="#e4e7ea", linewidth=0.8)
    left.set_axisbelow(True)
    left.margins(x=0.01)
    left.spines["top"].set_visible(False)
    if validation_steps.size:
        right = left.twinx()
        right.plot(
            validation_steps,
            validation_dice,
            color="#b0307f",
            linewidth=1.4,
            linestyle=(0, (4, 2)),
            marker="o",
            markersize=5.5,
            markeredgecolor="white",
            clip_on=False,
            zorder=5,
        )
        best = int(np.argmax(validation_dice))
        # Written in the legend rather than at the point, where curves would run through it.
        label = f"validation Dice (right), best {validation_dice[best]:.3f} at step {validation_steps[best]:,}"
        handles.append(
            Line2D(
                [], [], color="#b0307f", linewidth=1.4, linestyle=(0, (4, 2)), marker="o", markersize=5.5, label=label
            )
        )
        right.set_ylim(0, 1)
        right.set_ylabel("validation Dice", color="#b0307f")
        right.tick_params(axis="y", colors="#b0307f")
        right.spines["top"].set_visible(False)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.06, 0.99), ncols=len(handles), frameon=False, fontsize=11
    )
    explained = ["faint: every step", "strong: running mean"] if curves else []
    epochs = _epoch_starts(train)
    if 1 < len(epochs) <= 60:
        explained.append("dotted: a new epoch")
        for step in epochs[1:]:
            left.axvline(step, color="#b9c0c6", linewidth=0.9, linestyle=":", zorder=0.5)
    left.set_xlabel(f"step ({', '.join(explained)})" if explained else "step")
    _save(figure, path)


def draw_summary(scores: Sequence[Score], path: str | Path) -> None:
    """Box plots over patients of DC, 95HD and BDC per class, the mean as a red dotted line (Figs. 6–7).

    Boxes are the quartiles, whiskers reach 1.5 times their distance, and every patient is a dot.

    Args:
        scores: as from `metrics.score_case`, of any number of patients.
        path: the picture to write.

    Raises:
        ValueError: no score is in the means.
    """
    patients = [row for row in patient_means(scores) if row.class_name != FOREGROUND and row.n_units]
    if not patients:
        raise ValueError("no score to draw; pass the scores of at least one patient")
    names = list(dict.fromkeys(row.class_name for row in patients))
    colours = class_colours(["background", *names])
    n_units, misses = sum(row.n_units for row in patients), sum(row.misses for row in patients)
    n_patients = len({row.patient for row in patients})

    figure = Figure(figsize=(_WIDTH / _DPI, 5.4), dpi=_DPI, facecolor="white")
    crowded = len(names) > 3
    bottom = 0.25 if crowded else 0.085
    panels = [
        ("dc", "Dice (DC)", "higher is better"),
        ("hd95_mm", "95HD [mm]", "lower is better"),
        ("bdc", "boundary Dice (BDC)", "higher is better"),
    ]
    for i, (measure, label, direction) in enumerate(panels):
        axes = figure.add_axes((0.055 + i * 0.325, bottom, 0.275, 0.82 - bottom))
        values = [
            np.array([getattr(row, measure) for row in patients if row.class_name == name], float) for name in names
        ]
        drawn = axes.boxplot(
            values,
            positions=range(len(names)),
            widths=0.55,
            showfliers=False,
            showmeans=True,
            meanline=True,
            patch_artist=True,
            meanprops={"color": MARGIN_COLOUR, "linestyle": (0, (1, 1)), "linewidth": 2.2},
            medianprops={"color": "#222222", "linewidth": 1.6},
            whiskerprops={"color": "#555555"},
            capprops={"color": "#555555"},
            boxprops={"edgecolor": "#555555"},
        )
        for position, (name, box, sample) in enumerate(zip(names, drawn["boxes"], values, strict=True)):
            box.set_facecolor((*to_rgb(colours[name]), 0.35))
            missed = np.array([row.misses > 0 for row in patients if row.class_name == name])
            x, ink = position + _spread(sample), _darker(colours[name])
            style: dict[str, Any] = {"color": ink, "alpha": 0.75, "zorder": 3, "clip_on": False}
            axes.scatter(x[~missed], sample[~missed], s=13, linewidths=0, **style)
            axes.scatter(x[missed], sample[missed], s=34, marker="x", linewidths=1.8, **style)
        axes.set_xticks(range(len(names)), names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
        axes.set_xlim(-0.6, len(names) - 0.4)
        everything = np.concatenate(values)
        if measure != "hd95_mm":
            if everything.max() > 0.9:
                axes.set_ylim(top=1.0)
        elif everything.max() > 12 * max(float(np.median(everything)), 1.0):
            # A miss weighs the diagonal of the image, and would press all others onto the axis.
            axes.set_yscale("symlog", linthresh=1.0)
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.set_ylim(bottom=0)
            label += ", log scale"
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(label, fontsize=13, loc="left")
        axes.set_title(direction, fontsize=9.5, loc="right", color="#7a838b")
        axes.grid(True, axis="y", color="#e4e7ea", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.text(
        0.055,
        0.945,
        f"{_count(n_patients, 'patient')} · {_count(n_units, 'unit')} · {_count(misses, 'miss', 'misses')}",
        fontsize=12,
        va="center",
        color="#222222",
    )
    figure.legend(
        handles=[
            Line2D([], [], color="#222222", linewidth=1.6, label="median"),
            Line2D([], [], color=MARGIN_COLOUR, linewidth=2.2, linestyle=(0, (1, 1)), label="mean"),
            Line2D([], [], color="#777777", marker="o", markersize=4, linewidth=0, label="one patient"),
            *(
                [Line2D([], [], color="#777777", marker="x", markersize=6, linewidth=0, label="with a miss")]
                if misses
                else []
            ),
        ],
        loc="center right",
        bbox_to_anchor=(0.985, 0.945),
        ncols=4,
        frameon=False,
        fontsize=11,
    )
    _save(figure, path)


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
    """The steps of the focus of attention, Eq. 5 and Fig. 3: image with box, crop, weights, crop × weights.

    Args:
        image: (H, W) intensities of one slice.
        box: where the crop lies in the image.
        crop: (h, w) intensities, at any resolution.
        weights: (h, w) ω of Eq. 5.
        focused: (h, w) crop times weights.
        path: the picture to write.
        title: printed above the panels.

    Raises:
        ValueError: an array is not two-dimensional, or crop, weights and focused differ in shape.
    """
    arrays = {"image": image, "crop": crop, "weights": weights, "focused": focused}
    for name, array in arrays.items():
        if np.ndim(array) != 2:
            raise ValueError(f"{name} of shape {np.shape(array)}; pass a plane (H, W)")
    if not np.shape(crop) == np.shape(weights) == np.shape(focused):
        raise ValueError(f"crop {crop.shape}, weights {weights.shape} and focused {focused.shape} differ in shape")
    low, high = _intensity_window(np.asarray(image))
    crop_low, crop_high = _intensity_window(np.asarray(crop))
    captions = ("(a) image and box", "(b) crop", "(c) weights ω, Eq. 5", "(d) crop × ω")
    # One height for all four panels, each as wide as its own shape asks.
    ratios = [np.shape(array)[1] / np.shape(array)[0] for array in arrays.values()]
    # A narrow panel keeps room for its caption.
    gap, margin, bar, narrowest = 18, 24, 46, 160
    height = 520.0
    while True:
        slots = [max(height * ratio, narrowest) for ratio in ratios]
        used = sum(slots) + 3 * gap + bar
        if used <= _WIDTH - 2 * margin:
            break
        height -= 1
    top, bottom = 84, 22
    total = height + top + bottom
    figure = Figure(figsize=(_WIDTH / _DPI, total / _DPI), dpi=_DPI, facecolor=_PAGE)
    x = (_WIDTH - used) / 2
    _text(figure, x, total - 30, title, total, size=15)
    for i, (array, ratio, caption, slot) in enumerate(zip(arrays.values(), ratios, captions, slots, strict=True)):
        width = height * ratio
        axes = figure.add_axes((x / _WIDTH, bottom / total, width / _WIDTH, height / total))
        axes.set_axis_off()
        _text(figure, x, total - 68, caption, total, size=11.5, colour=_QUIET_INK)
        if i == 2:
            shown = axes.imshow(array, cmap="magma", vmin=0, vmax=max(float(np.max(array)), 1.0), aspect="auto")
            scale = figure.add_axes(((x + width + 8) / _WIDTH, bottom / total, 10 / _WIDTH, height / total))
            colour_bar = figure.colorbar(shown, cax=scale)
            colour_bar.outline.set_visible(False)
            scale.tick_params(colors=_QUIET_INK, labelsize=9, length=2)
            x += bar
        else:
            limits = (low, high) if i == 0 else (min(crop_low, 0.0), crop_high)
            limits = (crop_low, crop_high) if i == 1 else limits
            axes.imshow(array, cmap="gray", vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="bilinear")
        if i == 0:
            _draw_box(axes, box, MARGIN_COLOUR, "solid", width=2.0)
        x += slot + gap
    _save(figure, path)


def draw_temporal_like(
    stack: np.ndarray, *, path: str | Path, title: str = "Temporal-like images", max_tiles: int = 6
) -> None:
    """Frames (or slices) above their temporal-like pseudo-colour images, R, G, B = n−1, n, n+1 (Fig. 4).

    What is grey stays still; colour is motion between neighbours, which is where the heart is.

    Args:
        stack: (N, H, W, 3) temporal-like images; the green channel is the frame itself.
        path: the picture to write.
        title: printed above the tiles.
        max_tiles: at most so many images, evenly chosen.

    Raises:
        ValueError: another shape, or no tile is asked for.
    """
    stack = np.asarray(stack, float)
    if stack.ndim != 4 or stack.shape[-1] != 3 or stack.size == 0:
        raise ValueError(f"a stack of shape {stack.shape}; temporal-like images are (N, H, W, 3), none empty")
    if max_tiles < 1:
        raise ValueError(f"max_tiles is {max_tiles}; draw at least one")
    # One window for all channels and images, or a difference in brightness would look like motion.
    low, high = _intensity_window(stack)
    scaled = np.clip((stack - low) / (high - low), 0, 1)
    chosen = _evenly(list(range(stack.shape[0])), max_tiles)
    across = _tiles_across(len(chosen))
    sheet = _Sheet(
        columns=across,
        block_rows=math.ceil(len(chosen) / across),
        tiles_per_block=2,
        aspect=stack.shape[1] / stack.shape[2],
        title=title,
        note="above: n itself · below: pseudo-colour",
        legend=[
            Patch(facecolor=(1, 0.15, 0.15), label="R = n−1"),
            Patch(facecolor=(0.1, 0.85, 0.1), label="G = n"),
            Patch(facecolor=(0.25, 0.4, 1), label="B = n+1"),
        ],
    )
    for i, n in enumerate(chosen):
        place = (i // across, i % across)
        sheet.caption(place, f"n = {n + 1}/{stack.shape[0]}", "")
        _show_grey(sheet.tile(place, 0), scaled[n, :, :, 1], 0, 1)
        sheet.tile(place, 1).imshow(scaled[n], interpolation="bilinear", aspect="auto")
    sheet.save(path)


class _Sheet:
    """A dark page of equal tiles, laid out in pixels, so that nothing overlaps at any number of tiles."""

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
        usable = _WIDTH - 2 * self._MARGIN - (columns - 1) * self._GAP
        # A single tile must not fill a screen, and a tall one must not make the page endless.
        self.tile_width = min(usable / columns, 460.0, 460.0 / aspect)
        self.tile_height = self.tile_width * aspect
        used = columns * self.tile_width + (columns - 1) * self._GAP
        self.left = (_WIDTH - used) / 2
        self.block = self._CAPTION + tiles_per_block * (self.tile_height + self._DOWN) + self._BLOCK_GAP
        legend_rows = math.ceil(len(legend) / 7)
        legend_columns = math.ceil(len(legend) / legend_rows)
        legend_height = self._LEGEND_ROW * legend_rows + 14
        self.height = round(self._TITLE + block_rows * self.block + legend_height)
        self.figure = Figure(figsize=(_WIDTH / _DPI, self.height / _DPI), dpi=_DPI, facecolor=_PAGE)
        y = self.height - self._TITLE / 2
        # The note has 340 px to itself; at this size a letter is about 11 px wide.
        longest = 74 if note else 104
        title = title if len(title) <= longest else title[: longest - 1] + "…"
        _text(self.figure, self._MARGIN, y, title, self.height, size=15)
        _text(self.figure, _WIDTH - self._MARGIN, y, note, self.height, size=10.5, colour=_QUIET_INK, side="right")
        self.figure.legend(
            handles=legend,
            loc="center",
            bbox_to_anchor=(0.5, legend_height / 2 / self.height),
            ncols=legend_columns,
            frameon=False,
            labelcolor=_INK,
            fontsize=11,
            handlelength=1.8,
            columnspacing=1.8,
        )

    def _top(self, place: tuple[int, int]) -> float:
        return self.height - self._TITLE - place[0] * self.block

    def _x(self, place: tuple[int, int]) -> float:
        return self.left + place[1] * (self.tile_width + self._GAP)

    def caption(self, place: tuple[int, int], left: str, right: str) -> None:
        """Writes above a tile, to its left and to its right."""
        y = self._top(place) - self._CAPTION / 2
        _text(self.figure, self._x(place) + 1, y, left, self.height, size=10.5, colour=_QUIET_INK)
        right_edge = self._x(place) + self.tile_width - 1
        _text(self.figure, right_edge, y, right, self.height, size=10.5, side="right")

    def tile(self, place: tuple[int, int], number: int) -> Axes:
        """Axes of one tile of a block, without ticks."""
        y = self._top(place) - self._CAPTION - (number + 1) * self.tile_height - number * self._DOWN
        axes = self.figure.add_axes(
            (self._x(place) / _WIDTH, y / self.height, self.tile_width / _WIDTH, self.tile_height / self.height)
        )
        axes.set_axis_off()
        return axes

    def save(self, path: str | Path) -> None:
        _save(self.figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name need not end like the picture's, so that the format is told, not guessed.
    kind = path.suffix.lstrip(".").lower() or "png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=_DPI, facecolor=figure.get_facecolor())


def _text(
    figure: Figure, x: float, y: float, text: str, height: float, *, size: float, colour: str = _INK, side: str = "left"
) -> None:
    # Patient ids and file names are text, not mathematics: a $ in them must stay a $.
    figure.text(x / _WIDTH, y / height, text, fontsize=size, color=colour, ha=side, va="center", parse_math=False)


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def _choose_tiles(heart: np.ndarray, max_tiles: int) -> tuple[list[tuple[int, int]], int]:
    """(frame, slice) pairs evenly chosen among those with the heart in, and how many go side by side.

    A 4D cine gets a column for each of a few frames and a row for each of a few slices.
    """
    frames = np.flatnonzero(np.any(heart, axis=(1, 2, 3))).tolist()
    slices = np.flatnonzero(np.any(heart, axis=(0, 2, 3))).tolist()
    if not frames:
        frames, slices = list(range(heart.shape[0])), list(range(heart.shape[1]))
    if len(frames) > 1 and len(slices) > 1:
        n_frames = min(len(frames), 4, max_tiles)
        chosen = _evenly(frames, n_frames)
        return [(t, z) for z in _evenly(slices, max_tiles // n_frames) for t in chosen], len(chosen)
    tiles = _evenly([(t, z) for t in frames for z in slices], max_tiles)
    return tiles, _tiles_across(len(tiles))


def _tiles_across(count: int) -> int:
    """Columns that leave the last row as full as can be, at most six."""
    if count <= 5:
        return count
    return min((4, 5, 6), key=lambda columns: (-count % columns, -columns))


def _zoom(heart: np.ndarray, boxes: Sequence[Box], pixel_mm: tuple[float, float]) -> Box:
    """The window around everything that is drawn, with a margin; the whole image where nothing is."""
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
    # A tenth of the longer side, in mm, so that the margin looks the same all around.
    side = max((bottom - top) * pixel_mm[0], (right - left) * pixel_mm[1])
    row_pad, column_pad = (max(2, round(0.1 * side / mm)) for mm in pixel_mm)
    return Box(
        max(top - row_pad, 0),
        max(left - column_pad, 0),
        min(bottom + row_pad, height),
        min(right + column_pad, width),
    )


def _intensity_window(voxels: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(voxels, [1, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def _show_grey(axes: Axes, image: np.ndarray, low: float, high: float) -> None:
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", aspect="auto")


def _fill(axes: Axes, mask: np.ndarray, colour: str, alpha: float) -> None:
    if mask.any():
        rgba = np.zeros((*mask.shape, 4), np.uint8)
        rgba[mask] = np.round(255 * np.array([*to_rgb(colour), alpha]))
        axes.imshow(rgba, interpolation="nearest", aspect="auto")


def _outline(axes: Axes, mask: np.ndarray, colour: str, width: float, style: Any) -> None:
    if mask.any():
        # Padded, so that the line closes where the mask touches the border of the image.
        padded = np.pad(mask.astype(float), 1)
        rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
        axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linewidths=width, linestyles=[style])


def _draw_box(
    axes: Axes, box: Box, colour: str, style: str, *, origin: tuple[int, int] = (0, 0), width: float = 1.6
) -> None:
    axes.add_patch(
        Rectangle(
            (box.left - origin[1] - 0.5, box.top - origin[0] - 0.5),
            box.shape[1],
            box.shape[0],
            fill=False,
            edgecolor=colour,
            linewidth=width,
            linestyle=style,
        )
    )


def _limit(axes: Axes, shape: tuple[int, ...]) -> None:
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)


def _tile_caption(frame: int, z: int, shape: tuple[int, ...]) -> str:
    """Which one of how many, so that it is plain that counting starts from 1."""
    if shape[0] > 1 and shape[1] > 1:
        return f"t {frame + 1}/{shape[0]} · z {z + 1}/{shape[1]}"
    return f"frame {frame + 1}/{shape[0]}" if shape[0] > 1 else f"slice {z + 1}/{shape[1]}"


def _tile_dice(prediction: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> str:
    """The Dice of the tile: of the myocardium where the classes have one, else the mean of those in the tile."""
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


def _series(records: Mapping[int, Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values in the order of the steps, without those that are missing or not finite."""
    pairs = [(step, float(records[step][key])) for step in sorted(records) if records[step].get(key) is not None]
    pairs = [(step, value) for step, value in pairs if math.isfinite(value)]
    return np.array([step for step, _ in pairs], int), np.array([value for _, value in pairs], float)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a fortieth of the curve; at the ends over what there is, not over zeros."""
    half = max(len(values) // 80, 1 if len(values) >= 8 else 0)
    totals = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    start, stop = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (totals[stop] - totals[start]) / (stop - start)


def _epoch_starts(train: Mapping[int, Mapping[str, Any]]) -> list[int]:
    starts: dict[Any, int] = {}
    for step in sorted(train):
        if train[step].get("epoch") is not None:
            starts.setdefault(train[step]["epoch"], step)
    return list(starts.values())


def _spread(sample: np.ndarray) -> np.ndarray:
    """Sideways offsets of dots, the same in every run: by rank, with the golden ratio's even spread."""
    ranks = np.argsort(np.argsort(sample, kind="stable"), kind="stable")
    return ((ranks * 0.6180339887) % 1.0 - 0.5) * 0.36


def _darker(colour: str) -> tuple[float, float, float]:
    red, green, blue = to_rgb(colour)
    return (0.62 * red, 0.62 * green, 0.62 * blue)


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
