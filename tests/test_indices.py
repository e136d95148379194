"""Clinical indices against analytic shapes, the phantoms' contours, independent voxel counts and ACDC's groups."""

import dataclasses
import itertools
import math
import re

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from foanet_jax.data import phantom
from foanet_jax.data.lvquan19 import indices_in_mm, read_indices, read_lvquan19
from foanet_jax.data.short_axis_heart import TAU, draw_heart, slice_contours
from foanet_jax.data.short_axis_phantom import short_axis_geometry, short_axis_stack, short_axis_study
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.data.whole_heart_phantom import whole_heart_study
from foanet_jax.data.writers import write_lvquan19
from foanet_jax.errors import InputError
from foanet_jax.indices import short_axis
from foanet_jax.indices.compare import (
    IndexPair,
    compare_indices,
    format_scores,
    from_lvquan19,
    pair_indices,
    read_pairs,
    score_pairs,
    write_pairs,
)
from foanet_jax.indices.short_axis import LvIndices, cardiac_phase, lv_indices, septum_angle
from foanet_jax.indices.study import headline, join_frames, measure_study
from foanet_jax.indices.tables import (
    read_lv_indices,
    read_ventricles,
    write_lv_indices,
    write_ventricles,
    write_volumes,
)
from foanet_jax.indices.ventricle import VentricleIndices, structure_volumes, ventricle

PX = 0.65
SPACING = (8.0, PX, PX)
# LVQuan19's order and where each sector of 60° begins, written out a second time.
NAMES = ("is", "i", "il", "al", "a", "as")
BEGINS = (210, 150, 90, 30, 330, 270)


def measure(mask, *, classes=LV_CLASSES, spacing_mm=SPACING, septum_degrees=270.0):
    return lv_indices(mask, classes=classes, spacing_mm=spacing_mm, septum_degrees=septum_degrees)


def drawn(cavity, heart, *, pixel_mm=(PX, PX), shape=(160, 160), centre=(79.7, 80.2)):
    """(1, 1, H, W) mask from two functions of (x right, y up) in mm about the centre, both true inside."""
    rows, columns = np.indices(shape)
    x, y = (columns - centre[1]) * pixel_mm[1], (centre[0] - rows) * pixel_mm[0]
    mask = np.where(cavity(x, y), 2, np.where(heart(x, y), 1, 0))
    return mask.astype(np.uint8)[None, None]


def disc(radius, at=(0.0, 0.0)):
    return lambda x, y: (x - at[0]) ** 2 + (y - at[1]) ** 2 < radius**2


def ellipse(half_x, half_y):
    return lambda x, y: (x / half_x) ** 2 + (y / half_y) ** 2 < 1


def sector_means(radius, turn=0.0):
    """(6,) mean over each sector of a function of the angle clockwise from the top, in degrees."""
    offsets = (np.arange(600) + 0.5) / 10
    return np.array([radius(begin + turn + offsets).mean() for begin in BEGINS])


def diameters(means):
    """IS-AL, I-A, IL-AS from the mean radii of the sectors IS, I, IL, AL, A, AS."""
    return np.array([means[0] + means[3], means[1] + means[4], means[2] + means[5]])


def assert_close(measured, truth):
    """Within 2 % or 0.5 mm, whichever is more."""
    np.testing.assert_array_less(np.abs(measured - truth), np.maximum(0.02 * np.abs(truth), 0.5))


def ring(radius=20.0, wall=9.0, **options):
    return drawn(disc(radius), disc(radius + wall), **options)


