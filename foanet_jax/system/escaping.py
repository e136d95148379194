"""Escaping of untrusted text for Markdown, LaTeX and spreadsheets, so that it cannot act as markup or a formula."""

_MARKDOWN = str.maketrans({character: "\\" + character for character in r"\|*_`<"} | {"\n": " "})
_LATEX = str.maketrans(
    {
        **{character: "\\" + character for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # LaTeX would read a bracket or an asterisk after \\ as an option of \\.
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
# A cell that begins with one of these characters is a formula in a spreadsheet. An apostrophe in front makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_AS_TEXT = "'"


def markdown(text: str) -> str:
    """Returns the text escaped for one line of Markdown: without markup, HTML, links or images."""
    # Square brackets alone are harmless, so they stay readable. Only "](" is escaped, because it makes a link.
    return text.translate(_MARKDOWN).replace("](", r"]\(")


def latex(text: str) -> str:
    """Returns the text escaped for one line of LaTeX."""
    return text.translate(_LATEX)


def to_cell(text: str) -> str:
    """Returns the text for a CSV cell. Text that looks like a formula, such as `=1+1`, gets an apostrophe in front."""
    return _AS_TEXT + text if text.startswith((*_FORMULA, _AS_TEXT)) else text


def from_cell(cell: str) -> str:
    """Returns the original text of a cell that `to_cell` made."""
    return cell.removeprefix(_AS_TEXT)
