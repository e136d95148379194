"""The player: every image of a study with its contours, by slice and frame. `player.js` moves it."""

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foanet_jax.measures.indices.counted import left_out_flags
from foanet_jax.pages.drawing.borders import svg_path
from foanet_jax.pages.drawing.style import BOX_COLOUR, MARGIN_COLOUR, class_colours
from foanet_jax.pages.markup.elements import Html, counted, data_block, join, tag
from foanet_jax.pages.study_page.numbers import number
from foanet_jax.pages.study_page.result import StudyResult
from foanet_jax.pages.study_page.viewer.doubts import doubted, doubts
from foanet_jax.pages.study_page.viewer.greys import TYPE, Greys
from foanet_jax.pages.study_page.viewer.moments import heart_region

SCRIPT = Path(__file__).with_name("player.js")
# If the time between frames is not known, all frames together take so long.
HEARTBEAT_S = 1.0


def player(result: StudyResult, greys: Greys, curves: Mapping[str, np.ndarray], unit: str) -> Html:
    """Returns the player, which is hidden until its script runs, and its data.

    Args:
        result: the result for one study.
        greys: its images.
        curves: values (T,) by name that are told with each frame, all in one unit.
        unit: that unit.
    """
    canvas = tag("canvas", id="screen", tabindex="0", role="img", aria_label="Image", aria_describedby="keys")
    where = tag("p", id="where", role="status")
    shown = tag("div", canvas, where, *_controls(result), _hint(result, greys), id="player", class_="player", hidden="")
    return join([shown, data_block("player-data", _data(result, greys, curves, unit))])


def doubt_list(result: StudyResult) -> Html:
    """Returns the list of all images in doubt, each a button that shows it; nothing if there are none."""
    found = doubts(result.findings)
    if not found:
        return Html()
    images = doubted(result)
    items = []
    for doubt in found:
        at = {"data_frame": doubt.frame, "data_slice": doubt.slice_}
        places = {name: number for name, number in at.items() if number is not None}
        said = tag("strong", doubt.place(result.mask.shape))
        items.append(tag("li", tag("button", said, f" {'; '.join(doubt.messages)}", type="button", **places)))
    title = f"In doubt: {int(images.sum())} of {counted(images.size, 'image')}"
    return tag(
        "div",
        tag("h3", title, id="doubts-title"),
        tag("ol", *items, id="doubts", aria_labelledby="doubts-title"),
        class_="doubts",
    )


def _data(result: StudyResult, greys: Greys, curves: Mapping[str, np.ndarray], unit: str) -> dict[str, object]:
    study = result.study
    (frames, slices), (_, row_mm, column_mm) = result.mask.shape[:2], study.spacing_mm
    colours = class_colours(study.classes)
    ed, es = result.end_frames
    told = [
        ", ".join(f"{name} {number(float(curve[t]), unit)} {unit}" for name, curve in curves.items())
        for t in range(frames)
    ]
    return {
        "shape": result.mask.shape,
        "pixel_mm": (row_mm, column_mm),
        "heart": dataclasses.astuple(heart_region(result)),
        "frame_ms": 1000 * (HEARTBEAT_S / frames if result.frame_seconds is None else result.frame_seconds),
        "moments": {}
        if len(result.mask) < 2
        else {t: n for t, n in ((ed, "end diastole"), (es, "end systole")) if t is not None},
        "first": (0 if ed is None else ed, _middle(result)),
        "told": told,
        "left_out": [["; ".join(left_out_flags(result.count, t, z)) for z in range(slices)] for t in range(frames)],
        "colours": [colours[name] for name in study.classes[1:]],
        "boxes": [dataclasses.astuple(box) for box in result.boxes],
        "type": TYPE,
        "images": [[base64.b64encode(file).decode() for file in frame] for frame in greys.files],
        "contours": [
            [[svg_path(plane == index) for index in range(1, len(study.classes))] for plane in frame]
            for frame in result.mask
        ],
    }


