"""Pictures of one study: colours where they belong, curves as they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.bullseye import draw_bullseye, segment_angles
from foanet_jax.pages.drawing.timecurves import draw_time_curves


def near(picture: np.ndarray, colour: str, tolerance: int = 12) -> np.ndarray:
    return np.abs(picture.astype(int) - np.round(255 * np.array(to_rgb(colour)))).max(-1) <= tolerance


@pytest.fixture
def figures(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure))
    return kept


def test_angles_of_segments():
    """Segment 1 on top, 2 and 3 the septum on the left, 4 below (Cerqueira et al., Fig. 4)."""
    assert [segment_angles(6, k) for k in range(4)] == [(60, 120), (120, 180), (180, 240), (240, 300)]
    assert [segment_angles(4, k) for k in range(4)] == [(45, 135), (135, 225), (225, 315), (315, 405)]


def test_bullseye(tmp_path):
    """Values at both ends of the scale are where their segments are, and every number is written."""
    path = tmp_path / "a.png"
    rings = [[20, 0, 0, 0, 0, 0], [0] * 6, [0, 0, float("nan"), 0]]
    draw_bullseye(rings, title="ED", unit="mm", limits=(0, 20), path=path)
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB"))
    lowest, highest, unknown = "#440154", "#fde725", "#e8ebee"
    upper = picture[:330]
    found = near(upper, highest, 4)
    assert found.sum() > 5000
    rows, columns = np.nonzero(found)
    assert columns.mean() == pytest.approx(300, abs=5)
    assert rows.max() < 200
    assert near(picture[:560], lowest, 4).sum() > 80_000
    rows, columns = np.nonzero(near(picture, unknown, 1))
    assert rows.mean() > 330  # Segment 15, below the middle, and the hub.


def test_bullseye_of_an_unknown_orientation(figures, tmp_path):
    for oriented in (True, False):
        draw_bullseye(
            [[7, 8, 9, 10, 11, 12.5]], title="ED", unit="mm", limits=(0, 20), path=tmp_path / "a", oriented=oriented
        )
    known, unknown = ([text.get_text() for text in [*figure.texts, *figure.axes[0].texts]] for figure in figures)
    assert {"7.0", "12.5", "anterior", "inferolateral"} < set(known)
    assert "orientation unknown: angles from the top of the image" in unknown
    assert "anterior" not in unknown
    assert {"0°", "60°", "300°"} < set(unknown)


def test_bullseye_of_odd_rings_is_refused(tmp_path):
    with pytest.raises(ValueError, match="rings of six or four"):
        draw_bullseye([[1, 2, 3]], title="", unit="mm", limits=(0, 20), path=tmp_path / "a.png")


def test_curves_are_as_given(figures, tmp_path):
    volumes = {"LV": [120, 60, np.nan], "RV": [140, 70, 130]}
    draw_time_curves(
        volumes, ylabel="volume (ml)", title="V", path=tmp_path / "a", marks={0: "ED", 1: "ES"}, frame_seconds=0.05
    )
    axes = figures[0].axes[0]
    lines = axes.get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), volumes["LV"])
    np.testing.assert_array_equal(lines[1].get_ydata(), volumes["RV"])
    np.testing.assert_allclose(lines[0].get_xdata(), [0, 50, 100])
    assert [line.get_xdata()[0] for line in lines[2:]] == [0, 50]
    assert [text.get_text() for text in axes.texts] == ["ED", "ES"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (ms)", "volume (ml)")
    assert axes.get_ylim()[0] == 0
    draw_time_curves(volumes, ylabel="volume (ml)", title="V", path=tmp_path / "a")
    np.testing.assert_array_equal(figures[1].axes[0].get_lines()[0].get_xdata(), [1, 2, 3])


@pytest.mark.parametrize("curves", [{}, {"a": [1, 2], "b": [1]}, {"a": [np.nan, np.nan]}])
def test_curves_without_values_are_refused(curves, tmp_path):
    with pytest.raises(ValueError, match="curve"):
        draw_time_curves(curves, ylabel="", title="", path=tmp_path / "a.png")
