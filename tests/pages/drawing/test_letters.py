"""Letters that a picture's font does not have."""

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from foanet_jax.pages.drawing.style import save, write_text


def drawn(tmp_path, text):
    figure = Figure((4, 1))
    write_text(figure, 100, 50, text, 100, size=12, colour="#000000")
    save(figure, tmp_path / "a.png")
    return np.asarray(Image.open(tmp_path / "a.png"))


def test_letters_without_a_glyph_are_question_marks(tmp_path):
    """No warning (they are errors here), and the others stay as they are."""
    np.testing.assert_array_equal(drawn(tmp_path, "患者一 é Ж 1"), drawn(tmp_path, "??? é Ж 1"))
    assert (drawn(tmp_path, "é Ж") != drawn(tmp_path, "? ?")).any()
