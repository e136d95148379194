"""Figures of rows, patients and sizes: panels, dots, lines and numbers."""

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from foanet_jax.data.study import LV_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.measures.metrics import PatientScore
from foanet_jax.measures.sizes import Size
from foanet_jax.pages import drawing
from foanet_jax.pages.drawing import lettering, style, tiles
from foanet_jax.pages.gallery import Plane

TITLES = [
    "B+CCE",
    "B+L+CCE",
    "BLP+CCE",
    "BLP+SSIM",
    "BLP+DC",
    "BLP+CCE+SSIM",
    "BLP+CCE+DC",
    "BLP+SSIM+DC",
    "BLP+FOA+CSD",
    "U-Net",
    "BLP+FOA+CSD, without any augmentation",
]


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be saved, in place of files."""
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure))
    return kept


def assert_texts_fit(figure) -> None:
    """No text of the page or of a legend leaves the page or touches another; rotated tick labels are left aside."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = list(figure.texts) + [text for legend in figure.legends for text in legend.get_texts()]
    texts += [text for axes in figure.axes for text in (*axes.texts, axes._left_title, axes._right_title)]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts if text.get_text()]
    for number, (text, box) in enumerate(boxes):
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.width, text
        for other, second in boxes[number + 1 :]:
            wide = min(box.x1, second.x1) - max(box.x0, second.x0) > 0.5
            high = min(box.y1, second.y1) - max(box.y0, second.y0) > 0.5
            assert not (wide and high), f"{text!r} and {other!r}"


def patient(name: str, dc: float = 0.8, *, hd: float = 2.0, misses: int = 0, units: int = 20) -> PatientScore:
    return PatientScore(name, "myocardium", units, misses, 0, dc, hd, hd / 1.25, dc / 3)


def patients(count: int, seed: int = 0) -> list[PatientScore]:
    rng = np.random.default_rng(seed)
    return [patient(f"p{k}", rng.uniform(0.7, 0.95), hd=rng.gamma(4, 0.6)) for k in range(count)]


class TestRowBoxPlots:
    @pytest.mark.parametrize("measure", ["dc", "hd95_mm", "bdc"])
    def test_draws_a_box_and_the_mean_a_row_and_a_dot_a_patient(self, figures, measure):
        rows = [(title, patients(56, seed)) for seed, title in enumerate(TITLES)]
        drawing.draw_row_boxplots(rows, measure, class_name="myocardium", path="x")
        (axes,) = figures[0].axes
        assert len(axes.patches) == 11
        assert sum(len(dots.get_offsets()) for dots in axes.collections) == 11 * 56
        means = [line for line in axes.get_lines() if line.get_color() == drawing.MARGIN_COLOUR]
        wanted = [np.mean([getattr(row, measure) for row in group]) for _, group in rows]
        assert [line.get_ydata()[0] for line in means] == pytest.approx(wanted)
        decimals = 2 if measure == "hd95_mm" else 3
        assert [text.get_text() for text in axes.texts] == [f"{mean:.{decimals}f}" for mean in wanted]
        assert_texts_fit(figures[0])

    def test_labels_do_not_overlap_and_stay_on_the_page(self, figures):
        drawing.draw_row_boxplots([(t, patients(9)) for t in TITLES], "dc", class_name="myocardium", path="x")
        figure = figures[0]
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        labels = figure.axes[0].get_xticklabels()
        assert [label.get_text() for label in labels[:-1]] == TITLES[:-1]
        assert labels[-1].get_text().endswith("…")
        # Turned by one angle about ends side by side, they run beside each other.
        assert {label.get_rotation() for label in labels} == {30.0}
        for label in labels:
            box = label.get_window_extent(canvas.get_renderer())
            assert box.x0 >= 0
            assert box.y0 >= 0

    def test_a_few_short_titles_stay_level(self, figures):
        drawing.draw_row_boxplots([(t, patients(9)) for t in TITLES[:4]], "dc", class_name="myocardium", path="x")
        assert {label.get_rotation() for label in figures[0].axes[0].get_xticklabels()} == {0.0}

    def test_misses_are_crosses_on_a_log_axis(self, figures):
        rows = [("a", [*patients(9), patient("gone", 0.0, hd=400.0, misses=20)]), ("b", patients(9))]
        drawing.draw_row_boxplots(rows, "hd95_mm", class_name="myocardium", path="x")
        axes = figures[0].axes[0]
        assert axes.get_yscale() == "symlog"
        assert axes.collections[1].get_offsets()[:, 1].tolist() == [400.0]
        assert figures[0].texts[0].get_text() == "myocardium · 10 patients · 20 misses"
        assert "with a miss" in [text.get_text() for text in figures[0].legends[0].get_texts()]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a\nn = 10", "b\nn = 9"]

    def test_leaves_out_what_has_no_unit(self, figures):
        nothing = dataclasses.replace(patient("p"), n_units=0, dc=float("nan"))
        rows = [("a", [nothing]), ("b", [nothing, patient("q")])]
        drawing.draw_row_boxplots(rows, "dc", class_name="myocardium", path="x")
        assert [label.get_text() for label in figures[0].axes[0].get_xticklabels()] == ["b"]
        with pytest.raises(ValueError, match="at least one patient"):
            drawing.draw_row_boxplots(rows[:1], "dc", class_name="myocardium", path="x")
        with pytest.raises(ValueError, match="measure is 'dice'"):
            drawing.draw_row_boxplots(rows, "dice", class_name="myocardium", path="x")


