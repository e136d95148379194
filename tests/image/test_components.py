"""The greatest connected component: drawn by hand, against a flood fill, per frame of a cine and in 3D of a volume."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from foanet_jax.image.components import greatest_component, keep_greatest


def drawn(picture: str) -> np.ndarray:
    """Labels from a picture of digits; . is 0."""
    return np.array([[0 if letter == "." else int(letter) for letter in line] for line in picture.split()], np.uint8)


def flood_fill(mask: np.ndarray) -> np.ndarray:
    """The greatest component of a mask, the one whose first voxel comes first among equals, voxel by voxel."""
    left = {tuple(index) for index in np.argwhere(mask)}
    best: set = set()
    while left:
        part, front = set(), [min(left)]
        while front:
            index = front.pop()
            if index not in left:
                continue
            left.remove(index)
            part.add(index)
            for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
                front.append((*index[:axis], index[axis] + step, *index[axis + 1 :]))
        if len(part) > len(best):
            best = part
    filled = np.zeros(mask.shape, bool)
    for index in best:
        filled[index] = True
    return filled


def test_smaller_parts_go_and_classes_count_as_one_object():
    labels = drawn("""
        .11...22
        .12...22
        ..2.....
        3..21..3
    """)
    # Diagonal neighbours do not touch: 12 above and the 2 below it do, the lowest row does not.
    kept = drawn("""
        .11.....
        .12.....
        ..2.....
        ........
    """)
    np.testing.assert_array_equal(keep_greatest(labels[None, None])[0, 0], kept)


def test_equal_parts_keep_the_first():
    np.testing.assert_array_equal(greatest_component(drawn(".1.1")), drawn(".1..") > 0)


def test_empty_and_full():
    empty = np.zeros((2, 3, 4), np.uint8)
    assert not greatest_component(empty > 0).any()
    np.testing.assert_array_equal(keep_greatest(empty[None]), empty[None])
    assert greatest_component(empty == 0).all()
    assert greatest_component(empty).dtype == bool


# On frame 0 the left part is greater, on frame 1 the right one; over both together the right one is.
LEFT_GREATER, RIGHT_GREATER = drawn("22..1"), drawn("1..22")
RIGHT_MUCH_GREATER = drawn("1.222")


def test_cine_is_filtered_frame_by_frame():
    cine = np.stack([LEFT_GREATER, RIGHT_MUCH_GREATER])[:, None]
    expected = np.stack([drawn("22..."), drawn("..222")])[:, None]
    np.testing.assert_array_equal(keep_greatest(cine), expected)


def test_volume_is_filtered_in_3d():
    volume = np.stack([LEFT_GREATER, RIGHT_MUCH_GREATER])[None]
    expected = np.stack([drawn("....1"), drawn("..222")])[None]
    np.testing.assert_array_equal(keep_greatest(volume), expected)


def test_each_volume_of_a_4d_cine_is_filtered_by_itself():
    volume = np.stack([LEFT_GREATER, RIGHT_MUCH_GREATER])
    both = keep_greatest(np.stack([volume, volume[:, :, ::-1]]))
    np.testing.assert_array_equal(both[0], keep_greatest(volume[None])[0])
    np.testing.assert_array_equal(both[1], both[0][:, :, ::-1])


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(bool, (3, 4, 5)))
def test_3d_equals_flood_fill(mask):
    np.testing.assert_array_equal(greatest_component(mask), flood_fill(mask))


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.uint8, (2, 1, 4, 6), elements={"min_value": 0, "max_value": 2}))
def test_labels_equal_flood_fill_of_the_foreground(labels):
    expected = [np.where(flood_fill(frame > 0), frame, 0) for frame in labels]
    np.testing.assert_array_equal(keep_greatest(labels), np.stack(expected))
    assert keep_greatest(labels).dtype == np.uint8
