"""Which slices count: the share of the circumference, the base of a moving heart, islands and gaps, and the choices."""

import dataclasses

import numpy as np
import pytest

from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.measures.indices.counting import (
    ALL,
    BEAT,
    BEYOND,
    BLOODLESS,
    CHOSEN,
    ISLAND,
    NO_DIRECTION,
    NO_WALL,
    NOT_CHOSEN,
    OPEN,
    Counting,
    base_from_mask,
    coherent,
    count_slices,
    counted_mask,
    counting_of,
    enclosed_shares,
    least_run,
)
from foanet_jax.measures.indices.study import count_study, measure_study
from foanet_jax.measures.indices.ventricle import ventricle
from foanet_jax.system.errors import InputError

SPACING = (8.0, 1.0, 1.0)
RIGHT, WALL, CAVITY = 1, 2, 3
SIDE = 64
ROWS, COLUMNS = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
FROM_CENTRE, ANGLE = np.hypot(ROWS, COLUMNS), np.rad2deg(np.arctan2(ROWS, COLUMNS)) % 360


def plane(opening=0.0, radius=12.0, wall=6.0, towards=0.0, right=False, gap=0.0):
    """A cavity in a ring of myocardium that is open over an angle, with a gap between both, and a right ventricle."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if right:
        mask[8:56, 2:12] = RIGHT
    far, off = FROM_CENTRE, np.abs((ANGLE - towards + 180) % 360 - 180)
    mask[(radius + gap <= far) & (far < radius + wall) & (off >= opening / 2)] = WALL
    mask[far < radius] = CAVITY
    return mask


NOTHING = np.zeros((SIDE, SIDE), np.uint8)
MUSCLE = np.where(plane() == CAVITY, 0, plane())
CLOSED, HALF_OPEN, APEX = plane(right=True), plane(240, right=True), plane(radius=5, wall=5)


def stack(*planes):
    """(1, Z, H, W), the base first."""
    return np.stack(planes)[None]


def count(mask, *, base_first=True, classes=ACDC_CLASSES, **choice):
    return count_slices(
        mask,
        classes=classes,
        spacing_mm=SPACING,
        base_first=base_first,
        counting=Counting(**choice) if choice else None,
    )


def left(counted):
    """The numbers of the slices that count for the left ventricle, in each frame."""
    return [np.flatnonzero(row).tolist() for row in counted.counts[0]]


def right(counted):
    return [np.flatnonzero(row).tolist() for row in counted.counts[1]]


class TestShares:
    @pytest.mark.parametrize("towards", [0, 30, 45, 90, 200])
    @pytest.mark.parametrize(("opening", "counts"), [(170, True), (190, False)])
    def test_170_degrees_of_opening_leave_more_than_half_and_190_less(self, opening, counts, towards):
        mask = plane(opening, radius=20, wall=6, towards=towards)
        share = enclosed_shares(mask == CAVITY, mask == WALL, SPACING)
        assert share == pytest.approx(1 - opening / 360, abs=0.02)
        assert (share >= 0.5) == counts

    @pytest.mark.parametrize("towards", [0, 90, 180, 270])
    def test_180_degrees_are_exactly_one_half_and_count(self, towards):
        mask = plane(180, radius=20, towards=towards)
        assert enclosed_shares(mask == CAVITY, mask == WALL, SPACING) == 0.5
        base = stack(mask, CLOSED, CLOSED, CLOSED, APEX)
        assert left(count(base)) == [[0, 1, 2, 3, 4]]

    def test_a_square_by_hand(self):
        # Three pixels by two: sides of 3, 3, 2 and 2 px. The wall lies on one long side.
        cavity, wall = np.zeros((2, 9, 9), bool)
        cavity[4:6, 3:6] = True
        wall[3, 3:6] = True
        assert enclosed_shares(cavity, wall, SPACING) == 0.3
        # With rows 2 mm apart, upright sides are twice as long: 3 of 3 + 3 + 4 + 4.
        assert enclosed_shares(cavity, wall, (8, 2, 1)) == pytest.approx(3 / 14)

    def test_a_gap_of_one_pixel_is_no_opening_but_two_are(self):
        cavity, wall = np.zeros((2, 11, 11), bool)
        cavity[4:7, 4:7] = True
        wall[2, 4:7] = True
        assert enclosed_shares(cavity, wall, SPACING) == 0.25
        assert enclosed_shares(cavity, np.roll(wall, -1, 0), SPACING) == 0

    def test_at_the_border_of_the_image_there_is_no_wall_and_without_a_cavity_no_share(self):
        cavity, wall = np.zeros((2, 2, 6, 6), bool)
        cavity[0, :2, :2] = True
        wall[0, :3, :3] = ~cavity[0, :3, :3]
        shares = enclosed_shares(cavity, wall, SPACING)
        assert shares[0] == 0.5
        assert np.isnan(shares[1])


class TestBase:
    def test_open_slices_at_the_base_are_left_out_with_all_beyond_them(self):
        mask = stack(CLOSED, HALF_OPEN, CLOSED, CLOSED, CLOSED, APEX)
        counted = count(mask)
        assert left(counted) == [[2, 3, 4, 5]]
        assert counted.reasons[0, 0].tolist() == [BEYOND, OPEN, "", "", "", ""]
        kept = counted_mask(mask, counted, ACDC_CLASSES)
        assert not np.isin(kept[0, :2], (WALL, CAVITY)).any()
        np.testing.assert_array_equal(kept[0, 2:], mask[0, 2:])
        # The right ventricle stays up to the last slice with myocardium.
        np.testing.assert_array_equal(kept == RIGHT, mask == RIGHT)

    def test_the_order_of_slices_does_not_matter(self):
        mask = stack(CLOSED, HALF_OPEN, CLOSED, CLOSED, CLOSED, APEX)
        mirrored = count(mask[:, ::-1], base_first=False)
        np.testing.assert_array_equal(mirrored.reasons[..., ::-1], count(mask).reasons)

    def test_an_open_slice_at_the_apex_counts(self):
        assert left(count(stack(CLOSED, CLOSED, CLOSED, CLOSED, plane(240, radius=5)))) == [[0, 1, 2, 3, 4]]

    def test_a_cavity_without_any_wall_and_a_wall_without_blood_do_not_count_at_the_base(self):
        bare = np.where(CLOSED == WALL, 0, CLOSED)
        assert count(stack(bare, CLOSED, CLOSED, CLOSED)).reasons[0, 0, 0] == OPEN
        assert count(stack(MUSCLE, CLOSED, CLOSED, CLOSED)).reasons[0, 0, 0] == BLOODLESS
        # At the apex, muscle without blood is the tip of the heart.
        assert left(count(stack(CLOSED, CLOSED, CLOSED, MUSCLE))) == [[0, 1, 2, 3]]

    def test_a_frame_without_any_blood_has_no_valve_plane(self):
        mask = stack(*[MUSCLE] * 4)
        assert counted_mask(mask, count(mask), ACDC_CLASSES) is mask

    def test_the_right_ventricle_ends_with_the_last_slice_with_myocardium(self):
        alone = np.where(CLOSED == RIGHT, CLOSED, 0)
        counted = count(stack(alone, CLOSED, CLOSED, CLOSED, APEX, alone))
        assert right(counted) == [[1, 2, 3]]
        assert counted.reasons[1, 0].tolist() == [NO_WALL, "", "", "", "", ISLAND]
        # Below the apex of the left ventricle it counts, as in ACDC's ground truth.
        assert right(count(stack(CLOSED, CLOSED, CLOSED, plane(radius=5, right=True), alone))) == [[0, 1, 2, 3, 4]]

    def test_without_a_right_ventricle(self):
        mask = stack(HALF_OPEN, CLOSED, CLOSED, APEX)
        labels = np.where(mask == RIGHT, 0, np.maximum(mask, 1) - 1).astype(np.uint8)
        counted = count(labels, classes=LV_CLASSES)
        assert (left(counted), right(counted)) == ([[1, 2, 3]], [[]])

    def test_where_every_slice_counts_the_mask_is_the_same_array(self):
        mask = stack(CLOSED, CLOSED, CLOSED, APEX)
        assert counted_mask(mask, count(mask), ACDC_CLASSES) is mask

    @pytest.mark.parametrize("mask", [np.zeros((3, 4, 8, 8), np.uint8), stack(CLOSED)], ids=["empty", "one slice"])
    def test_nothing_is_left_out_of_an_empty_mask_or_a_single_slice(self, mask):
        assert not count(mask).left_out.any()


class TestBeat:
    def cine(self, *bases):
        """Each letter is the basal slice of a frame: c closed, o half open, - empty."""
        of = {"c": CLOSED, "o": HALF_OPEN, "-": NOTHING}
        return np.stack([np.stack([of[letter], CLOSED, CLOSED, CLOSED, APEX]) for letter in bases])

    def basal(self, bases):
        counts = count(self.cine(*bases)).counts[0]
        assert counts[:, 1:].all()
        return "".join("c" if frame else "." for frame in counts[:, 0])

    def test_the_base_moves_out_in_systole_and_in_again(self):
        assert self.basal("cccoooocccc") == "ccc....cccc"

    def test_the_beat_is_cyclic(self):
        assert self.basal("oocccccccoo") == "..ccccccc.."

    @pytest.mark.parametrize("frames", ["ccccoccccccc", "occccccccccc"])
    def test_one_frame_out_is_decided_by_the_majority(self, frames):
        assert self.basal(frames) == "c" * 12

    def test_one_frame_in_is_decided_by_the_majority(self):
        counted = count(self.cine(*"oooocooooooo"))
        assert not counted.counts[0, :, 0].any()
        assert counted.reasons[0, 4, 0] == BEAT
        assert counted.reasons[0, 3, 0] == OPEN

    def test_in_and_out_and_in(self):
        # Single frames flicker on both sides; the long phases stay.
        assert self.basal("ccoccccooocooccc") == "ccccccc......ccc"

    def test_a_slice_that_is_empty_in_systole(self):
        assert self.basal("ccc--o--ccc") == "ccc.....ccc"

    def test_deeper_slices_go_out_later_and_come_in_earlier(self):
        frames = [(2, 0)] * 4 + [(2, 1), (1, 1), (1, 1), (2, 1)] + [(2, 0)] * 4
        mask = np.stack(
            [
                np.stack(
                    [
                        HALF_OPEN if basal else CLOSED,
                        HALF_OPEN if deep == 1 else CLOSED,
                        *([CLOSED] * 3),
                        APEX,
                    ]
                )
                for deep, basal in frames
            ]
        )
        counts = count(mask).counts[0]
        assert counts[:, 0].tolist() == [True] * 4 + [False] * 4 + [True] * 4
        assert counts[:, 1].tolist() == [True] * 5 + [False] * 2 + [True] * 5

    def test_a_frame_without_a_heart_does_not_vote(self):
        mask = self.cine(*"cccccccc")
        mask[3] = 0
        counted = count(mask)
        assert counted.counts[0][[0, 1, 2, 4, 5, 6, 7]].all()
        assert not counted.left_out.any()

    def test_few_frames_keep_their_own_decision(self):
        assert self.basal("co") == "c."
        assert self.basal("coc") == "c.c"

    def test_the_shortest_phase(self):
        assert [least_run(frames) for frames in (1, 2, 3, 5, 6, 12, 20, 21, 30, 50)] == [1, 1, 1, 1, 2, 2, 2, 3, 3, 5]

    @pytest.mark.parametrize("seed", range(20))
    def test_against_all_possible_runs(self, seed):
        rng = np.random.default_rng(seed)
        frames = int(rng.integers(1, 14))
        flags, votes = rng.random(frames) < 0.6, rng.random(frames) < 0.8
        found = coherent(flags, votes=votes)

        def agreement(run):
            return int((run == flags)[votes].sum())

        possible = [np.zeros(frames, bool), np.ones(frames, bool)]
        for start in range(frames):
            for length in range(least_run(frames), frames - least_run(frames) + 1):
                run = np.zeros(frames, bool)
                run[(start + np.arange(length)) % frames] = True
                possible.append(run)
        assert agreement(found) == max(map(agreement, possible))
        assert any((found == run).all() for run in possible)


class TestIslands:
    def test_an_island_below_the_apex_does_not_count(self):
        mask = stack(CLOSED, CLOSED, CLOSED, APEX, NOTHING, APEX)
        counted = count(mask)
        assert left(counted) == [[0, 1, 2, 3]]
        assert counted.reasons[0, 0, 5] == ISLAND
        assert not counted_mask(mask, counted, ACDC_CLASSES)[0, 5].any()

    def test_an_island_above_the_base_does_not_count(self):
        assert left(count(stack(APEX, NOTHING, CLOSED, CLOSED, CLOSED, APEX))) == [[2, 3, 4, 5]]

    def test_an_island_of_the_right_ventricle_alone(self):
        mask = stack(CLOSED, CLOSED, APEX, plane(radius=5, right=True))
        mask[0, 3][mask[0, 3] == RIGHT] = 0
        mask[0, 3, 8:12, 2:6] = RIGHT
        counted = count(mask)
        assert (left(counted), right(counted)) == ([[0, 1, 2, 3]], [[0, 1]])
        kept = counted_mask(mask, counted, ACDC_CLASSES)
        np.testing.assert_array_equal(kept[0, 3], np.where(mask[0, 3] == RIGHT, 0, mask[0, 3]))

    def test_an_island_for_a_moment_is_decided_by_the_other_frames(self):
        whole, gap = stack(CLOSED, CLOSED, CLOSED, APEX, APEX), stack(CLOSED, CLOSED, CLOSED, NOTHING, APEX)
        mask = np.concatenate([whole] * 5 + [gap] + [whole] * 6)
        assert not count(mask).left_out.any()
        mask = np.concatenate([gap] * 5 + [whole] + [gap] * 6)
        counted = count(mask)
        assert not counted.counts[0, :, 4].any()
        assert (counted.reasons[0, 4, 4], counted.reasons[0, 5, 4]) == (ISLAND, BEAT)


class TestDirection:
    def test_the_larger_half_of_myocardium_and_right_ventricle_is_the_base(self):
        # The cavity is larger at the apex, as in an aneurysm.
        aneurysm = stack(plane(radius=8, wall=10, right=True), plane(right=True), plane(radius=20, wall=3), NOTHING)
        assert base_from_mask(aneurysm, classes=ACDC_CLASSES, spacing_mm=SPACING) is True
        assert base_from_mask(aneurysm[:, ::-1], classes=ACDC_CLASSES, spacing_mm=SPACING) is False

    @pytest.mark.parametrize("mask", [stack(*[CLOSED] * 4), stack(CLOSED), np.zeros((1, 3, 8, 8), np.uint8)])
    def test_it_may_be_unknown(self, mask):
        assert base_from_mask(mask, classes=ACDC_CLASSES, spacing_mm=SPACING) is None

    def test_then_nothing_is_left_out_and_the_remark_says_so(self):
        mask = stack(HALF_OPEN, CLOSED, CLOSED, HALF_OPEN, NOTHING, HALF_OPEN)
        counted = count(mask, base_first=None)
        assert counted.remark == NO_DIRECTION
        assert counted_mask(mask, counted, ACDC_CLASSES) is mask

    def test_the_affine_tells_the_direction_before_the_mask(self):
        toward_apex = np.array([[0.0, 0.8, -0.6], [0.8, 0.36, 0.48], [0.6, -0.48, -0.64]])
        affine = np.eye(4)
        affine[:3, :3] = toward_apex * [1, 1, 8]
        mask = stack(*[MUSCLE + 0] * 4)
        grid = {"classes": ACDC_CLASSES, "spacing_mm": SPACING}
        assert count_study(mask, **grid).base_first is None
        known = count_study(mask, affine=affine, **grid).base_first
        assert known is not None
        assert count_study(mask, affine=affine @ np.diag([1, 1, -1, 1]), **grid).base_first is (not known)


class TestChoices:
    MASK = stack(HALF_OPEN, CLOSED, CLOSED, CLOSED, APEX)

    def test_all(self):
        counted = count(self.MASK, basal=ALL)
        assert counted_mask(self.MASK, counted, ACDC_CLASSES) is self.MASK

    def test_chosen_slices_overrule_everything(self):
        counted = count(self.MASK, slices=(0, 2), base_first=None)
        assert (counted.rule, left(counted), right(counted)) == (CHOSEN, [[0, 1, 2]], [[0, 1, 2]])
        assert counted.reasons[0, 0].tolist() == ["", "", "", NOT_CHOSEN, NOT_CHOSEN]
        kept = counted_mask(self.MASK, counted, ACDC_CLASSES)
        np.testing.assert_array_equal(kept[:, :3], self.MASK[:, :3])
        assert not kept[:, 3:].any()

    def test_users_count_from_1(self):
        assert counting_of("all", "2-11", 3, 9) == Counting("all", (1, 10), 2, 8)
        assert counting_of(slices="5") == Counting(slices=(4, 4))
        assert counting_of(slices=(2, 3)) == Counting(slices=(1, 2))
        assert counting_of(slices="") == counting_of() == Counting()

    @pytest.mark.parametrize("slices", ["0-3", "5-2", "a", "1-2-3", "-2", "1,2", (1,), (0, 4)])
    def test_ranges_that_are_none(self, slices):
        with pytest.raises(InputError, match=r"slices=.*2-11"):
            counting_of(slices=slices)

    def test_frames_that_cannot_be(self):
        with pytest.raises(InputError, match="counted from 1"):
            counting_of(ed=0)
        with pytest.raises(InputError, match="the same frame"):
            counting_of(ed=4, es=4)
        with pytest.raises(InputError, match="choose 'scmr' or 'all'"):
            counting_of("none")

    def test_slices_and_frames_that_do_not_exist(self):
        with pytest.raises(InputError, match="slices=2-6, but there are 5 slices"):
            count(self.MASK, slices=(1, 5))
        with pytest.raises(InputError, match="es=3, but there are 2 frames"):
            count(np.concatenate([self.MASK] * 2), es=2)
        with pytest.raises(InputError, match="ed=1, but there is one frame"):
            count(self.MASK, ed=0)

    def test_whole_hearts_have_no_base(self):
        mask = np.zeros((1, 2, 4, 4), np.uint8)
        grid = {"classes": WHOLE_HEART_CLASSES, "spacing_mm": SPACING}
        assert count_study(mask, **grid) is None
        with pytest.raises(InputError, match="short-axis"):
            count_study(mask, counting=Counting(slices=(0, 0)), **grid)

    def test_chosen_frames_are_measured(self):
        mask = np.stack([np.stack([plane(radius=r)] * 2) for r in (12, 10, 6, 9)])
        indices = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING, ed=1, es=3)
        assert (indices.ventricles.ed, indices.ventricles.es) == (1, 3)
        assert indices.ventricles.left.edv_ml == pytest.approx(2 * 8 * (mask[1, 0] == CAVITY).sum() / 1000)


@pytest.fixture(scope="module")
def heart():
    return short_axis_stack(3, frames=10, size=96, noise=0.02)


class TestPhantom:
    def test_the_labels_of_the_left_ventricle_count_completely(self, heart):
        counted = count_study(heart.labels, classes=heart.classes, spacing_mm=heart.spacing_mm, counting=Counting())
        assert counted.base_first is True
        # In systole, the base has left slice 0, where only the right ventricle is labelled: frames 2 to 6.
        assert not (counted.reasons[0] != "").any()
        assert np.argwhere(counted.reasons[1] != "").tolist() == [[t, 0] for t in range(2, 7)]

    def test_fragments_above_the_base_are_left_out_of_volume_mass_and_ejection_fraction(self, heart):
        # Two slices from the atria in front: half rings around the blood, as a network draws them.
        labels = np.where(heart.labels == RIGHT, 0, heart.labels)
        rows, columns = np.indices(labels.shape[2:]) - np.argwhere(labels[0, 1] == CAVITY).mean(0)[:, None, None]
        far = np.hypot(rows, columns)
        fragment = np.where(far < 14, CAVITY, np.where((far < 20) & (columns < -6), WALL, 0)).astype(np.uint8)
        assert 0.2 < enclosed_shares(fragment == CAVITY, fragment == WALL, heart.spacing_mm) < 0.45
        drawn = np.concatenate([np.broadcast_to(fragment, (len(labels), 2, *fragment.shape)), labels], 1)
        grid = {"classes": heart.classes, "spacing_mm": heart.spacing_mm}
        counted = count_study(drawn, **grid)
        truth = ventricle(labels, **grid).columns()
        wrong = ventricle(drawn, **grid).columns()
        found = ventricle(counted_mask(drawn, counted, heart.classes), **grid).columns()
        assert found["lv_edv_ml"] == truth["lv_edv_ml"] < 0.9 * wrong["lv_edv_ml"]
        assert found["lv_mass_g"] == truth["lv_mass_g"] < 0.95 * wrong["lv_mass_g"]
        assert found["lv_ef_percent"] == truth["lv_ef_percent"] > wrong["lv_ef_percent"] + 3

    def test_the_same_in_reverse_order(self, heart):
        reverse = dataclasses.replace(heart, labels=heart.labels[:, ::-1])
        counted = count_study(reverse.labels, classes=heart.classes, spacing_mm=heart.spacing_mm)
        assert counted.base_first is False
        forward = count_study(heart.labels, classes=heart.classes, spacing_mm=heart.spacing_mm)
        np.testing.assert_array_equal(counted.reasons[..., ::-1], forward.reasons)
