"""The bull's-eye of the left ventricle: rings from base to apex, anterior on top and the septum on the left."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Wedge

from foanet_jax.measures.indices.segments import RING_NAMES
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.style import DPI

_SIDE, _HEIGHT = 600, 690
_RIM, _HUB = 1.0, 0.22
_UNKNOWN = "orientation unknown: angles from the top of the image"
_MIRRORED = "position unknown: anterior and inferior may be exchanged"


def draw_bullseye(
    rings: Sequence[Sequence[float] | np.ndarray],
    *,
    title: str,
    unit: str,
    limits: tuple[float, float],
    path: str | Path,
    oriented: bool = True,
    mirrored: bool = False,
) -> None:
    """Draws one value for each segment, as colour and number. Unknown values are grey with a dash.

    Args:
        rings: from base to apex; each has four or six segments, from anterior over the septum.
        title: the text above.
        unit: the unit, below the scale of colours.
        limits: values of the first and the last colour. Values outside have the colour of the nearer limit.
        path: the picture to write.
        oriented: whether the orientation is known. If not, angles are written in place of names.
        mirrored: whether anterior and inferior may be exchanged; the picture then says so.

    Raises:
        ValueError: there is no ring, or a ring has another number of segments.
    """
    if not rings or any(len(ring) not in (4, 6) for ring in rings):
        raise ValueError(f"rings of {[len(ring) for ring in rings]} segments; pass rings of six or four")
    figure = Figure(figsize=(_SIDE / DPI, _HEIGHT / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.0, 0.155, 1.0, 0.78))
    axes.set_xlim(-1.32, 1.32)
    axes.set_ylim(-1.18, 1.18)
    axes.set_aspect("equal")
    axes.set_axis_off()
    colours = ScalarMappable(Normalize(*limits, clip=True), matplotlib.colormaps["viridis"])
    hub = _HUB if len(rings) > 1 else 0.45
    width = (_RIM - hub) / len(rings)
    number = 0
    for place, ring in enumerate(rings):
        outer = _RIM - place * width
        for segment, value in enumerate(ring):
            number += 1
            start, end = segment_angles(len(ring), segment)
            known = math.isfinite(value)
            colour = colours.to_rgba(np.array(value)) if known else (0.91, 0.92, 0.93, 1.0)
            axes.add_patch(Wedge((0, 0), outer, start, end, width=width, facecolor=colour, edgecolor="white", lw=2))
            middle, radius = math.radians((start + end) / 2), outer - width / 2
            x, y = radius * math.cos(middle), radius * math.sin(middle)
            dark = known and float(np.dot(colour[:3], (0.3, 0.59, 0.11))) < 0.55
            ink = "white" if dark else "#1a1f24"
            said = f"{value:.1f}" if unit == "mm" else f"{value:.0f}"
            text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
            axes.text(x, y + 0.02, said if known else "–", fontsize=14, fontweight="bold", **text)
            if oriented and len(rings) > 1:
                axes.text(x, y - 0.085, str(number), fontsize=9, **text)
    if len(rings) > 1:
        axes.add_patch(Circle((0, 0), hub - 0.01, facecolor="#e8ebee", edgecolor="none"))
        axes.text(0, 0, "17" if oriented else "–", fontsize=9, color="#5a6570", ha="center", va="center")
    for segment, name in enumerate(RING_NAMES):
        middle = math.radians(sum(segment_angles(6, segment)) / 2)
        said = name if oriented else f"{-60 * segment % 360}°"
        turned = math.degrees(middle) - 90
        # The text follows the rim and is upright in the lower half too.
        turned += 180 * (math.sin(middle) < -0.1)
        axes.text(
            1.09 * math.cos(middle),
            1.09 * math.sin(middle),
            said,
            fontsize=12,
            color="#1a1f24",
            ha="center",
            va="center",
            rotation=turned,
            rotation_mode="anchor",
        )
    figure.text(0.5, 0.965, title, fontsize=16, ha="center", va="center", color="#1a1f24", parse_math=False)
    bar = figure.colorbar(
        colours, cax=figure.add_axes((0.2, 0.115, 0.6, 0.026)), orientation="horizontal", extend="both"
    )
    bar.set_label(unit, fontsize=12)
    bar.ax.tick_params(labelsize=11)
    if mirrored or not oriented:
        doubt = _MIRRORED if oriented else _UNKNOWN
        figure.text(0.5, 0.015, doubt, fontsize=12, ha="center", va="bottom", color="#8c1d18")
    style.save(figure, path)


def segment_angles(count: int, segment: int) -> tuple[float, float]:
    """Returns the start and the end of a segment, in degrees anticlockwise from the right. Segment 0 is at the top."""
    size = 360 / count
    return 90 + (segment - 0.5) * size, 90 + (segment + 0.5) * size
