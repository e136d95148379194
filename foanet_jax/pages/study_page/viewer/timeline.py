"""The curves of a cine over the frames, above a map of its images: a picture that is a time line, too."""

import math
from collections.abc import Mapping

import numpy as np

from foanet_jax.pages.drawing.timecurves import CURVE_COLOURS
from foanet_jax.pages.markup.elements import Html, tag
from foanet_jax.pages.study_page.result import StudyResult
from foanet_jax.pages.study_page.viewer.doubts import doubted

# In units of the picture, of which a phone shows 440 on its width.
_WIDTH, _LEFT, _RIGHT = 440, 54, 8
_TOP, _CURVES, _GAP, _BOTTOM = 22, 130, 10, 34
_MOST_MAP, _ROW = 150, 11


def timeline(result: StudyResult, curves: Mapping[str, np.ndarray], unit: str) -> Html:
    """Returns the picture with its legend; nothing for a single frame.

    Below the curves there is a cell for every image, a row for each slice: filled if something was segmented there,
    in another colour if it is in doubt, and with a line across if a ventricle does not count there.

    Args:
        result: the result for one study.
        curves: values (T,) by name, all in one unit.
        unit: that unit.
    """
    frames, slices = result.mask.shape[:2]
    if frames < 2:
        return Html()
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve).any()}
    top = _TOP + (_CURVES + _GAP if curves else 0)
    row = min(_ROW, _MOST_MAP / slices)
    step = (_WIDTH - _LEFT - _RIGHT) / frames
    bottom = top + row * slices
    height = math.ceil(bottom + _BOTTOM)
    drawn, in_doubt = result.mask.any((2, 3)), doubted(result)
    left_out = np.zeros_like(drawn) if result.count is None else result.count.left_out
    parts = [
        *(_curve_parts(curves, step) if curves else ()),
        tag("path", d=_cells(~in_doubt & ~drawn, top, row, step), class_="empty"),
        tag("path", d=_cells(~in_doubt & drawn, top, row, step), class_="drawn"),
        tag("path", d=_cells(in_doubt, top, row, step), class_="doubted"),
        tag("path", d=_strokes(left_out, top, row, step), class_="left-out"),
        *_moments(result, step, bottom),
        *_axis(result, step, bottom, row),
        # The player moves these two.
        tag("rect", x=_LEFT, y=_TOP, width=_short(step), height=_short(bottom - _TOP), class_="now", id="now"),
        tag("rect", x=_LEFT, y=_short(top), width=_short(step), height=_short(row), class_="here", id="here"),
    ]
    picture = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
        aria_label="Time line: " + (", ".join(curves) + " and " if curves else "") + "a map of the images",
        id="timeline",
        # Where the cells are, for the player.
        data_left=_LEFT,
        data_step=_short(step),
        data_top=_short(top),
        data_row=_short(row),
    )
    legend = [
        *((_swatch("line", colour), f"{name} ({unit})") for name, colour in zip(curves, _colours(), strict=False)),
        (_swatch("drawn"), "segmented"),
        *([(_swatch("doubted"), "in doubt")] if in_doubt.any() else []),
        *([(_swatch("left-out"), "left out of a volume")] if left_out.any() else []),
    ]
    return tag(
        "figure",
        picture,
        tag("figcaption", *(tag("span", mark, f" {text}") for mark, text in legend), class_="legend"),
        class_="timeline",
    )


def _curve_parts(curves: Mapping[str, np.ndarray], step: float) -> list[Html]:
    highest = max(float(np.nanmax(curve)) for curve in curves.values())
    ticks = nice_ticks(highest)
    scale = _CURVES / max(ticks[-1], 1.04 * highest) if highest > 0 else 0.0
    base = _TOP + _CURVES
    parts = []
    for value in ticks:
        y = _short(base - scale * value)
        parts.append(tag("path", d=f"M{_LEFT} {y}H{_WIDTH - _RIGHT}", class_="grid"))
        parts.append(tag("text", f"{value:,g}", x=_LEFT - 6, y=y, class_="left"))
    for curve, colour in zip(curves.values(), _colours(), strict=False):
        points = [
            (_short(_LEFT + (t + 0.5) * step), _short(base - scale * value)) if math.isfinite(value) else None
            for t, value in enumerate(curve.tolist())
        ]
        # The line has gaps where the quantity was not measured.
        line = ""
        for before, point in zip([None, *points], points, strict=False):
            if point is not None:
                line += f"{'M' if before is None else 'L'}{point[0]} {point[1]}"
        parts.append(tag("path", d=line, stroke=colour, class_="curve"))
        parts += [tag("circle", cx=x, cy=y, r=2.2, fill=colour) for x, y in filter(None, points)]
    return parts


