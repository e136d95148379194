"""One panel of box plots over patients: classes of a run or rows of a sweep, side by side (Figs. 6 and 7)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter, SymmetricalLogLocator

from foanet_jax.measures.metrics import PatientScore
from foanet_jax.pages.drawing.style import MARGIN_COLOUR

LABELS = {"dc": "Dice (DC)", "hd95_mm": "95HD [mm]", "bdc": "boundary Dice (BDC)"}
_MEAN: dict[str, Any] = {"color": MARGIN_COLOUR, "linestyle": (0, (1, 1)), "linewidth": 2.2}


def draw_panel(
    axes: Axes,
    groups: Sequence[Sequence[PatientScore]],
    measure: str,
    colours: Sequence[str],
    *,
    width: float = 0.55,
    pad: float = 6.0,
) -> None:
    """Draws a box for each group at x = 0, 1, …: quartiles, whiskers (1.5 IQR), the mean, and a dot for each patient.

    Args:
        axes: the axes to draw on.
        groups: the means of the patients; at least one in each group, and no NaN.
        measure: "dc", "hd95_mm" or "bdc".
        colours: one colour for each group.
        width: width of a box, relative to the distance between two boxes.
        pad: distance between axes and titles, in pt.
    """
    values = [np.array([getattr(row, measure) for row in group], float) for group in groups]
    drawn = axes.boxplot(
        values,
        positions=range(len(groups)),
        widths=width,
        showfliers=False,
        showmeans=True,
        meanline=True,
        patch_artist=True,
        meanprops=_MEAN,
        medianprops={"color": "#222222", "linewidth": 1.6},
        whiskerprops={"color": "#555555"},
        capprops={"color": "#555555"},
        boxprops={"edgecolor": "#555555"},
    )
    for position, (group, sample, box, colour) in enumerate(zip(groups, values, drawn["boxes"], colours, strict=True)):
        box.set_facecolor((*to_rgb(colour), 0.35))
        missed = np.array([row.misses > 0 for row in group])
        x = position + 0.65 * width * _spread(sample)
        dots: dict[str, Any] = {"color": darker(colour), "alpha": 0.75, "zorder": 3, "clip_on": False}
        axes.scatter(x[~missed], sample[~missed], s=13, linewidths=0, **dots)
        axes.scatter(x[missed], sample[missed], s=34, marker="x", linewidths=1.8, **dots)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    label, everything = LABELS[measure], np.concatenate(values)
    if measure != "hd95_mm":
        if everything.max() > 0.9:
            axes.set_ylim(top=1.0)
    elif everything.max() > 12 * max(float(np.median(everything)), 1.0):
        # A miss has the diagonal of the image as 95HD. On a linear scale, all others would be close to the axis.
        axes.set_yscale("symlog", linthresh=1.0)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1.0, subs=[1, 2, 5]))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.set_ylim(bottom=0)
        label += ", log scale"
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(label, fontsize=13, loc="left", pad=pad)
    direction = "lower is better" if measure == "hd95_mm" else "higher is better"
    axes.set_title(direction, fontsize=9.5, loc="right", color="#7a838b", pad=pad)
    axes.grid(True, axis="y", color="#e4e7ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def panel_legend(misses: bool) -> list[Line2D]:
    """Returns the legend of a panel; crosses are in it only if there are misses."""
    handles = [
        Line2D([], [], color="#222222", linewidth=1.6, label="median"),
        Line2D([], [], label="mean", **_MEAN),
        Line2D([], [], color="#777777", marker="o", markersize=4, linewidth=0, label="one patient"),
    ]
    if misses:
        handles.append(Line2D([], [], color="#777777", marker="x", markersize=6, linewidth=0, label="with a miss"))
    return handles


def darker(colour: str) -> tuple[float, float, float]:
    """Returns a darker shade of a colour, for dots on a white page."""
    red, green, blue = to_rgb(colour)
    return (0.62 * red, 0.62 * green, 0.62 * blue)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Returns a number with its noun, such as "1 patient" or "1,120 frames"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _spread(sample: np.ndarray) -> np.ndarray:
    """Returns sideways offsets of dots in [−0.5, 0.5): the same in every run, evenly spread by rank (golden ratio)."""
    ranks = np.argsort(np.argsort(sample, kind="stable"), kind="stable")
    return (ranks * 0.6180339887) % 1.0 - 0.5
