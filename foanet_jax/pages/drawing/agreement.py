"""Predicted and true sizes: correlation, and limits of agreement (Bland and Altman, Lancet 1986)."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from foanet_jax.measures.sizes import Size
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.boxpanel import count, darker
from foanet_jax.pages.drawing.lettering import fitted, text_width
from foanet_jax.pages.drawing.style import DPI, MARGIN_COLOUR, WIDTH, class_colours


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The agreement of predicted and true values, in their unit.

    Attributes:
        n: number of pairs.
        bias: mean of prediction − truth.
        sd: standard deviation (n − 1) of the differences; NaN for a single pair.
        r: Pearson's correlation; NaN if the predictions or the truths are all equal.
    """

    n: int
    bias: float
    sd: float
    r: float

    @property
    def limits(self) -> tuple[float, float]:
        """95 % limits of agreement, bias ± 1.96 sd."""
        return self.bias - 1.96 * self.sd, self.bias + 1.96 * self.sd


def measure_agreement(prediction: np.ndarray, truth: np.ndarray) -> Agreement:
    """Computes bias, limits of agreement and correlation of paired sizes, each (n,).

    Raises:
        ValueError: there is no pair, or the shapes differ.
    """
    prediction, truth = np.asarray(prediction, float), np.asarray(truth, float)
    if prediction.ndim != 1 or prediction.shape != truth.shape or not prediction.size:
        raise ValueError(
            f"predictions {prediction.shape}, truths {truth.shape}; pass two arrays (n,) with n of at least 1"
        )
    difference = prediction - truth
    varies = prediction.size > 1 and np.ptp(prediction) > 0 and np.ptp(truth) > 0
    return Agreement(
        n=prediction.size,
        bias=float(difference.mean()),
        sd=float(difference.std(ddof=1)) if prediction.size > 1 else math.nan,
        r=float(np.corrcoef(prediction, truth)[0, 1]) if varies else math.nan,
    )


_WHAT = {"mm²": "area", "ml": "volume", "g": "mass", "%": "fraction"}


def draw_agreement(sizes: Sequence[Size], *, title: str, path: str | Path, each: str = "frame") -> None:
    """Draws the sizes of one class: prediction over truth, and a Bland–Altman plot (difference over mean).

    Each dot is a frame, each cross a frame with a miss. No confidence intervals are drawn, because the frames of a
    patient are not independent.

    Args:
        sizes: sizes of one class, in one unit.
        title: the text above, before the counts.
        path: the picture to write.
        each: the name of what was measured, for the count: "frame" or "beat".

    Raises:
        ValueError: there are no sizes, or they are of several classes or units.
    """
    kinds = sorted({(size.class_name, size.unit) for size in sizes})
    if len(kinds) != 1:
        raise ValueError(f"sizes of {kinds or 'nothing'}; pass sizes of one class in one unit")
    ((class_name, unit),) = kinds
    prediction, truth = np.array([(size.prediction, size.truth) for size in sizes]).T
    found = measure_agreement(prediction, truth)
    missed = (prediction > 0) != (truth > 0)
    ink = darker(class_colours(["background", class_name])[class_name])
    what = _WHAT[unit]

    height = 600
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    left = figure.add_axes((85 / WIDTH, 65 / height, 440 / WIDTH, 440 / height))
    right = figure.add_axes((635 / WIDTH, 65 / height, 415 / WIDTH, 440 / height))
    # The dots of a cine overlap, so many dots are transparent. Few dots must not look faded.
    alpha = 0.75 if found.n <= 200 else 0.4
    for axes, x, y in ((left, truth, prediction), (right, (truth + prediction) / 2, prediction - truth)):
        axes.scatter(x[~missed], y[~missed], s=16, color=ink, alpha=alpha, linewidths=0, zorder=3)
        axes.scatter(x[missed], y[missed], s=38, marker="x", color=ink, linewidths=1.8, zorder=3)
        axes.grid(True, color="#e4e7ea", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)

    low, high = float(min(prediction.min(), truth.min())), float(max(prediction.max(), truth.max()))
    pad = 0.05 * (high - low) or 1.0
    left.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    left.axline((low, low), slope=1, color="#777777", linewidth=1.2, linestyle=(0, (5, 3)))
    left.set_xlabel(f"true {what} [{unit}]")
    left.set_ylabel(f"predicted {what} [{unit}]")
    left.set_title("prediction over truth", fontsize=13, loc="left")
    r = "–" if math.isnan(found.r) else f"{found.r:.3f}".replace("-", "−")
    left.set_title(f"Pearson r = {r}", fontsize=12, loc="right")

    right.axhline(0, color="#b9c0c6", linewidth=0.9)
    lines = [(found.bias, "mean", MARGIN_COLOUR)]
    if not math.isnan(found.sd):
        lines += [(found.limits[0], "−1.96 sd", "#222222"), (found.limits[1], "+1.96 sd", "#222222")]
    right.set_xlabel(f"mean of both [{unit}]")
    right.set_ylabel(f"prediction − truth [{unit}]")
    right.set_title("Bland–Altman", fontsize=13, loc="left")
    _show_lines(right, lines, unit)

    handles = [
        Line2D([], [], color="#777777", linewidth=1.2, linestyle=(0, (5, 3)), label="identity"),
        Line2D([], [], color=MARGIN_COLOUR, linewidth=1.6, label="mean"),
        Line2D([], [], color="#222222", linewidth=1.4, linestyle=(0, (4, 2)), label="95 % limits of agreement"),
    ]
    if missed.any():
        handles.append(Line2D([], [], color=ink, marker="x", markersize=6, linewidth=0, label="miss"))
    y = 1 - 32 / height
    figure.legend(handles=handles, loc="center right", bbox_to_anchor=(0.99, y), ncols=4, frameon=False, fontsize=11)
    counts = f" · {count(len({size.patient for size in sizes}), 'patient')} · {count(found.n, each)}"
    # The legend starts at most 590 px from the left.
    heading = fitted(title, 475 - text_width(counts, 12), 12) + counts
    figure.text(85 / WIDTH, y, heading, fontsize=12, va="center", color="#222222", parse_math=False)
    style.save(figure, path)


def _show_lines(axes: Axes, lines: Sequence[tuple[float, str, str]], unit: str) -> None:
    """Draws horizontal lines with their numbers on the right. Numbers of lines that are close are moved apart."""
    for value, label, colour in lines:
        width, dashes = (1.6, "solid") if label == "mean" else (1.4, (0, (4, 2)))
        axes.axhline(value, color=colour, linewidth=width, linestyle=dashes)  # type: ignore[arg-type]
    low, high = axes.get_ylim()
    middle = (lines[0][0] - low) / (high - low)
    decimals = 0 if max(abs(value) for value, _, _ in lines) >= 100 else 1
    for value, label, colour in lines:
        place = (value - low) / (high - low)
        if label != "mean":
            place = max(place, middle + 0.1) if label.startswith("+") else min(place, middle - 0.1)
        axes.text(
            1.02,
            place,
            f"{label}\n{value:+.{decimals}f} {unit}".replace("-", "−"),
            transform=axes.transAxes,
            color=colour,
            fontsize=11,
            va="center",
            linespacing=1.15,
        )
