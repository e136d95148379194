"""The page of one study: verdict and reasons, key numbers, images, walls, all values, and how it was made."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from foanet_jax import __version__
from foanet_jax.pages.markup.elements import (
    ENLARGE_HINT,
    Html,
    counted,
    details,
    enlargeable,
    join,
    numbers,
    tag,
    titled_table,
)
from foanet_jax.pages.markup.page import write_page
from foanet_jax.pages.study_page import pictures
from foanet_jax.pages.study_page.body import body_section
from foanet_jax.pages.study_page.counting import counting_slices
from foanet_jax.pages.study_page.numbers import frame_table, key_numbers, name_of, slice_table
from foanet_jax.pages.study_page.pictures import Picture, size_curves
from foanet_jax.pages.study_page.result import VERDICTS, StudyResult, require_result
from foanet_jax.pages.study_page.viewer.greys import encode_greys
from foanet_jax.pages.study_page.viewer.moments import moments
from foanet_jax.pages.study_page.viewer.player import SCRIPT, doubt_list, player
from foanet_jax.pages.study_page.viewer.timeline import timeline

STYLE = Path(__file__).with_name("study.css")
PURPOSE = "For research, not for diagnosis."


def write_study_page(result: StudyResult, path: str | os.PathLike[str]) -> None:
    """Writes the page with all its pictures as one file, whole or not at all.

    Args:
        result: the result for one study. Sections for which it has no data are left out.
        path: the HTML file.

    Raises:
        InputError: "shape-mismatch" if the arrays of the result do not have the shape of the study.
    """
    study = require_result(result).study
    write_page(
        path,
        study.case,
        above="FOANet · one study",
        summary=_what(result),
        top=join([_verdict(result), numbers(key_numbers(result)), counting_slices(result), _files(result)]),
        parts={
            "images": ("Images", _images(result)),
            "body": ("Body size and reference values", body_section(result)),
            "wall": ("Wall thickness", _wall(result)),
            "curves": ("Curves over the heartbeat", _curves(result)),
            "values": ("All values", _values(result)),
            "provenance": ("How it was made", _provenance(result)),
        },
        hint=ENLARGE_HINT,
        end=PURPOSE,
        style=STYLE.read_text(encoding="utf-8"),
        script=SCRIPT.read_text(encoding="utf-8"),
    )


def verdict_kind(verdict: str) -> str:
    """Returns the CSS class, in study.css, for the colour of a verdict."""
    return f"verdict {verdict.lower() if verdict.lower() in VERDICTS else 'unknown'}"


def _what(result: StudyResult) -> str:
    study = result.study
    frames, slices, rows, columns = study.voxels.shape
    patient = "" if study.patient == study.case else f"Patient {study.patient}: "
    group = f", group {study.group}" if study.group else ""
    count = [counted(slices, "slice")] + ([counted(frames, "frame")] if frames > 1 else [])
    return f"{patient}{' × '.join(count)} of {rows} × {columns} px{group}. {PURPOSE}"


def _verdict(result: StudyResult) -> Html:
    if not (result.verdict or result.flags or result.confidence is not None):
        return Html()
    confidence = "" if result.confidence is None else f" Confidence of the network: {result.confidence:.2f} of 1."
    said = VERDICTS.get(result.verdict.lower(), "")
    reasons = [
        tag("li", sentence, *([tag("span", f" {place}", class_="quiet")] if place else []), title=code)
        for code, sentence, place in result.flags
    ]
    return tag(
        "section",
        tag("p", tag("strong", result.verdict.capitalize() or "No verdict"), f" {said}{confidence}".rstrip()),
        *([tag("p", doubts)] if (doubts := _doubts(result)) else []),
        *([tag("ul", *reasons)] if reasons else []),
        class_=verdict_kind(result.verdict),
        id="verdict",
    )


def _doubts(result: StudyResult) -> str:
    """Returns the sentence about the classes and the numbers that findings concern; "" if there are none."""
    if not result.doubtful:
        return ""
    # Only the numbers of the page: what is computed from them, such as an index, has no name here.
    names = {name: name_of(name, result.study.classes) for name in result.affected}
    spoiled = [shown for name, shown in names.items() if shown != name]
    return f"To check: {', '.join(result.doubtful)}. Numbers affected: {', '.join(spoiled) or 'none'}."


def _images(result: StudyResult) -> Html:
    greys = encode_greys(result.study.voxels)
    curves, unit = size_curves(result)
    beside = [part for part in (timeline(result, curves, unit), doubt_list(result)) if part]
    shown = [player(result, greys, curves, unit), *([tag("div", *beside, class_="beside")] if beside else [])]
    without = tag("noscript", tag("p", "This browser does not run the script of the page, so it shows few images."))
    return join([tag("div", *shown, class_="viewer"), without, moments(result, greys.window)])


def _files(result: StudyResult) -> Html:
    # "./" keeps the link relative: the name of a file can then be neither a scheme nor a host.
    links = [tag("a", what, href=f"./{quote(os.fsencode(name))}") for what, name in result.files.items()]
    if not links:
        return Html()
    parts = [part for link in links for part in (" · ", link)][1:]
    return tag("p", "Files beside this page: ", *parts, class_="files")


def _wall(result: StudyResult) -> Html:
    drawn = [_enlargeable(picture) for picture in pictures.bullseyes(result)]
    if not drawn:
        return Html()
    single = result.mask.shape[1] == 1
    text = (
        "The ring has six sectors of 60°. "
        if single
        else "The segments are those of the American Heart Association. The rings, from outside, are the basal, the "
        "mid and the apical third of the slices that show the cavity in this frame. Segment 17, the apex, is not "
        "measured, because no slice shows it. A dash marks a sector without a closed wall. "
    )
    return join([tag("p", text + _directions(result)), tag("div", *drawn, class_="thirds")])


def _directions(result: StudyResult) -> str:
    if not result.oriented:
        return (
            "The orientation is unknown, because no right ventricle was segmented. Angles run clockwise from the top "
            "of the image."
        )
    if result.may_be_mirrored:
        return (
            "The septum is where the right ventricle was segmented. The file does not tell the position of the images "
            "in the patient: anterior and inferior may be exchanged."
        )
    return "The directions follow from the position of the images in the patient and of the right ventricle."


def _curves(result: StudyResult) -> Html:
    drawn = [_enlargeable(picture) for picture in pictures.time_curves(result)]
    return tag("div", *drawn, class_="pair") if drawn else Html()


def _enlargeable(picture: Picture) -> Html:
    return enlargeable(picture.name, picture.title, picture.caption, picture.content)


def _values(result: StudyResult) -> Html:
    header, rows = frame_table(result)
    parts = []
    if len(header) > 1 and len(rows) > 1:
        parts.append(details("All frames", titled_table("All frames", header, rows, numeric=range(1, len(header)))))
    if result.indices is not None and result.mask.shape[1] > 1:
        names = ("end diastole", "end systole")
        for name, frame in zip(names, result.end_frames, strict=True):
            if frame is not None:
                header, rows = slice_table(result, frame)
                title = f"All slices at {name}, frame {frame + 1}" if len(result.mask) > 1 else "All slices"
                last = len(header) - 1
                parts.append(details(title, titled_table(title, header, rows, numeric=range(1, last), long=[last])))
    remarks = [result.ventricle.flags] if result.ventricle is not None and result.ventricle.flags else []
    return join([*parts, *(tag("p", f"Volumes: {remark}.", class_="quiet") for remark in remarks)])


def _provenance(result: StudyResult) -> Html:
    study = result.study
    depth, row, column = study.spacing_mm
    facts: dict[str, Any] = {
        "file": study.source.name if study.source is not None else "none (an array in memory)",
        "frames × slices × rows × columns": " × ".join(map(str, study.voxels.shape)),
        "spacing (mm)": f"{row:.4g} × {column:.4g} in the plane, {depth:.4g} between slices",
        "time between frames": "unknown" if result.frame_seconds is None else f"{1000 * result.frame_seconds:.1f} ms",
        "seen": "as stored" if result.view is None else result.view.describe(),
        "classes": ", ".join(study.classes[1:]),
        "voxels of each class": ", ".join(map(str, np.bincount(result.mask.ravel(), minlength=len(study.classes))[1:])),
        **result.provenance,
        "foanet-jax": __version__,
    }
    return titled_table("Input and software", ["Item", "Value"], list(_flat(facts)), long=[1])


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterable[list[str]]:
    """Returns names and values as text. The entries of a mapping have its name in front, as in "model.checkpoint"."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield [f"{above}{name}", str(value)]
