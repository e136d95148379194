"""How well the confidence predicts the Dice, and how well it finds bad segmentations."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from foanet_jax.measures.quality.ranks import roc_auc, roc_curve, spearman
from foanet_jax.measures.quality.table import QualityRow
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.boxpanel import count
from foanet_jax.pages.drawing.lettering import fitted, text_width
from foanet_jax.pages.drawing.style import DPI, WIDTH

# The marks of the verdicts differ in shape as well as in colour.
_MARKS = {"good": ("o", "#00795c"), "check": ("^", "#b5530f"), "reject": ("X", "#7b3fd1")}


def draw_confidence(rows: Sequence[QualityRow], *, low_dice: float, title: str, path: str | Path) -> None:
    """Draws Dice over confidence with a mark for each study, and the ROC curve for finding a Dice below `low_dice`.

    Args:
        rows: the studies, for one class.
        low_dice: a study with a lower Dice is bad.
        title: the text above, before the count.
        path: the picture to write.

    Raises:
        ValueError: there are no studies.
    """
    if not rows:
        raise ValueError("no studies; pass at least one")
    confidence, dice = np.array([(row.confidence, row.dice) for row in rows]).T
    bad = dice < low_dice
    height = 600
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    left = figure.add_axes((85 / WIDTH, 65 / height, 560 / WIDTH, 440 / height))
    right = figure.add_axes((735 / WIDTH, 65 / height, 440 / WIDTH, 440 / height))
    for verdict, (marker, colour) in _MARKS.items():
        chosen = np.array([row.verdict == verdict for row in rows])
        label = f"{verdict} ({chosen.sum()})"
        left.scatter(
            confidence[chosen], dice[chosen], s=42, marker=marker, color=colour, alpha=0.8, linewidths=0, label=label
        )
    left.axhline(low_dice, color="#777777", linewidth=1.2, linestyle=(0, (5, 3)))
    left.set_ylim(min(0.95 * float(dice.min()), 0.95 * low_dice), 1.01)
    left.set_xlabel("confidence: mean probability of the predicted class")
    left.set_ylabel("Dice")
    left.set_title("Dice over confidence", fontsize=13, loc="left")
    left.set_title(f"Spearman's ρ = {_number(spearman(confidence, dice))}", fontsize=12, loc="right")
    y = 1 - 32 / height
    figure.legend(loc="center right", bbox_to_anchor=(0.99, y), ncols=3, frameon=False, fontsize=11)

    if bad.any() and not bad.all():
        right.plot([0, 1], [0, 1], color="#b9c0c6", linewidth=1.2, linestyle=(0, (5, 3)))
        right.plot(*roc_curve(-confidence, bad), color="#222222", linewidth=1.8)
    else:
        says = f"no study with a Dice below {low_dice:g}" if not bad.any() else f"all studies below {low_dice:g}"
        right.text(0.5, 0.5, says, ha="center", fontsize=12, color="#555555")
    right.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    right.set_xlabel("good studies called bad")
    right.set_ylabel("bad studies found")
    right.set_title(f"ROC: Dice below {low_dice:g}", fontsize=13, loc="left")
    right.set_title(f"AUC = {_number(roc_auc(-confidence, bad))}", fontsize=12, loc="right")
    for axes in (left, right):
        axes.grid(True, color="#e4e7ea", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    counts = f" · {count(len(rows), 'study', 'studies')}, {bad.sum()} below {low_dice:g}"
    heading = fitted(title, 700 - text_width(counts, 12), 12) + counts
    figure.text(85 / WIDTH, y, heading, fontsize=12, va="center", color="#222222", parse_math=False)
    style.save(figure, path)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".replace("-", "−")
