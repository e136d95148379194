"""Pictures: FOA (Fig. 3), temporal-like images (Fig. 4), slices (Figs. 5, 8, 9), box plots (Figs. 6–7), curves, sizes.

`bullseye` and `timecurves` draw pictures on the page of a study. `borders` gives the lines around a mask to its player.

Every function takes arrays, scores or planes of a gallery, and writes one file, whole or not at all. It makes its own
`Figure` and keeps no state, so that several threads can draw pictures, without a display. Figures are 1200 px wide: the
width of a page at 150 dpi, and of a column in a browser.
"""

from foanet_jax.pages.drawing.agreement import Agreement, draw_agreement, measure_agreement
from foanet_jax.pages.drawing.boxplots import draw_summary
from foanet_jax.pages.drawing.confidence import draw_confidence
from foanet_jax.pages.drawing.curves import draw_learning_curves
from foanet_jax.pages.drawing.method import draw_foa_steps, draw_temporal_like
from foanet_jax.pages.drawing.overlay import draw_overlay
from foanet_jax.pages.drawing.rowplots import draw_row_boxplots, draw_row_curves
from foanet_jax.pages.drawing.slices import (
    draw_cases,
    draw_differences,
    draw_localizations,
    draw_row_comparison,
    draw_structures,
    draw_worst,
)
from foanet_jax.pages.drawing.style import (
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
    "Agreement",
    "class_colours",
    "draw_agreement",
    "draw_cases",
    "draw_confidence",
    "draw_differences",
    "draw_foa_steps",
    "draw_learning_curves",
    "draw_localizations",
    "draw_overlay",
    "draw_row_boxplots",
    "draw_row_comparison",
    "draw_row_curves",
    "draw_structures",
    "draw_summary",
    "draw_temporal_like",
    "draw_worst",
    "measure_agreement",
]
