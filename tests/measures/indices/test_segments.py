"""Segments of the American Heart Association, worked out by hand."""

import numpy as np
import pytest

from foanet_jax.measures.indices.segments import base_comes_first, ring_thickness, segment_thickness, slice_thirds
from foanet_jax.system.errors import InputError

# In the order of SECTORS: inferoseptal, inferior, inferolateral, anterolateral, anterior, anteroseptal.
SECTOR_MM = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_ring_begins_at_anterior_and_goes_over_the_septum():
    assert ring_thickness(np.array(SECTOR_MM)).tolist() == [5, 6, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("areas", "base_first", "expected"),
    [
        ([1] * 9, True, [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ([1] * 9, False, [2, 2, 2, 1, 1, 1, 0, 0, 0]),
        ([0, 1, 1, 1, 0], True, [-1, 0, 1, 2, -1]),
        # The middles of four slices lie at 1/8, 3/8, 5/8 and 7/8.
        ([4, 3, 2, 1], True, [0, 1, 1, 2]),
        ([2, 1], True, [0, 2]),
        ([1], True, [1]),
        # A slice without cavity between two with it is still within the ventricle.
        ([3, 0, 1], True, [0, 1, 2]),
        ([0, 0], True, [-1, -1]),
    ],
)
def test_thirds(areas, base_first, expected):
    assert slice_thirds(np.array(areas), base_first=base_first).tolist() == expected


def test_base_is_where_the_cavity_is_larger():
    assert base_comes_first(np.array([[0, 5, 3, 1, 0], [0, 0, 3, 1, 0]]))
    assert not base_comes_first(np.array([[1, 9, 5, 6]]))


def test_segments():
    """Two basal slices are averaged, the middle third is open in one sector, the apical one weighs by angle."""
    rwt = np.array([SECTOR_MM, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [*SECTOR_MM[:5], np.nan], SECTOR_MM])
    found = segment_thickness(rwt, np.array([0, 0, 1, 2]))
    assert found[:6].tolist() == [6, 7, 2, 3, 4, 5]
    np.testing.assert_array_equal(found[6:12], [5, np.nan, 1, 2, 3, 4])
    # Anterior: (15·6 + 60·5 + 15·4) / 90; septal: (6 + 1) / 2.
    # Inferior: (15·1 + 60·2 + 15·3) / 90; lateral: (3 + 4) / 2.
    np.testing.assert_allclose(found[12:], [5, 3.5, 2, 3.5])


def test_a_third_without_slices_is_not_known():
    found = segment_thickness(np.array([SECTOR_MM, SECTOR_MM]), np.array([0, 2]))
    assert np.isnan(found[6:12]).all()
    assert np.isfinite(found[[*range(6), *range(12, 16)]]).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"\(2, 6\) and thirds \(3,\)"):
        segment_thickness(np.ones((2, 6)), np.zeros(3, int))
