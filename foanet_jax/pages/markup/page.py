"""Whole pages: one HTML file, which opens offline, on a phone and on paper, and runs at most one script, our own."""

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from foanet_jax import __version__
from foanet_jax.pages.markup.elements import Html, tag
from foanet_jax.system.atomic import atomic_path

_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def write_page(
    path: str | os.PathLike[str],
    title: str,
    *,
    above: str,
    summary: str,
    top: Html,
    parts: Mapping[str, tuple[str, Html]],
    hint: str = "",
    end: str,
    style: str = "",
    script: str = "",
) -> None:
    """Writes a page of several sections, whole or not at all.

    Args:
        path: the HTML file.
        title: the heading of the page.
        above: the line above the heading.
        summary: the paragraph below the heading.
        top: what stands between the summary and the links to the sections.
        parts: title and content of each section by its id. Sections without content are left out.
        hint: what stands below the links.
        end: the text of the footer.
        style: CSS after the CSS of all pages.
        script: as in `write_document`.
    """
    parts = {name: part for name, part in parts.items() if part[1]}
    links = [tag("li", tag("a", heading, href=f"#{name}")) for name, (heading, _) in parts.items()]
    header = tag(
        "header",
        tag("p", above, class_="above"),
        tag("h1", title),
        tag("p", summary, class_="summary"),
        top,
        tag("nav", tag("ul", *links), aria_label="Sections"),
        hint,
    )
    blocks = [tag("section", tag("h2", heading), content, id=name) for name, (heading, content) in parts.items()]
    write_document(path, title, header, tag("main", *blocks), end=end, style=style, script=script)


def write_document(
    path: str | os.PathLike[str], title: str, *content: Html, end: str, style: str = "", script: str = ""
) -> None:
    """Writes a page, whole or not at all.

    Args:
        path: the HTML file.
        title: the title in the browser's tab; "FOANet" is added to it.
        *content: the body of the page.
        end: the text of the footer; the version of the program is added to it.
        style: CSS after the CSS of all pages.
        script: JavaScript that the page runs when it is read; "" for a page that runs none. Browsers refuse any other
            script, because the page's policy contains the hash of this one.
    """
    policy = _POLICY
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"{_POLICY}; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – FOANet"),
        # Without this link, browsers ask a server for an icon.
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(_STYLE.read_text(encoding="utf-8") + style)),
    )
    footer = tag("footer", f"{end} foanet-jax {__version__}.", class_="quiet")
    run = [tag("script", Html(script))] if script else []
    body = tag("body", *content, footer, *run)
    page = f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
    with atomic_path(path) as temporary:
        # A file name may contain bytes that are not UTF-8.
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
