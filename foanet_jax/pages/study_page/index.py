"""The index: one page that lists the pages of all studies."""

import dataclasses
import io
import math
import os
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
from PIL import Image

from foanet_jax.measures.quality.summary import JoinedPatient
from foanet_jax.pages.markup.elements import Html, counted, image, tag, titled_table
from foanet_jax.pages.markup.page import write_document
from foanet_jax.pages.study_page.page import PURPOSE, STYLE, verdict_kind
from foanet_jax.pages.study_page.result import VERDICTS

_THUMBNAIL_PX = 96
# The numbers of a heartbeat in the table of patients, by their column in the summary.
_OF_A_BEAT = {
    "lv_ef_percent": ("LV EF (%)", ".0f"),
    "lv_edv_ml": ("LV EDV (ml)", ".0f"),
    "lv_esv_ml": ("LV ESV (ml)", ".0f"),
    "lv_mass_g": ("LV mass (g)", ".0f"),
    "rv_ef_percent": ("RV EF (%)", ".0f"),
    "rv_edv_ml": ("RV EDV (ml)", ".0f"),
    "rv_esv_ml": ("RV ESV (ml)", ".0f"),
}


@dataclasses.dataclass(frozen=True)
class IndexEntry:
    """One study in the index.

    Attributes:
        case: the id of the study.
        page: path of its page, relative to the index; "" if there is none.
        verdict: as in `StudyResult`.
        reason: the most important finding, or why the study could not be segmented.
        ef_percent: LV ejection fraction; None or NaN if it is not known.
        thumbnail: (H, W, 3) uint8; None if there is none.
    """

    case: str
    page: str = ""
    verdict: str = ""
    reason: str = ""
    ef_percent: float | None = None
    thumbnail: np.ndarray | None = None


def write_index_page(
    entries: Sequence[IndexEntry],
    path: str | os.PathLike[str],
    *,
    patients: Sequence[JoinedPatient] = (),
    title: str = "Studies",
) -> None:
    """Writes a table of the studies with links to their pages, whole or not at all. The worst verdicts come first.

    Args:
        entries: the studies. Those with the same verdict stay in this order.
        path: the HTML file.
        patients: if there are any, a table of them comes first.
        title: the heading of the page.
    """
    listed = sorted(entries, key=lambda entry: _rank(entry.verdict))
    counts = Counter(entry.verdict.lower() or "no verdict" for entry in listed)
    summary = f"{counted(len(listed), 'study', 'studies')}"
    if listed:
        summary += ": " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    rows = [[_name(entry), _badge(entry.verdict), _percent(entry.ef_percent), entry.reason or "–"] for entry in listed]
    header = tag("header", tag("p", "FOANet", class_="above"), tag("h1", title), tag("p", f"{summary}. {PURPOSE}"))
    table = titled_table("Studies", ["Study", "Verdict", "LV EF (%)", "Reason"], rows, numeric=[2], long=[3])
    style = STYLE.read_text(encoding="utf-8")
    main = tag("main", *([_patients(patients)] if patients else []), table, class_="index")
    write_document(path, title, header, main, end=PURPOSE, style=style)


def _rank(verdict: str) -> int:
    """Returns 0 for the studies to look at first. Studies without a verdict come before good ones."""
    order = ("reject", "check", "", "good")
    return order.index(verdict.lower()) if verdict.lower() in order else 0


def _patients(patients: Sequence[JoinedPatient]) -> Html:
    columns = {
        name: column
        for name, column in _OF_A_BEAT.items()
        if any(math.isfinite(patient.measured.get(name, math.nan)) for patient in patients)
    }

    def cell(patient: JoinedPatient, name: str, form: str) -> str:
        value = patient.measured.get(name, math.nan)
        mark = " *" if name in patient.affected else ""
        return f"{value:{form}}{mark}" if math.isfinite(value) else "–"

    rows = [
        [
            tag("span", patient.patient),
            _badge(patient.verdict),
            *(cell(patient, name, form) for name, (_, form) in columns.items()),
            ", ".join(patient.frames),
        ]
        for patient in sorted(patients, key=lambda patient: _rank(patient.verdict))
    ]
    header = ["Patient", "Verdict", *(heading for heading, _ in columns.values()), "Frames"]
    marked = any(name in patient.affected for patient in patients for name in columns)
    return titled_table(
        "Patients",
        header,
        rows,
        numeric=range(2, 2 + len(columns)),
        long=[2 + len(columns)],
        notes=["* affected by a finding: see the column affected_by of summary.csv"] if marked else [],
    )


def _name(entry: IndexEntry) -> Html:
    shown = [] if entry.thumbnail is None else [image(_small_png(entry.thumbnail), "")]
    if not entry.page:
        return tag("span", *shown, tag("span", entry.case))
    # "./" keeps the link relative: the name of a file can then be neither a scheme nor a host.
    return tag("a", *shown, tag("span", entry.case), href=f"./{quote(os.fsencode(entry.page))}")


def _badge(verdict: str) -> Html:
    said = VERDICTS.get(verdict.lower(), "")
    return tag("span", verdict or "–", class_=verdict_kind(verdict), **({"title": said} if said else {}))


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.0f}"


def _small_png(picture: np.ndarray) -> bytes:
    thumbnail = Image.fromarray(np.ascontiguousarray(picture, np.uint8))
    thumbnail.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = io.BytesIO()
    # With a palette the file has a third of the size. 96 colours are enough for greys and a few colours.
    thumbnail.quantize(96).save(file, format="PNG", optimize=True)
    return file.getvalue()