def _middle(result: StudyResult) -> int:
    """Returns the middle one of the slices that show the heart."""
    shown = np.flatnonzero(result.mask.any((0, 2, 3)))
    return int(shown[len(shown) // 2]) if shown.size else result.mask.shape[1] // 2


def _controls(result: StudyResult) -> list[Html]:
    frames, slices = result.mask.shape[:2]
    groups = []
    if frames > 1:
        ends = zip(("ED", "ES"), ("End diastole", "End systole"), result.end_frames, strict=True)
        jumps = [_button(name, label=label, data_frame=frame) for name, label, frame in ends if frame is not None]
        speeds = [tag("option", text, value=value) for text, value in (("1", 1), ("½", 0.5), ("¼", 0.25))]
        speed = tag("label", "Speed ", tag("select", *speeds, id="speed"))
        groups.append(_group("Frame", _button("Play", data_action="play"), *_slider("frame", frames), *jumps, speed))
    if slices > 1:
        groups.append(_group("Slice", *_slider("slice", slices)))
    colours = class_colours(result.study.classes)
    drawn = np.unique(result.mask).tolist()
    toggles = [
        _toggle(name, colours[name], data_class=index)
        for index, name in enumerate(result.study.classes[1:])
        if index + 1 in drawn
    ]
    if len(toggles) > 1:
        toggles.append(_button("All", label="All contours", data_action="contours"))
    boxes = zip(("Heart box", "Box with margin"), (BOX_COLOUR, MARGIN_COLOUR), range(len(result.boxes)), strict=False)
    toggles += [_toggle(name, colour, pressed="false", data_box=index) for name, colour, index in boxes]
    if toggles:
        groups.append(_group("Contours", *toggles))
    zooms = {"zoom-in": "Zoom in", "zoom-out": "Zoom out", "heart": "Heart", "whole": "Whole image"}
    groups.append(_group("Zoom", *(_button(text, data_action=action) for action, text in zooms.items())))
    if doubts(result.findings):
        steps = {"previous-doubt": "Previous doubt", "next-doubt": "Next doubt"}
        groups.append(_group("Doubts", *(_button(text, data_action=action) for action, text in steps.items())))
    return groups


def _group(name: str, *content: Html) -> Html:
    return tag("div", *content, role="group", aria_label=name, class_="group")


def _button(text: str, *, label: str = "", **attributes: object) -> Html:
    return tag("button", text, type="button", **({"aria_label": label, "title": label} if label else {}), **attributes)


def _slider(name: str, count: int) -> list[Html]:
    title = name.capitalize()
    return [
        _button(f"‹ {title}", label=f"Previous {name}", data_action=f"previous-{name}"),
        tag("input", type="range", id=name, min=0, max=count - 1, step=1, value=0, aria_label=title),
        _button(f"{title} ›", label=f"Next {name}", data_action=f"next-{name}"),
    ]


def _toggle(name: str, colour: str, *, pressed: str = "true", **attributes: object) -> Html:
    line = tag("path", d="M0 6H14", stroke=colour)
    swatch = tag("svg", line, viewBox="0 0 14 12", width=14, height=12, aria_hidden="true")
    return tag("button", swatch, name, type="button", aria_pressed=pressed, class_="toggle", **attributes)


def _hint(result: StudyResult, greys: Greys) -> Html:
    frames, slices = result.mask.shape[:2]
    seen = "seen from the apex" if result.view is not None else "as stored in the file"
    speed = "" if frames < 2 else " Speed 1 is real." if result.frame_seconds else " At speed 1, a heartbeat takes 1 s."
    coarse = "" if greys.reduced == 1 else f" {greys.reduced} × {greys.reduced} pixels are shown as one."
    keys = [*(["← → frame", "space play"] if frames > 1 else []), *(["↑ ↓ or wheel slice"] if slices > 1 else [])]
    keys += ["+ − 0 zoom", "C contours", *(["N P doubts"] if doubts(result.findings) else [])]
    text = f"The images are {seen}; contours run along the edges of pixels.{speed}{coarse}"
    return tag("p", f"{text} Keys on the image: {', '.join(keys)}.", class_="quiet", id="keys")
