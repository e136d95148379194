"""Which figures are drawn of which results, and that their files are what they say."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from foanet_jax.data.phantom.short_axis import short_axis_study
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.study import WHOLE_HEART_CLASSES
from foanet_jax.measures.metrics import patient_means
from foanet_jax.pages import drawing
from foanet_jax.pages.report.figures import draw_figures
from tests.pages.report.galleries import save_galleries
from tests.pages.report.sweep_results import make_result

CHARTS = ["fig6_dice", "fig7_hd95", "boundary_dice", "agreement_size_1_myocardium", "agreement_size_2_cavity"]


@pytest.fixture
def drawn(monkeypatch):
    """What each drawing function of the package was called with, by its name; nothing is drawn."""
    calls = {}

    def record(name):
        def draw(*args, path, **options):
            calls.setdefault(name, []).append((args, options))

        return draw

    for name in drawing.__all__:
        if name.startswith("draw_"):
            monkeypatch.setattr(drawing, name, record(name))
    return calls


def names(files) -> list[str]:
    return [file.name for file in files]


def cine_result(tmp_path, **options):
    result = make_result(folder=tmp_path / "sweep", patients=6, **options)
    studies = {f"patient{k + 1:02d}": short_axis_study(k, size=104, frames=4) for k in range(4)}
    save_galleries(result, studies, [(0, 0), (2, 0)])
    return result


def test_writes_every_figure_for_screen_and_print(tmp_path):
    files = draw_figures(cine_result(tmp_path), tmp_path / "figures")
    assert names(files) == [
        "fig3_focus_of_attention",
        "fig4_temporal_like",
        "fig5_rows",
        *CHARTS[:3],
        "fig8a_localization",
        "fig8b_difference",
        "worst_and_best_cases",
        "worst_ten_cases",
        *CHARTS[3:],
        "curves_rows",
    ]
    for file in files:
        assert file.title
        assert file.caption.endswith(".")
        with Image.open(file.png) as image:
            assert (image.format, image.width) == ("PNG", 1200)
        assert file.pdf.read_bytes().startswith(b"%PDF")
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    assert written == {f"{file.name}.{suffix}" for file in files for suffix in ("png", "pdf")}


def test_leaves_out_what_there_is_no_gallery_for(tmp_path, drawn):
    assert names(draw_figures(make_result(folder=tmp_path), tmp_path)) == [*CHARTS, "curves_rows"]


def test_of_nothing_finished_draws_nothing(tmp_path, drawn):
    result = make_result(rows=("a",), folds=1, failures={"a": {0: "out of memory"}}, folder=tmp_path)
    assert draw_figures(result, tmp_path) == []


def test_of_a_run_without_sizes_and_logs_has_only_its_scores(tmp_path, drawn):
    result = make_result(rows=("a",), folds=1, folder=tmp_path, single=True)
    (row,) = result.rows
    bare = dataclasses.replace(row, runs=(dataclasses.replace(row.runs[0], sizes=(), logs={}),))
    assert names(draw_figures(dataclasses.replace(result, rows=(bare,)), tmp_path)) == ["fig6_fig7_box_plots"]


def test_of_a_single_run_has_each_networks_curves(tmp_path, drawn):
    result = make_result(rows=("i",), folds=1, folder=tmp_path, single=True)
    files = draw_figures(result, tmp_path)
    assert names(files) == ["fig6_fig7_box_plots", *CHARTS[3:], "curves_localization", "curves_segmentation"]


def test_compares_rows_on_slices_that_all_of_them_have(tmp_path, drawn):
    # Row a lacks fold 0, and with it patients 1 and 4.
    draw_figures(cine_result(tmp_path, rows=("a", "c", "i"), missing={"a": [0]}), tmp_path)
    (slices, titles), options = drawn["draw_row_comparison"][0]
    assert titles == ["B + CCE", "BLP + CCE", "BLP + FOA + CSD"]
    assert options["class_name"] == "myocardium"
    assert {plane.patient for planes in slices for plane in planes} == {"patient02", "patient03"}
    for planes in slices:
        assert len({(plane.patient, plane.frame) for plane in planes}) == 1
        assert len({plane.prediction.tobytes() for plane in planes}) == 3


def test_takes_slices_and_sizes_from_the_reference_row(tmp_path, drawn):
    result = cine_result(tmp_path, reference="c")
    draw_figures(result, tmp_path)
    (sizes,), options = drawn["draw_agreement"][0]
    assert options["title"] == "myocardium · BLP + CCE"
    assert list(sizes) == [size for size in result.row("c").sizes if size.class_name == "myocardium"]
    (planes,), _ = drawn["draw_differences"][0]
    assert {plane.patient for plane in planes} == {f"patient{k:02d}" for k in range(1, 5)}
    (localized,), _ = drawn["draw_localizations"][0]
    assert localized == planes


def test_ranks_patients_by_dice_and_shows_none_twice(tmp_path, drawn):
    result = cine_result(tmp_path)
    files = draw_figures(result, tmp_path)
    (worst, best), _ = drawn["draw_cases"][0]
    means = {
        row.patient: row.dc for row in patient_means(result.row("i").scores) if row.class_name == result.class_name
    }
    order = sorted((f"patient{k:02d}" for k in range(1, 5)), key=means.__getitem__)
    assert [score.patient for _, score in worst] == order[:2]
    assert [score.patient for _, score in best] == order[:1:-1]
    assert all(plane.patient == score.patient for plane, score in [*worst, *best])
    (caption,) = [file.caption for file in files if file.name == "worst_and_best_cases"]
    assert "among the 4 patients whose slices were kept" in caption


def test_the_ten_worst_cases_with_the_class_that_failed(tmp_path, drawn):
    result = make_result(folder=tmp_path / "sweep", patients=12, misses={"i": ["patient05"]})
    study = short_axis_study(0, size=104, frames=4)
    save_galleries(result, {f"patient{k:02d}": study for k in range(1, 13)}, [(0, 0), (2, 0)])
    draw_figures(result, tmp_path)
    (cases,), options = drawn["draw_worst"][0]
    assert options["title"] == "Worst cases · BLP + FOA + CSD"
    scores = result.row("i").scores
    means = {
        (case, name): np.mean([score.dc for score in scores if (score.case, score.class_name) == (case, name)])
        for case in {score.case for score in scores}
        for name in result.classes
    }
    lowest = {case: min(means[case, name] for name in result.classes) for case, _ in means}
    assert [plane.case for plane, _, _ in cases] == sorted(lowest, key=lowest.__getitem__)[:10]
    assert cases[0][0].case == "patient05_cine"  # half of its frames are missed
    for plane, failed, dc in cases:
        assert dc == pytest.approx({name: means[plane.case, name] for name in result.classes})
        assert dc[failed] == min(dc.values())


def test_of_a_whole_heart_has_fig9_with_slices_of_one_patient(tmp_path, drawn):
    result = make_result(
        rows=("a", "i"), folds=2, patients=2, frames=1, classes=WHOLE_HEART_CLASSES[1:], folder=tmp_path / "sweep"
    )
    study = whole_heart_study(0, shape=(16, 64, 64))
    save_galleries(result, {"patient01": study}, [(0, z) for z in (12, 4, 8)])
    files = draw_figures(result, tmp_path)
    assert "fig9_whole_heart" in names(files)
    (planes,), _ = drawn["draw_structures"][0]
    assert [plane.slice_ for plane in planes] == [4, 8, 12]
    assert sum(file.name.startswith("agreement_size_") for file in files) == 7


def test_keeps_areas_and_volumes_apart(tmp_path, drawn):
    result = make_result(rows=("i",), folds=1, classes=("left ventricle",), folder=tmp_path)
    (row,) = result.rows
    (run,) = row.runs
    sizes = (*run.sizes, *(dataclasses.replace(size, unit="ml") for size in run.sizes))
    mixed = dataclasses.replace(row, runs=(dataclasses.replace(run, sizes=sizes),))
    files = draw_figures(dataclasses.replace(result, rows=(mixed,)), tmp_path)
    assert {"agreement_area_1_left_ventricle", "agreement_volume_1_left_ventricle"} <= set(names(files))
