"""Box plots of the scores over patients (Figs. 6 and 7)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter

from foanet_jax.drawing import style
from foanet_jax.drawing.style import DPI, MARGIN_COLOUR, WIDTH, class_colours
from foanet_jax.metrics import FOREGROUND, Score, patient_means


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

    figure = Figure(figsize=(WIDTH / DPI, 5.4), dpi=DPI, facecolor="white")
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
            dots: dict[str, Any] = {"color": ink, "alpha": 0.75, "zorder": 3, "clip_on": False}
            axes.scatter(x[~missed], sample[~missed], s=13, linewidths=0, **dots)
            axes.scatter(x[missed], sample[missed], s=34, marker="x", linewidths=1.8, **dots)
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
    style.save(figure, path)


def _spread(sample: np.ndarray) -> np.ndarray:
    """Sideways offsets of dots, the same in every run: by rank, with the golden ratio's even spread."""
    ranks = np.argsort(np.argsort(sample, kind="stable"), kind="stable")
    return ((ranks * 0.6180339887) % 1.0 - 0.5) * 0.36


def _darker(colour: str) -> tuple[float, float, float]:
    red, green, blue = to_rgb(colour)
    return (0.62 * red, 0.62 * green, 0.62 * blue)


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
