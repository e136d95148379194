"""Box plots of the scores of a run over patients, one box for each class (Figs. 6 and 7)."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from foanet_jax.measures.metrics import FOREGROUND, Score, patient_means
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.boxpanel import LABELS, count, draw_panel, panel_legend
from foanet_jax.pages.drawing.style import DPI, WIDTH, class_colours


def draw_summary(scores: Sequence[Score], path: str | Path) -> None:
    """Draws box plots of DC, 95HD and BDC over patients, for each class (Figs. 6–7).

    Boxes are quartiles, whiskers have 1.5 times the interquartile range, the red dotted line is the mean, and each dot
    is a patient.

    Args:
        scores: scores of any number of patients, from `metrics.score_case`.
        path: the picture to write.

    Raises:
        ValueError: no score is part of the means.
    """
    patients = [row for row in patient_means(scores) if row.class_name != FOREGROUND and row.n_units]
    if not patients:
        raise ValueError("no score to draw; pass the scores of at least one patient")
    names = list(dict.fromkeys(row.class_name for row in patients))
    groups = [[row for row in patients if row.class_name == name] for name in names]
    colours = class_colours(["background", *names])
    n_units, misses = sum(row.n_units for row in patients), sum(row.misses for row in patients)
    n_patients = len({row.patient for row in patients})

    figure = Figure(figsize=(WIDTH / DPI, 5.4), dpi=DPI, facecolor="white")
    crowded = len(names) > 3
    bottom = 0.25 if crowded else 0.085
    for i, measure in enumerate(LABELS):
        axes = figure.add_axes((0.055 + i * 0.325, bottom, 0.275, 0.82 - bottom))
        draw_panel(axes, groups, measure, [colours[name] for name in names])
        axes.set_xticks(range(len(names)), names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    figure.text(
        0.055,
        0.945,
        f"{count(n_patients, 'patient')} · {count(n_units, 'unit')} · {count(misses, 'miss', 'misses')}",
        fontsize=12,
        va="center",
        color="#222222",
    )
    figure.legend(
        handles=panel_legend(misses > 0),
        loc="center right",
        bbox_to_anchor=(0.985, 0.945),
        ncols=4,
        frameon=False,
        fontsize=11,
    )
    style.save(figure, path)
