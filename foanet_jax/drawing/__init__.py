"""Pictures: overlays (Figs. 8 and 9), FOA (Fig. 3), temporal-like images (Fig. 4), curves, box plots (Figs. 6–7).

Every function takes plain arrays or scores, makes its own `Figure`, writes one file atomically and
leaves no state behind, so that pictures can be drawn from several threads and without a display.
Figures are 1200 px wide, the width of a page at 150 dpi and of a browser's column.
"""

from foanet_jax.drawing.boxplots import draw_summary
from foanet_jax.drawing.curves import draw_learning_curves
from foanet_jax.drawing.method import draw_foa_steps, draw_temporal_like
from foanet_jax.drawing.overlay import draw_overlay
from foanet_jax.drawing.style import (
    BOX_COLOUR,
    CLASS_COLOURS,
    DIFFERENCE_COLOUR,
    MARGIN_COLOUR,
    TRUTH_COLOUR,
    class_colours,
)

__all__ = [
    "BOX_COLOUR",
    "CLASS_COLOURS",
    "DIFFERENCE_COLOUR",
    "MARGIN_COLOUR",
    "TRUTH_COLOUR",
    "class_colours",
    "draw_foa_steps",
    "draw_learning_curves",
    "draw_overlay",
    "draw_summary",
    "draw_temporal_like",
]
