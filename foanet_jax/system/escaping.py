"""Escaping of untrusted text for Markdown, LaTeX and spreadsheets, so that it cannot act as markup or a formula."""

_MARKDOWN = str.maketrans({character: "\\" + character for character in r"\|*_`<"} | {"\n": " "})
_LATEX = str.maketrans(
    {
        **{character: "\\" + character for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # After \\, a bracket or an asterisk would be read as its option.
        "[": "{[}",
        "*": "{*}",
        "]": "{]}",
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        "±": r"$\pm$",
        "−": "$-$",
        "–": "--",
        "†": r"$\dagger$",
        "\n": " ",
    }
)
# A spreadsheet computes a cell that begins with one of these characters. An apostrophe in front makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_AS_TEXT = "'"


def markdown(text: str) -> str:
    """Returns the text escaped for one line of Markdown: without markup, HTML, links or images."""
    # Square brackets alone are harmless and stay readable; only "](", which makes a link, is escaped.
    return text.translate(_MARKDOWN).replace("](", r"]\(")


def latex(text: str) -> str:
    """Returns the text escaped for one line of LaTeX."""
    return text.translate(_LATEX)


def to_cell(text: str) -> str:
    """Returns the text for a CSV cell, with an apostrophe before text that a spreadsheet would compute (`=1+1`)."""
    return _AS_TEXT + text if text.startswith((*_FORMULA, _AS_TEXT)) else text


def from_cell(cell: str) -> str:
    """Returns the original text of a cell that `to_cell` made."""
    return cell.removeprefix(_AS_TEXT)
