"""How wide text is, so that it is shortened instead of running into its neighbour."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from foanet_jax.pages.drawing.style import DPI


def text_width(text: str, size: float) -> float:
    """Width in px of a line of text at `size` pt."""
    points, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return points * DPI / 72


def fitted(text: str, width: float, size: float) -> str:
    """The text, or as much of its beginning as `width` px hold, with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    kept = len(text)
    while kept > 1 and text_width(text[:kept] + "…", size) > width:
        kept -= 1
    return text[:kept] + "…"
