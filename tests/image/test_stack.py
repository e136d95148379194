"""The pseudo-colour image's neighbours: worked by hand for cines, volumes, 4D cines and single frames."""

import numpy as np
import pytest

from foanet_jax.image.stack import neighbours, temporal_like


@pytest.mark.parametrize(
    ("frames", "slices", "cyclic", "expected"),
    [
        (4, 1, True, [(3, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 0)]),
        (4, 1, False, [(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 3)]),
        (1, 4, True, [(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 3)]),
        (1, 4, False, [(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 3)]),
        (2, 1, True, [(1, 0, 1), (0, 1, 0)]),
        (2, 1, False, [(0, 0, 1), (0, 1, 1)]),
        (1, 2, True, [(0, 0, 1), (0, 1, 1)]),
        (1, 1, True, [(0, 0, 0)]),
        (1, 1, False, [(0, 0, 0)]),
        # Frame t of slice z is number 2t + z: neighbours are two apart, in time.
        (3, 2, True, [(4, 0, 2), (5, 1, 3), (0, 2, 4), (1, 3, 5), (2, 4, 0), (3, 5, 1)]),
        (3, 2, False, [(0, 0, 2), (1, 1, 3), (0, 2, 4), (1, 3, 5), (2, 4, 4), (3, 5, 5)]),
    ],
)
def test_neighbours_by_hand(frames, slices, cyclic, expected):
    np.testing.assert_array_equal(neighbours(frames, slices, cyclic=cyclic), expected)


@pytest.mark.parametrize(
    ("frames", "slices", "along", "expected"),
    [
        (3, 2, "slices", [(0, 0, 1), (0, 1, 1), (2, 2, 3), (2, 3, 3), (4, 4, 5), (4, 5, 5)]),
        (3, 1, "slices", [(0, 0, 0), (1, 1, 1), (2, 2, 2)]),
        (1, 3, "frames", [(0, 0, 0), (1, 1, 1), (2, 2, 2)]),
        (2, 2, "frames", [(2, 0, 2), (3, 1, 3), (0, 2, 0), (1, 3, 1)]),
        (2, 1, "none", [(0, 0, 0), (1, 1, 1)]),
    ],
)
def test_neighbours_that_are_asked_for(frames, slices, along, expected):
    np.testing.assert_array_equal(neighbours(frames, slices, cyclic=True, along=along), expected)


def test_red_green_blue_are_before_itself_after():
    images = np.arange(3 * 2 * 2, dtype=np.float32).reshape(3, 2, 2)
    stacked = temporal_like(images, neighbours(3, 1, cyclic=True))
    assert stacked.shape == (3, 2, 2, 3)
    np.testing.assert_array_equal(stacked[0, 0, 0], [8, 0, 4])
    np.testing.assert_array_equal(stacked[1, 1, 0], [2, 6, 10])
    np.testing.assert_array_equal(stacked[..., 1], images)
    np.testing.assert_array_equal(temporal_like(images, np.array([[2, 2, 0]]))[0, 0, 1], [9, 9, 1])
