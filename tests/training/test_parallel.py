"""Data parallelism: one device and two, one step at a time and two, train to the same parameters."""

import functools

import jax
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.system.errors import InputError
from foanet_jax.training import parallel
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.step import OptimiserSpec, init_state, make_optimiser, train_steps

BATCH = 4


def global_batch(seed: int) -> dict[str, np.ndarray]:
    """Four images whose extents differ, so that a device's share of the pixels is not one half."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, (BATCH, 4, 4)).repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    images = (labels[..., None] + 0.5 * generator.normal(size=(BATCH, 16, 16, 3))).astype(np.float32)
    extent = np.array([[16, 16], [11, 13], [12, 16], [15, 11]], np.int32)
    return {"images": images, "labels": labels, "extent": extent}


def test_two_devices_are_there():
    assert jax.local_device_count() == 2


@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (2, 2), (3, 1), (4, 2), (7, 1), (8, 2)])
def test_device_count_divides_the_batch(batch_size, devices):
    assert parallel.device_count(batch_size) == devices


def test_processes_share_a_batch(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "local_devices", lambda *, process_index: [None] * (2 + process_index))
    for process, examples in enumerate([range(0, 4), range(4, 8), range(8, 12)]):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        assert range(12)[parallel.share(12)] == examples
        assert parallel.device_count(12) == 2
        assert parallel.device_count(9) == 1
    with pytest.raises(InputError, match="batch_size is 4, not a multiple of the 3 processes") as caught:
        parallel.device_count(4)
    assert caught.value.code == "batch-size"


def test_split_keeps_the_order():
    batch = parallel.split({"a": np.arange(24).reshape(2, 4, 3), "b": np.arange(4)[None]}, 2)
    assert batch["a"].shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(batch["a"][:, 0], [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])
    np.testing.assert_array_equal(batch["a"][1, 1], [[18, 19, 20], [21, 22, 23]])
    np.testing.assert_array_equal(batch["b"], [[[0, 1]], [[2, 3]]])


def trained(norm: str, devices: int, together: int = 1):
    """Variables after two steps, and the metrics of both; the steps are made `together` at a time."""
    network = NetworkSpec("net1", classes=3, width=1 / 32, side_maps=2, norm=norm)
    variables = jax.jit(init_network, static_argnames="spec")(jax.random.key(0), network)
    optimiser = make_optimiser(OptimiserSpec(), 2)
    step = parallel.parallelise(
        functools.partial(train_steps, network=network, loss=LossSpec(), optimiser=optimiser, axis_name=parallel.AXIS),
        devices,
    )
    state = parallel.place(init_state(variables, optimiser), devices)
    metrics = []
    for first in range(0, 2, together):
        batches = [global_batch(seed) for seed in range(first, first + together)]
        stacked = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
        state, numbers = step(state, parallel.split(stacked, devices))
        numbers = jax.device_get(numbers)
        metrics += [{name: values[n] for name, values in numbers.items()} for n in range(together)]
    assert state.step == 2
    return jax.device_get(state.variables), metrics


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("devices", "together"), [(2, 1), (1, 2), (2, 2)])
def test_devices_and_steps_in_one_program_change_nothing(norm, devices, together):
    variables, metrics = trained(norm, 1)
    spread_variables, spread_metrics = trained(norm, devices, together)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5), spread_variables, variables)
    for one, other in zip(metrics, spread_metrics, strict=True):
        assert set(one) == set(other)
        for name, value in one.items():
            assert value.shape == ()
            assert other[name] == pytest.approx(value, rel=1e-4)
    assert metrics[0]["loss"] != metrics[1]["loss"]
