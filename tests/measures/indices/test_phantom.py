"""Indices of the phantoms' masks against their contours."""

import math

import numpy as np
import pytest

from foanet_jax.data.phantom import shared as phantom
from foanet_jax.data.phantom.short_axis import short_axis_geometry, short_axis_stack, short_axis_study
from foanet_jax.data.phantom.short_axis_heart import TAU, draw_heart, slice_contours
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.phantom.writers import write_lvquan19
from foanet_jax.data.readers.lvquan19 import indices_in_mm, read_indices, read_lvquan19
from foanet_jax.data.study import WHOLE_HEART_CLASSES
from foanet_jax.measures.indices.compare import compare_indices, from_lvquan19
from foanet_jax.measures.indices.short_axis import septum_angle
from foanet_jax.measures.indices.ventricle import structure_volumes, ventricle
from tests.measures.indices.masks import assert_close, diameters, measure, sector_means


def contours_about_the_centroid(endo, epi, septum_in_tau):
    """Inner and outer radius about the cavity's centroid as functions of the angle clockwise from the top.

    Args:
        endo, epi: (ANGLES,) radii in mm over TAU about the heart's centre.
        septum_in_tau: degrees clockwise from the top at TAU = 0.
    """
    angle = np.deg2rad(septum_in_tau) + TAU
    right, up = np.sin(angle), np.cos(angle)
    # The centroid of an area that is star-shaped about the origin: ∫ r³/3 e dθ over ∫ r²/2 dθ.
    area = (endo**2).mean() / 2
    x, y = (endo**3 * right).mean() / 3 / area, (endo**3 * up).mean() / 3 / area

    def about(radius):
        px, py = radius * right - x, radius * up - y
        seen = np.rad2deg(np.arctan2(px, py)) % 360
        order = np.argsort(seen)
        return lambda degrees: np.interp(degrees % 360, seen[order], np.hypot(px, py)[order], period=360)

    return about(endo), about(epi)


class TestPhantom:
    @pytest.mark.parametrize("patient", range(4))
    @pytest.mark.parametrize("spacing_mm", [0.65, 1.4])
    def test_indices_are_those_of_the_contours(self, patient, spacing_mm):
        frames = 8
        study = short_axis_study(patient, size=320 if spacing_mm < 1 else 160, frames=frames, spacing_mm=spacing_mm)
        truth, heart = short_axis_geometry(patient, frames=frames), draw_heart(patient, 0)
        contours = slice_contours(heart, heart.mid_depth, np.arange(frames) / frames)
        indices = measure(study.labels, spacing_mm=study.spacing_mm, septum_degrees=truth.septum_deg)
        for t in range(frames):
            inner, outer = contours_about_the_centroid(contours.endo[t], contours.epi[t], truth.septum_deg)
            turn = truth.septum_deg - 270
            means = sector_means(inner, turn)
            assert_close(indices.dimensions_mm[t, 0], diameters(means))
            assert_close(indices.rwt_mm[t, 0], sector_means(outer, turn) - means)
        np.testing.assert_allclose(indices.cavity_area_mm2[:, 0], truth.cavity_area_mm2, rtol=0.02)
        np.testing.assert_allclose(indices.myocardium_area_mm2[:, 0], truth.myocardium_area_mm2, rtol=0.02)
        assert set(indices.flags.ravel()) == {""}

    @pytest.mark.parametrize("patient", range(6))
    def test_the_phase_is_that_of_the_beat(self, patient):
        study, truth = short_axis_study(patient, size=320, spacing_mm=0.65), short_axis_geometry(patient)
        phase = measure(study.labels, spacing_mm=study.spacing_mm).phase
        frames = np.arange(20)
        np.testing.assert_array_equal(phase, (frames > 0) & (frames <= truth.smallest_frame))

    @pytest.mark.parametrize("patient", range(4))
    def test_the_septum_is_found(self, patient):
        study = short_axis_stack(patient, size=160, slices=6, noise=0)
        angles = septum_angle(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        off = (angles - short_axis_geometry(patient).septum_deg + 180) % 360 - 180
        assert np.abs(off).max() < 12

    @pytest.mark.parametrize("patient", range(4))
    def test_volumes_are_those_of_the_contours(self, patient):
        frames = 20
        study, heart = short_axis_stack(patient, size=160, frames=frames, noise=0), draw_heart(patient, 0)
        # The depths of the phantom's slices, drawn as it draws them.
        rng = phantom.random_stream("view", patient, 0, 1)
        gap = rng.uniform(8, 10)
        assert gap == study.spacing_mm[0]
        depths = rng.uniform(-0.6, 0.4) * gap + gap * np.arange(study.voxels.shape[1])
        contours = [slice_contours(heart, depth, np.arange(frames) / frames) for depth in depths]
        cavity = np.array([np.pi * (each.endo**2).mean(1) for each in contours]).sum(0) * gap / 1000
        wall = np.array([np.pi * (each.epi**2 - each.endo**2).mean(1) for each in contours]).sum(0) * gap / 1000
        indices = ventricle(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        np.testing.assert_allclose(indices.left.volumes_ml, cavity, rtol=0.01)
        assert indices.left.ef_percent == pytest.approx(100 * (1 - cavity.min() / cavity.max()), abs=1)
        assert indices.mass_g == pytest.approx(1.05 * wall[cavity.argmax()], rel=0.01)
        assert (indices.ed, indices.es) == (cavity.argmax(), cavity.argmin())
        assert indices.right.edv_ml > indices.right.esv_ml > 0
        assert indices.flags == ""

    def test_the_data_sets_own_areas_agree(self, tmp_path):
        study = short_axis_study(3, size=128, frames=6)
        path = write_lvquan19(study, tmp_path, 1)
        read = read_lvquan19(path, case="patient1")
        true = from_lvquan19(indices_in_mm(read_indices(path), read))
        indices = measure(read.labels, spacing_mm=read.spacing_mm)
        np.testing.assert_allclose(indices.cavity_area_mm2, true.cavity_area_mm2, rtol=1e-12)
        np.testing.assert_allclose(indices.myocardium_area_mm2, true.myocardium_area_mm2, rtol=1e-12)
        scores = compare_indices({"patient1": indices}, {"patient1": true})
        assert scores["cavity_area_mm2"].mae == pytest.approx(0, abs=1e-9)
        assert scores["cavity_area_mm2"].pearson == pytest.approx(1)
        assert scores["rwt_is_mm"].unknown == 6

    def test_a_whole_hearts_seven_volumes(self):
        study = whole_heart_study(0, shape=(24, 48, 48))
        volumes = structure_volumes(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        assert tuple(volumes) == WHOLE_HEART_CLASSES[1:]
        voxel_ml = np.prod(study.spacing_mm) / 1000
        for index, name in enumerate(WHOLE_HEART_CLASSES[1:], 1):
            assert volumes[name].shape == (1,)
            assert volumes[name][0] == pytest.approx((study.labels == index).sum() * voxel_ml, rel=1e-12)
        indices = ventricle(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        assert indices.left.edv_ml == volumes["left ventricle"][0]
        assert math.isnan(indices.left.ef_percent)
        assert indices.flags == "end diastole and end systole are one frame"