def log(losses: list[list[float]], dices: list[float] = ()) -> list[dict]:
    records = [
        {"kind": "train", "step": 10 * epoch + step, "epoch": epoch, "loss": loss}
        for epoch, steps in enumerate(losses)
        for step, loss in enumerate(steps)
    ]
    return records + [
        {"kind": "validation", "step": 10 * epoch + 9, "epoch": epoch, "dice": dice} for epoch, dice in enumerate(dices)
    ]


class TestRowCurves:
    def test_are_the_mean_over_folds_as_far_as_all_reach(self, figures):
        folds = [log([[4.0, 2.0], [1.0]], [0.4, 0.6]), log([[1.0], [3.0], [9.0]], [0.6, 0.8])]
        drawing.draw_row_curves([("a", folds)], path="x")
        loss, dice = figures[0].axes
        assert loss.get_lines()[0].get_xdata().tolist() == [1, 2]
        assert loss.get_lines()[0].get_ydata().tolist() == [2.0, 2.0]
        assert dice.get_lines()[0].get_ydata() == pytest.approx([0.5, 0.7])

    def test_of_two_records_of_a_step_the_later_counts(self, figures):
        records = [*log([[4.0]]), *log([[2.0]]), {"kind": "train", "step": 7, "epoch": 0, "loss": None}]
        drawing.draw_row_curves([("a", [records])], path="x")
        assert figures[0].axes[0].get_lines()[0].get_ydata().tolist() == [2.0]

    def test_eleven_rows_are_told_apart_and_fit(self, figures):
        drawing.draw_row_curves([(t, [log([[k + 2.0], [k + 1.0]])]) for k, t in enumerate(TITLES)], path="x")
        (axes,) = figures[0].axes
        assert axes.get_yscale() == "log"
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
        assert len(looks) == 11
        assert_texts_fit(figures[0])

    def test_a_loss_of_zero_has_no_log_axis_and_none_is_refused(self, figures):
        drawing.draw_row_curves([("a", [log([[1.0], [0.0]])])], path="x")
        assert figures[0].axes[0].get_yscale() == "linear"
        with pytest.raises(ValueError, match="no record"):
            drawing.draw_row_curves([("a", [[]])], path="x")


def sizes(pairs, unit: str = "mm²") -> list[Size]:
    return [Size(f"p{k}", "c", 0, "cavity", unit, *pair) for k, pair in enumerate(pairs)]


