"""DC, 95HD and BDC: masks drawn by hand, analytic shapes, two independent references and every empty mask."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foanet_jax.measures import metrics

LV = ("background", "myocardium", "cavity")
FOUR = (hnp.arrays(bool, (2, 5, 6)), hnp.arrays(bool, (2, 5, 6)))


def drawn(picture: str) -> np.ndarray:
    """A mask from a picture: # is in, . is out."""
    return np.array([[letter == "#" for letter in line] for line in picture.split()])


SQUARE = drawn("""
    ......
    .####.
    .####.
    .####.
    .####.
    ......
""")
SQUARE_RIGHT = np.roll(SQUARE, 1, axis=1)


def brute_force_surface(mask: np.ndarray) -> np.ndarray:
    """Coordinates of voxels in the mask of which a face neighbour is out of the mask or of the image."""
    found = []
    for index in itertools.product(*map(range, mask.shape)):
        if not mask[index]:
            continue
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            neighbour = list(index)
            neighbour[axis] += step
            if not 0 <= neighbour[axis] < mask.shape[axis] or not mask[tuple(neighbour)]:
                found.append(index)
                break
    return np.array(found)


def brute_force_distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    pa, pb = brute_force_surface(a) * np.array(spacing), brute_force_surface(b) * np.array(spacing)
    return np.sqrt(((pa[:, None] - pb[None]) ** 2).sum(-1)).min(1)


class TestDice:
    def test_of_shifted_squares_is_12_of_16(self):
        assert metrics.dice(SQUARE, SQUARE_RIGHT) == 2 * 12 / (16 + 16)

    def test_of_empty_masks(self):
        empty = np.zeros_like(SQUARE)
        assert metrics.dice(empty, empty) == 1.0
        assert metrics.dice(SQUARE, empty) == 0.0
        assert metrics.dice(empty, SQUARE) == 0.0

    def test_names_both_shapes(self):
        with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
            metrics.dice(np.ones((2, 3), bool), np.ones((3, 2), bool))

    @settings(deadline=None)
    @given(*FOUR)
    def test_is_symmetric_and_in_the_unit_interval(self, a, b):
        assert metrics.dice(a, b) == metrics.dice(b, a)
        assert 0 <= metrics.dice(a, b) <= 1
        assert metrics.dice(a, a) == 1


class TestBoundary:
    def test_is_the_rim_of_a_square(self):
        expected = drawn("...... .####. .#..#. .#..#. .####. ......")
        np.testing.assert_array_equal(metrics.boundary(SQUARE), expected)

    def test_takes_four_neighbours_not_eight(self):
        # The centre touches background only across corners, so the erosion keeps it.
        plus = drawn("..... ..#.. .###. ..#.. .....")
        np.testing.assert_array_equal(metrics.boundary(plus), drawn("..... ..#.. .#.#. ..#.. ....."))

    def test_treats_the_border_of_the_image_as_background(self):
        full = np.ones((4, 5), bool)
        np.testing.assert_array_equal(metrics.boundary(full), drawn("##### #...# #...# #####"))

    @pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2)])
    def test_of_a_sliver_is_the_sliver(self, shape):
        assert metrics.boundary(np.ones(shape, bool)).all()

    def test_is_in_plane_in_a_volume(self):
        volume = np.stack([SQUARE] * 3)
        np.testing.assert_array_equal(metrics.boundary(volume), np.stack([metrics.boundary(SQUARE)] * 3))

    def test_leaves_the_mask_alone_and_refuses_a_line(self):
        before = SQUARE.copy()
        metrics.boundary(SQUARE)
        np.testing.assert_array_equal(SQUARE, before)
        with pytest.raises(ValueError, match=r"\(4,\)"):
            metrics.boundary(np.ones(4, bool))

    @settings(deadline=None)
    @given(hnp.arrays(bool, (3, 6, 7)))
    def test_equals_erosion_by_the_reference(self, mask):
        from scipy import ndimage

        cross = ndimage.generate_binary_structure(2, 1)[None]
        np.testing.assert_array_equal(metrics.boundary(mask), mask ^ ndimage.binary_erosion(mask, cross))

    def test_dice_of_shifted_squares(self):
        # Each rim has 12 pixels. The rims share the top and bottom rows' columns 2-4 and nothing else.
        assert metrics.boundary_dice(SQUARE, SQUARE_RIGHT) == 2 * 6 / (12 + 12)

    def test_dice_of_empty_masks(self):
        empty = np.zeros_like(SQUARE)
        assert metrics.boundary_dice(empty, empty) == 1.0
        assert metrics.boundary_dice(SQUARE, empty) == 0.0

    @settings(deadline=None)
    @given(*FOUR)
    def test_dice_is_symmetric(self, a, b):
        assert metrics.boundary_dice(a, b) == metrics.boundary_dice(b, a)