class TestAnalyticShapes:
    @pytest.mark.parametrize("radius", [6.0, 12.5, 20.0, 33.0])
    def test_concentric_circles(self, radius):
        indices = measure(ring(radius, 9.0, shape=(200, 200), centre=(99.6, 100.3)))
        np.testing.assert_allclose(indices.cavity_area_mm2, math.pi * radius**2, rtol=0.01)
        np.testing.assert_allclose(indices.myocardium_area_mm2, math.pi * ((radius + 9) ** 2 - radius**2), rtol=0.01)
        np.testing.assert_allclose(indices.dimensions_mm[0, 0], 2 * radius, atol=0.2)
        np.testing.assert_allclose(indices.rwt_mm[0, 0], 9, atol=0.15)
        assert indices.flags.tolist() == [[""]]

    @pytest.mark.parametrize(("half_x", "half_y"), [(24.0, 16.0), (14.0, 21.0)])
    def test_ellipses_with_a_circular_epicardium(self, half_x, half_y):
        def inner(degrees):
            angle = np.deg2rad(degrees)
            return 1 / np.hypot(np.sin(angle) / half_x, np.cos(angle) / half_y)

        indices = measure(drawn(ellipse(half_x, half_y), disc(30)))
        means = sector_means(inner)
        np.testing.assert_allclose(indices.dimensions_mm[0, 0], diameters(means), atol=0.2)
        np.testing.assert_allclose(indices.rwt_mm[0, 0], 30 - means, atol=0.15)
        # An upright ellipse is mirrored onto itself, and I-A is the axis between bottom and top.
        assert (indices.dimensions_mm[0, 0, 1] > indices.dimensions_mm[0, 0, 0]) == (half_y > half_x)

    @pytest.mark.parametrize("towards", [0.0, 37.0, 90.0, 250.0])
    def test_an_offset_epicardium_is_thick_on_its_side(self, towards):
        apart, outer_radius = 5.0, 30.0
        angle = math.radians(towards)

        def thickness(degrees):
            off = np.deg2rad(degrees - towards)
            return apart * np.cos(off) + np.sqrt(outer_radius**2 - (apart * np.sin(off)) ** 2) - 20

        at = apart * math.sin(angle), apart * math.cos(angle)
        indices = measure(drawn(disc(20), disc(outer_radius, at)))
        np.testing.assert_allclose(indices.rwt_mm[0, 0], sector_means(thickness), atol=0.15)
        np.testing.assert_allclose(indices.dimensions_mm[0, 0], 40, atol=0.2)

    @pytest.mark.parametrize("pixel_mm", [(0.65, 1.3), (1.2, 0.7)])
    def test_pixels_that_are_not_square(self, pixel_mm):
        mask = drawn(disc(20), disc(30, (0.0, 4.0)), pixel_mm=pixel_mm)

        def thickness(degrees):
            off = np.deg2rad(degrees)
            return 4 * np.cos(off) + np.sqrt(900 - (4 * np.sin(off)) ** 2) - 20

        indices = measure(mask, spacing_mm=(8, *pixel_mm))
        np.testing.assert_allclose(indices.cavity_area_mm2, math.pi * 400, rtol=0.01)
        np.testing.assert_allclose(indices.dimensions_mm[0, 0], 40, atol=0.25)
        np.testing.assert_allclose(indices.rwt_mm[0, 0], sector_means(thickness), atol=0.25)

    def test_a_heart_cut_by_the_border_of_the_image_ends_there(self):
        indices = measure(ring(20, 9, shape=(160, 110), centre=(79.7, 79.5)))
        # Columns 0 to 109: half a pixel past the last centre, to the right of the centre 30 columns before.
        assert indices.rwt_mm[0, 0, 1] == pytest.approx(9, abs=0.15)
        assert indices.dimensions_mm[0, 0, 0] < 40


