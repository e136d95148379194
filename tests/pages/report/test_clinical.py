"""The report's indices and its account of confidence, from pairs and rows made up by hand."""

import dataclasses
import math

import pytest
from PIL import Image

from foanet_jax.measures.indices.compare import IndexPair
from foanet_jax.measures.quality.table import QualityRow
from foanet_jax.pages.drawing import draw_confidence
from foanet_jax.pages.report.clinical import clinical_figures, clinical_tables
from foanet_jax.pages.report.table import Number
from tests.pages.report.sweep_results import make_result

PAIRS = (
    IndexPair("p1", "p1", None, None, "lv_ef_percent", 55.0, 60.0),
    IndexPair("p2", "p2", None, None, "lv_ef_percent", 31.0, 30.0),
    IndexPair("p3", "p3", None, None, "lv_ef_percent", math.nan, 50.0),
    IndexPair("p1", "p1_cine", 0, 0, "rwt_is_mm", 9.0, 8.0),
)
ROWS = tuple(
    QualityRow(f"p{k}", f"p{k}", "foreground", confidence, math.nan, math.nan, verdict, "", dice)
    for k, (confidence, verdict, dice) in enumerate([(0.9, "good", 0.92), (0.8, "check", 0.6), (0.85, "good", 0.8)])
)


def result():
    made = make_result(rows=["i"], folds=1)
    (row,) = made.rows
    run = dataclasses.replace(row.runs[0], indices=PAIRS, quality=ROWS)
    return dataclasses.replace(made, rows=(dataclasses.replace(row, runs=(run,)),))


def test_tables_by_hand():
    indices, quality = clinical_tables(result())
    ef, wall = indices.rows
    assert ef[:2] == ("lv_ef_percent", 2)
    assert [cell.value for cell in ef[2:5]] == [pytest.approx(3), pytest.approx(-2), pytest.approx(math.sqrt(18))]
    assert ef[-1] == 1
    assert (wall[0], wall[2]) == ("rwt_is_mm", Number(1.0, ".2f"))
    assert quality.rows == (("foreground", 3, 1, Number(1.0), Number(1.0)),)
    assert "good: 2, mean Dice 0.860, 0 bad; check: 1, mean Dice 0.600, 1 bad; reject: 0." in quality.notes[1]


def test_figures_of_what_there_are_two_of():
    figures = {name: draw for name, _, _, draw in clinical_figures(result().main_row)}
    assert list(figures) == ["agreement_lv_ef_percent", "confidence"]
    (sizes,) = figures["agreement_lv_ef_percent"].args
    assert [(size.prediction, size.truth) for size in sizes] == [(55, 60), (31, 30)]


def test_of_an_older_evaluation_there_is_neither():
    older = make_result(rows=["i"], folds=1)
    assert clinical_tables(older) == []
    assert list(clinical_figures(older.main_row)) == []


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[1:2]], ids=["both", "good", "bad"])
def test_the_picture_of_confidence(rows, tmp_path):
    draw_confidence(rows, low_dice=0.7, title="$a$ run", path=tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (1200, 600)


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        draw_confidence([], low_dice=0.7, title="", path=tmp_path / "c.png")