class TestSurfaceDistances:
    def test_of_two_pixels_is_the_distance_of_their_centres_in_mm(self):
        a, b = np.zeros((2, 6, 6), bool)
        a[0, 0] = b[3, 4] = True
        assert metrics.surface_distances(a, b, (1.0, 1.0)) == pytest.approx([5.0])
        assert metrics.surface_distances(a, b, (2.0, 0.5)) == pytest.approx([math.hypot(6, 2)])

    def test_of_an_interior_are_not_counted(self):
        assert metrics.surface_distances(SQUARE, SQUARE, (1, 1)).tolist() == [0.0] * 12

    def test_of_concentric_circles_is_the_difference_of_radii(self):
        y, x = np.mgrid[:161, :161] - 80
        inner, outer = x**2 + y**2 <= 40**2, x**2 + y**2 <= 60**2
        distances = metrics.surface_distances(inner, outer, (0.5, 0.5))
        np.testing.assert_allclose(distances, 10.0, atol=0.5)
        assert metrics.hausdorff95(inner, outer, (0.5, 0.5)) == pytest.approx(10.0, abs=0.5)

    def test_of_spheres_on_an_anisotropic_grid(self):
        spacing = (2.0, 1.0, 0.8)
        z, y, x = (np.mgrid[:31, :61, :75] - np.array([15, 30, 37])[:, None, None, None]) * np.array(spacing)[
            :, None, None, None
        ]
        r = np.sqrt(x**2 + y**2 + z**2)
        distances = metrics.surface_distances(r <= 16, r <= 25, spacing)
        # A digital surface lies up to one slice inside the true one, on either sphere.
        np.testing.assert_allclose(distances, 9.0, atol=2.0)
        # The nearest voxel is sought among those of a rough surface, hence a little less than 9 on average.
        assert distances.mean() == pytest.approx(9.0, abs=0.6)

    @settings(deadline=None, max_examples=40)
    @given(*FOUR, st.tuples(*[st.floats(0.3, 8)] * 3))
    def test_equal_brute_force(self, a, b, spacing):
        if not a.any() or not b.any():
            return
        np.testing.assert_allclose(
            metrics.surface_distances(a, b, spacing), brute_force_distances(a, b, spacing), rtol=1e-12
        )

    def test_do_not_depend_on_the_empty_image_around_the_masks(self):
        rng = np.random.default_rng(3)
        a, b = rng.random((2, 4, 7, 6)) < 0.4
        # Room of one voxel first: at the border of the image a full mask would gain a surface.
        a, b = np.pad(a, 1), np.pad(b, 1)
        room = ((0, 5), (9, 2), (3, 30))
        spacing = (3.0, 1.1, 0.9)
        near = metrics.surface_distances(a, b, spacing)
        far = metrics.surface_distances(np.pad(a, room), np.pad(b, room), spacing)
        np.testing.assert_array_equal(near, far)

    def test_equal_those_without_cropping_at_every_border(self, monkeypatch):
        from scipy import ndimage

        def whole(a, b):
            cross = ndimage.generate_binary_structure(a.ndim, 1)
            return a ^ ndimage.binary_erosion(a, cross), b ^ ndimage.binary_erosion(b, cross)

        rng = np.random.default_rng(4)
        for _ in range(20):
            a, b = (np.zeros((6, 12, 11), bool) for _ in range(2))
            for mask in (a, b):
                low = [rng.integers(0, n - 2) for n in mask.shape]
                high = [rng.integers(lo + 1, n + 1) for lo, n in zip(low, mask.shape, strict=True)]
                mask[tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))] = True
            cropped = metrics.surface_distances(a, b, (4, 1.5, 1.2))
            with monkeypatch.context() as patch:
                patch.setattr(metrics, "_surfaces", whole)
                np.testing.assert_array_equal(metrics.surface_distances(a, b, (4, 1.5, 1.2)), cropped)

    def test_refuse_what_has_no_distance(self):
        with pytest.raises(ValueError, match="empty mask"):
            metrics.surface_distances(SQUARE, np.zeros_like(SQUARE), (1, 1))
        with pytest.raises(ValueError, match=r"\(6, 6\) and \(5, 6\)"):
            metrics.surface_distances(SQUARE, SQUARE[1:], (1, 1))
        for spacing in [(1, 1, 1), (1, 0), (1, math.nan), (1, -2)]:
            with pytest.raises(ValueError, match="one positive number for each axis"):
                metrics.surface_distances(SQUARE, SQUARE, spacing)


