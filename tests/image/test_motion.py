"""Motion between frames, and probability maps averaged along it."""

import numpy as np
import pytest

from foanet_jax.image.motion import (
    FACTORS,
    REACH,
    along_motion,
    closes,
    displacement,
    frames_around,
    warped,
    weights,
)

SIDE = 64


def disc(radius, row=31.5, column=31.5, side=SIDE):
    """A disc with a soft edge, (side, side) float32: 1 inside, 0 outside."""
    rows, columns = np.indices((side, side))
    return np.clip(radius - np.hypot(rows - row, columns - column) + 0.5, 0, 1).astype(np.float32)


def blob(row, column, sigma=8.0):
    rows, columns = np.indices((SIDE, SIDE))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2)).astype(np.float32)


def test_a_beat_closes_if_its_ends_are_as_near_as_neighbours():
    turning = np.array([0.0, 2, 3, 2, 1])[:, None]
    assert closes(turning)
    assert not closes(turning[:4] + np.array([0, 0, 0, 1.0])[:, None])


def test_the_frames_around():
    assert REACH == 2
    assert frames_around(6, cyclic=True)[0].tolist() == [4, 5, 0, 1, 2]
    assert frames_around(6, cyclic=False)[[0, 1, 3, 5]].tolist() == [
        [0, 0, 0, 1, 2],
        [1, 0, 1, 2, 3],
        [1, 2, 3, 4, 5],
        [3, 4, 5, 5, 5],
    ]


@pytest.mark.parametrize(("axis", "shift"), [(0, 2.0), (1, -3.0)])
def test_the_displacement_of_a_moved_blob(axis, shift):
    place = np.array([32.0, 30.0])
    there = place.copy()
    there[axis] += shift
    images = [4 * blob(*at)[None] for at in (place, there)]
    found = FACTORS[-1] * np.asarray(displacement(*images))[0]
    assert found.shape == (SIDE // FACTORS[-1], SIDE // FACTORS[-1], 2)
    # On the slope of the blob, where the motion can be seen.
    seen = blob(*place)[:: FACTORS[-1], :: FACTORS[-1]]
    slope = (seen > 0.3) & (seen < 0.9)
    assert found[slope][:, axis].mean() == pytest.approx(shift, abs=0.4)
    assert np.abs(found[slope][:, 1 - axis]).mean() < 0.3


def test_images_alike_do_not_move():
    image = np.random.default_rng(0).normal(size=(2, SIDE, SIDE)).astype(np.float32)
    assert not np.asarray(displacement(image, image)).any()


def test_warped_images_are_interpolated_and_their_border_is_repeated():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    shift = np.zeros((1, 3, 4, 2), np.float32)
    shift[..., 0], shift[..., 1] = 0.5, 1
    # Row 0.5, column 1: (1 + 5) / 2; beyond the last column and row: the border.
    np.testing.assert_allclose(np.asarray(warped(image, shift))[0, 0], [3, 4, 5, 5])
    np.testing.assert_allclose(np.asarray(warped(image, shift))[0, 2], [9, 10, 11, 11])
    np.testing.assert_allclose(np.asarray(warped(image, shift, (2, 2)))[0, 0], [3, 3, 3, 3])
    channels = np.stack([image, -image], -1)
    np.testing.assert_array_equal(np.asarray(warped(channels, shift))[..., 1], -np.asarray(warped(image, shift)))


def averaged(maps, images):
    """Averages (T, H, W, C) maps of a cyclic cine of one slice, frame by frame."""
    frames = len(maps)
    around = frames_around(frames, cyclic=True)
    steps = {side: np.asarray(displacement(images, np.roll(images, -side, 0))) for side in (1, -1)}
    forward, backward = (
        np.stack([steps[side][around[:, REACH + side * number]] for number in range(REACH)]) for side in (1, -1)
    )
    present = np.ones((2 * REACH + 1, frames), np.float32)
    extent = np.array(maps.shape[1:3], np.int32)
    return np.asarray(along_motion(maps[around.T], forward, backward, present, weights(frames), extent))


def two_classes(inside, sure=0.98):
    foreground = (1 - sure) + (2 * sure - 1) * inside
    return np.stack([1 - foreground, foreground], -1).astype(np.float32)


def test_what_does_not_change_stays_as_it_is():
    images = np.repeat(disc(12)[None], 8, 0)
    maps = two_classes(images)
    np.testing.assert_allclose(averaged(maps, images), maps, atol=1e-5)


def test_a_frame_that_is_wrong_is_corrected_by_the_frames_around():
    images = np.repeat(disc(12)[None], 12, 0)
    maps = two_classes(images)
    maps[3] = two_classes(0 * images[3], sure=0.7)
    found = averaged(maps, images).argmax(-1)
    assert not maps[3].argmax(-1).any()
    assert (found[3][disc(11.5) > 0] == 1).all()
    assert not found[3][disc(13) == 0].any()


def test_a_heart_that_beats_keeps_its_strokes():
    radii = 14 + 5 * np.cos(2 * np.pi * np.arange(12) / 12)
    images = np.stack([disc(radius) for radius in radii])
    maps = two_classes(images)
    true = (images > 0.5).sum((1, 2))
    found = (averaged(maps, images)[..., 1] > 0.5).sum((1, 2))
    share = weights(12)
    plain = sum(w * np.log(np.roll(maps, -d, 0)) for w, d in zip(share, range(-REACH, REACH + 1), strict=True))
    still = (plain.argmax(-1) == 1).sum((1, 2))
    lost, lost_without = (1 - np.ptp(areas) / np.ptp(true) for areas in (found, still))
    assert lost < 0.03
    assert lost_without > 2 * max(lost, 0)
