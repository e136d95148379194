"""Pictures of one study: the animation read back, colours where they belong, curves as they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from foanet_jax.data.study import LV_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.pages.drawing import style
from foanet_jax.pages.drawing.beat import contour_coverage, draw_beat, frame_duration_ms, resized
from foanet_jax.pages.drawing.bullseye import draw_bullseye, segment_angles
from foanet_jax.pages.drawing.contours import choose_frames, draw_contours
from foanet_jax.pages.drawing.style import BOX_COLOUR, CLASS_COLOURS
from foanet_jax.pages.drawing.timecurves import draw_time_curves

RNG = np.random.default_rng(0)
SPACING = (8.0, 1.5, 1.5)


def heart(frames: int, slices: int, size: int = 40) -> np.ndarray:
    """A ring that beats: the cavity's radius is 6 px at first and 4 px half a cycle later."""
    y, x = np.mgrid[:size, :size] - size // 2
    radius = np.hypot(x, y)
    inner = 5 + np.cos(2 * np.pi * np.arange(frames) / frames)
    masks = np.where(radius < inner[:, None, None], 2, np.where(radius < 10, 1, 0)).astype(np.uint8)
    return np.repeat(masks[:, None], slices, 1)


def grey(shape) -> np.ndarray:
    return RNG.normal(100, 20, shape).astype(np.float32)


def near(picture: np.ndarray, colour: str, tolerance: int = 12) -> np.ndarray:
    return np.abs(picture.astype(int) - np.round(255 * np.array(to_rgb(colour)))).max(-1) <= tolerance


def frames_of(path) -> list[np.ndarray]:
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
        return found


@pytest.fixture
def figures(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure))
    return kept


@pytest.mark.parametrize("slices", [1, 5])
def test_beat_read_back(tmp_path, slices):
    mask = heart(6, slices)
    path = tmp_path / "beat.gif"
    draw_beat(grey(mask.shape), mask, spacing_mm=SPACING, classes=LV_CLASSES, path=path, marks={0: "end diastole"})
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.n_frames == 6
        assert image.info["loop"] == 0  # For ever.
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert durations == [170] * 6  # A sixth of a second, in hundredths.
    pictures = frames_of(path)
    assert path.stat().st_size < 1_000_000
    assert max(pictures[0].shape) <= 800
    for picture in pictures:
        assert near(picture, CLASS_COLOURS["cavity"]).sum() > 100
        assert near(picture, CLASS_COLOURS["myocardium"]).sum() > 100
    # The contour of the cavity is 6 px from the middle at first and 4 px half a cycle later; the legend lies below.
    radii = [mean_radius(near(picture[:-60], CLASS_COLOURS["cavity"], 60)) for picture in (pictures[0], pictures[3])]
    if slices == 1:
        assert radii[1] / radii[0] == pytest.approx(4 / 6, abs=0.04)


def mean_radius(line: np.ndarray) -> float:
    places = np.argwhere(line)
    return float(np.hypot(*(places - places.mean(0)).T).mean())


def test_beat_stays_small(tmp_path):
    """20 frames of 256 × 256 with a signal-to-noise ratio of 20 and the heart all over them."""
    mask = np.zeros((20, 1, 256, 256), np.uint8)
    mask[..., 8:-8, 8:-8] = 1
    path = tmp_path / "beat.gif"
    cine = grey(mask.shape) / 2 + 200 * mask
    draw_beat(cine, mask, spacing_mm=(8, 1, 1), classes=LV_CLASSES, path=path)
    assert path.stat().st_size < 2e6


def test_beat_of_nothing_segmented(tmp_path):
    voxels = grey((3, 2, 24, 24))
    draw_beat(voxels, np.zeros(voxels.shape, np.uint8), spacing_mm=SPACING, classes=LV_CLASSES, path=tmp_path / "a.gif")
    assert len(frames_of(tmp_path / "a.gif")) == 3


def test_beat_of_one_frame_is_refused(tmp_path):
    mask = heart(1, 1)
    with pytest.raises(ValueError, match="has one frame"):
        draw_beat(grey(mask.shape), mask, spacing_mm=SPACING, classes=LV_CLASSES, path=tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("frames", "seconds", "expected"), [(20, None, 50), (30, None, 30), (100, None, 20), (20, 0.042, 40), (9, 0.9, 900)]
)
def test_duration(frames, seconds, expected):
    assert frame_duration_ms(frames, seconds) == expected


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_duration_that_is_none(seconds):
    with pytest.raises(ValueError, match="positive time"):
        frame_duration_ms(20, seconds)


def test_resized():
    np.testing.assert_allclose(resized(np.array([[0.0, 4.0]]), (1, 4)), [[0, 1, 3, 4]])
    image = RNG.random((5, 7))
    np.testing.assert_allclose(resized(image, (5, 7)), image)


def test_contour_runs_between_the_pixels():
    """The border of the left half of 8 columns is at column 4, pixel 16 of an image four times as large."""
    part = np.zeros((8, 8), bool)
    part[:, :4] = True
    middle = contour_coverage(part, (32, 32), 2.0)[16]
    np.testing.assert_allclose(middle[12:20], [0, 0, 0, 1, 1, 0, 0, 0], atol=0.02)


def test_thin_walls_keep_their_contour():
    part = np.zeros((9, 9), bool)
    part[4] = True
    assert contour_coverage(part, (36, 36), 2.0)[12:24].max() > 0.9


def test_contours_on_slices_and_frames(tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(style, "save", lambda figure, path: sheets.append(figure))
    mask = heart(10, 4)
    draw_contours(
        grey(mask.shape),
        mask,
        spacing_mm=SPACING,
        classes=LV_CLASSES,
        title="$x",
        path=tmp_path / "a.png",
        marks={0: "ED", 5: "ES"},
        most_frames=3,
        most_slices=2,
    )
    (figure,) = sheets
    texts = [text.get_text() for text in figure.texts]
    assert [text for text in texts if "frame" in text] == [f"slice {z} · frame {t}" for z in (1, 4) for t in (1, 6, 10)]
    assert (texts.count("ED"), texts.count("ES")) == (2, 2)
    assert "6 of 40 images" in texts


def test_contours_in_their_colours(tmp_path):
    mask = heart(1, 3)
    path = tmp_path / "a.png"
    boxes = [Box(8, 8, 32, 32)]
    draw_contours(grey(mask.shape), mask, spacing_mm=SPACING, classes=LV_CLASSES, title="", path=path, boxes=boxes)
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB"))
    assert picture.shape[1] == style.WIDTH
    for colour in (CLASS_COLOURS["cavity"], CLASS_COLOURS["myocardium"], BOX_COLOUR):
        assert near(picture, colour).sum() > 200


@pytest.mark.parametrize(
    ("count", "most", "wanted", "expected"),
    [
        (4, 6, [2], [0, 1, 2, 3]),
        (20, 5, [], [0, 5, 10, 14, 19]),
        (20, 5, [0, 8], [0, 5, 8, 14, 19]),
        (20, 2, [3, 9], [3, 9]),
        (20, 1, [3, 9], [3]),
    ],
)
def test_chosen_frames(count, most, wanted, expected):
    assert choose_frames(count, most, wanted) == expected


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