class TestHausdorff95:
    def test_of_shifted_squares_is_one_pixel_in_mm(self):
        assert metrics.hausdorff95(SQUARE, SQUARE_RIGHT, (1.0, 1.4)) == pytest.approx(1.4)
        assert metrics.hausdorff95(SQUARE, SQUARE, (1.0, 1.4)) == 0.0

    def test_worked_by_hand_directed_and_pooled(self):
        # a is a bar of 20 pixels; b is its first pixel. a→b: 0, 1, …, 19; b→a: 0.
        a, b = np.zeros((2, 1, 20), bool)
        a[:] = True
        b[0, 0] = True
        # Linear interpolation: position 0.95·19 = 18.05 in 0…19, and 0.95·20 = 19 in 0, 0, 1, …, 19.
        assert metrics.hausdorff95(a, b, (1, 1)) == pytest.approx(18.05)
        assert metrics.hausdorff95(a, b, (1, 1), pooled=True) == pytest.approx(18.0)
        assert metrics.hausdorff95(a, b, (1, 1), percentile=100) == pytest.approx(19.0)
        assert metrics.hausdorff95(a, b, (1, 1), percentile=50) == pytest.approx(9.5)

    def test_of_a_single_slice_is_measured_in_its_plane(self):
        # In 3D all voxels of one slice are surface, and the square's inside would count too.
        ring = metrics.boundary(SQUARE)
        assert metrics.hausdorff95(SQUARE[None], ring[None], (8, 1, 1)) == 0.0
        for pooled in (False, True):
            plane = metrics.hausdorff95(SQUARE, SQUARE_RIGHT, (1.2, 1.3), pooled=pooled)
            assert metrics.hausdorff95(SQUARE[None], SQUARE_RIGHT[None], (8, 1.2, 1.3), pooled=pooled) == plane

    def test_of_slices_apart_uses_their_distance(self):
        volume = np.zeros((4, 6, 6), bool)
        a, b = volume.copy(), volume.copy()
        a[1], b[2] = SQUARE, SQUARE
        assert metrics.hausdorff95(a, b, (8.0, 1.0, 1.0)) == pytest.approx(8.0)

    def test_of_empty_masks(self):
        empty = np.zeros((30, 40), bool)
        full = empty.copy()
        full[3, 3] = True
        for pooled in (False, True):
            assert metrics.hausdorff95(empty, empty, (2, 2), pooled=pooled) == 0.0
            assert metrics.hausdorff95(full, empty, (2, 2), pooled=pooled) == pytest.approx(100.0)
            assert metrics.hausdorff95(empty, full, (2, 2), pooled=pooled) == pytest.approx(100.0)
        # 3D: √((2·12)² + (3·4)² + (4·2)²) = 28 mm; one slice: its plane's diagonal, without the thickness.
        assert metrics.hausdorff95(np.ones((2, 3, 4)), np.zeros((2, 3, 4)), (12, 4, 2)) == pytest.approx(28.0)
        assert metrics.hausdorff95(full[None], empty[None], (10, 2, 2)) == pytest.approx(100.0)

    @pytest.mark.parametrize("percentile", [0, -5, 100.1, math.nan])
    def test_refuses_a_percentile_out_of_range(self, percentile):
        with pytest.raises(ValueError, match="percentile"):
            metrics.hausdorff95(SQUARE, SQUARE, (1, 1), percentile=percentile)

    @settings(deadline=None, max_examples=40)
    @given(*FOUR, st.tuples(*[st.floats(0.3, 8)] * 3), st.booleans())
    def test_is_symmetric_and_less_than_the_diagonal(self, a, b, spacing, pooled):
        value = metrics.hausdorff95(a, b, spacing, pooled=pooled)
        assert value == metrics.hausdorff95(b, a, spacing, pooled=pooled)
        diagonal = math.hypot(*np.multiply(a.shape, spacing))
        assert value < diagonal or a.any() != b.any()

    @settings(deadline=None, max_examples=30)
    @given(*FOUR, st.tuples(*[st.floats(0.3, 8)] * 3), st.sampled_from([50, 95, 100]))
    def test_equals_brute_force(self, a, b, spacing, percentile):
        if not a.any() or not b.any():
            return
        forth, back = brute_force_distances(a, b, spacing), brute_force_distances(b, a, spacing)
        directed = max(np.percentile(forth, percentile), np.percentile(back, percentile))
        pooled = np.percentile([*forth, *back], percentile)
        assert metrics.hausdorff95(a, b, spacing, percentile=percentile) == pytest.approx(directed)
        assert metrics.hausdorff95(a, b, spacing, percentile=percentile, pooled=True) == pytest.approx(pooled)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (8.0, 1.4, 1.1)])
    def test_pooled_equals_medpy(self, spacing):
        binary = pytest.importorskip("medpy.metric.binary")
        rng = np.random.default_rng(0)
        for _ in range(10):
            a, b = rng.random((2, 4, 14, 15)) < 0.3
            ours = metrics.hausdorff95(a, b, spacing, pooled=True)
            assert ours == pytest.approx(binary.hd95(a, b, voxelspacing=spacing))
            assert metrics.hausdorff95(a, b, spacing, percentile=100) == pytest.approx(
                binary.hd(a, b, voxelspacing=spacing)
            )

    def test_at_the_hundredth_percentile_equals_scikit_image(self):
        skimage_metrics = pytest.importorskip("skimage.metrics")
        rng = np.random.default_rng(1)
        for _ in range(10):
            a, b = rng.random((2, 20, 21)) < 0.2
            expected = skimage_metrics.hausdorff_distance(metrics.boundary(a), metrics.boundary(b))
            assert metrics.hausdorff95(a, b, (1, 1), percentile=100) == pytest.approx(expected)


