"""Dice of a batch, smoothed labels and side outputs: by hand, and as the loss of repeated predictions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.training.losses import LossSpec, cce, dice, hybrid_loss, side_loss, smoothed

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 3, (2, 30, 44)).astype(np.uint8)
EXTENT = np.array([[25, 44], [30, 37]], np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
MASK = np.stack([(np.arange(30)[:, None] < r) & (np.arange(44) < c) for r, c in EXTENT]).astype(np.float32)


def test_dice_of_a_batch_by_hand():
    # Class 1 has one pixel in the first image and none in the second.
    predicted = jnp.array([[[[0.75, 0.25], [0.5, 0.5]]], [[[1.0, 0.0], [0.6, 0.4]]]])
    one_hot = jnp.eye(2)[jnp.array([[[0, 1]], [[0, 0]]])]
    mask = jnp.ones((2, 1, 2))
    background = (1 + 2 * (0.75 + 1 + 0.6)) / (1 + 3 + 2.85)
    foreground = (1 + 2 * 0.5) / (1 + 1 + 1.15)
    assert dice(predicted, one_hot, mask, batch=True) == pytest.approx(1 - (background + foreground) / 2, rel=1e-6)
    assert dice(predicted[:1], one_hot[:1], mask[:1], batch=True) == pytest.approx(
        float(dice(predicted[:1], one_hot[:1], mask[:1])), rel=1e-6
    )


def test_smoothed_labels_by_hand():
    np.testing.assert_allclose(smoothed(jnp.eye(4)[2], 0.2), [0.05, 0.05, 0.85, 0.05], rtol=1e-6)
    logits = jnp.log(jnp.array([[[[0.5, 0.25, 0.25]]]]))
    labels = jnp.array([[[0]]])
    total, terms = hybrid_loss(logits, labels, LossSpec(ssim=0, dice=0, label_smoothing=0.3))
    assert total == terms["cce"] == pytest.approx(0.8 * math.log(2) + 0.2 * math.log(4), rel=1e-6)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_side_loss_is_that_of_the_repeated_prediction(stride, batch):
    spec = LossSpec(cce=0.7, ssim=0.0, dice=1.3, dice_batch=batch, dice_background=False)
    logits = jnp.asarray(GENERATOR.normal(size=(2, 32 // stride, 48 // stride, 3)), jnp.float32)
    wide = np.pad(ONE_HOT, ((0, 0), (0, 2), (0, 4), (0, 0)))
    inside = np.pad(MASK, ((0, 0), (0, 2), (0, 4)))
    repeated = logits.repeat(stride, axis=1).repeat(stride, axis=2)
    probabilities = jax.nn.softmax(repeated, axis=-1)
    expected = 0.7 * cce(repeated, wide, inside)
    expected += 1.3 * dice(probabilities, wide, inside, background=False, batch=batch)
    assert side_loss(logits, wide, inside, spec) == pytest.approx(float(expected), rel=1e-5)


def test_side_term_is_the_mean_over_sides_with_its_weight():
    spec = LossSpec(ssim=0.0, side=0.4)
    logits = jnp.asarray(GENERATOR.normal(size=(2, 30, 44, 3)), jnp.float32)
    sides = [jnp.asarray(GENERATOR.normal(size=(2, 32 // s, 48 // s, 3)), jnp.float32) for s in (1, 4)]
    total, terms = hybrid_loss(logits, LABELS, spec, extent=jnp.asarray(EXTENT), sides=sides)
    wide, inside = np.pad(ONE_HOT, ((0, 0), (0, 2), (0, 4), (0, 0))), np.pad(MASK, ((0, 0), (0, 2), (0, 4)))
    assert terms["side"] == pytest.approx(np.mean([side_loss(side, wide, inside, spec) for side in sides]), rel=1e-6)
    assert total == pytest.approx(float(terms["cce"] + terms["dice"] + 0.4 * terms["side"]), rel=1e-6)


@pytest.mark.parametrize(
    "bad", [{"side": -1.0}, {"side": 1.0, "cce": 0.0, "dice": 0.0}, {"label_smoothing": 1.0}, {"label_smoothing": -0.1}]
)
def test_bad_settings_are_refused(bad):
    name, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=f"{name}={value}"):
        LossSpec(**bad)
