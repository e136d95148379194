"""Draws the results."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmarks.contestants import TITLES
from benchmarks.report import seconds_text
from foanet_jax.data.shifts import Shift
from foanet_jax.pages.drawing.style import INK, PAGE, QUIET_INK, class_colours, save

COLOURS = {
    "ours": "#00c896",
    "torch": "#ff7f2a",
    "torch-rewritten": "#935ce6",
    "keras": "#5caee6",
    "keras-tuned": "#2b6ea3",
}


def _axes(figure: Figure, rows: int, columns: int):
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_facecolor(PAGE)
        axes.tick_params(colors=QUIET_INK)
        for spine in axes.spines.values():
            spine.set_color(QUIET_INK)
            spine.set_visible(spine.spine_type in ("left", "bottom"))
    return grid


def draw_comparison(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws bars of each contestant's time divided by ours for each case, with the range over the rounds."""
    figure = Figure(figsize=(12, 1 + 1.5 * len(records)), facecolor=PAGE, layout="constrained")
    grid = _axes(figure, len(records), 1)
    highest = max(result["ratio_range"][1] for record in records for result in record["contestants"])
    for axes, record in zip(grid[:, 0], records, strict=True):
        for place, result in enumerate(record["contestants"]):
            ratio, (low, high) = result["ratio"], result["ratio_range"]
            axes.barh(place, ratio, color=COLOURS[result["name"]], height=0.7)
            axes.plot([low, high], [place, place], color=INK, linewidth=1)
            axes.text(
                max(ratio, high) + highest * 0.01,
                place,
                f"{ratio:.2f} × ours, {seconds_text(result['median_seconds'])}",
                color=INK,
                va="center",
                fontsize=9,
            )
        axes.set_yticks(range(len(record["contestants"])), [TITLES[r["name"]] for r in record["contestants"]])
        axes.invert_yaxis()
        axes.set_xlim(0, highest * 1.25)
        axes.axvline(1, color=QUIET_INK, linewidth=0.8, linestyle=":")
        axes.set_title(record["case"]["name"], color=INK, loc="left", fontsize=10)
    save(figure, path)


def draw_scaling(axes_of: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws the cost of one unit and the peak memory along each axis."""
    figure = Figure(figsize=(12, 2.6 * len(axes_of)), facecolor=PAGE, layout="constrained")
    grid = _axes(figure, len(axes_of), 2)
    for (cost, memory), (name, points) in zip(grid, axes_of.items(), strict=True):
        values = [point["value"] for point in points]
        cost.plot(values, [point["seconds_per_unit"] * 1e3 for point in points], "o-", color=COLOURS["ours"])
        cost.set_ylabel(f"ms per {points[0]['unit']}", color=INK)
        memory.plot(values, [point["memory"]["peak_mib"] for point in points], "o-", color=COLOURS["torch-rewritten"])
        memory.set_ylabel("peak MiB", color=INK)
        for axes in (cost, memory):
            axes.set_xlabel(name, color=INK)
            axes.set_xscale("log", base=2)
            axes.set_xticks(values, [str(value) for value in values])
            axes.minorticks_off()
            axes.set_ylim(bottom=0, top=1.08 * axes.get_ylim()[1])
    save(figure, path)


def draw_robustness(
    panels: Sequence[tuple[Shift, Sequence[float], dict[str, Sequence[float]], dict[str, Sequence[float]]]],
    classes: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Draws one panel for each shift: the Dice of each class against the strength. The unshifted prediction is dotted.

    Args:
        panels: the shift, its strengths, and the mean Dice of each class at each strength, first of the prediction on
            the shifted studies, then of the prediction before the shift.
        classes: all classes, the background first.
        title: title over all panels.
        path: the image file to write.
    """
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(12, 0.8 + 2.4 * down), facecolor=PAGE, layout="constrained")
    figure.suptitle(title, color=INK, fontsize=11)
    grid = _axes(figure, down, across)
    colours = class_colours(classes)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (shift, strengths, after, before) in zip(grid.flat, panels, strict=False):
        places = range(len(strengths))
        for name, colour in colours.items():
            axes.plot(places, before[name], ":", color=colour, linewidth=1)
            axes.plot(places, after[name], "o-", color=colour, linewidth=1.4, markersize=3.5, label=name)
        axes.set_title(shift.title, color=INK, loc="left", fontsize=9)
        axes.set_xticks(places, [shift.step(strength) for strength in strengths], fontsize=8)
        axes.set_xlim(-0.4, len(strengths) - 0.6)
        axes.set_ylim(0, 1)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, labelcolor=INK)
    save(figure, path)


