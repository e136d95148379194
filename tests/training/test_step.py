"""A training step: Adam's updates by hand, schedules, a loss that falls, and one step pinned to its numbers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.step import OptimiserSpec, TrainState, init_state, keep_finite, make_optimiser, train_step

NETWORK = NetworkSpec("net2", classes=3, width=1 / 32, side_maps=2)
GOLDEN_LOSS = 2.824502
GOLDEN_GRADIENT_NORM = 0.826928


def updates_of(spec: OptimiserSpec, gradients, total_steps: int = 100) -> list[np.ndarray]:
    """What an optimiser adds to a parameter, gradient by gradient."""
    optimiser = make_optimiser(spec, total_steps)
    params = {"w": jnp.zeros_like(jnp.asarray(gradients[0]))}
    state = optimiser.init(params)
    update = jax.jit(optimiser.update)
    found = []
    for gradient in gradients:
        change, state = update({"w": jnp.asarray(gradient)}, state, params)
        found.append(np.asarray(change["w"]))
    return found


def test_adams_first_update_by_hand():
    # After bias correction m = g and √v = |g|: the paper's Adam moves by −0.002·g/(|g| + 0.001).
    found = updates_of(OptimiserSpec(), [np.array([1.0, -0.001], np.float32)])[0]
    np.testing.assert_allclose(found, [-0.002 / 1.001, 0.001], rtol=1e-5)


def test_keras_adams_first_update_by_hand():
    # ε comes before the correction by √(1 − β2) = √0.001: −0.002·g/(|g| + 0.001/√0.001).
    found = updates_of(OptimiserSpec(keras_epsilon=True), [np.array([1.0, -0.001], np.float32)])[0]
    wide = 0.001 / math.sqrt(0.001)
    np.testing.assert_allclose(found, [-0.002 / (1 + wide), 0.002 * 0.001 / (0.001 + wide)], rtol=1e-4)


def numpy_adam(gradients, spec: OptimiserSpec) -> list[np.ndarray]:
    """Kingma & Ba's Algorithm 1, or with `keras_epsilon` the reordered form at the end of their Sec. 2."""
    m = v = 0.0
    found = []
    for t, gradient in enumerate(np.asarray(gradients, np.float64), start=1):
        m = spec.beta1 * m + (1 - spec.beta1) * gradient
        v = spec.beta2 * v + (1 - spec.beta2) * gradient**2
        if spec.keras_epsilon:
            rate = spec.learning_rate * np.sqrt(1 - spec.beta2**t) / (1 - spec.beta1**t)
            found.append(-rate * m / (np.sqrt(v) + spec.epsilon))
        else:
            m_hat, v_hat = m / (1 - spec.beta1**t), v / (1 - spec.beta2**t)
            found.append(-spec.learning_rate * m_hat / (np.sqrt(v_hat) + spec.epsilon))
    return found


@pytest.mark.parametrize("keras_epsilon", [False, True])
def test_five_updates_equal_numpy(keras_epsilon):
    spec = OptimiserSpec(learning_rate=0.01, beta1=0.8, beta2=0.99, epsilon=0.02, keras_epsilon=keras_epsilon)
    gradients = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    np.testing.assert_allclose(updates_of(spec, gradients), numpy_adam(gradients, spec), rtol=2e-5)


def rates_of(spec: OptimiserSpec, steps: int, total_steps: int) -> np.ndarray:
    """The rate at each step: under a constant gradient of 1, Adam moves by rate/(1 + ε)."""
    found = updates_of(spec, [np.ones(1, np.float32)] * steps, total_steps)
    return -np.concatenate(found) * (1 + spec.epsilon)


def test_constant_rate():
    np.testing.assert_allclose(rates_of(OptimiserSpec(), 4, 4), [0.002] * 4, rtol=1e-4)
    warm = rates_of(OptimiserSpec(warmup_steps=4), 7, 7)
    np.testing.assert_allclose(warm, [0, 0.0005, 0.001, 0.0015, 0.002, 0.002, 0.002], rtol=1e-4)


def test_cosine_rate_falls_from_the_rate_to_zero():
    rates = rates_of(OptimiserSpec(schedule="cosine"), 13, 12)
    np.testing.assert_allclose(rates[[0, 4, 6, 8, 12]], 0.002 * np.array([1, 0.75, 0.5, 0.25, 0]), rtol=1e-4, atol=1e-9)
    warm = rates_of(OptimiserSpec(schedule="cosine", warmup_steps=2), 13, 12)
    np.testing.assert_allclose(warm[[0, 1, 2, 7, 12]], 0.002 * np.array([0, 0.5, 1, 0.5, 0]), rtol=1e-4, atol=1e-9)


