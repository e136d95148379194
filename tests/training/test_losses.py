"""The hybrid loss: SSIM against scikit-image, Dice and CCE by hand, every combination, padding and hard inputs."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from foanet_jax.training.losses import C1, C2, TERMS, LossSpec, cce, dice, hybrid_loss, ssim, ssim_global

SHAPE = (2, 19, 23)
CLASSES = 3
COMBINATIONS = [
    dict(zip(("cce", "ssim", "dice"), weights, strict=True))
    for weights in itertools.product((0.0, 1.0), repeat=3)
    if any(weights)
]
COMPILED = jax.jit(hybrid_loss, static_argnames="spec")
SSIM = jax.jit(ssim)


def total_and_terms(logits, labels, spec, extent=None):
    """The loss and its terms as NumPy scalars."""
    return jax.device_get(COMPILED(logits, labels, spec, extent=extent))


@functools.partial(jax.jit, static_argnames="spec")
def gradient(logits, labels, spec, extent=None):
    """The loss and its gradient by the logits."""

    def loss(logits):
        return hybrid_loss(logits, labels, spec, extent=extent)[0]

    return jax.value_and_grad(loss)(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def draw(seed: int, sharpness: float = 1.0, shape=SHAPE):
    """Random logits and blocky labels."""
    generator = np.random.default_rng(seed)
    logits = (sharpness * generator.normal(size=(*shape, CLASSES))).astype(np.float32)
    coarse = generator.integers(0, CLASSES, (shape[0], 6, 6))
    return logits, coarse.repeat(6, axis=1).repeat(6, axis=2)[:, : shape[1], : shape[2]].astype(np.uint8)


def test_cce_by_hand():
    logits = jnp.log(jnp.array([[[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]]))
    one_hot = jnp.eye(3)[jnp.array([[[0, 1]]])]
    assert cce(logits, one_hot, jnp.ones((1, 1, 2))) == pytest.approx((math.log(2) + math.log(10)) / 2, rel=1e-6)
    assert cce(logits, one_hot, jnp.array([[[1.0, 0.0]]])) == pytest.approx(math.log(2), rel=1e-6)


def test_dice_by_hand():
    # Two pixels, the first of class 0, the second of class 1; ŷ = (0.75, 0.25), (0.5, 0.5).
    predicted = jnp.array([[[[0.75, 0.25], [0.5, 0.5]]]])
    one_hot = jnp.eye(2)[jnp.array([[[0, 1]]])]
    mask = jnp.ones((1, 1, 2))
    first = (1 + 2 * 0.75) / (1 + 1 + 1.25)
    second = (1 + 2 * 0.5) / (1 + 1 + 0.75)
    assert dice(predicted, one_hot, mask) == pytest.approx(1 - (first + second) / 2, rel=1e-6)
    assert dice(predicted, one_hot, mask, background=False) == pytest.approx(1 - second, rel=1e-6)
    tiny = 1 - 2 * 0.5 / 1.75
    assert dice(predicted, one_hot, mask, background=False, epsilon=1e-9) == pytest.approx(tiny, rel=1e-6)
    # The second pixel outside the image: class 1 is empty there, and its ŷ is 0.25.
    alone = 1 - ((1 + 1.5) / (1 + 1.75) + 1 / 1.25) / 2
    assert dice(predicted, one_hot, jnp.array([[[1.0, 0.0]]])) == pytest.approx(alone, rel=1e-6)


def test_global_ssim_by_hand():
    # One class. S = (0, 1), G = (1, 1): means 1/2 and 1, variances 1/4 and 0, covariance 0.
    predicted, truth = jnp.array([0.0, 1]).reshape(1, 1, 2, 1), jnp.ones((1, 1, 2, 1))
    expected = (1 + C1) * C2 / ((0.25 + 1 + C1) * (0.25 + C2))
    assert ssim_global(predicted, truth, jnp.ones((1, 1, 2))) == pytest.approx(1 - expected, rel=1e-6)
    # S = (0, 1), G = (1, 0): means 1/2, variances 1/4, covariance −1/4.
    opposite = (0.5 + C1) * (-0.5 + C2) / ((0.5 + C1) * (0.5 + C2))
    assert ssim_global(predicted, 1 - predicted, jnp.ones((1, 1, 2))) == pytest.approx(1 - opposite, rel=1e-6)
    assert ssim_global(predicted, predicted, jnp.ones((1, 1, 2))) == pytest.approx(0, abs=1e-6)


def reference_ssim(predicted: np.ndarray, one_hot: np.ndarray) -> float:
    """1 − scikit-image's SSIM, a mean over images, classes and the windows that lie in the image."""
    values = []
    for image, truth in zip(predicted.astype(np.float64), one_hot.astype(np.float64), strict=True):
        for c in range(predicted.shape[-1]):
            _, similarity = structural_similarity(
                image[..., c],
                truth[..., c],
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1,
                K1=0.01,
                K2=0.03,
                full=True,
            )
            values.append(similarity[5:-5, 5:-5].mean())
    return 1 - float(np.mean(values))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.1, 30))
