"""Text of names that others chose, so that what reads it takes it for text: Markdown, LaTeX and spreadsheets."""

_MARKDOWN = str.maketrans({character: "\\" + character for character in r"\|*_`<"} | {"\n": " "})
_LATEX = str.maketrans(
    {
        **{character: "\\" + character for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # What follows \\ would be its option.
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
# What a cell of a spreadsheet begins with where it is computed, and the sign by which it is text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_AS_TEXT = "'"


def markdown(text: str) -> str:
    """Text on one line of Markdown: no markup, no HTML, no link and no picture."""
    # Numbers in brackets stay as they are; what would follow a link's text does not.
    return text.translate(_MARKDOWN).replace("](", r"]\(")


def latex(text: str) -> str:
    """Text on one line of LaTeX."""
    return text.translate(_LATEX)


def to_cell(text: str) -> str:
    """A cell of a CSV file: an apostrophe goes before what a spreadsheet would compute, such as `=1+1`."""
    return _AS_TEXT + text if text.startswith((*_FORMULA, _AS_TEXT)) else text


def from_cell(cell: str) -> str:
    """The text that `to_cell` was given."""
    return cell.removeprefix(_AS_TEXT)
