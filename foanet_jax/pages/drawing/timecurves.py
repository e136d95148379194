"""Curves of measured values over the heartbeat."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.style import DPI

# Dark enough for lines on white, and distinguishable for people with colour blindness.
CURVE_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#b0307f", "#8a6d00", "#56708a")
_WIDTH, _HEIGHT = 820, 470


def draw_time_curves(
    curves: Mapping[str, Sequence[float] | np.ndarray],
    *,
    ylabel: str,
    title: str,
    path: str | Path,
    marks: Mapping[int, str] | None = None,
    frame_seconds: float | None = None,
) -> None:
    """Draws one line for each quantity over time, or over frames if the time is not known.

    The line has gaps where the quantity was not measured.

    Args:
        curves: values (T,) by name, all in one unit.
        ylabel: the quantity, with the unit.
        title: the text above.
        path: the picture to write.
        marks: frames to mark, such as {0: "ED", 7: "ES"}.
        frame_seconds: time between frames in s. If None, the frames are numbered from 1.

    Raises:
        ValueError: no curve has a value, or the curves differ in length.
    """
    lines = {name: np.asarray(values, float) for name, values in curves.items()}
    if not lines or len({line.shape for line in lines.values()}) != 1:
        raise ValueError(
            f"the lengths of the curves are {[line.shape for line in lines.values()]}; pass curves of one length"
        )
    if not any(np.isfinite(line).any() for line in lines.values()):
        raise ValueError("no curve has a value; pass at least one measured value")
    frames = len(next(iter(lines.values())))
    at = np.arange(frames) + 1.0 if frame_seconds is None else 1000 * frame_seconds * np.arange(frames)
    figure = Figure(figsize=(_WIDTH / DPI, _HEIGHT / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.1, 0.255, 0.87, 0.585))
    for line, colour in zip(lines.values(), _colours(len(lines)), strict=True):
        axes.plot(at, line, color=colour, linewidth=2.2, marker="o", markersize=4, zorder=3)
    highest = max(float(np.nanmax(line)) for line in lines.values() if np.isfinite(line).any())
    axes.set_ylim(0, 1.08 * highest if highest > 0 else 1)
    for frame, name in (marks or {}).items():
        axes.axvline(at[frame], color="#5a6570", linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            name,
            (at[frame], 1),
            (0, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=12,
            color="#1a1f24",
            fontweight="bold",
        )
    axes.set_ylabel(ylabel, fontsize=13)
    axes.set_xlabel("frame" if frame_seconds is None else "time (ms)", fontsize=13)
    axes.tick_params(labelsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.grid(True, axis="y", color="#e4e7ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.025)
    figure.text(0.015, 0.95, title, fontsize=15, va="center", color="#1a1f24", parse_math=False)
    handles = [
        Line2D([], [], color=colour, linewidth=2.2, marker="o", markersize=4, label=name)
        for name, colour in zip(lines, _colours(len(lines)), strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.53, 0.005),
        ncols=len(handles) if len(handles) <= 4 else 3,
        frameon=False,
        fontsize=11.5,
        handlelength=1.3,
        columnspacing=1.2,
    )
    style.save(figure, path)


def _colours(count: int) -> list[str]:
    return [CURVE_COLOURS[number % len(CURVE_COLOURS)] for number in range(count)]
