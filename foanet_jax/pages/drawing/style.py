"""The colours of all pictures, the size of a page, and the function that writes a figure to a file."""

import zlib
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from foanet_jax.system.atomic import atomic_path

# People with deuteranopia or protanopia can distinguish these colours, also by lightness, and none is close to grey; a
# test computes both. Yellow, pure blue and pure red are reserved for their meaning in Fig. 8.
CLASS_COLOURS = {
    "myocardium": "#00c896",
    "cavity": "#ff7f2a",
    "left ventricle": "#ff7f2a",
    "right ventricle": "#935ce6",
    "left atrium": "#5caee6",
    "right atrium": "#bf634d",
    "ascending aorta": "#33ffff",
    "pulmonary artery": "#8cffa3",
    "object": "#00c896",
}
_SPARE_COLOURS = ("#00c896", "#ff7f2a", "#935ce6", "#5caee6", "#bf634d", "#33ffff", "#8cffa3", "#f0389b")
DIFFERENCE_COLOUR = "#ffe600"
BOX_COLOUR = "#3d7bff"
MARGIN_COLOUR = "#ff3030"
TRUTH_COLOUR = "#ffffff"

DPI = 100
WIDTH = 1200
PAGE = "#111315"
INK = "#eceff1"
QUIET_INK = "#9aa4ad"


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Returns a colour for every foreground class. Classes of the paper and of ACDC have fixed colours.

    Other classes get a spare colour by a checksum of their name, so that a class has the same colour in every picture.
    Two classes of a picture have the same colour only if all spare colours are used.

    Args:
        classes: names by index; 0 is the background.
    """
    colours = {name: CLASS_COLOURS[name] for name in classes[1:] if name in CLASS_COLOURS}
    for name in classes[1:]:
        if name in colours:
            continue
        start = zlib.crc32(name.encode())
        order = [_SPARE_COLOURS[(start + i) % len(_SPARE_COLOURS)] for i in range(len(_SPARE_COLOURS))]
        colours[name] = next((colour for colour in order if colour not in colours.values()), order[0])
    return colours


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure, whole or not at all. The suffix of the path chooses the format; the default is PNG.

    Letters that the font does not have, such as Chinese letters in the name of a study, are drawn as `?`.
    """
    path = Path(path)
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().isascii():
            text.set_text(_drawable(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The format is passed, because the temporary file may have another suffix than the picture.
    kind = path.suffix.lstrip(".").lower() or "png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, facecolor=figure.get_facecolor())


def _drawable(text: Text) -> str:
    """Returns the text with `?` for letters that its font does not have. Each of them would cause a warning."""
    font = get_font(findfont(text.get_fontproperties()))
    return "".join(letter if letter == "\n" or font.get_char_index(ord(letter)) else "?" for letter in text.get_text())


def write_text(
    figure: Figure, x: float, y: float, text: str, height: float, *, size: float, colour: str = INK, side: str = "left"
) -> None:
    """Writes a line of text at (x, y) px from the lower left corner of a figure `height` px high."""
    # Patient ids and file names are plain text: a $ in them must not start a formula.
    figure.text(x / WIDTH, y / height, text, fontsize=size, color=colour, ha=side, va="center", parse_math=False)