def test_ssim_equals_scikit_image(seed, sharpness):
    logits, labels = draw(seed, sharpness)
    predicted, one_hot = softmax(logits), np.eye(CLASSES, dtype=np.float32)[labels]
    found = SSIM(predicted, one_hot, np.ones(SHAPE, np.float32))
    assert found == pytest.approx(reference_ssim(predicted, one_hot), abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.01, 1e3))
def test_terms_stay_in_their_ranges(seed, sharpness):
    logits, labels = draw(seed, sharpness)
    _, terms = total_and_terms(logits, labels, LossSpec())
    assert 0 <= terms["ssim"] <= 2
    assert 0 <= terms["dice"] <= 1
    assert terms["cce"] >= 0
    assert 0 <= total_and_terms(logits, labels, LossSpec(ssim_mode="global"))[1]["ssim"] <= 2


@pytest.mark.parametrize("mode", ["windowed", "global"])
def test_perfect_prediction_costs_nothing(mode):
    _, labels = draw(3)
    logits = 100 * np.eye(CLASSES, dtype=np.float32)[labels]
    total, terms = total_and_terms(logits, labels, LossSpec(ssim_mode=mode))
    for value in (total, *terms.values()):
        assert value == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("weights", COMBINATIONS, ids=str)
def test_every_combination_is_the_sum_of_its_parts(weights):
    logits, labels = draw(5)
    spec = LossSpec(**weights)
    total, terms = total_and_terms(logits, labels, spec)
    assert set(terms) == {name for name, weight in weights.items() if weight}
    predicted, one_hot = softmax(logits.astype(np.float64)), np.eye(CLASSES)[labels]
    overlap, size = (predicted * one_hot).sum((1, 2)), (predicted + one_hot).sum((1, 2))
    expected = {
        "cce": -np.log((predicted * one_hot).sum(-1)).mean(),
        "ssim": reference_ssim(predicted, one_hot),
        "dice": 1 - ((1 + 2 * overlap) / (1 + size)).mean(),
    }
    for name, value in terms.items():
        assert value == pytest.approx(expected[name], abs=1e-5)
    assert total == pytest.approx(sum(expected[name] for name in terms), abs=2e-5)


def test_weights_multiply_the_terms():
    logits, labels = draw(5)
    total, terms = total_and_terms(logits, labels, LossSpec(cce=0.5, ssim=2.0, dice=3.0))
    assert total == pytest.approx(0.5 * terms["cce"] + 2 * terms["ssim"] + 3 * terms["dice"], rel=1e-6)


def hard_inputs():
    """Flat, empty, perfect and absurdly certain predictions."""
    _, labels = draw(7)
    truth = np.eye(CLASSES, dtype=np.float32)[labels]
    noise = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)
    empty = np.zeros_like(labels)
    return {
        "flat": (np.zeros_like(truth), labels),
        "flat on empty": (np.zeros_like(truth), empty),
        "empty": (noise, empty),
        "perfect": (1e4 * truth, labels),
        "perfect on empty": (1e4 * np.eye(CLASSES, dtype=np.float32)[empty], empty),
        "certain and wrong": (-1e4 * truth, labels),
        "certain noise": (1e4 * np.sign(noise), labels),
    }