def draw_heldout(
    costs: Sequence[tuple[str, str, float, float, float]], classes: Sequence[str], title: str, path: Path
) -> None:
    """Draws the change in Dice of each class, with its interval, for each held-out group of patients.

    Args:
        costs: the held-out group, the class, the mean difference in Dice, and the ends of its interval.
        classes: foreground classes. Other names, such as the mean over classes, are not drawn.
        title: title of the figure.
        path: the image file to write.
    """
    names = list(dict.fromkeys(cost[0] for cost in costs))
    figure = Figure(figsize=(12, 1.6 + 0.22 * len(names) * (len(classes) + 1)), facecolor=PAGE, layout="constrained")
    ((axes,),) = _axes(figure, 1, 1)
    for row, (class_name, colour) in enumerate(class_colours(("background", *classes)).items()):
        its = {held_out: (mean, low, high) for held_out, name, mean, low, high in costs if name == class_name}
        places = [place + (row - (len(classes) - 1) / 2) * 0.8 / len(classes) for place in range(len(names))]
        drawn = [(place, *its[name]) for place, name in zip(places, names, strict=True) if name in its]
        for place, _, low, high in drawn:
            axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
        axes.plot([mean for _, mean, *_ in drawn], [place for place, *_ in drawn], "o", color=colour, label=class_name)
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.invert_yaxis()
    axes.axvline(0, color=QUIET_INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("Dice held out minus Dice seen: mean and 95 % interval", color=INK)
    axes.set_title(title, color=INK, loc="left", fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, labelcolor=INK)
    save(figure, path)


@dataclasses.dataclass(frozen=True)
class BeatPanel:
    """The curves of one cine: volumes (T,) in ml by class, and dotted ones beside them, such as the truth."""

    title: str
    curves_ml: Mapping[str, Sequence[float]]
    dotted_ml: Mapping[str, Sequence[float]]


def draw_beat(
    panels: Sequence[BeatPanel], classes: Sequence[str], path: Path, *, dotted: str = "dotted: truth"
) -> None:
    """Draws the volume of each class over the frames of each cine, one panel a cine.

    Args:
        panels: the curves of each cine.
        classes: all classes, the background first.
        path: the image file to write.
        dotted: what the dotted curves are, for the legend.
    """
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(12, 0.7 + 2.9 * down), facecolor=PAGE, layout="constrained")
    grid = _axes(figure, down, across)
    colours = class_colours(classes)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        for name, colour in colours.items():
            curve = panel.curves_ml[name]
            axes.plot(range(1, len(curve) + 1), curve, "o-", color=colour, linewidth=1.4, markersize=3, label=name)
            if name in panel.dotted_ml:
                axes.plot(range(1, len(curve) + 1), panel.dotted_ml[name], ":", color=colour, linewidth=1.2)
        axes.set_title(panel.title, color=INK, loc="left", fontsize=10)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("frame", color=QUIET_INK, fontsize=9)
        axes.set_ylabel("ml", color=QUIET_INK, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    handles, labels = grid.flat[0].get_legend_handles_labels()
    if any(panel.dotted_ml for panel in panels):
        handles.append(Line2D([], [], color=QUIET_INK, linestyle=":"))
        labels.append(dotted)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, labelcolor=INK)
    save(figure, path)
