"""Which slices counted, in words, in JSON and in the table."""

import csv

import numpy as np
import pytest

from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.measures.indices.counted import (
    COUNTS,
    LEFT_OUT,
    describe_count,
    mark_of,
    moments_of,
    numbers_of,
    sentences_of,
)
from foanet_jax.measures.indices.counting import (
    BEYOND,
    ISLAND,
    NO_DIRECTION,
    OPEN,
    count_slices,
    counted_mask,
    counting_of,
)
from foanet_jax.measures.indices.study import measure_study
from foanet_jax.measures.indices.tables import read_lv_indices, write_lv_indices
from tests.measures.indices.test_counting import APEX, CLOSED, HALF_OPEN, NOTHING, SPACING, stack

GRID = {"classes": ACDC_CLASSES, "spacing_mm": SPACING}
# Two beyond the valve plane, the second of which is open; an island at the apex.
MASK = stack(CLOSED, HALF_OPEN, CLOSED, CLOSED, CLOSED, CLOSED, APEX, NOTHING, APEX)


@pytest.fixture(scope="module")
def count():
    return count_slices(MASK, base_first=True, **GRID)


def test_sentences(count):
    assert sentences_of(count, {"ed": 0}) == [
        "End diastole (frame 1): slices 3–7 count for the left ventricle, and slices 1–6 for the right one.",
        f"The left ventricle in slice 1 does not count: {BEYOND}.",
        f"The left ventricle in slice 2 does not count: {OPEN} (35%).",
        f"The left ventricle in slice 9 does not count: {ISLAND}.",
    ]


def test_of_a_single_frame_the_moment_is_not_named():
    whole = count_slices(stack(CLOSED, CLOSED, APEX), base_first=True, **GRID)
    assert sentences_of(whole, moments_of(1, None, None)) == [
        "Slices 1–3 count for the left ventricle, and slices 1–2 for the right one."
    ]
    assert moments_of(20, 3, 11) == {"ed": 3, "es": 11}
    assert moments_of(20, None, None) == {}


def test_an_unknown_direction_is_said(count):
    unknown = count_slices(MASK, base_first=None, **GRID)
    assert sentences_of(unknown, {"ed": 0})[0] == f"{NO_DIRECTION[0].upper()}{NO_DIRECTION[1:]}."
    assert describe_count(unknown, {})["remark"] == NO_DIRECTION


def test_json_counts_from_0(count):
    told = describe_count(count, {"ed": 0})
    assert (told["rule"], told["base"]) == ("scmr", "first slice")
    assert told["images_left_out"] == {"left ventricle": 3, "right ventricle": 0}
    assert told["ed"]["counted"] == {"left ventricle": [2, 3, 4, 5, 6], "right ventricle": [0, 1, 2, 3, 4, 5]}
    assert [(part["slice"], part["structure"], part["reason"]) for part in told["ed"]["left_out"]] == [
        (0, "left ventricle", BEYOND),
        (1, "left ventricle", OPEN),
        (8, "left ventricle", ISLAND),
    ]
    assert told["ed"]["left_out"][1]["share"] == pytest.approx(0.35, abs=0.01)


def test_marks(count):
    marks = [mark_of(count, 0, z) for z in range(9)]
    assert marks == [LEFT_OUT, LEFT_OUT, *[COUNTS] * 5, "", LEFT_OUT]


@pytest.mark.parametrize(
    ("slices", "text"),
    [([3], "slice 4"), ([0, 1, 2, 6], "slices 1–3, 7"), ([1, 0], "slices 1–2"), ([0, 2], "slices 1, 3")],
)
def test_numbers(slices, text):
    assert numbers_of(slices) == text


def test_the_table_has_a_column_and_the_reasons(count, tmp_path):
    path = tmp_path / "lv.csv"
    slices = measure_study(counted_mask(MASK, count, ACDC_CLASSES), **GRID).slices
    write_lv_indices({"a": slices}, path, counts={"a": count})
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["counts"] for row in rows] == [*"001111100"]
    assert rows[1]["flags"].endswith(f"left ventricle left out: {OPEN}")
    np.testing.assert_array_equal(read_lv_indices(path)["a"].cavity_area_mm2, slices.cavity_area_mm2)


def test_chosen_slices_in_words():
    count = count_slices(MASK, base_first=None, counting=counting_of(slices=(3, 5)), **GRID)
    assert sentences_of(count, {"es": 0})[:2] == [
        "End systole (frame 1): slices 3–5 count.",
        "The left ventricle in slices 1–2, 6–7, 9 does not count: it was not chosen.",
    ]
