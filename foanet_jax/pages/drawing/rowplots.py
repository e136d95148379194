"""Box plots and training curves of the rows of a sweep (Figs. 6 and 7)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from foanet_jax.measures.metrics import PatientScore
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.boxpanel import LABELS, count, draw_panel, panel_legend
from foanet_jax.pages.drawing.lettering import fitted, text_width
from foanet_jax.pages.drawing.style import DPI, MARGIN_COLOUR, WIDTH, class_colours

# Okabe and Ito's colours without yellow, which is too pale on white; then the same colours with dashed lines.
_COLOURS = ("#222222", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.2)))


def draw_row_boxplots(
    rows: Sequence[tuple[str, Iterable[PatientScore]]], measure: str, *, class_name: str, path: str | Path
) -> None:
    """Draws box plots over patients of one measure of one class, one box for each row (Figs. 6–7).

    The red dotted line is the mean; its value is above the box. If rows have different numbers of patients, the number
    is below the box.

    Args:
        rows: titles, and the means of the patients for the class, from `metrics.patient_means`. Patients without a unit
            and rows without a patient are left out.
        measure: "dc", "hd95_mm" or "bdc".
        class_name: the class, for the heading and the colour.
        path: the picture to write.

    Raises:
        ValueError: there is nothing to draw, or the measure is another.
    """
    if measure not in LABELS:
        raise ValueError(f"the measure is {measure!r}; choose one of {', '.join(LABELS)}")
    scored = [(title, [row for row in patients if row.n_units]) for title, patients in rows]
    scored = [(title, patients) for title, patients in scored if patients]
    if not scored:
        raise ValueError("no score to draw; pass the scores of at least one patient")
    groups = [patients for _, patients in scored]
    n_patients = len({row.patient for group in groups for row in group})
    misses = sum(row.misses for group in groups for row in group)
    labels = [fitted(title, 240, 10) for title, _ in scored]
    slot = 0.915 * WIDTH / len(labels)
    longest = max(text_width(label, 10) for label in labels)
    rotated = longest > 0.95 * slot
    if any(len(group) < n_patients for group in groups):
        labels = [f"{label}\nn = {len(group)}" for label, group in zip(labels, groups, strict=True)]
    # Labels turned by 30° have half of their length as height.
    foot = 30 + (0.5 * longest if rotated else 0) + (16 if "\n" in labels[0] else 0)
    height = 480 + foot
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.065, foot / height, 0.915, 370 / height))
    colour = class_colours(["background", class_name])[class_name]
    # The means are between the panel and its title.
    draw_panel(axes, groups, measure, [colour] * len(groups), width=min(0.55, 170 / slot), pad=20)
    turn: dict[str, Any] = {"rotation": 30, "ha": "right", "va": "top", "rotation_mode": "anchor"} if rotated else {}
    axes.set_xticks(range(len(labels)), labels, parse_math=False, **turn)
    for position, group in enumerate(groups):
        mean = float(np.mean([getattr(row, measure) for row in group]))
        axes.text(
            position,
            1.012,
            f"{mean:.2f}" if measure == "hd95_mm" else f"{mean:.3f}",
            transform=axes.get_xaxis_transform(),
            color=MARGIN_COLOUR,
            fontsize=10.5,
            ha="center",
        )
    heading = f"{class_name} · {count(n_patients, 'patient')} · {count(misses, 'miss', 'misses')}"
    figure.text(0.065, 1 - 28 / height, heading, fontsize=12, va="center", color="#222222", parse_math=False)
    figure.legend(
        handles=panel_legend(misses > 0),
        loc="center right",
        bbox_to_anchor=(0.985, 1 - 28 / height),
        ncols=4,
        frameon=False,
        fontsize=11,
    )
    style.save(figure, path)


def draw_row_curves(rows: Sequence[tuple[str, Sequence[Sequence[Mapping[str, Any]]]]], *, path: str | Path) -> None:
    """Draws the training loss of every row by epoch on a log axis, and the validation Dice beside it if there is one.

    For each epoch, the curve is the mean over the folds. It ends at the last epoch that all folds of the row have.

    Args:
        rows: titles, and the training logs of the folds, as in `drawing.draw_learning_curves`.
        path: the picture to write.

    Raises:
        ValueError: no record has a loss or a validation Dice.
    """
    panels = [
        (label, [_mean_over_folds(folds, kind, key) for _, folds in rows])
        for label, kind, key in (("training loss", "train", "loss"), ("validation Dice", "validation", "dice"))
    ]
    panels = [(label, curves) for label, curves in panels if any(values.size for _, values in curves)]
    if not panels:
        raise ValueError("no record has a loss or a validation Dice; pass the records of training logs")
    figure = Figure(figsize=(WIDTH / DPI, 5.6), dpi=DPI, facecolor="white")
    names = [fitted(title, 200, 10.5) for title, _ in rows]
    legend_width = (70 + max(text_width(name, 10.5) for name in names)) / WIDTH
    width = (0.985 - legend_width - 0.065 * len(panels)) / len(panels)
    for place, (label, curves) in enumerate(panels):
        axes = figure.add_axes((0.065 + place * (width + 0.065), 0.105, width, 0.81))
        for number, (epochs, values) in enumerate(curves):
            axes.plot(
                epochs + 1,
                values,
                color=_COLOURS[number % len(_COLOURS)],
                linestyle=_STYLES[number // len(_COLOURS) % len(_STYLES)],
                linewidth=1.7,
                # A single epoch is drawn as a point, because it has no line.
                marker="o" if len(values) == 1 else None,
            )
        _finish_curves(axes, label, np.concatenate([values for _, values in curves]))
    legend = figure.legend(
        handles=figure.axes[0].get_lines(),
        labels=names,
        loc="upper left",
        bbox_to_anchor=(0.985 - legend_width + 0.01, 0.935),
        frameon=False,
        fontsize=10.5,
        handlelength=2.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    style.save(figure, path)


def _finish_curves(axes: Axes, label: str, everything: np.ndarray) -> None:
    axes.set_title(label, fontsize=13, loc="left")
    if label == "validation Dice":
        axes.set_title("higher is better", fontsize=9.5, loc="right", color="#7a838b")
    elif (everything > 0).all():
        # Losses with different terms have different scales: only their shapes can be compared.
        axes.set_yscale("log")
        axes.set_title("log scale", fontsize=9.5, loc="right", color="#7a838b")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        decades = math.log10(everything.max() / everything.min())
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}") if decades < 1.2 else NullFormatter())
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(True, axis="y", which="both", color="#e4e7ea", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _mean_over_folds(
    folds: Sequence[Sequence[Mapping[str, Any]]], kind: str, key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the epochs from 0 that all folds have, and for each of them the mean over the folds."""
    means = []
    for records in folds:
        # If a step has two records, as after a resumed run, the later one counts.
        last = {record["step"]: record for record in records if record.get("kind") == kind}
        by_epoch: dict[int, list[float]] = {}
        for record in last.values():
            value = record.get(key)
            if value is not None and math.isfinite(value):
                by_epoch.setdefault(int(record["epoch"]), []).append(float(value))
        if by_epoch:
            means.append({epoch: float(np.mean(values)) for epoch, values in by_epoch.items()})
    epochs = sorted(set.intersection(*map(set, means))) if means else []
    return np.array(epochs, int), np.array([np.mean([fold[epoch] for fold in means]) for epoch in epochs], float)