class TestSectors:
    def bulge(self, degrees):
        """A ring with a wall of 6 mm, and of 12 mm over 60° from an angle on."""

        def heart(x, y):
            within = (np.rad2deg(np.arctan2(x, y)) - degrees) % 360 < 60
            return np.hypot(x, y) < np.where(within, 32, 26)

        return drawn(disc(20), heart)

    @pytest.mark.parametrize(("name", "begin"), tuple(zip(NAMES, BEGINS, strict=True)))
    def test_each_sector_is_where_the_method_has_it(self, name, begin):
        columns = measure(self.bulge(begin)).columns()
        for other in NAMES:
            assert columns[f"rwt_{other}_mm"][0, 0] == pytest.approx(12 if other == name else 6, abs=0.2)

    @pytest.mark.parametrize("turn", [90, 180, 270])
    def test_a_turned_mask_with_a_turned_septum_measures_the_same(self, turn):
        mask = drawn(ellipse(24, 16), disc(30, (2.0, 3.0)))
        # np.rot90 turns anticlockwise.
        turned = np.rot90(mask, -turn // 90, axes=(2, 3))
        one, other = measure(mask), measure(turned, septum_degrees=270 + turn)
        np.testing.assert_allclose(one.rwt_mm, other.rwt_mm, atol=1e-9)
        np.testing.assert_allclose(one.dimensions_mm, other.dimensions_mm, atol=1e-9)

    def test_turning_by_a_sector_shifts_the_thicknesses_by_one(self):
        mask = self.bulge(0)
        here, next_one = measure(mask).rwt_mm[0, 0], measure(mask, septum_degrees=330).rwt_mm[0, 0]
        # Clockwise the order is IS, AS, A, AL, IL, I, so that IS is then where AS was.
        np.testing.assert_allclose(next_one, here[[5, 0, 1, 2, 3, 4]], atol=1e-9)

    def test_each_slice_has_its_own_septum(self):
        mask = np.concatenate([self.bulge(210), self.bulge(240), self.bulge(210)], axis=1)
        thickness = measure(mask, septum_degrees=np.array([270.0, 300.0, np.nan])).rwt_mm
        np.testing.assert_allclose(thickness[0, :2, 0], 12, atol=0.2)
        assert np.isnan(thickness[0, 2]).all()


class TestSeptumAngle:
    def scene(self, degrees, pixel_mm=(PX, PX)):
        """A ring with a right ventricle in some direction, labels of ACDC_CLASSES."""
        angle = math.radians(degrees)
        mask = drawn(disc(20), disc(28), pixel_mm=pixel_mm, shape=(220, 220), centre=(109.7, 110.2))
        rows, columns = np.indices((220, 220))
        x, y = (columns - 110.2) * pixel_mm[1], (109.7 - rows) * pixel_mm[0]
        rv = disc(30, (28 * math.sin(angle), 28 * math.cos(angle)))(x, y)
        mask = np.array([0, 2, 3], np.uint8)[mask]
        mask[0, 0][(mask[0, 0] == 0) & rv] = 1
        return mask

    @pytest.mark.parametrize("pixel_mm", [(PX, PX), (0.65, 1.3)])
    @pytest.mark.parametrize("degrees", [0.0, 75.0, 200.0, 270.0, 315.0])
    def test_points_at_the_right_ventricle(self, degrees, pixel_mm):
        angle = septum_angle(self.scene(degrees, pixel_mm), classes=ACDC_CLASSES, spacing_mm=(8, *pixel_mm))
        assert angle.shape == (1,)
        assert (angle[0] - degrees + 180) % 360 - 180 == pytest.approx(0, abs=0.5)

    def test_the_septal_sectors_are_beside_the_right_ventricle(self):
        mask = self.scene(130.0)
        angle = septum_angle(mask, classes=ACDC_CLASSES, spacing_mm=SPACING)
        # The wall is taken away where it borders on the right ventricle: both septal sectors are then open.
        near = ndimage.binary_dilation(mask[0, 0] == 1, iterations=14)
        mask[0, 0][(mask[0, 0] == 2) & near] = 0
        open_sectors = np.isnan(measure(mask, classes=ACDC_CLASSES, septum_degrees=angle).rwt_mm[0, 0])
        assert open_sectors[[0, 5]].all()
        assert not open_sectors[[2, 3]].any()

    def test_is_the_mean_direction_of_the_frames_across_the_top(self):
        mask = np.concatenate([self.scene(350.0), self.scene(20.0)])
        assert septum_angle(mask, classes=ACDC_CLASSES, spacing_mm=SPACING)[0] == pytest.approx(5, abs=0.5)

    def test_slices_without_it_have_the_mean_of_the_others(self):
        with_rv = self.scene(300.0)
        without = np.where(with_rv == 1, 0, with_rv)
        stack = np.concatenate([with_rv, without, np.zeros_like(with_rv), self.scene(280.0)], axis=1)
        angles = septum_angle(stack, classes=ACDC_CLASSES, spacing_mm=SPACING)
        np.testing.assert_allclose(angles, [300, 290, 290, 280], atol=0.5)
        assert np.isnan(septum_angle(without, classes=ACDC_CLASSES, spacing_mm=SPACING)).all()

    def test_without_such_a_class(self):
        with pytest.raises(InputError, match="right ventricle"):
            septum_angle(ring(), classes=LV_CLASSES, spacing_mm=SPACING)


class TestMissingStructures:
    def test_an_empty_mask(self):
        indices = measure(np.zeros((2, 1, 30, 30), np.uint8))
        assert (indices.cavity_area_mm2 == 0).all()
        assert (indices.myocardium_area_mm2 == 0).all()
        for values in (indices.dimensions_mm, indices.rwt_mm, indices.phase):
            assert np.isnan(values).all()
        assert set(indices.flags.ravel()) == {"no cavity; no myocardium"}

    def test_no_cavity(self):
        mask = ring()
        mask[mask == 2] = 0
        indices = measure(mask)
        assert np.isnan(indices.rwt_mm).all()
        assert np.isnan(indices.dimensions_mm).all()
        assert indices.myocardium_area_mm2[0, 0] == pytest.approx(math.pi * (29**2 - 20**2), rel=0.01)
        assert indices.flags[0, 0] == short_axis.NO_CAVITY

    def test_no_myocardium(self):
        mask = ring()
        mask[mask == 1] = 0
        indices = measure(mask)
        np.testing.assert_allclose(indices.dimensions_mm, 40, atol=0.2)
        assert np.isnan(indices.rwt_mm).all()
        assert indices.flags[0, 0] == short_axis.NO_MYOCARDIUM

    def test_an_open_ring_has_the_sectors_that_are_closed(self):
        def heart(x, y):
            gap = np.abs((np.rad2deg(np.arctan2(x, y)) - 120 + 180) % 360 - 180) < 10
            return (np.hypot(x, y) < 29) & ~gap

        indices = measure(drawn(disc(20), heart))
        np.testing.assert_array_equal(np.isnan(indices.rwt_mm[0, 0]), [False, False, True, False, False, False])
        np.testing.assert_allclose(indices.rwt_mm[0, 0, [0, 1, 3, 4, 5]], 9, atol=0.15)
        np.testing.assert_allclose(indices.dimensions_mm, 40, atol=0.2)
        assert indices.flags[0, 0] == short_axis.OPEN_RING

    def test_of_several_components_the_greatest_counts(self):
        whole = measure(ring())
        mask = ring()
        mask[0, 0, 2:8, 2:8] = 2
        mask[0, 0, 150:158, 3:9] = 1
        pieces = measure(mask)
        for name, values in whole.columns().items():
            np.testing.assert_array_equal(pieces.columns()[name], values)
        assert pieces.flags[0, 0] == short_axis.PIECES

    def test_a_cavity_that_does_not_hold_its_centroid(self):
        def half_ring(x, y):
            return (np.hypot(x, y) > 20) & (np.hypot(x, y) < 25) & (x < 0)

        indices = measure(drawn(half_ring, disc(30)))
        # The centroid is at x = −14.4: of the rays towards the right not all meet the half ring, all others do.
        np.testing.assert_array_equal(np.isnan(indices.rwt_mm[0, 0]), [False, False, True, True, False, False])
        np.testing.assert_array_equal(np.isnan(indices.dimensions_mm[0, 0]), [True, False, True])
        assert indices.flags[0, 0] == short_axis.OFF_CENTRE

    def test_a_cavity_of_one_pixel(self):
        mask = np.zeros((1, 1, 9, 9), np.uint8)
        mask[0, 0, 3:6, 3:6] = 1
        mask[0, 0, 4, 4] = 2
        indices = measure(mask, spacing_mm=(8, 1, 1))
        np.testing.assert_allclose(indices.dimensions_mm, 1, atol=0.15)
        np.testing.assert_allclose(indices.rwt_mm, 1.15, atol=0.15)

    @pytest.mark.parametrize(
        ("mask", "options", "code"),
        [
            (np.zeros((1, 30, 30), np.uint8), {}, "shape"),
            (np.zeros((1, 1, 30, 30)), {}, "dtype"),
            (np.full((1, 1, 30, 30), 3, np.uint8), {}, "unknown-label"),
            (np.zeros((1, 1, 30, 30), np.uint8), {"classes": ("background", "myocardium")}, "classes"),
            (np.zeros((1, 1, 30, 30), np.uint8), {"spacing_mm": (8, 0, 1)}, "spacing"),
            (np.zeros((1, 1, 30, 30), np.uint8), {"septum_degrees": np.zeros(2)}, "septum"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, mask, options, code):
        with pytest.raises(InputError) as caught:
            measure(mask, **options)
        assert caught.value.code == code


class TestPhase:
    @pytest.mark.parametrize(
        ("sizes", "phase"),
        [
            ([9, 7, 5, 6, 8], [0, 1, 1, 0, 0]),
            ([5, 7, 9, 8, 6], [1, 0, 0, 1, 1]),
            ([6, 9, 8, 7, 5], [0, 0, 1, 1, 1]),
            ([9, np.nan, 5, np.nan, 8], [0, 1, 1, 0, 0]),
            ([np.nan, 7, 5, 6, 9], [1, 1, 1, 0, 0]),
            ([9, 9, 5, 5], [0, 1, 1, 0]),
        ],
    )
    def test_by_hand(self, sizes, phase):
        np.testing.assert_array_equal(cardiac_phase(np.array(sizes)), phase)

    @pytest.mark.parametrize("sizes", [[7.0], [7.0, 7.0], [np.nan, np.nan], [np.nan, 3.0]])
    def test_unknown_without_two_different_sizes(self, sizes):
        assert np.isnan(cardiac_phase(np.array(sizes))).all()

    def test_a_frame_without_cavity_is_not_the_smallest(self):
        mask = np.concatenate([ring(20), ring(15), np.zeros_like(ring()), ring(12), ring(18)])
        np.testing.assert_array_equal(measure(mask).phase, [0, 1, 1, 1, 0])


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


def blocks(*counts):
    """(T, 2, 10, 10) with counts of voxels of classes 1, 2, … in each frame, half of them in each slice."""
    mask = np.zeros((len(counts), 2, 10, 10), np.uint8)
    for frame, of_frame in zip(mask, counts, strict=True):
        start = 0
        for index, count in enumerate(of_frame, 1):
            frame.reshape(2, 100)[:, start : start + count // 2] = index
            start += count // 2
    return mask


class TestVentricle:
    # Voxels of 10 × 10 × 10 mm: 1 ml each. Counts of right ventricle, myocardium, cavity.
    MASK = blocks((40, 60, 80), (30, 62, 50), (20, 64, 32), (36, 60, 70))
    ML = (10.0, 10.0, 10.0)

    def test_by_hand(self):
        indices = ventricle(self.MASK, classes=ACDC_CLASSES, spacing_mm=self.ML)
        assert (indices.ed, indices.es) == (0, 2)
        np.testing.assert_array_equal(indices.left.volumes_ml, [80, 50, 32, 70])
        assert indices.columns() == {
            "lv_edv_ml": 80,
            "lv_esv_ml": 32,
            "lv_sv_ml": 48,
            "lv_ef_percent": pytest.approx(60),
            "rv_edv_ml": 40,
            "rv_esv_ml": 20,
            "rv_sv_ml": 20,
            "rv_ef_percent": pytest.approx(50),
            "lv_mass_g": pytest.approx(63),
        }

    def test_given_frames(self):
        indices = ventricle(self.MASK, classes=ACDC_CLASSES, spacing_mm=self.ML, ed=3, es=1)
        assert (indices.left.edv_ml, indices.left.esv_ml) == (70, 50)
        assert indices.left.ef_percent == pytest.approx(100 * 20 / 70)
        with pytest.raises(InputError, match="es=4"):
            ventricle(self.MASK, classes=ACDC_CLASSES, spacing_mm=self.ML, es=4)

    def test_without_a_right_ventricle(self):
        indices = ventricle(blocks((60, 80), (60, 40)), classes=LV_CLASSES, spacing_mm=self.ML)
        assert indices.left.ef_percent == pytest.approx(50)
        assert math.isnan(indices.right.edv_ml)
        assert indices.flags == ""

    def test_a_frame_without_cavity_is_not_end_systole(self):
        mask = blocks((60, 80), (0, 0), (60, 40))
        indices = ventricle(mask, classes=LV_CLASSES, spacing_mm=self.ML)
        np.testing.assert_array_equal(indices.left.volumes_ml, [80, np.nan, 40])
        assert indices.es == 2
        assert indices.flags == "no LV cavity in 1 of 3 frames; no myocardium in 1 of 3 frames"

    def test_nothing_segmented(self):
        indices = ventricle(np.zeros((2, 2, 4, 4), np.uint8), classes=LV_CLASSES, spacing_mm=self.ML)
        assert (indices.ed, indices.es) == (None, None)
        assert np.isnan(list(indices.columns().values())).all()
        assert indices.flags.startswith("no LV cavity in 2 of 2 frames")

    def test_one_slice_has_no_volume(self):
        with pytest.raises(InputError, match="one slice"):
            ventricle(ring(), classes=LV_CLASSES, spacing_mm=SPACING)


class TestStudy:
    ML = (10.0, 10.0, 10.0)

    def test_a_cine_of_one_slice(self):
        mask = np.concatenate([ring(20), ring(14), ring(17)])
        indices = measure_study(mask, classes=LV_CLASSES, spacing_mm=SPACING)
        assert (indices.ventricles, indices.volumes_ml) == (None, {})
        found = headline(indices)
        assert found["cavity_area_max_mm2"] == pytest.approx(math.pi * 400, rel=0.01)
        assert found["cavity_area_min_mm2"] == pytest.approx(math.pi * 196, rel=0.01)
        assert found["wall_at_max_mm"] == pytest.approx(9, abs=0.15)

    def test_a_stack_over_time(self):
        mask = TestVentricle.MASK
        indices = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=self.ML)
        assert indices.slices.cavity_area_mm2.shape == (4, 2)
        assert headline(indices)["lv_ef_percent"] == pytest.approx(60)
        assert indices.ventricles.columns() == ventricle(mask, classes=ACDC_CLASSES, spacing_mm=self.ML).columns()

    def test_a_whole_heart_has_its_seven_volumes(self):
        study = whole_heart_study(0, shape=(24, 48, 48))
        indices = measure_study(study.labels, classes=study.classes, spacing_mm=study.spacing_mm)
        assert indices.slices is None
        assert list(headline(indices)) == [f"{name.replace(' ', '_')}_ml" for name in WHOLE_HEART_CLASSES[1:]]

    def test_classes_of_ones_own_have_volumes_alone(self):
        mask = np.concatenate([blocks((30,)), blocks((20,))])
        indices = measure_study(mask, classes=("background", "scar"), spacing_mm=self.ML)
        assert (indices.slices, indices.ventricles) == (None, None)
        np.testing.assert_array_equal(indices.volumes_ml["scar"], [30, 20])

    def test_a_patients_frames_are_joined_in_their_order(self):
        frames = {"a_frame12": (32, 64), "a_frame01": (80, 60), "b_frame01": (70, 60), "c": (60, 60)}
        studies = {
            case: measure_study(blocks((40, wall, blood)), classes=ACDC_CLASSES, spacing_mm=self.ML)
            for case, (blood, wall) in frames.items()
        }
        joined = join_frames(studies, ACDC_CLASSES)
        assert list(joined) == ["a"]
        np.testing.assert_array_equal(joined["a"].left.volumes_ml, [80, 32])
        assert joined["a"].left.ef_percent == pytest.approx(60)
        assert joined["a"].mass_g == pytest.approx(63)
        assert join_frames(studies, ("background", "scar", "fat", "blood")) == {}

    def test_volumes_as_a_table(self, tmp_path):
        write_volumes({"left atrium": np.array([30.5, 28.0])}, tmp_path / "v.csv")
        assert (tmp_path / "v.csv").read_text().splitlines() == ["frame,left_atrium_ml", "0,30.5", "1,28.0"]
        write_volumes({"cavity": np.array([30.5, 28.0])}, tmp_path / "v.csv", frame_seconds=0.0375)
        assert (tmp_path / "v.csv").read_text().splitlines() == ["frame,time_ms,cavity_ml", "0,0.0,30.5", "1,37.5,28.0"]


class TestComparison:
    def test_bias_and_its_spread_by_hand(self):
        pairs = [
            IndexPair("p", "c", t, None, "x_ml", truth + off, truth)
            for t, (truth, off) in enumerate([(10.0, 1.0), (20.0, -3.0), (30.0, 5.0)])
        ]
        (score,) = score_pairs(pairs).values()
        assert (score.mae, score.bias, score.sd) == (pytest.approx(3), pytest.approx(1), pytest.approx(4))
        text = format_scores({"x_ml": score})
        assert "+1.00 ± 4.00" in text
        assert re.fullmatch(r"\| -+ \|( -+: \|)+", format_scores({"x_ml": score}, markdown=True).splitlines()[1])
        assert math.isnan(score_pairs(pairs[:1])["x_ml"].sd)

    def test_pairs_have_their_place_and_come_back(self, tmp_path):
        indices = measure(np.concatenate([np.concatenate([ring(r), ring(r - 2)], axis=1) for r in (20, 14)]))
        pairs = pair_indices(indices, indices, patient="p", case="c")
        areas = [(pair.frame, pair.slice_) for pair in pairs if pair.index == "cavity_area_mm2"]
        assert areas == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert [(pair.frame, pair.slice_) for pair in pairs if pair.index == "phase"] == [(0, None), (1, None)]
        write_pairs(pairs, tmp_path / "pairs.csv")
        assert read_pairs(tmp_path / "pairs.csv") == pairs
        assert read_pairs(tmp_path / "none.csv") == []

    def test_by_hand(self):
        true = measure(np.concatenate([ring(20), ring(14), ring(17)]))
        predicted = dataclasses.replace(
            true,
            cavity_area_mm2=true.cavity_area_mm2 + np.array([[30.0], [-60.0], [0.0]]),
            rwt_mm=np.where(np.arange(6) == 0, np.nan, true.rwt_mm),
            phase=np.array([0.0, 0.0, 0.0]),
        )
        scores = compare_indices({"a": predicted}, {"a": true})
        assert scores["cavity_area_mm2"].mae == pytest.approx(30)
        expected = np.corrcoef(predicted.cavity_area_mm2.ravel(), true.cavity_area_mm2.ravel())[0, 1]
        assert scores["cavity_area_mm2"].pearson == pytest.approx(expected)
        assert scores["phase"].mae == pytest.approx(1 / 3)
        missing = scores["rwt_is_mm"]
        assert (missing.n, missing.missing, missing.unknown) == (0, 3, 0)
        assert math.isnan(missing.mae)
        assert scores["rwt_i_mm"].mae == 0
        assert (scores["rwt_i_mm"].n, scores["rwt_i_mm"].missing) == (3, 0)

    def test_of_ventricles_over_patients(self):
        ml = {"classes": LV_CLASSES, "spacing_mm": (10.0, 10.0, 10.0)}
        true = {name: ventricle(blocks((60, edv), (60, 40)), **ml) for name, edv in (("a", 80), ("b", 100))}
        predicted = {name: ventricle(blocks((60, edv), (60, 40)), **ml) for name, edv in (("a", 90), ("b", 96))}
        scores = compare_indices(predicted, true)
        assert scores["lv_edv_ml"].mae == pytest.approx(7)
        assert scores["lv_edv_ml"].pearson == pytest.approx(1)
        assert math.isnan(scores["lv_mass_g"].pearson)
        assert scores["rv_edv_ml"].unknown == 2

    def test_what_does_not_pair_is_refused(self):
        one, two = measure(ring()), measure(np.concatenate([ring(), ring()]))
        with pytest.raises(InputError, match="a, b"):
            compare_indices({"a": one}, {"b": one})
        with pytest.raises(InputError, match=r"\(1, 1\) predicted, \(2, 1\) true"):
            compare_indices({"a": one}, {"a": two})


class TestTables:
    def test_lv_indices_come_back(self, tmp_path):
        mask = np.concatenate([np.concatenate([ring(r), np.zeros_like(ring())], axis=1) for r in (20, 14)])
        indices = {"case,1": measure(mask), "case 2": measure(ring())}
        write_lv_indices(indices, tmp_path / "new" / "lv.csv")
        read = read_lv_indices(tmp_path / "new" / "lv.csv")
        assert list(read) == list(indices)
        for case, measured in indices.items():
            for field in dataclasses.fields(LvIndices):
                np.testing.assert_array_equal(getattr(read[case], field.name), getattr(measured, field.name))
        header = (tmp_path / "new" / "lv.csv").read_text().splitlines()[0]
        assert header == (
            "case,frame,slice,cavity_area_mm2,myocardium_area_mm2,dim_is_al_mm,dim_i_a_mm,dim_il_as_mm,"
            "rwt_is_mm,rwt_i_mm,rwt_il_mm,rwt_al_mm,rwt_a_mm,rwt_as_mm,phase,flags"
        )

    def test_ventricles_come_back(self, tmp_path):
        ml = (10.0, 10.0, 10.0)
        empty = np.zeros((2, 2, 4, 4), np.uint8)
        indices = {
            "a": ventricle(TestVentricle.MASK, classes=ACDC_CLASSES, spacing_mm=ml),
            "b": ventricle(empty, classes=LV_CLASSES, spacing_mm=ml),
        }
        write_ventricles(indices, tmp_path / "v.csv")
        read = read_ventricles(tmp_path / "v.csv")
        for case, measured in indices.items():
            assert (read[case].ed, read[case].es, read[case].flags) == (measured.ed, measured.es, measured.flags)
            np.testing.assert_array_equal(list(read[case].columns().values()), list(measured.columns().values()))
            for side in ("left", "right"):
                curves = (getattr(each[case], side).volumes_ml for each in (read, indices))
                np.testing.assert_array_equal(*curves)

    def test_what_is_no_such_table_is_refused(self, tmp_path):
        path = tmp_path / "v.csv"
        write_lv_indices({"a": measure(np.concatenate([ring(), ring()]))}, path)
        with pytest.raises(InputError, match="ventricular"):
            read_ventricles(path)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], lines[2]]))
        with pytest.raises(InputError, match="one row for each frame and slice"):
            read_lv_indices(path)
        path.write_text("\n".join([lines[0], lines[1][:40]]))
        with pytest.raises(InputError, match="row 1"):
            read_lv_indices(path)
        with pytest.raises(InputError, match="no indices"):
            write_lv_indices({}, path)


