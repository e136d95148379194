"""Data parallelism: the only place where a training step is distributed over devices, of one or several processes.

All processes call the same functions in the same order. Each has the whole state and its own share of each batch.
"""

from collections.abc import Callable

import jax

from foanet_jax.system.devices import AXIS, replicated
from foanet_jax.system.errors import InputError

__all__ = ["AXIS", "device_count", "parallelise", "place", "share", "split"]


def share(batch_size: int) -> slice:
    """Returns the part of a batch that this process computes.

    Raises:
        InputError: the batch size is not a multiple of the number of processes.
    """
    processes = jax.process_count()
    if batch_size % processes:
        raise InputError(
            "batch-size",
            f"train.batch_size is {batch_size}, not a multiple of the {processes} processes; use a multiple of "
            f"{processes}, or fewer processes",
        )
    size = batch_size // processes
    return slice(size * jax.process_index(), size * (jax.process_index() + 1))


def device_count(batch_size: int) -> int:
    """Returns the number of devices that each process uses: the largest number that divides its share of the batch.

    Raises:
        InputError: see `share`.
    """
    mine = share(batch_size)
    there = min(len(_devices_of(process)) for process in range(jax.process_count()))
    return max(n for n in range(1, there + 1) if (mine.stop - mine.start) % n == 0)


def _devices_of(process: int) -> list[jax.Device]:
    return jax.local_devices(process_index=process)


def parallelise(step: Callable, devices: int) -> Callable:
    """Compiles `step(state, batches)` for several devices of each process.

    The state is copied to each device, and its memory is reused for the result. Batches have the layout of `split`. The
    step must average over the axis `AXIS`. One state and one set of metrics are returned.

    Args:
        step: the function.
        devices: number of devices per process.
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
    """Reshapes this process's share of batches from (S, B, …) to (devices, S, B / devices, …)."""
    return jax.tree.map(
        lambda leaf: leaf.reshape(len(leaf), devices, leaf.shape[1] // devices, *leaf.shape[2:]).swapaxes(0, 1), batches
    )


def place(state, devices: int):
    """Copies the state to each device, in the layout of the results of `parallelise`, so that it compiles only once."""
    return jax.device_put(state, replicated(devices))
