"""The width of text, so that a long text is shortened and does not run into its neighbour."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from foanet_jax.pages.drawing.style import DPI


def text_width(text: str, size: float) -> float:
    """Returns the width in px of a line of text at `size` pt."""
    points, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return points * DPI / 72


def fitted(text: str, width: float, size: float) -> str:
    """Returns the text, or its beginning with an ellipsis if it is wider than `width` px."""
    if text_width(text, size) <= width:
        return text
    kept = len(text)
    while kept > 1 and text_width(text[:kept] + "…", size) > width:
        kept -= 1
    return text[:kept] + "…"
