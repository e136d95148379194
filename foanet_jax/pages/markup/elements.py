"""HTML elements, tables and pictures. Every text is escaped, unless it is markup already."""

import base64
import html
import struct
from collections.abc import Collection, Iterable, Sequence

_VOID = ("meta", "link", "img")


class Html(str):
    """Markup: the only text that `tag` does not escape."""


def tag(name: str, /, *content: str, **attributes: object) -> Html:
    """An element. `class_` is written as class, `aria_label` as aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def join(content: Iterable[str]) -> Html:
    """Texts and markup one after the other."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in content))


def numbers(tiles: Iterable[tuple[str, str, str]]) -> Html:
    """The numbers that matter, large: label, value and what stands beside it."""
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
    """A table in a box of its own to scroll in.

    Args:
        title: its caption.
        header: of each column.
        rows: text or markup of each cell; the first names its row.
        numeric: columns that are aligned on the right.
        long: columns whose lines may break.
        starts: rows that a group begins with.
        notes: below it.
        **attributes: of the element around table and notes.
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
    """A figure that fills the screen once it is selected.

    Args:
        name: unique on the page, of letters, digits and hyphens.
        title: of the figure, and its text where it cannot be seen.
        caption: below it, after the title.
        picture: as `image` takes it.
    """
    # Enlarged, it leaves the page's flow; its place remains to come back to.
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
    """An image inside the page, with its size, so that nothing moves while it loads.

    Raises:
        ValueError: the bytes are neither a PNG nor a GIF.
    """
    if picture.startswith(b"\x89PNG"):
        kind, (width, height) = "png", struct.unpack(">II", picture[16:24])
    elif picture.startswith(b"GIF8"):
        kind, (width, height) = "gif", struct.unpack("<HH", picture[6:10])
    else:
        raise ValueError(f"a picture that begins with {picture[:4]!r}; pass a PNG or a GIF")
    source = f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
    return tag("img", src=source, alt=alt, width=width, height=height)


def details(summary: str, *content: str) -> Html:
    """What is shown once it is asked for."""
    return tag("details", tag("summary", summary), *content)


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: "1 run", "2 runs"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
