"""Boxes: bounding, joining, widening and clipping by hand; paste undoes crop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foanet_jax.image.boxes import Box, bounding_box, crop, paste, slice_boxes, union_box, whole_image

SHAPE = (9, 12)


@st.composite
def boxes(draw, shape=SHAPE):
    top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    return Box(top, left, draw(st.integers(top + 1, shape[0])), draw(st.integers(left + 1, shape[1])))


def test_bounding_box_of_scattered_pixels():
    mask = np.zeros(SHAPE, bool)
    mask[2, 7] = mask[5, 3] = mask[4, 4] = True
    box = bounding_box(mask)
    assert box == Box(top=2, left=3, bottom=6, right=8)
    assert box.shape == (4, 5)
    assert box.centre == (3.5, 5.0)


def test_bounding_box_of_one_pixel_and_of_none():
    mask = np.zeros(SHAPE, bool)
    assert bounding_box(mask) is None
    mask[8, 11] = True
    assert bounding_box(mask) == Box(8, 11, 9, 12)
    assert bounding_box(mask).centre == (8.0, 11.0)


def test_slice_boxes_in_order_of_time_then_slice():
    mask = np.zeros((2, 3, *SHAPE), bool)
    mask[0, 2, 1, 1] = mask[1, 0, 5, 6] = True
    assert slice_boxes(mask) == [None, None, Box(1, 1, 2, 2), Box(5, 6, 6, 7), None, None]


def test_union_box():
    assert union_box([Box(2, 5, 4, 9), None, Box(3, 1, 8, 6)]) == Box(2, 1, 8, 9)
    assert union_box([None, None]) is None
    assert union_box([]) is None


def test_widen_clips_to_the_image():
    assert Box(20, 30, 40, 50).widen(10, (100, 100)) == Box(10, 20, 50, 60)
    assert Box(3, 30, 40, 95).widen(10, (45, 100)) == Box(0, 20, 45, 100)
    assert Box(3, 4, 5, 6).widen(0, (10, 10)) == Box(3, 4, 5, 6)


def test_touches_border():
    assert not Box(1, 1, 8, 11).touches_border(SHAPE)
    for box in (Box(0, 1, 8, 11), Box(1, 0, 8, 11), Box(1, 1, 9, 11), Box(1, 1, 8, 12)):
        assert box.touches_border(SHAPE)


@pytest.mark.parametrize("sides", [(3, 3, 3, 5), (3, 3, 5, 3), (4, 0, 3, 5), (0, 4, 5, 3)])
def test_empty_box_is_refused(sides):
    with pytest.raises(ValueError, match=r"\(top, left, bottom, right\) is empty"):
        Box(*sides)


def test_paste_refuses_another_shape():
    with pytest.raises(ValueError, match=r"has \(2, 3\) px, but its box has \(3, 3\) px"):
        paste(np.ones((2, 3)), Box(0, 0, 3, 3), SHAPE)


@settings(deadline=None, max_examples=50)
@given(boxes(), st.integers(0, 2**31))
def test_paste_undoes_crop(box, seed):
    array = np.random.default_rng(seed).integers(1, 200, (2, 3, *SHAPE)).astype(np.uint8)
    inside = np.zeros(SHAPE, bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    pasted = paste(crop(array, box), box, SHAPE)
    assert pasted.dtype == array.dtype
    np.testing.assert_array_equal(pasted, np.where(inside, array, 0))
    np.testing.assert_array_equal(paste(crop(pasted, box), box, SHAPE), pasted)
    assert bounding_box(pasted[0, 0] > 0) == box


@settings(deadline=None, max_examples=50)
@given(boxes(), boxes(), st.integers(0, 6))
def test_union_and_widened_box_contain_their_boxes(first, second, margin):
    def pixels(box):
        return paste(np.ones(box.shape, bool), box, SHAPE)

    union = union_box([first, second])
    assert union == bounding_box(pixels(first) | pixels(second))
    wide = union.widen(margin, SHAPE)
    rows, columns = np.nonzero(pixels(union))
    expected = np.zeros(SHAPE, bool)
    for row, column in ((rows.min(), columns.min()), (rows.max(), columns.max())):
        expected[max(0, row - margin) : row + margin + 1, max(0, column - margin) : column + margin + 1] = True
    assert wide == bounding_box(expected)
    assert whole_image(SHAPE).widen(margin, SHAPE) == whole_image(SHAPE)
