"""Data parallelism: the only place where the project spreads a step over devices, those of all processes.

Every process calls the same things in the same order, with the whole state and with its own share of each batch.
"""

from collections.abc import Callable

import jax

from foanet_jax.system.devices import AXIS, replicated
from foanet_jax.system.errors import InputError

__all__ = ["AXIS", "device_count", "parallelise", "place", "share", "split"]


def share(batch_size: int) -> slice:
    """Which examples of a batch are this process's.

    Raises:
        InputError: the processes cannot share it evenly.
    """
    processes = jax.process_count()
    if batch_size % processes:
        raise InputError(
            "batch-size",
            f"train.batch_size is {batch_size}, which {processes} processes cannot share evenly; choose a multiple of "
            f"{processes}, or fewer processes",
        )
    size = batch_size // processes
    return slice(size * jax.process_index(), size * (jax.process_index() + 1))


def device_count(batch_size: int) -> int:
    """How many devices of each process share a batch: the most that divide the process's share evenly.

    Raises:
        InputError: see `share`.
    """
    mine = share(batch_size)
    there = min(len(_devices_of(process)) for process in range(jax.process_count()))
    return max(n for n in range(1, there + 1) if (mine.stop - mine.start) % n == 0)


def _devices_of(process: int) -> list[jax.Device]:
    return jax.local_devices(process_index=process)


def parallelise(step: Callable, devices: int) -> Callable:
    """`step(state, batches)` over devices of each process: the state whole on each and donated, batches as `split`.

    The step must average over the axis `AXIS`; one state and one set of metrics come back.
    """
    taking_part = [device for process in range(jax.process_count()) for device in _devices_of(process)[:devices]]
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=0,
        devices=taking_part,
    )


def split(batches, devices: int):
    """This process's share of batches (S, B, …) as (devices, S, B / devices, …)."""
    return jax.tree.map(
        lambda leaf: leaf.reshape(len(leaf), devices, leaf.shape[1] // devices, *leaf.shape[2:]).swapaxes(0, 1), batches
    )


def place(state, devices: int):
    """The state whole on each of the devices, laid out as `parallelise` returns it, so that it compiles once."""
    return jax.device_put(state, replicated(devices))
