"""The learning curves of a run."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.style import DPI, WIDTH


def draw_learning_curves(records: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Draws the loss and its terms over the steps, raw and smoothed, and the validation Dice on the right axis.

    Args:
        records: the records of a training log: {"kind": "train", "step", "epoch", "loss", "cce", "ssim", "dice",
            "side"} and {"kind": "validation", "step", "epoch", "dice"}. Terms that are missing or None are left out.
            Other kinds are ignored. If a step has two records, as after a resumed run, the later one counts.
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
        ("side", "side outputs", "#8c6bb1"),
    ]
    curves = [(label, colour, *_series(train, key)) for key, label, colour in terms]
    curves = [curve for curve in curves if curve[2].size]
    validation_steps, validation_dice = _series(validation, "dice")
    if not curves and not validation_steps.size:
        raise ValueError("no record has a loss or a validation Dice; pass the records of a training log")

    figure = Figure(figsize=(WIDTH / DPI, 5.6), dpi=DPI, facecolor="white")
    left = figure.add_axes((0.07, 0.115, 0.865, 0.78))
    handles = []
    for label, colour, steps, values in curves:
        left.plot(steps, values, color=colour, linewidth=0.7, alpha=0.22)
        left.plot(steps, _smooth(values), color=colour, linewidth=1.9)
        handles.append(Line2D([], [], color=colour, linewidth=1.9, label=label))
    if curves:
        # The loss of the first steps may be far above all others and would flatten the rest of the curve.
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
        # This text is in the legend. Beside the point, curves would cross it.
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
        explained.append("dotted: start of an epoch")
        for step in epochs[1:]:
            left.axvline(step, color="#b9c0c6", linewidth=0.9, linestyle=":", zorder=0.5)
    left.set_xlabel(f"step ({', '.join(explained)})" if explained else "step")
    style.save(figure, path)


def _series(records: Mapping[int, Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and values in the order of the steps, without values that are missing or not finite."""
    pairs = [(step, float(records[step][key])) for step in sorted(records) if records[step].get(key) is not None]
    pairs = [(step, value) for step, value in pairs if math.isfinite(value)]
    return np.array([step for step, _ in pairs], int), np.array([value for _, value in pairs], float)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Returns the centred running mean over a fortieth of the curve. The windows are shorter at the ends."""
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
