"""The pages of a folder of studies, on one page."""

import dataclasses
import io
import math
import os
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
from PIL import Image

from foanet_jax.markup.elements import Html, counted, footer, image, tag, titled_table, write_document
from foanet_jax.study_page.page import PURPOSE, STYLE, verdict_kind
from foanet_jax.study_page.result import VERDICTS

_THUMBNAIL_PX = 96


@dataclasses.dataclass(frozen=True)
class IndexEntry:
    """One study of the folder.

    Attributes:
        case: what it is called.
        page: path of its page, relative to the index; "" where there is none.
        verdict: as in `StudyResult`.
        reason: the gravest flag's sentence, or why it could not be segmented.
        ef_percent: LV ejection fraction; None or NaN where it is not known.
        thumbnail: (H, W, 3) uint8, as `thumbnail_of` makes it; None where there is none.
    """

    case: str
    page: str = ""
    verdict: str = ""
    reason: str = ""
    ef_percent: float | None = None
    thumbnail: np.ndarray | None = None


def write_index_page(entries: Sequence[IndexEntry], path: str | os.PathLike[str], *, title: str = "Studies") -> None:
    """Writes a table of studies with links to their pages, those to look at first, whole or not at all.

    Args:
        entries: in the order in which studies of one verdict are listed.
        path: the HTML file.
        title: of the page.
    """
    order = ["reject", "check", "", "good"]

    def rank(entry: IndexEntry) -> int:
        verdict = entry.verdict.lower()
        return order.index(verdict) if verdict in order else 0

    listed = sorted(entries, key=rank)
    counts = Counter(entry.verdict.lower() or "not judged" for entry in listed)
    summary = f"{counted(len(listed), 'study', 'studies')}"
    if listed:
        summary += ": " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    rows = [[_name(entry), _badge(entry), _percent(entry.ef_percent), entry.reason or "–"] for entry in listed]
    header = tag("header", tag("p", "FOANet", class_="above"), tag("h1", title), tag("p", f"{summary}. {PURPOSE}"))
    table = titled_table("Studies", ["Study", "Verdict", "LV EF (%)", "Reason"], rows, numeric=[2], long=[3])
    style = STYLE.read_text(encoding="utf-8")
    write_document(path, f"{title} – FOANet", header, tag("main", table, class_="index"), footer(PURPOSE), style=style)


def _name(entry: IndexEntry) -> Html:
    shown = [] if entry.thumbnail is None else [image(_small_png(entry.thumbnail), "")]
    if not entry.page:
        return tag("span", *shown, tag("span", entry.case))
    # Relative whatever it is called: neither a scheme nor a host can stand at its beginning.
    return tag("a", *shown, tag("span", entry.case), href=f"./{quote(os.fsencode(entry.page))}")


def _badge(entry: IndexEntry) -> Html:
    said = VERDICTS.get(entry.verdict.lower(), "")
    return tag("span", entry.verdict or "–", class_=verdict_kind(entry.verdict), **({"title": said} if said else {}))


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}"


def _small_png(picture: np.ndarray) -> bytes:
    thumbnail = Image.fromarray(np.ascontiguousarray(picture, np.uint8))
    thumbnail.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = io.BytesIO()
    # A palette is a third of the size, and enough for greys and a few colours.
    thumbnail.quantize(96).save(file, format="PNG", optimize=True)
    return file.getvalue()
