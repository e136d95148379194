"""The average of the variables, weight decay and the polynomial schedule; Dice of a batch on two devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import open_checkpoints
from foanet_jax.training.losses import LossSpec, hybrid_loss
from foanet_jax.training.step import OptimiserSpec, averaged, init_state, make_optimiser, train_steps

NETWORK = NetworkSpec("net1", classes=3, width=1 / 32, side_maps=2, norm="batch", side_heads=True)
LOSS = LossSpec(ssim=0.0, dice_batch=True, side=0.5)
LOSS_ALONE = LossSpec(ssim=0.0, dice_batch=True)


def test_average_by_hand():
    # The first decays are 2/11, 3/12, 4/13, until they reach what is asked for.
    one = {"w": jnp.array([1.0])}
    first = averaged({"w": jnp.array([0.0])}, one, 0.999, 1)
    np.testing.assert_allclose(first["w"], 9 / 11, rtol=1e-6)
    np.testing.assert_allclose(averaged(first, one, 0.999, 2)["w"], 0.25 * 9 / 11 + 0.75, rtol=1e-6)
    np.testing.assert_allclose(averaged({"w": jnp.array([0.0])}, one, 0.9, 10_000)["w"], 0.1, rtol=1e-5)


def test_decay_takes_from_kernels_alone():
    optimiser = make_optimiser(OptimiserSpec(learning_rate=0.1, weight_decay=0.02), 10)
    params = {"layer": {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0]), "scale": jnp.array([2.0])}, "up2": {}}
    updates, _ = optimiser.update(jax.tree.map(jnp.zeros_like, params), optimiser.init(params), params)
    np.testing.assert_allclose(updates["layer"]["kernel"], -0.1 * 0.02 * 2, rtol=1e-6)
    np.testing.assert_array_equal(updates["layer"]["bias"], 0)
    np.testing.assert_array_equal(updates["layer"]["scale"], 0)


@pytest.mark.parametrize("warmup", [0, 2])
def test_polynomial_rate(warmup):
    spec = OptimiserSpec(schedule="poly", epsilon=1e-8, warmup_steps=warmup)
    optimiser = make_optimiser(spec, 12)
    params = {"w": jnp.zeros(1)}
    state, rates = optimiser.init(params), []
    update = jax.jit(optimiser.update)
    for _ in range(13):
        change, state = update({"w": jnp.ones(1)}, state)
        rates.append(-float(change["w"][0]))
    t = np.clip(np.arange(13) - warmup, 0, None) / (12 - warmup)
    expected = 0.002 * (1 - t) ** 0.9
    expected[:warmup] = [0, 0.001][:warmup]
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-9)


def batch(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, (1, 4, 4, 4)).repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)
    images = (labels[..., None] + 0.5 * generator.normal(size=(1, 4, 16, 16, 3))).astype(np.float32)
    extent = np.array([[[16, 16], [11, 13], [12, 16], [15, 11]]], np.int32)
    return {"images": images, "labels": labels, "extent": extent}


@functools.cache
def trained(steps=2, average=0.5):
    """The states after each step, on the host, and the last metrics."""
    optimiser = make_optimiser(OptimiserSpec(average=average, weight_decay=0.1), steps)
    variables = jax.jit(init_network, static_argnames="spec")(jax.random.key(0), NETWORK)
    step = parallel.parallelise(
        functools.partial(
            train_steps, network=NETWORK, loss=LOSS, optimiser=optimiser, average=average, axis_name=parallel.AXIS
        ),
        1,
    )
    state = parallel.place(init_state(variables, optimiser, average=average), 1)
    states = [jax.device_get(state)]
    for number in range(steps):
        state, metrics = step(state, parallel.split(batch(number), 1))
        states.append(jax.device_get(state))
    return states, {name: float(value[0]) for name, value in metrics.items()}


def test_training_keeps_the_average_of_parameters_and_statistics():
    (start, first, second), metrics = trained()
    assert set(metrics) == {"loss", "cce", "dice", "side", "gradient_norm", "skipped"}
    expected = averaged(averaged(start.variables, first.variables, 0.5, 1), second.variables, 0.5, 2)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), second.average, expected)
    assert second.evaluated is second.average
    assert set(second.average) == {"params", "statistics"}
    assert not np.array_equal(
        second.average["params"]["score"]["kernel"], second.variables["params"]["score"]["kernel"]
    )


def test_dice_of_the_whole_batch_has_the_same_gradient_on_two_devices():
    """Logits are the images times a weight a class, so that there is little to compile."""
    whole = {name: value[0] for name, value in batch(0).items()}

    def gradient(part, axis_name=None):
        def loss(weights):
            logits = part["images"] * weights
            return hybrid_loss(logits, part["labels"], LOSS_ALONE, extent=part["extent"], axis_name=axis_name)[0]

        found = jax.value_and_grad(loss)(jnp.array([0.5, -0.3, 1.0]))
        return found if axis_name is None else jax.lax.pmean(found, axis_name)

    halves = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), whole)
    spread = jax.pmap(functools.partial(gradient, axis_name="d"), axis_name="d", devices=jax.local_devices()[:2])(
        halves
    )
    for one, two in zip(gradient(whole), spread, strict=True):
        np.testing.assert_allclose(two, np.stack([one, one]), rtol=1e-5)


def test_checkpoint_predicts_with_the_average_and_resumes_with_both(tmp_path):
    state = parallel.place(trained()[0][-1], 1)
    with open_checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(state, {}, epoch=1, score=None)
    with open_checkpoints(tmp_path, write=False) as checkpoints:
        found = checkpoints.read("last", training=True).state(trained()[0][0])
        predicting = checkpoints.read("last").variables(state.variables)
    for one, other in ((found, state), (predicting, state.average)):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        jax.tree.map(np.testing.assert_array_equal, one, other)
