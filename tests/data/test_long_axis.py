"""The usual direction of the long axis: its angles, its signs in both worlds, and real short axes against it."""

import numpy as np
import pytest

from foanet_jax.data.dicom.stacks import views
from foanet_jax.data.long_axis import FARTHEST_DEGREES, TO_APEX_LPS, TO_APEX_RAS, degrees_between
from foanet_jax.data.readers.sunnybrook import list_sunnybrook
from foanet_jax.measures.indices.position import find_view

TO_LPS = np.array([-1, -1, 1])


def test_the_angles_of_the_source():
    left, back, up = TO_APEX_LPS
    assert np.degrees(np.arctan2(-up, left)) == pytest.approx(38)  # frontal plane, down from the left
    assert np.degrees(np.arctan2(-back, left)) == pytest.approx(46)  # transverse plane, to the front from the left
    assert np.linalg.norm(TO_APEX_LPS) == pytest.approx(1)


def test_both_worlds_have_the_same_direction():
    """The apex is on the left, in front and below: LPS+ (+, −, −), RAS+ (−, +, −)."""
    np.testing.assert_array_equal(np.sign(TO_APEX_LPS), (1, -1, -1))
    np.testing.assert_array_equal(np.sign(TO_APEX_RAS), (-1, 1, -1))
    np.testing.assert_allclose(TO_APEX_LPS, TO_LPS * TO_APEX_RAS)


def test_angles_between_lines_by_hand():
    x, y = np.array([2.0, 0, 0]), np.array([0, 0.5, 0])
    assert degrees_between(x, y) == pytest.approx(90)
    assert degrees_between(x, -x) == pytest.approx(0)
    assert degrees_between(x, y - x) == pytest.approx(np.degrees(np.arctan2(0.5, 2)))


def plane(normal):
    """Two unit vectors at right angles to a normal, and the normal, as columns."""
    along = np.cross(normal, (0.3, 0.2, 0.9))
    along /= np.linalg.norm(along)
    down = np.cross(normal, along)
    return np.stack([along, down / np.linalg.norm(down), normal / np.linalg.norm(normal)], axis=1)


@pytest.mark.parametrize("off", [0, 20, 44, 46, 58, 62, 90])
def test_both_rules_turn_about_the_same_axis(off):
    """One plane, tilted by a known angle: in LPS+ for series of DICOM, in RAS+ for affines."""
    aside = np.cross(TO_APEX_LPS, (0.1, 0.9, 0.2))
    aside /= np.linalg.norm(aside)
    angle = np.deg2rad(off)
    normal = np.cos(angle) * TO_APEX_LPS + np.sin(angle) * aside
    view = views.View(9, 20, True, normal, "")
    assert view.degrees == pytest.approx(off)
    assert bool(views.not_short_axis(view)) == (off > FARTHEST_DEGREES)
    assert views.short_axis_cines([view]) == ([0] if off < 45 else [])
    affine = np.eye(4)
    affine[:3, :3] = TO_LPS[:, None] * plane(normal)
    seen = find_view(affine)
    assert (seen is None) == (off > FARTHEST_DEGREES)
    if seen is not None:
        assert seen.base_first  # Its slices run along the normal, from the base to the apex.


def test_real_short_axes(shared_data):
    """The numbers that the module states, and the sign: the cavity is smaller at the end where the apex should be."""
    measured = {}
    for ref in list_sunnybrook(shared_data("sunnybrook")):
        study = ref.load()
        column, row, step = TO_LPS * study.affine[:3, :3].T
        normal = np.cross(column, row)
        area = (study.labels == study.classes.index("cavity")).sum((0, 2, 3))
        step *= 1 if area[0] > area[-1] else -1
        assert step @ TO_APEX_LPS > 0.9 * np.linalg.norm(step)
        frontal, transverse = np.degrees(np.arctan2(-step[2], step[0])), np.degrees(np.arctan2(-step[1], step[0]))
        measured[study.patient] = degrees_between(normal, TO_APEX_LPS), frontal, transverse
    assert measured["SC-HF-I-1"] == pytest.approx((9.7, 25.7, 44.8), abs=0.05)
    assert measured["SC-HF-I-4"] == pytest.approx((4.5, 32.8, 46.3), abs=0.05)
