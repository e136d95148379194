"""Areas, dimensions, wall thicknesses and phase of analytic shapes."""

import math

import numpy as np
import pytest
from scipy import ndimage

from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES
from foanet_jax.measures.indices import short_axis
from foanet_jax.measures.indices.short_axis import cardiac_phase, septum_angle
from foanet_jax.system.errors import InputError
from tests.measures.indices.masks import (
    BEGINS,
    NAMES,
    PX,
    SPACING,
    diameters,
    disc,
    drawn,
    ellipse,
    measure,
    ring,
    sector_means,
)


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
