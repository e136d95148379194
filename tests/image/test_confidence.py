"""Sums over probability maps against values worked by hand and against NumPy."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from foanet_jax.image.confidence import confidence_of, overlap, tally

CLASSES = ("background", "myocardium", "cavity")


def maps_of(rows):
    """(1, 1, W, C) maps of one row of pixels."""
    return jnp.asarray(rows, jnp.float32)[None, None]


def test_means_by_hand():
    maps = maps_of([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.4, 0.6, 0.0], [0.1, 0.0, 0.9]])
    found = confidence_of([tally(maps, np.array([1, 4]), 1)], CLASSES)
    assert found.classes == {"myocardium": pytest.approx(0.7), "cavity": pytest.approx(0.9)}
    assert found.foreground == pytest.approx((0.8 + 0.6 + 0.9) / 3)
    assert found.agreement is None


def test_soft_dice_by_hand():
    maps = maps_of([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.4, 0.6, 0.0], [0.6, 0.4, 0.0]])
    found = confidence_of([tally(maps, np.array([1, 4]), 1)], CLASSES)
    # 0.8 + 0.6 of the 1.9 lie inside the two pixels of the class; the cavity has none.
    assert found.soft_dice == {"myocardium": pytest.approx(2 * 1.4 / (1.9 + 2)), "cavity": 0.0}


def test_what_is_padding_does_not_count():
    maps = maps_of([[0.2, 0.8, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]])
    both = jnp.concatenate([maps, maps_of([[0.0, 0.0, 1.0]] * 3)])
    found = confidence_of([tally(both, np.array([1, 2]), 1)], CLASSES)
    assert found.classes["myocardium"] == pytest.approx(0.7)
    assert math.isnan(found.classes["cavity"])


def test_parts_are_weighed_by_their_pixels():
    parts = [maps_of([[0.0, 1.0, 0.0]]), maps_of([[0.3, 0.7, 0.0]] * 2)]
    found = confidence_of([tally(part, np.array([1, 2]), 1) for part in parts], CLASSES)
    assert found.classes["myocardium"] == pytest.approx((1 + 0.7 + 0.7) / 3)


def test_entropy_of_the_outline():
    # All pixels lie within 2 of the outline between the second and the third; a third class that is impossible.
    maps = maps_of([[1.0, 0.0, 0.0], [0.5 + 1e-6, 0.5 - 1e-6, 0.0], [0.0, 1.0, 0.0]])
    found = confidence_of([tally(maps, np.array([1, 3]), 1)], CLASSES)
    assert found.border_entropy == pytest.approx(math.log(2) / math.log(3) / 3, abs=1e-6)


def test_against_numpy():
    rng = np.random.default_rng(0)
    logits = ndimage.gaussian_filter(rng.normal(size=(3, 24, 20, 3)), (0, 2, 2, 0)) * 12
    maps = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    found = confidence_of([tally(jnp.asarray(maps, jnp.float32), np.array([21, 17]), 3)], CLASSES)
    maps = maps[:, :21, :17]
    labels, best = maps.argmax(-1), maps.max(-1)
    near = np.ones((1, 5, 5), bool)
    band = ndimage.binary_dilation(labels > 0, near) & ndimage.binary_dilation(labels == 0, near)
    entropy = -(maps * np.log(maps)).sum(-1) / math.log(3)
    assert 0 < band.mean() < 1
    assert found.classes["cavity"] == pytest.approx(best[labels == 2].mean(), rel=1e-5)
    assert found.foreground == pytest.approx(best[labels > 0].mean(), rel=1e-5)
    inside = maps[..., 2][labels == 2].sum()
    assert found.soft_dice["cavity"] == pytest.approx(2 * inside / (maps[..., 2].sum() + (labels == 2).sum()), rel=1e-5)
    assert found.border_entropy == pytest.approx(entropy[band].mean(), rel=1e-5)


def test_nothing_predicted_has_no_confidence():
    found = confidence_of([tally(maps_of([[1.0, 0.0, 0.0]] * 4), np.array([1, 4]), 1)], CLASSES)
    assert all(math.isnan(value) for value in (*found.classes.values(), found.foreground, found.border_entropy))


def certain(labels):
    """(N, H, W, C) maps that leave no doubt."""
    return jnp.asarray(np.eye(len(CLASSES), dtype=np.float32)[labels])


def test_agreement_is_the_mean_dice_of_the_pairs():
    one, other = np.zeros((2, 2, 4, 4), np.int64)
    one[:, :2, :], other[:, :2, :2] = 1, 2
    views = [certain(one), certain(other), certain(one)]
    # In a slice 8 and 4 pixels, 4 in common: 8/12; against itself 1. Without the last column 6 and 4: 8/10.
    none = [tally(views[0], np.array([4, 4]), 2)]
    for columns, dice in ((4, 2 / 3), (3, 4 / 5)):
        parts = [overlap(views, np.array([4, columns]), count) for count in (2, 1)]
        assert parts[0].tolist() == (2 * parts[1]).tolist()
        assert confidence_of(none, CLASSES, parts).agreement == pytest.approx((dice + 1 + dice) / 3)
        assert confidence_of(none, CLASSES, [overlap(views[:2], np.array([4, columns]), 2)]).agreement == (
            pytest.approx(dice)
        )


def test_views_that_show_nothing_agree_on_nothing():
    empty, filled = certain(np.zeros((1, 2, 2), np.int64)), certain(np.ones((1, 2, 2), np.int64))
    none = [tally(empty, np.array([2, 2]), 1)]
    assert math.isnan(confidence_of(none, CLASSES, [overlap([empty] * 2, np.array([2, 2]), 1)]).agreement)
    assert confidence_of(none, CLASSES, [overlap([empty, filled], np.array([2, 2]), 1)]).agreement == 0