def nice_ticks(highest: float) -> list[float]:
    """Returns three to six round numbers from 0 to a value; only 0 if the value is 0 or less."""
    if highest <= 0:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(highest))
    step = next(step for step in (power / 5, power / 2, power, 2 * power) if highest / step < 6)
    return [number * step for number in range(math.floor(highest / step) + 1)]


def _colours() -> list[str]:
    return [*CURVE_COLOURS, *CURVE_COLOURS]


def _cells(images: np.ndarray, top: float, row: float, step: float) -> str:
    """Returns the cells of the images (T, Z), with a small gap between them."""
    gap = min(1.0, row / 6, step / 6)
    size = f"h{_short(step - gap)}v{_short(row - gap)}h{_short(gap - step)}z"
    return "".join(
        f"M{_short(_LEFT + t * step + gap / 2)} {_short(top + z * row + gap / 2)}{size}"
        for t, z in np.argwhere(images).tolist()
    )


def _strokes(images: np.ndarray, top: float, row: float, step: float) -> str:
    """Returns a line across each cell of the images (T, Z)."""
    line = f"l{_short(step)} {_short(row)}"
    return "".join(
        f"M{_short(_LEFT + t * step)} {_short(top + z * row)}{line}" for t, z in np.argwhere(images).tolist()
    )


def _moments(result: StudyResult, step: float, bottom: float) -> list[Html]:
    parts = []
    for frame, name in zip(result.end_frames, ("ED", "ES"), strict=True):
        if frame is not None:
            x = _short(_LEFT + (frame + 0.5) * step)
            parts.append(tag("path", d=f"M{x} {_TOP - 4}V{_short(bottom)}", class_="moment"))
            parts.append(tag("text", name, x=x, y=_TOP - 11, class_="middle strong"))
    return parts


def _axis(result: StudyResult, step: float, bottom: float, row: float) -> list[Html]:
    frames, slices = result.mask.shape[:2]
    every = next(number for number in (1, 5, 10, 50, 100, 1000) if frames <= 13 * number)
    shown = sorted({0, *range(every - 1, frames, every)})
    parts = [
        tag("text", str(t + 1), x=_short(_LEFT + (t + 0.5) * step), y=_short(bottom + 10), class_="middle")
        for t in shown
    ]
    seconds = result.frame_seconds
    text = "frame" if seconds is None else f"frame, every {1000 * seconds:.0f} ms"
    parts.append(tag("text", text, x=_short((_WIDTH + _LEFT - _RIGHT) / 2), y=_short(bottom + 25), class_="middle"))
    if slices > 1:
        parts.append(tag("text", "slice 1", x=_LEFT - 4, y=_short(bottom - row * (slices - 0.5)), class_="left"))
    if row * (slices - 1) > 14:
        parts.append(tag("text", str(slices), x=_LEFT - 4, y=_short(bottom - row / 2), class_="left"))
    return parts


def _swatch(kind: str, colour: str = "") -> Html:
    cell = "M3 1h10v10h-10z"
    marks = {
        "line": [tag("path", d="M0 6H16", stroke=colour, class_="curve")],
        "left-out": [tag("path", d=cell, class_="drawn"), tag("path", d="M3 1l10 10", class_=kind)],
    }
    mark = marks.get(kind) or [tag("path", d=cell, class_=kind)]
    return tag("svg", *mark, viewBox="0 0 16 12", width=16, height=12, aria_hidden="true")


def _short(value: float) -> str:
    """Returns a length with at most one decimal."""
    return f"{round(value, 1):g}"
