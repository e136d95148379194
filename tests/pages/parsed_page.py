"""A page as a browser reads it, refused where it is not well-formed."""

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input"}
INLINE = {"a", "small", "span", "strong", "button", "svg", "option", "select", "label"}


class Page(HTMLParser):
    """A page that refuses what is not well-formed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: Counter[str] = Counter()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"{tag}: {attrs}"
        self.tags.append((tag, dict(attrs)))
        self.ids.update(value for name, value in attrs if name == "id")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag not in INLINE:
            self.texts.append(" ")

    def handle_data(self, data):
        if "style" not in self.open and "script" not in self.open:
            self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())
