"""The overview picture of a data set."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from foanet_jax.jobs.check.facts import CheckReport, Severity, volumes
from foanet_jax.jobs.check.text import format_check
from foanet_jax.jobs.check.thumbnail import THUMBNAIL_MM
from foanet_jax.pages.drawing.style import (
    DIFFERENCE_COLOUR,
    DPI,
    INK,
    MARGIN_COLOUR,
    PAGE,
    QUIET_INK,
    class_colours,
    save,
)


def draw_check(report: CheckReport, path: str | os.PathLike[str]) -> None:
    """Draws one page with a labelled middle slice of each patient, and histograms of spacing, size and volumes.

    Each tile shows 160 × 160 mm around the labels. With a wrong spacing, the heart therefore has a wrong size. A red
    frame marks a patient with an error. A yellow frame marks a patient with a warning about single studies.

    Args:
        report: result of `check_data_set`; it may be empty.
        path: the picture; its suffix determines the format, .png by default.
    """
    shown = list(report.thumbnails)
    across = min(10, max(5, math.ceil(math.sqrt(1.3 * len(shown)))))
    page, margin, gap, head, caption = 1500, 20, 10, 78, 17
    tile = (page - 2 * margin - (across - 1) * gap) // across
    rows = math.ceil(len(shown) / across)
    low = 345  # the histograms
    height = head + rows * (tile + caption + gap) + low
    figure = Figure(figsize=(page / DPI, height / DPI), dpi=DPI, facecolor=PAGE)

    def write(x: float, y: float, text: str, size: float, colour: str = INK, **style: Any) -> None:
        # Patient ids are plain text, so a $ must not start a formula.
        text = text.encode("utf-8", "backslashreplace").decode()
        figure.text(x / page, 1 - y / height, text, fontsize=size, color=colour, parse_math=False, **style)

    write(margin, 30, format_check(report).partition("\n")[0], 15, va="center", fontweight="bold")
    few = f"{len(shown)} of {len(report.patients)} patients, " if len(shown) < len(report.patients) else ""
    write(
        margin,
        58,
        f"{few}each {THUMBNAIL_MM:g} × {THUMBNAIL_MM:g} mm around the labels, middle slice; frame red: an error, "
        "yellow: a warning",
        9.5,
        QUIET_INK,
        va="center",
    )
    colours = class_colours(report.classes)
    if colours:
        figure.legend(
            handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
            loc="center right",
            bbox_to_anchor=(1 - margin / page, 1 - 58 / height),
            ncols=len(colours),
            frameon=False,
            fontsize=9.5,
            labelcolor=INK,
            borderaxespad=0,
            handlelength=1,
            columnspacing=1.2,
        )
    severities = _severity_of_patients(report)
    size_of = {study.patient: study.shape for study in reversed(report.studies)}
    for place, patient in enumerate(shown):
        x = margin + place % across * (tile + gap)
        y = head + place // across * (tile + caption + gap)
        axes = figure.add_axes((x / page, 1 - (y + caption + tile) / height, tile / page, tile / height))
        axes.set_axis_off()
        thumbnail = report.thumbnails[patient]
        if thumbnail is None:
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, color="#2a1618"))
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": MARGIN_COLOUR}
            axes.text(0.5, 0.5, "cannot\nbe read", transform=axes.transAxes, **style)
        else:
            axes.imshow(thumbnail, aspect="auto", interpolation="antialiased")
        if patient in severities:
            frame = MARGIN_COLOUR if severities[patient] == "error" else DIFFERENCE_COLOUR
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=frame, linewidth=3))
        letters = tile // 7
        size = "×".join(map(str, [n for n in size_of.get(patient, ()) if n > 1]))
        label = patient if len(patient) <= letters - len(size) else patient[: max(4, letters - len(size) - 1)] + "…"
        write(x, y + caption / 2, label, 8, va="center")
        write(x + tile, y + caption / 2, size, 7, QUIET_INK, va="center", ha="right")
    _draw_histograms(figure, report, colours, low / height, height)
    save(figure, Path(path))


def _severity_of_patients(report: CheckReport) -> dict[str, Severity]:
    severities: dict[str, Severity] = {}
    for finding in reversed(report.findings):  # In reverse order, errors come last and replace warnings.
        patients = {report.patient_of[case] for case in finding.cases}
        if len(patients) < max(2, len(report.patients)):  # A finding about all patients marks none of them.
            severities |= dict.fromkeys(patients, finding.severity)
    return severities


def _draw_histograms(
    figure: Figure, report: CheckReport, colours: Mapping[str, str], share: float, height: int
) -> None:
    """Draws histograms of spacing, size and volumes in the lowest `share` of a page that is `height` px high."""
    bottom, top = 58 / height, share - 62 / height
    width = 0.2
    lefts = [0.035 + place * 0.25 for place in range(4)]
    studies = report.studies
    blue, amber = "#7fb2ff", "#ffb86b"
    for left, title, series in (
        (lefts[0], "in-plane spacing [mm], studies", {blue: [max(study.spacing_mm[1:]) for study in studies]}),
        (
            lefts[1],
            "slice spacing [mm], studies",
            {blue: [study.spacing_mm[0] for study in studies if study.shape[1] > 1]},
        ),
        (
            lefts[2],
            "rows (blue), columns (amber) [px], studies",
            {blue: [study.shape[2] for study in studies], amber: [study.shape[3] for study in studies]},
        ),
    ):
        axes = figure.add_axes((left, bottom, width, top - bottom))
        _style(axes, title)
        values = [value for its in series.values() for value in its]
        if not values:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, color=QUIET_INK, ha="center")
            continue
        bins = _bins(values)
        for colour, its in series.items():
            axes.hist(its, bins=bins, color=colour, alpha=0.75 if len(series) == 1 else 0.55)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    drawn = {
        name: [volumes(study)[name] for study in studies if volumes(study).get(name)] for name in report.classes[1:]
    }
    every = [value for values in drawn.values() for value in values]
    if not every:
        _style(axes := figure.add_axes((lefts[3], bottom, width, top - bottom)), "volume of each class [ml]")
        axes.text(0.5, 0.5, "no labels", transform=axes.transAxes, color=QUIET_INK, ha="center")
        return
    bins = _bins(every)
    step = (top - bottom) / len(drawn)
    for place, (name, values) in enumerate(drawn.items()):
        axes = figure.add_axes((lefts[3], top - (place + 0.86) * step, width, step * 0.86))
        _style(axes, "volume of each class [ml], studies" if place == 0 else "")
        axes.hist(values, bins=bins, color=colours[name], alpha=0.85)
        # 16 px above the bars stay free, because a name in front of a bar of the same colour cannot be read.
        most = max(1, *np.histogram(values, bins)[0])
        axes.set_ylim(0, most / (1 - 16 / (0.86 * step * height)))
        axes.text(
            0.99,
            0.97,
            name if values else f"{name}: none",
            transform=axes.transAxes,
            color=colours[name],
            ha="right",
            va="top",
            fontsize=9,
            parse_math=False,
        )
        axes.set_xlim(bins[0], bins[-1])
        axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        if place < len(drawn) - 1:
            axes.set_xticklabels([])


def _bins(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    room = max(0.02 * (high - low), 0.05 * abs(high), 1e-6)
    return np.linspace(low - room, high + room, 26).tolist()


def _style(axes: Axes, title: str) -> None:
    axes.set_facecolor(PAGE)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.tick_params(colors=QUIET_INK, labelsize=8.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET_INK)
