"""Data parallelism: the only place where the project spreads a step over devices."""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


def device_count(batch_size: int) -> int:
    """How many local devices share a batch: the most that divide it evenly."""
    return max(n for n in range(1, jax.local_device_count() + 1) if batch_size % n == 0)


def parallelise(step: Callable, devices: int) -> Callable:
    """`step(state, batches)` over devices: the state whole on each and donated, the batches split by `split`.

    The step must average over the axis `AXIS`; one state and one set of metrics come back.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=0,
        devices=jax.local_devices()[:devices],
    )


def split(batches, devices: int):
    """Batches (S, B, …) as (devices, S, B / devices, …)."""
    return jax.tree.map(
        lambda leaf: leaf.reshape(len(leaf), devices, leaf.shape[1] // devices, *leaf.shape[2:]).swapaxes(0, 1), batches
    )


def replicated(devices: int) -> NamedSharding:
    """Whole on each of the devices, laid out as `parallelise` returns it, so that it compiles once."""
    mesh = Mesh(np.array(jax.local_devices()[:devices]), (AXIS,))
    return NamedSharding(mesh, PartitionSpec())


def place(state, devices: int):
    """The state whole on each of the devices."""
    return jax.device_put(state, replicated(devices))
