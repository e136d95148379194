"""Pictures: size, colours where they belong, and no text upon text."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.measures.metrics import Score
from foanet_jax.pages import drawing
from foanet_jax.pages.drawing import curves, style

RNG = np.random.default_rng(0)


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def has_colour(picture: np.ndarray, colour: str, tolerance: int = 12) -> np.ndarray:
    return np.abs(picture - np.array(to_rgb(colour)) * 255).max(axis=-1) <= tolerance


def heart(frames: int, slices: int, size: int = 48) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    radius = np.hypot(x, y)
    return np.broadcast_to(np.where(radius < 6, 2, np.where(radius < 10, 1, 0)), (frames, slices, size, size)).astype(
        np.uint8
    )


def grey(shape) -> np.ndarray:
    return RNG.normal(100, 20, shape).astype(np.float32)


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be saved, in place of files."""
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure))
    return kept


def assert_no_text_overlaps(figure) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = list(figure.texts) + [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        if not axes.axison:
            continue
        texts += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label2 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    found = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_visible() and t.get_text()]
    assert found
    for text, box in found:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width, text
        assert box.y1 <= figure.bbox.height, text
    for (first, a), (second, b) in itertools.combinations(found, 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
        assert not overlap, f"{first!r} and {second!r}"


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB."""
    xyz = rgb @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


class TestColours:
    @pytest.mark.parametrize("vision", VISIONS)
    @pytest.mark.parametrize("classes", [LV_CLASSES, ACDC_CLASSES, WHOLE_HEART_CLASSES])
    def test_are_told_apart(self, classes, vision):
        colours = [*drawing.class_colours(classes).values(), drawing.DIFFERENCE_COLOUR]
        linear = [np.clip(np.array(VISIONS[vision]) @ (np.array(to_rgb(c)) ** 2.2), 0, 1) for c in colours]
        seen = [lab(rgb) for rgb in linear]
        # A just noticeable difference is about 2.3; 20 is plain at a glance.
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20

    def test_stand_off_from_grey(self):
        for colour in drawing.CLASS_COLOURS.values():
            _, a, b = lab(np.array(to_rgb(colour)) ** 2.2)
            assert np.hypot(a, b) > 25

    def test_are_fixed_by_name_and_distinct(self):
        assert drawing.class_colours(LV_CLASSES)["myocardium"] == drawing.class_colours(ACDC_CLASSES)["myocardium"]
        names = ("background", "myocardium", "scar", "fat", "valve", "vein", "node")
        colours = drawing.class_colours(names)
        assert list(colours.values()) == list(drawing.class_colours(names).values())
        assert len(set(colours.values())) == 6
        many = drawing.class_colours(("background", *map(str, range(20))))
        assert len(many) == 20


class TestOverlay:
    def test_shows_the_classes_the_difference_and_the_boxes(self, tmp_path):
        truth = heart(1, 6)
        prediction = np.roll(truth, 2, axis=-1)
        path = tmp_path / "new" / "overlay.png"
        drawing.draw_overlay(
            grey(truth.shape),
            prediction,
            truth,
            spacing_mm=(8, 1.4, 1.4),
            classes=LV_CLASSES,
            boxes=[Box(14, 14, 35, 37), Box(4, 4, 45, 47)],
            title="case",
            path=path,
        )
        picture = pixels(path)
        assert picture.shape[1] == 1200
        # Below the title and above the legend: first row of tiles, then the differences.
        first, second = picture[72 : 72 + 180], picture[72 + 200 : 72 + 340]
        for name in ("myocardium", "cavity"):
            assert has_colour(first, drawing.CLASS_COLOURS[name]).sum() > 100
        assert has_colour(first, drawing.BOX_COLOUR).sum() > 200
        assert has_colour(first, drawing.MARGIN_COLOUR, 60).sum() > 50
        assert has_colour(first, drawing.TRUTH_COLOUR, 40).sum() > 100
        assert has_colour(first, drawing.DIFFERENCE_COLOUR).sum() == 0
        assert has_colour(second, drawing.DIFFERENCE_COLOUR).sum() > 1000
        assert has_colour(second, drawing.BOX_COLOUR).sum() == 0
        assert [p.name for p in path.parent.iterdir()] == ["overlay.png"]

    def test_has_yellow_exactly_where_masks_disagree(self, figures):
        truth = heart(1, 1)
        prediction = truth.copy()
        prediction[0, 0, 24, 24:30] = 1
        drawing.draw_overlay(
            grey(truth.shape), prediction, truth, spacing_mm=(1, 1, 1), classes=LV_CLASSES, title="", path="x"
        )
        yellow = figures[0].axes[1].images[-1].get_array()
        wanted = np.round(255 * np.array([*to_rgb(drawing.DIFFERENCE_COLOUR), 1])).astype(int)
        shown = (yellow == wanted).all(-1)
        assert shown.sum() == 6
        # The tile is cut to the heart (rows 15-33) and a margin of two pixels.
        assert shown[24 - 13, 24 - 13 : 30 - 13].all()

    def test_places_the_box_on_the_pixels_it_names(self, figures):
        truth = heart(1, 1)
        box = Box(top=10, left=12, bottom=35, right=40)
        drawing.draw_overlay(
            grey(truth.shape), truth, None, spacing_mm=(1, 1, 1), classes=LV_CLASSES, boxes=[box], title="", path="x"
        )
        axes = figures[0].axes[0]
        (drawn,) = axes.patches
        # The tile is cut to the box and a margin of 3 px (a tenth of 28): it starts at row 7, column 9.
        assert drawn.get_xy() == (12 - 9 - 0.5, 10 - 7 - 0.5)
        assert (drawn.get_width(), drawn.get_height()) == (28, 25)
        assert axes.images[0].get_array().shape == (38 - 7, 43 - 9)

    def test_without_difference_has_no_yellow(self, figures):
        truth = heart(1, 2)
        drawing.draw_overlay(
            grey(truth.shape), truth, truth, spacing_mm=(8, 1, 1), classes=LV_CLASSES, title="same", path="x"
        )
        canvas = FigureCanvasAgg(figures[0])
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[:-60, :, :3].astype(int)
        assert not has_colour(picture, drawing.DIFFERENCE_COLOUR).any()

    def test_without_truth_has_one_row_and_no_dice(self, figures):
        prediction = heart(1, 4)
        drawing.draw_overlay(
            grey(prediction.shape), prediction, None, spacing_mm=(8, 1, 1), classes=LV_CLASSES, title="t", path="x"
        )
        assert len(figures[0].axes) == 4
        assert not any("Dice" in text.get_text() for text in figures[0].texts)
        assert {t.get_text() for t in figures[0].legends[0].get_texts()} == {"myocardium", "cavity"}

    @pytest.mark.parametrize(
        ("shape", "max_tiles", "tiles"),
        [((1, 30), 12, 12), ((20, 1), 12, 12), ((1, 1), 12, 1), ((12, 7), 12, 12), ((12, 7), 3, 3), ((1, 9), 1, 1)],
    )
    def test_chooses_tiles_and_no_text_overlaps(self, figures, shape, max_tiles, tiles):
        truth = heart(*shape)
        drawing.draw_overlay(
            grey(truth.shape),
            np.roll(truth, 1, axis=-1),
            truth,
            spacing_mm=(8, 1, 1),
            classes=LV_CLASSES,
            boxes=[Box(10, 10, 40, 40), Box(2, 2, 48, 48)],
            title="A title of some length · end-diastole, fold 3 of 5, best of all the many checkpoints",
            path="x",
            max_tiles=max_tiles,
        )
        assert len(figures[0].axes) == 2 * tiles
        assert figures[0].bbox.width == 1200
        assert_no_text_overlaps(figures[0])

    def test_of_a_whole_heart_fits_its_legend(self, figures):
        labels = np.zeros((1, 3, 64, 64), np.uint8)
        for k in range(1, 8):
            labels[..., 8 * k : 8 * k + 6, 20:40] = k
        drawing.draw_overlay(
            grey(labels.shape),
            labels,
            labels,
            spacing_mm=(1, 1, 1),
            classes=WHOLE_HEART_CLASSES,
            boxes=[Box(1, 1, 60, 60), Box(0, 0, 64, 64)],
            title="whole heart",
            path="x",
        )
        assert len(figures[0].legends[0].get_texts()) == 11
        assert_no_text_overlaps(figures[0])

    def test_prefers_slices_with_the_heart_in(self, figures):
        truth = heart(1, 10).copy()
        truth[0, :4] = truth[0, 7:] = 0
        drawing.draw_overlay(
            grey(truth.shape), truth, truth, spacing_mm=(8, 1, 1), classes=LV_CLASSES, title="t", path="x"
        )
        captions = [t.get_text() for t in figures[0].texts if t.get_text().startswith("slice")]
        assert captions == ["slice 5/10", "slice 6/10", "slice 7/10"]
        assert [t.get_text() for t in figures[0].texts if t.get_text() == "1.00"] == ["1.00"] * 3

    def test_of_empty_masks_shows_the_whole_image(self, figures):
        nothing = np.zeros((1, 2, 20, 30), np.uint8)
        # A flat image has no intensity window either.
        drawing.draw_overlay(
            nothing.astype(float), nothing, nothing, spacing_mm=(8, 1, 1), classes=LV_CLASSES, title="t", path="x"
        )
        assert figures[0].axes[0].images[0].get_array().shape == (20, 30)
        assert [t.get_text() for t in figures[0].texts if t.get_text() == "–"] == ["–"] * 2

    def test_keeps_the_aspect_in_mm(self, figures):
        nothing = np.zeros((1, 1, 20, 20), np.uint8)
        drawing.draw_overlay(
            grey(nothing.shape), nothing, None, spacing_mm=(8, 2.0, 1.0), classes=LV_CLASSES, title="t", path="x"
        )
        box = figures[0].axes[0].get_window_extent()
        assert box.height / box.width == pytest.approx(2.0, rel=0.01)

    def test_refuses_what_does_not_fit(self):
        def draw(voxels, prediction, truth=None, **options):
            options = {"spacing_mm": (1, 1, 1), "classes": LV_CLASSES, "title": "t", "path": "never", **options}
            drawing.draw_overlay(voxels, prediction, truth, **options)

        zeros = np.zeros((1, 1, 8, 8), np.uint8)
        with pytest.raises(ValueError, match=r"prediction \(1, 1, 8, 7\), voxels \(1, 1, 8, 8\)"):
            draw(zeros, zeros[..., :7])
        with pytest.raises(ValueError, match=r"truth \(1, 1, 7, 8\)"):
            draw(zeros, zeros, zeros[..., :7, :])
        with pytest.raises(ValueError, match=r"\(8, 8\); pass a study"):
            draw(zeros[0, 0], zeros)
        with pytest.raises(ValueError, match="3 boxes"):
            draw(zeros, zeros, boxes=[Box(0, 0, 4, 4)] * 3)
        with pytest.raises(ValueError, match="max_tiles is 0"):
            draw(zeros, zeros, max_tiles=0)


def log(n_epochs: int = 3, n_steps: int = 40) -> list[dict]:
    records = []
    for step in range(n_epochs * n_steps):
        terms = {"cce": 1 / (step + 1), "ssim": 0.5, "dice": 0.4}
        records.append({"kind": "train", "step": step, "epoch": step // n_steps, "loss": sum(terms.values()), **terms})
        if step % n_steps == n_steps - 1:
            records.append({"kind": "validation", "step": step + 1, "epoch": step // n_steps, "dice": 0.5 + step / 400})
    return records


class TestLearningCurves:
    def test_shows_each_term_in_its_colour(self, tmp_path):
        path = tmp_path / "curves.png"
        drawing.draw_learning_curves([*log(), {"kind": "something else"}], path)
        picture = pixels(path)
        assert picture.shape[:2] == (560, 1200)
        for colour in ("#222222", "#0072b2", "#d55e00", "#009e73", "#b0307f"):
            assert has_colour(picture[80:480], colour).sum() > 100

    def test_no_text_overlaps(self, figures):
        drawing.draw_learning_curves(log(), "x")
        assert_no_text_overlaps(figures[0])
        left, right = figures[0].axes
        assert right.get_lines()[0].get_ydata().tolist() == pytest.approx([0.5975, 0.6975, 0.7975])
        assert right.get_ylim() == (0, 1)
        assert "best 0.797 at step 120" in figures[0].legends[0].get_texts()[-1].get_text()
        # Raw and smoothed for four terms, and two starts of a new epoch.
        assert len(left.get_lines()) == 4 * 2 + 2

    def test_shows_the_loss_of_side_outputs(self, figures):
        drawing.draw_learning_curves([{**record, "side": 0.5} for record in log()], "x")
        assert_no_text_overlaps(figures[0])
        left, _ = figures[0].axes
        assert len(left.get_lines()) == 5 * 2 + 2
        assert "side outputs" in [text.get_text() for text in figures[0].legends[0].get_texts()]
        legend = figures[0].legends[0].get_window_extent(figures[0].canvas.get_renderer())
        assert legend.x1 <= figures[0].bbox.x1

    def test_takes_missing_terms_and_a_resumed_run(self, figures):
        records = [
            {"kind": "train", "step": 0, "epoch": 0, "loss": 1.0, "cce": 1.0},
            {"kind": "train", "step": 1, "epoch": 0, "loss": 9.0, "cce": 9.0, "ssim": None},
            {"kind": "train", "step": 1, "epoch": 0, "loss": 0.5, "cce": float("nan")},
        ]
        drawing.draw_learning_curves(records, "x")
        raw_loss, _, raw_cce, _ = figures[0].axes[0].get_lines()
        assert raw_loss.get_ydata().tolist() == [1.0, 0.5]
        assert raw_cce.get_ydata().tolist() == [1.0]

    def test_takes_validation_alone_and_refuses_nothing(self, figures):
        drawing.draw_learning_curves([{"kind": "validation", "step": 5, "epoch": 0, "dice": 0.4}], "x")
        assert len(figures) == 1
        with pytest.raises(ValueError, match="no record"):
            drawing.draw_learning_curves([], "x")

    def test_smoothing_keeps_a_constant_and_a_line(self):
        np.testing.assert_allclose(curves._smooth(np.full(300, 2.5)), 2.5)
        line = np.arange(300.0)
        np.testing.assert_allclose(curves._smooth(line)[5:-5], line[5:-5])
        assert curves._smooth(np.array([1.0, 5.0])).tolist() == [1.0, 5.0]


def scores(n_patients: int, classes, miss: bool = False) -> list[Score]:
    rng = np.random.default_rng(1)
    result = [
        Score(f"p{i}", "c", 0, name, rng.uniform(0.7, 0.9), rng.uniform(1, 4), 2.0, rng.uniform(0.2, 0.4), False, False)
        for i in range(n_patients)
        for name in classes
    ]
    return result + ([Score("gone", "c", 0, classes[0], 0.0, 400.0, 300.0, 0.0, True, False)] if miss else [])


class TestSummary:
    @pytest.mark.parametrize("miss", [False, True])
    def test_draws_a_box_per_class_with_a_red_mean(self, figures, miss):
        drawing.draw_summary(scores(9, LV_CLASSES[1:], miss), "x")
        figure = figures[0]
        assert len(figure.axes) == 3
        assert_no_text_overlaps(figure)
        for axes in figure.axes:
            assert len(axes.patches) == 2
            assert sum(line.get_color() == drawing.MARGIN_COLOUR for line in axes.get_lines()) == 2
            assert sum(len(dots.get_offsets()) for dots in axes.collections) == 18 + miss
        assert figure.axes[1].get_yscale() == ("symlog" if miss else "linear")
        assert figure.texts[0].get_text() == f"{9 + miss} patients · {18 + miss} units · {int(miss)} miss" + "es" * (
            not miss
        )

    def test_dots_are_the_patients_and_the_mean_is_theirs(self, figures):
        sample = scores(7, ["myocardium"])
        drawing.draw_summary(sample, "x")
        axes = figures[0].axes[0]
        assert sorted(axes.collections[0].get_offsets()[:, 1]) == pytest.approx(sorted(s.dc for s in sample))
        mean = next(line for line in axes.get_lines() if line.get_color() == drawing.MARGIN_COLOUR)
        assert mean.get_ydata() == pytest.approx(np.mean([s.dc for s in sample]))

    def test_writes_a_picture(self, tmp_path):
        path = tmp_path / "summary.png"
        drawing.draw_summary(scores(5, WHOLE_HEART_CLASSES[1:]), path)
        picture = pixels(path)
        assert picture.shape[:2] == (540, 1200)
        assert has_colour(picture, drawing.MARGIN_COLOUR, 40).sum() > 100
        for name in WHOLE_HEART_CLASSES[1:]:
            pale = 0.35 * np.array(to_rgb(drawing.CLASS_COLOURS[name])) + 0.65
            assert (np.abs(picture - pale * 255).max(-1) <= 4).sum() > 100

    def test_of_one_patient_and_of_none(self, figures):
        drawing.draw_summary(scores(1, LV_CLASSES[1:]), "x")
        assert figures[0].texts[0].get_text() == "1 patient · 2 units · 0 misses"
        with pytest.raises(ValueError, match="at least one patient"):
            drawing.draw_summary([], "x")


class TestFoaSteps:
    def test_draws_four_panels_and_the_box(self, tmp_path):
        image, crop = grey((90, 70)), grey((50, 60))
        y, x = np.mgrid[:50, :60]
        weights = np.exp(-((y - 25) ** 2 + (x - 30) ** 2) / 20**2)
        path = tmp_path / "foa.png"
        drawing.draw_foa_steps(image, Box(20, 15, 60, 60), crop, weights, crop * weights, path=path)
        picture = pixels(path)
        assert picture.shape[1] == 1200
        assert has_colour(picture[:, :330], drawing.MARGIN_COLOUR, 40).sum() > 200
        assert has_colour(picture[:, 330:600], drawing.MARGIN_COLOUR, 40).sum() == 0

    @pytest.mark.parametrize("shape", [(256, 256), (60, 300), (300, 40)])
    def test_no_text_overlaps_at_any_shape(self, figures, shape):
        image = grey(shape)
        plane = np.ones((64, 64))
        drawing.draw_foa_steps(image, Box(5, 5, 30, 30), plane, plane, plane, path="x")
        assert len(figures[0].axes) == 5
        assert_no_text_overlaps(figures[0])

    def test_refuses_other_shapes(self):
        plane = np.ones((8, 8))
        with pytest.raises(ValueError, match=r"shape of image is \(1, 8, 8\)"):
            drawing.draw_foa_steps(plane[None], Box(0, 0, 4, 4), plane, plane, plane, path="never")
        with pytest.raises(ValueError, match=r"weights \(8, 7\)"):
            drawing.draw_foa_steps(plane, Box(0, 0, 4, 4), plane, plane[:, :7], plane, path="never")


class TestTemporalLike:
    def test_is_grey_where_nothing_moves_and_coloured_where_it_does(self, figures):
        stack = np.repeat(RNG.uniform(0, 1, (8, 32, 32, 1)), 3, axis=-1)
        stack[:, 10:20, 10:20] = (1.0, 0.0, 0.0)
        drawing.draw_temporal_like(stack, path="x")
        assert len(figures[0].axes) == 12
        assert_no_text_overlaps(figures[0])
        below = np.asarray(figures[0].axes[1].images[0].get_array())
        np.testing.assert_allclose(np.ptp(below[:10], axis=-1), 0, atol=1e-12)
        assert (below[10:20, 10:20] == (1, 0, 0)).all()

    def test_writes_a_picture_and_refuses_other_shapes(self, tmp_path):
        path = tmp_path / "temporal.png"
        drawing.draw_temporal_like(RNG.normal(size=(3, 20, 24, 3)), path=path, max_tiles=2)
        assert pixels(path).shape[1] == 1200
        with pytest.raises(ValueError, match=r"\(3, 20, 24\)"):
            drawing.draw_temporal_like(np.zeros((3, 20, 24)), path=path)
        with pytest.raises(ValueError, match="max_tiles"):
            drawing.draw_temporal_like(np.zeros((3, 20, 24, 3)), path=path, max_tiles=0)


def test_leaves_no_global_state_and_writes_other_formats(tmp_path):
    import subprocess
    import sys

    code = "import sys, foanet_jax.pages.drawing; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    drawing.draw_summary(scores(3, LV_CLASSES[1:]), tmp_path / "summary.pdf")
    assert (tmp_path / "summary.pdf").read_bytes().startswith(b"%PDF")