def test_clipping_bounds_the_global_norm():
    gradients = np.array([[3.0, 4.0], [0.3, 0.4]], np.float32)
    clipped = np.array([[0.6, 0.8], [0.3, 0.4]], np.float32)
    spec = OptimiserSpec(epsilon=1.0)
    np.testing.assert_allclose(
        updates_of(OptimiserSpec(epsilon=1.0, clip_norm=1.0), gradients), updates_of(spec, clipped), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"schedule": "linear"}, "schedule 'linear'; choose one of constant, cosine, poly"),
        ({"learning_rate": 0.0}, "learning_rate=0.0.*must be positive"),
        ({"epsilon": 0.0}, "epsilon=0.0.*must be positive"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"average": 1.0}, "average must be below 1"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        OptimiserSpec(**bad)


def tiny_batch() -> dict[str, np.ndarray]:
    """A ring and its cavity, seen as two levels of grey with some noise, on a grid wider than the image."""
    rows, columns = np.mgrid[:32, :32]
    radius = np.hypot(rows - 13, columns - 15)
    labels = np.select([radius < 5, radius < 10], [2, 1], 0).astype(np.uint8)[None]
    noise = np.random.default_rng(0).normal(size=(1, 32, 32, 3))
    images = (np.array([0.0, -1, 1.5])[labels][..., None] + 0.3 * noise).astype(np.float32)
    return {"images": images, "labels": labels, "extent": np.array([[28, 30]], np.int32)}


@functools.cache
def tiny_training(spec: OptimiserSpec, steps: int):
    """The state before and after some steps on the tiny batch, and the metrics of each."""
    optimiser = make_optimiser(spec, steps)
    init = jax.jit(init_network, static_argnames="spec")
    first = state = init_state(init(jax.random.key(0), NETWORK), optimiser)
    step = jax.jit(functools.partial(train_step, network=NETWORK, loss=LossSpec(), optimiser=optimiser))
    metrics = []
    for _ in range(steps):
        state, numbers = step(state, tiny_batch())
        metrics.append(jax.device_get(numbers))
    return first, state, metrics


def test_golden_step():
    """One step from a fixed seed, number by number.

    If you meant to change what training computes (initialization, network, losses), check the other tests and
    write the new numbers here, in the commit that makes the change. If you did not, this is the bug.
    """
    _, state, metrics = tiny_training(OptimiserSpec(), 30)
    assert set(metrics[0]) == {"loss", "cce", "ssim", "dice", "gradient_norm", "skipped"}
    assert metrics[0]["skipped"] == 0
    assert metrics[0]["loss"] == pytest.approx(GOLDEN_LOSS, rel=1e-4)
    assert metrics[0]["gradient_norm"] == pytest.approx(GOLDEN_GRADIENT_NORM, rel=1e-3)
    assert metrics[0]["loss"] == pytest.approx(sum(metrics[0][name] for name in ("cce", "ssim", "dice")), rel=1e-6)
    assert state.step == 30


@pytest.mark.parametrize(
    "bad", ["nothing", "loss", "gradient_norm", "statistics"], ids=["finite", "loss", "gradients", "statistics"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_not_made(bad, value):
    def state(step: int, number: float, statistics: float) -> TrainState:
        variables = {"params": {"w": jnp.array([number, 2.0])}, "statistics": {"m": jnp.array([statistics])}}
        return TrainState(jnp.int32(step), variables, {"mu": jnp.array(number), "count": jnp.int32(step)})

    old = state(3, 1.0, 0.5)
    new = state(4, 7.0, value if bad == "statistics" else 0.25)
    metrics = {"loss": jnp.float32(1.0), "gradient_norm": jnp.float32(2.0)}
    kept, found = keep_finite(new, old, metrics | {bad: jnp.float32(value)} if bad in metrics else metrics)
    assert found["skipped"] == float(bad != "nothing")
    assert kept.step == 4
    expected = new if bad == "nothing" else old.replace(step=jnp.int32(4))
    jax.tree.map(np.testing.assert_array_equal, kept, expected)


def test_loss_falls_on_a_fixed_batch():
    _, _, metrics = tiny_training(OptimiserSpec(), 30)
    losses = [numbers["loss"] for numbers in metrics]
    assert losses[-1] < 0.6 * losses[0]
    assert all(np.isfinite(value) for numbers in metrics for value in numbers.values())


def test_a_step_moves_every_parameter_by_at_most_the_rate():
    first, state, _ = tiny_training(OptimiserSpec(), 30)
    before, after = jax.device_get((first.variables, state.variables))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, after)
    assert 0 < max(jax.tree.leaves(moved)) <= 30 * 0.002 * 1.5
    assert min(jax.tree.leaves(moved)) > 0
