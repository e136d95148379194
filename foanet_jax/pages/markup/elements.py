"""HTML elements, tables and pictures. Every text is escaped, unless it is markup already."""

import base64
import html
import json
import struct
from collections.abc import Collection, Iterable, Sequence

_VOID = ("meta", "link", "img", "input")


class Html(str):
    """HTML markup: the only text that `tag` does not escape."""


def tag(name: str, /, *content: str, **attributes: object) -> Html:
    """Returns an element. The attribute `class_` is written as class, `aria_label` as aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def join(content: Iterable[str]) -> Html:
    """Joins texts and markup."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in content))


def numbers(tiles: Iterable[tuple[str, str, str]]) -> Html:
    """Returns the key numbers in large type, each with its label, its value and the text below it."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value), tag("dd", beside, class_="quiet"))
            for name, value, beside in tiles
        ),
        class_="numbers",
    )


def titled_table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Iterable[int] = (),
    long: Iterable[int] = (),
    starts: Collection[int] = (),
    notes: Sequence[str] = (),
    **attributes: str,
) -> Html:
    """Returns a table in a box that can be scrolled.

    Args:
        title: the caption.
        header: the heading of each column.
        rows: text or markup of each cell. The first cell is the heading of its row.
        numeric: columns that are aligned on the right.
        long: columns whose text may be broken into lines.
        starts: rows that start a group.
        notes: texts below the table.
        **attributes: HTML attributes of the element around the table and its notes.
    """
    classes = {**dict.fromkeys(numeric, "number"), **dict.fromkeys(long, "long")}
    kinds = [{"class_": classes[column]} if column in classes else {} for column in range(len(header))]
    head = [tag("th", cell, scope="col", **kind) for cell, kind in zip(header, kinds, strict=True)]
    body = [
        tag(
            "tr",
            tag("th", cells[0], scope="row", **kinds[0]),
            *(tag("td", cell, **kind) for cell, kind in zip(cells[1:], kinds[1:], strict=True)),
            **({"class_": "start"} if i in starts else {}),
        )
        for i, cells in enumerate(rows)
    ]
    table = tag(
        "table",
        tag("caption", tag("span", title)),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
    )
    box = tag("div", table, class_="scroll", role="region", tabindex="0", aria_label=title)
    return tag("div", box, *(tag("p", note, class_="quiet") for note in notes), class_="block", **attributes)


ENLARGE_HINT = tag("p", "Select a figure to enlarge it.", class_="quiet hint")


def enlargeable(name: str, title: str, caption: str, picture: bytes) -> Html:
    """Returns a figure that fills the screen when it is selected.

    Args:
        name: a name that is unique on the page, made of letters, digits and hyphens.
        title: the title of the figure, and its text for readers who cannot see it.
        caption: the text after the title.
        picture: the bytes of a PNG.
    """
    # The enlarged figure leaves the flow of the page. Its place stays, so that the reader can return to it.
    place, enlarged = f"figure-{name}", f"enlarged-{name}"
    return tag(
        "div",
        tag(
            "figure",
            tag("a", "Back to the page", class_="close", href=f"#{place}"),
            tag("a", image(picture, title), class_="enlarge", href=f"#{enlarged}"),
            tag("figcaption", tag("strong", f"{title}."), f" {caption}"),
            id=enlarged,
        ),
        class_="block",
        id=place,
    )


def image(picture: bytes, alt: str) -> Html:
    """Returns an image inside the page, with its size, so that nothing moves while the page loads.

    Raises:
        ValueError: the bytes are not a PNG.
    """
    if not picture.startswith(b"\x89PNG"):
        raise ValueError(f"the picture starts with {picture[:4]!r}; pass a PNG")
    width, height = struct.unpack(">II", picture[16:24])
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return tag("img", src=source, alt=alt, width=width, height=height)


def data_block(name: str, data: object) -> Html:
    """Returns data for a script of the page, as JSON, which a browser reads but never runs.

    Args:
        name: the id of the element.
        data: anything that JSON has: texts, finite numbers, lists, dictionaries.

    Raises:
        ValueError: a number is not finite.
    """
    # No text can end the element, because it contains no "<".
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return tag("script", Html(text), type="application/json", id=name)


def details(summary: str, *content: str) -> Html:
    """Returns content that is shown when the reader selects the summary."""
    return tag("details", tag("summary", summary), *content)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Returns a number with its noun, such as "1 run" or "2 runs"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