class TestScoreCase:
    def score(self, prediction, truth, **options):
        options = {"spacing_mm": (8.0, 1.0, 2.0), "classes": LV, "patient": "p", "case": "p_ed", **options}
        return metrics.score_case(np.asarray(prediction, np.uint8), np.asarray(truth, np.uint8), **options)

    def test_a_cine_is_scored_per_frame_and_class(self):
        truth = np.zeros((2, 1, 6, 6), np.uint8)
        truth[:, 0][:, SQUARE] = 1
        truth[:, 0, 2:4, 2:4] = 2
        prediction = truth.copy()
        prediction[1] = np.roll(truth[1], 1, axis=-1)
        scores = self.score(prediction, truth)
        assert [(s.frame, s.class_name) for s in scores] == [
            (0, "myocardium"),
            (0, "cavity"),
            (1, "myocardium"),
            (1, "cavity"),
        ]
        assert {(s.patient, s.case) for s in scores} == {("p", "p_ed")}
        perfect, shifted = scores[1], scores[3]
        assert (perfect.dc, perfect.hd95_mm, perfect.hd95_px, perfect.bdc) == (1.0, 0.0, 0.0, 1.0)
        # A 2×2 cavity one column of 2 mm aside: half of it overlaps; a pixel is 1.5 mm on average.
        assert (shifted.dc, shifted.bdc) == (0.5, 0.5)
        assert (shifted.hd95_mm, shifted.hd95_px) == (2.0, pytest.approx(2.0 / 1.5))
        assert not any(s.miss or s.empty for s in scores)

    def test_a_volume_is_scored_once(self):
        truth = np.zeros((1, 3, 6, 6), np.uint8)
        truth[0, :, SQUARE] = 1
        prediction = truth.copy()
        prediction[0, 2] = 0
        myocardium, _ = self.score(prediction, truth)
        assert (myocardium.frame, myocardium.dc) == (0, pytest.approx(2 * 32 / (32 + 48)))
        assert myocardium.hd95_mm == pytest.approx(8.0)
        assert not myocardium.miss

    def test_one_empty_mask_is_a_miss_whatever_the_switch(self):
        full, nothing = np.zeros((2, 1, 1, 30, 20), np.uint8)
        full[0, 0, 4:9, 4:9] = 1
        for exclude_empty, (p, t) in itertools.product((False, True), [(full, nothing), (nothing, full)]):
            score = self.score(p, t, exclude_empty=exclude_empty, spacing_mm=(8, 1, 2))[0]
            assert (score.dc, score.bdc, score.miss, score.empty) == (0.0, 0.0, True, False)
            assert score.hd95_mm == pytest.approx(50.0)
            assert score.hd95_px == pytest.approx(50.0 / 1.5)

    def test_two_empty_masks_are_perfect_or_left_out(self):
        nothing = np.zeros((1, 1, 5, 5), np.uint8)
        for score in self.score(nothing, nothing):
            assert (score.dc, score.hd95_mm, score.hd95_px, score.bdc) == (1.0, 0.0, 0.0, 1.0)
            assert (score.miss, score.empty) == (False, True)
        for score in self.score(nothing, nothing, exclude_empty=True):
            assert all(math.isnan(getattr(score, measure)) for measure in metrics.MEASURES)
            assert (score.miss, score.empty) == (False, True)

    def test_the_pooled_switch_reaches_the_distance(self):
        truth = np.zeros((1, 1, 1, 20), np.uint8)
        prediction = truth + 1
        truth[..., 0] = 1
        assert self.score(prediction, truth, spacing_mm=(1, 1, 1))[0].hd95_mm == pytest.approx(18.05)
        assert self.score(prediction, truth, spacing_mm=(1, 1, 1), pooled=True)[0].hd95_mm == pytest.approx(18.0)

    def test_refuses_what_it_cannot_score(self):
        zeros = np.zeros((1, 1, 4, 4), np.uint8)
        with pytest.raises(ValueError, match=r"p_ed: prediction \(1, 1, 4, 4\), truth \(1, 1, 4, 3\)"):
            self.score(zeros, zeros[..., :3])
        with pytest.raises(ValueError, match=r"\(4, 4\); pass"):
            self.score(zeros[0, 0], zeros[0, 0])
        with pytest.raises(ValueError, match="prediction has class index 3, but there are 3"):
            self.score(zeros + 3, zeros)
        with pytest.raises(ValueError, match="spacing"):
            self.score(zeros, zeros, spacing_mm=(1, 1))
        with pytest.raises(ValueError, match="truth is float64"):
            metrics.score_case(zeros, zeros.astype(float), spacing_mm=(1, 1, 1), classes=LV, patient="p", case="p")