@dataclasses.dataclass(frozen=True)
class Patient:
    """Masks at end diastole and end systole, (2, Z, H, W), with their spacing and indices."""

    mask: np.ndarray
    spacing_mm: tuple[float, float, float]
    indices: VentricleIndices


@pytest.fixture(scope="module")
def acdc(shared_data):
    """Five patients of each of three groups."""
    groups = {}
    for group, first in (("DCM", 1), ("HCM", 21), ("NOR", 61)):
        for number in range(first, first + 5):
            files = sorted((shared_data("acdc") / f"patient{number:03d}").glob("*_gt.nii*"))
            images = [nib.load(file) for file in files]
            spacing = tuple(float(mm) for mm in images[0].header.get_zooms()[::-1])
            mask = np.stack([np.asarray(image.dataobj).T for image in images]).astype(np.uint8)
            indices = ventricle(mask, classes=ACDC_CLASSES, spacing_mm=spacing, ed=0, es=1)
            groups.setdefault(group, []).append(Patient(mask, spacing, indices))
    return groups


class TestAcdc:
    """The data set's own masks."""

    def test_volumes_are_voxel_counts(self, acdc):
        for patient in itertools.chain(*acdc.values()):
            voxel_ml = math.prod(patient.spacing_mm) / 1000
            edv, esv = (np.count_nonzero(frame == 3) * voxel_ml for frame in patient.mask)
            wall, rv = (np.count_nonzero(patient.mask[0] == index) * voxel_ml for index in (2, 1))
            indices = patient.indices
            assert indices.left.edv_ml == pytest.approx(edv, rel=1e-9)
            assert indices.left.esv_ml == pytest.approx(esv, rel=1e-9)
            assert indices.left.ef_percent == pytest.approx(100 * (edv - esv) / edv, rel=1e-9)
            assert indices.mass_g == pytest.approx(1.05 * wall, rel=1e-9)
            assert indices.right.edv_ml == pytest.approx(rv, rel=1e-9)
            assert indices.flags == ""

    def test_groups_are_what_their_names_say(self, acdc):
        ef, edv, mass = (
            {group: np.median([each.indices.columns()[name] for each in of_group]) for group, of_group in acdc.items()}
            for name in ("lv_ef_percent", "lv_edv_ml", "lv_mass_g")
        )
        assert ef["DCM"] < 35 < 50 < ef["NOR"] < 75
        assert ef["HCM"] > 55
        assert edv["DCM"] > 1.5 * edv["NOR"]
        assert mass["HCM"] > 1.2 * mass["NOR"]

    def test_walls_of_middle_slices_are_plausible(self, acdc):
        greatest = {}
        for group, patients in acdc.items():
            for patient in patients:
                middle = patient.mask[:1, [patient.mask.shape[1] // 2]]
                geometry = {"classes": ACDC_CLASSES, "spacing_mm": patient.spacing_mm}
                septum = septum_angle(middle, **geometry)
                indices = measure(middle, septum_degrees=septum, **geometry)
                greatest.setdefault(group, []).append(indices.rwt_mm.max())
        # ACDC's definition of HCM is a wall of more than 15 mm at some place in diastole; a sector's mean is less.
        assert np.median(greatest["HCM"]) > 14
        assert np.median(greatest["NOR"]) < 10