class TestAgreement:
    def test_equals_hand_worked_numbers(self):
        # Differences 1, −1, 3, 1: mean 1, squares about it 0, 4, 4, 0, sd √(8/3) = 1.63299.
        found = drawing.measure_agreement(np.array([11, 19, 33, 41]), np.array([10, 20, 30, 40]))
        assert found.bias == 1
        assert found.sd == pytest.approx(1.632993)
        assert found.limits == pytest.approx((1 - 3.200667, 1 + 3.200667))
        # Σ(t − 25)(p − 26) = 225 + 35 + 35 + 225 = 520, over √(500 · 548).
        assert found.r == pytest.approx(520 / np.sqrt(500 * 548))

    def test_of_one_pair_and_of_a_constant_is_undefined(self):
        one = drawing.measure_agreement(np.array([3.0]), np.array([2.0]))
        assert (one.n, one.bias) == (1, 1.0)
        assert np.isnan([one.sd, one.r]).all()
        assert np.isnan(drawing.measure_agreement(np.array([2.0, 2.0]), np.array([1.0, 3.0])).r)
        with pytest.raises(ValueError, match="n of at least 1"):
            drawing.measure_agreement(np.array([]), np.array([]))

    def test_draws_lines_at_the_limits_and_prints_them(self, figures):
        drawing.draw_agreement(sizes([(11, 10), (19, 20), (33, 30), (41, 40)]), title="cavity · row", path="x")
        left, right = figures[0].axes
        assert left.get_title(loc="right") == "Pearson r = 0.993"
        heights = sorted(line.get_ydata()[0] for line in right.get_lines())
        assert heights == pytest.approx([-2.200667, 0, 1, 4.200667])
        assert [text.get_text() for text in right.texts] == [
            "mean\n+1.0 mm²",
            "−1.96 sd\n−2.2 mm²",
            "+1.96 sd\n+4.2 mm²",
        ]
        assert right.collections[0].get_offsets().tolist() == [[10.5, 1], [19.5, -1], [31.5, 3], [40.5, 1]]
        assert left.get_xlim() == left.get_ylim()
        assert figures[0].texts[0].get_text() == "cavity · row · 4 patients · 4 frames"

    @pytest.mark.parametrize(
        "pairs", [[(2.0, 1.0)], [(1.0, 1.0), (2.0, 2.0)], [(100.0, 99.0), (0.0, 2000.0)], [(5.0, 5.01)] * 60]
    )
    def test_texts_fit(self, figures, pairs):
        drawing.draw_agreement(sizes(pairs, "ml"), title="left ventricle · a row with a long name indeed", path="x")
        assert_texts_fit(figures[0])
        assert figures[0].axes[0].get_xlabel() == "true volume [ml]"

    def test_a_miss_is_a_cross(self, figures):
        drawing.draw_agreement(sizes([(0.0, 50.0), (40.0, 50.0)]), title="t", path="x")
        _, right = figures[0].axes
        assert right.collections[1].get_offsets().tolist() == [[25.0, -50.0]]

    def test_refuses_a_mixture_and_nothing(self):
        with pytest.raises(ValueError, match="of one class in one unit"):
            drawing.draw_agreement([*sizes([(1, 1)]), *sizes([(1, 1)], "ml")], title="t", path="x")
        with pytest.raises(ValueError, match="nothing"):
            drawing.draw_agreement([], title="t", path="x")


def make_plane(patient: str = "p1", *, shift: int = 0, frame: int = 0, spacing=(1.0, 1.0), **changes) -> Plane:
    """A ring around a disc in an image of 60 × 80 px, its box 10 px wider on each side."""
    y, x = np.mgrid[:60, :80]
    radius = np.hypot(y - 30, x - 40)
    truth = np.where(radius < 6, 2, np.where(radius < 10, 1, 0)).astype(np.uint8)
    plane = Plane(
        patient=patient,
        case=patient,
        frame=frame,
        slice_=0,
        classes=LV_CLASSES,
        spacing_mm=spacing,
        image=np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8),
        truth=truth,
        prediction=np.roll(truth, shift, axis=-1),
        object_box=Box(21, 31, 40, 50),
        box=Box(11, 21, 50, 60),
    )
    return dataclasses.replace(plane, **changes)