@pytest.mark.parametrize("mode", ["windowed", "global"])
@pytest.mark.parametrize("weights", COMBINATIONS, ids=str)
def test_gradients_are_finite(weights, mode):
    for name, (logits, labels) in hard_inputs().items():
        total, slope = gradient(logits, labels, LossSpec(**weights, ssim_mode=mode))
        assert np.isfinite(total), name
        assert np.isfinite(slope).all(), name


@pytest.mark.parametrize("mode", ["windowed", "global"])
def test_gradient_is_the_slope(mode):
    logits, labels = draw(9)
    spec = LossSpec(ssim_mode=mode)
    _, slope = gradient(logits, labels, spec)
    direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    step = 1e-2
    rise = (
        total_and_terms(logits + step * direction, labels, spec)[0]
        - total_and_terms(logits - step * direction, labels, spec)[0]
    )
    assert rise / (2 * step) == pytest.approx(np.sum(np.asarray(slope) * direction), rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("mode", ["windowed", "global"])
def test_padding_beyond_the_extent_does_not_matter(mode):
    spec = LossSpec(ssim_mode=mode)
    logits, labels = draw(11)
    expected, expected_slope = gradient(logits, labels, spec)
    generator = np.random.default_rng(2)
    wide = generator.normal(size=(2, 32, 40, CLASSES)).astype(np.float32) * 50
    wide_labels = generator.integers(0, CLASSES, (2, 32, 40)).astype(np.uint8)
    rows, columns = SHAPE[1:]
    wide[:, :rows, :columns], wide_labels[:, :rows, :columns] = logits, labels
    found, slope = gradient(wide, wide_labels, spec, np.array([[rows, columns]] * 2))
    assert found == pytest.approx(float(expected), abs=1e-6)
    np.testing.assert_allclose(slope[:, :rows, :columns], expected_slope, atol=1e-6)
    assert not np.asarray(slope)[:, rows:].any()
    assert not np.asarray(slope)[:, :, columns:].any()


@pytest.mark.parametrize("mode", ["windowed", "global"])
def test_batch_is_the_mean_of_its_images(mode):
    """Of images of different extents too, which a mean over all pixels would weigh by size."""
    spec = LossSpec(ssim_mode=mode)
    logits, labels = draw(13)
    extent = np.array([[19, 23], [12, 15]])
    total, terms = total_and_terms(logits, labels, spec, extent=extent)
    alone = [total_and_terms(logits[n : n + 1], labels[n : n + 1], spec, extent=extent[n : n + 1]) for n in range(2)]
    assert total == pytest.approx((alone[0][0] + alone[1][0]) / 2, abs=1e-6)
    for name, value in terms.items():
        assert value == pytest.approx((alone[0][1][name] + alone[1][1][name]) / 2, abs=1e-6)


def test_images_smaller_than_the_window_are_refused():
    logits, labels = jnp.zeros((1, 10, 40, 2)), jnp.zeros((1, 10, 40), int)
    with pytest.raises(ValueError, match="at least 11×11 px, not 10×40 px; use ssim_mode=global"):
        hybrid_loss(logits, labels, LossSpec())
    assert np.isfinite(hybrid_loss(logits, labels, LossSpec(ssim_mode="global"))[0])
    assert np.isfinite(hybrid_loss(logits, labels, LossSpec(ssim=0))[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"cce": -1.0}, "cce=-1.0.*none may be negative"),
        ({"cce": 0.0, "ssim": 0.0, "dice": 0.0}, "at least one must be positive"),
        ({"ssim_mode": "patch"}, "ssim_mode 'patch'; choose windowed or global"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        LossSpec(**bad)


def test_every_term_has_a_weight_and_counts_alone():
    logits, labels = draw(0)
    for term in TERMS:
        alone = LossSpec(**{name: float(name == term) for name in TERMS})
        total, terms = total_and_terms(logits, labels, alone)
        assert set(terms) == {term}
        assert total == terms[term]