def test_patient_means_weigh_patients_not_frames():
    def score(patient, frame, class_name, dc, miss=False):
        return metrics.Score(patient, patient, frame, class_name, dc, 10 * dc, 5 * dc, dc / 2, miss, False)

    excluded = metrics.Score("a", "a", 2, "cavity", *[math.nan] * 4, False, True)
    scores = [
        score("a", 0, "myocardium", 0.6),
        score("a", 0, "cavity", 0.8),
        score("a", 1, "myocardium", 0.0, miss=True),
        excluded,
        score("b", 0, "myocardium", 0.9),
    ]
    rows = {(r.patient, r.class_name): r for r in metrics.patient_means(scores)}
    assert list(rows) == [
        ("a", "myocardium"),
        ("a", "cavity"),
        ("a", metrics.FOREGROUND),
        ("b", "myocardium"),
        ("b", metrics.FOREGROUND),
    ]
    a = rows["a", "myocardium"]
    assert (a.n_units, a.misses, a.excluded, a.dc) == (2, 1, 0, 0.3)
    assert (a.hd95_mm, a.hd95_px, a.bdc) == pytest.approx((3.0, 1.5, 0.15))
    assert (rows["a", "cavity"].n_units, rows["a", "cavity"].excluded, rows["a", "cavity"].dc) == (1, 1, 0.8)
    both = rows["a", metrics.FOREGROUND]
    assert (both.n_units, both.misses, both.excluded) == (3, 1, 1)
    assert both.dc == pytest.approx((0.3 + 0.8) / 2)
    assert rows["b", metrics.FOREGROUND].dc == 0.9