def captions(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


class TestZoom:
    def test_is_a_window_in_the_image_that_is_square_in_mm(self):
        plane = make_plane(spacing=(2.0, 1.0))
        cut = tiles.zoomed(plane, Box(28, 30, 35, 50), 1.5)
        # The longer side is 20 px of 1 mm: 30 mm, 15 rows around 31 and 30 columns around 39.5.
        assert cut.image.shape == (15, 30)
        np.testing.assert_array_equal(cut.image, plane.image[24:39, 25:55])
        np.testing.assert_array_equal(cut.truth, plane.truth[24:39, 25:55])
        assert cut.object_box == Box(21 - 24, 31 - 25, 40 - 24, 50 - 25)

    def test_moves_in_from_the_border_and_is_black_beyond_it(self):
        plane = make_plane()
        np.testing.assert_array_equal(tiles.zoomed(plane, Box(0, 0, 10, 10), 2.0).image, plane.image[:20, :20])
        whole = tiles.zoomed(plane, Box(0, 0, 60, 80), 3.0)
        assert whole.image.shape == (80, 80)
        np.testing.assert_array_equal(whole.image[10:70], plane.image)
        assert not whole.image[:10].any()
        assert not whole.image[70:].any()
        assert whole.box == Box(21, 21, 60, 60)


class TestRowComparison:
    @pytest.mark.parametrize(("rows", "down"), [(1, 1), (3, 1), (5, 1), (11, 3)])
    def test_has_image_truth_and_a_panel_a_row(self, figures, rows, down):
        slices = [[make_plane(patient, shift=k % 5) for k in range(rows)] for patient in ("p1", "p2")]
        drawing.draw_row_comparison(slices, TITLES[:rows], class_name="myocardium", title="t", path="x")
        figure = figures[0]
        assert len(figure.axes) == 2 * (rows + 2)
        assert len({round(axes.get_position().y0, 6) for axes in figure.axes}) == 2 * down
        assert captions(figure).count("truth") == 2
        assert captions(figure).count("1.00") == 2 * sum(k % 5 == 0 for k in range(rows))
        # Eleven titles are all there but the one that no tile would hold.
        assert [t for t in TITLES[:rows] if t in captions(figure)] == TITLES[: min(rows, 10)]
        assert_texts_fit(figure)

    def test_is_cut_to_the_smallest_box_of_the_rows(self, figures):
        everything = make_plane(box=Box(0, 0, 60, 80), object_box=None)
        drawing.draw_row_comparison([[everything, make_plane()]], ["a", "b"], class_name="cavity", title="", path="x")
        # 39 px and a tenth.
        assert {axes.images[0].get_array().shape for axes in figures[0].axes} == {(43, 43)}

    def test_prints_the_dice_of_the_whole_slice(self, figures):
        stray = make_plane().prediction.copy()
        stray[:5, :5] = 1
        plane = make_plane(prediction=stray)
        ring = int((plane.truth == 1).sum())
        drawing.draw_row_comparison([[plane]], ["a"], class_name="myocardium", title="", path="x")
        assert f"{2 * ring / (2 * ring + 25):.2f}" in captions(figures[0])

    def test_refuses_a_missing_plane(self):
        with pytest.raises(ValueError, match="one for each row and slice"):
            drawing.draw_row_comparison([[make_plane()]], ["a", "b"], class_name="cavity", title="", path="x")


class TestPatients:
    def test_localization_has_a_blue_and_a_dotted_red_box(self, figures):
        planes = [make_plane(f"p{k}", frame=k) for k in range(12)]
        drawing.draw_localizations(planes, title="t", path="x")
        assert len(figures[0].axes) == 12
        inner, outer = figures[0].axes[0].patches
        assert inner.get_edgecolor()[:3] == to_rgb(drawing.BOX_COLOUR)
        assert outer.get_edgecolor()[:3] == to_rgb(drawing.MARGIN_COLOUR)
        assert outer.get_linestyle() == "dotted"
        assert (inner.get_width(), outer.get_width()) == (19, 39)
        assert {"p3", "t 4"} <= set(captions(figures[0]))
        assert_texts_fit(figures[0])

    def test_differences_are_yellow_where_masks_disagree(self, figures):
        plane = make_plane(shift=1)
        drawing.draw_differences([plane, make_plane("p2")], class_name="myocardium", title="t", path="x")
        assert len(figures[0].axes) == 4
        yellow = np.round(255 * np.array([*to_rgb(drawing.DIFFERENCE_COLOUR), 1])).astype(int)
        counts = [
            sum(int((image.get_array() == yellow).all(-1).sum()) for image in axes.images[1:])
            for axes in figures[0].axes
        ]
        assert counts == [0, int((plane.prediction != plane.truth).sum()), 0, 0]
        assert captions(figures[0]).count("1.00") == 1
        assert_texts_fit(figures[0])

    def test_structures_have_three_tiles_a_slice_and_all_classes_in_the_legend(self, figures):
        planes = [make_plane(classes=WHOLE_HEART_CLASSES, slice_=z) for z in range(6)]
        drawing.draw_structures(planes, title="t", path="x")
        assert len(figures[0].axes) == 18
        assert len(figures[0].legends[0].get_texts()) == 9
        assert_texts_fit(figures[0])

    @pytest.mark.parametrize(("worst", "best", "lines"), [(3, 3, 2), (2, 1, 1), (1, 0, 1)])
    def test_cases_print_the_patients_numbers(self, figures, worst, best, lines):
        def case(k):
            return make_plane(f"patient{k:03d}"), patient(f"patient{k:03d}", 0.5 + k / 10, hd=100.0 * k, misses=k)

        drawing.draw_cases(
            [case(k) for k in range(worst)], [case(k + worst) for k in range(best)], title="t" * 60, path="x"
        )
        assert len(figures[0].axes) == 2 * (worst + best)
        assert len({axes.get_position().y0 for axes in figures[0].axes}) == lines
        assert {"patient000", "DC 0.500", "95HD 0.0", "BDC 0.17"} <= set(captions(figures[0]))
        assert_texts_fit(figures[0])

    @pytest.mark.parametrize("count", [1, 10])
    def test_worst_cases_name_the_class_that_failed(self, figures, count):
        cases = [(make_plane(f"patient{k:03d}"), "cavity", {"myocardium": 0.8, "cavity": k / 20}) for k in range(count)]
        drawing.draw_worst(cases, title="t" * 60, path="x")
        assert len(figures[0].axes) == 2 * count
        assert {cases[0][0].case, "cavity 0.00", "0.80"} <= set(captions(figures[0]))
        assert_texts_fit(figures[0])

    def test_nothing_is_refused(self):
        for draw, options in (
            (drawing.draw_localizations, {}),
            (drawing.draw_differences, {"class_name": "cavity"}),
            (drawing.draw_structures, {}),
        ):
            with pytest.raises(ValueError, match="no slice"):
                draw([], title="t", path="x", **options)
        with pytest.raises(ValueError, match="no patient"):
            drawing.draw_cases([], [], title="t", path="x")
        with pytest.raises(ValueError, match="no case"):
            drawing.draw_worst([], title="t", path="x")


def test_text_is_shortened_to_its_room():
    assert lettering.fitted("short", 200, 10) == "short"
    cut = lettering.fitted("W" * 50, 200, 10)
    assert cut.endswith("…")
    assert lettering.text_width(cut, 10) <= 200 < lettering.text_width("W" + cut, 10)
