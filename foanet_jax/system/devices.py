"""The devices of this process: forward passes are spread over them, in parts that fit into their memory."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
AXIS = "batch"
# Of this process: how many images a device takes at a time, by network and size of image, where it could not take more.
_FITTING: dict[tuple[Any, ...], int] = {}


def replicated(devices: int) -> NamedSharding:
    """Whole on each of the first so many devices of this process."""
    mesh = Mesh(np.array(jax.local_devices()[:devices]), (AXIS,))
    return NamedSharding(mesh, PartitionSpec())


def everywhere(tree):
    """Arrays whole on each device of this process."""
    return jax.device_put(tree, replicated(jax.local_device_count()))


def spread(function: Callable, variables, images, spec, extents) -> jax.Array:
    """`function(variables, images, spec, extents)` with the images spread over all devices of this process.

    Every device is given equally many, the last ones again where they do not go round. Where these do not fit into its
    memory it is given half as many, and from then on no more: the result is the same.

    Args:
        function: a jitted function that treats each image on its own, such as `network.probabilities`.
        variables: best put `everywhere` before.
        images: (B, H, W, 3).
        spec: hashable, as the function takes it.
        extents: (B, 2).

    Returns:
        (B, …) on the first device.

    Raises:
        JaxRuntimeError: a device has no memory for a single image, see `telling_out_of_memory`.
    """
    devices = jax.local_device_count()
    kind = (spec, images.shape[1:])
    each = min(-(-len(images) // devices), _FITTING.get(kind, len(images)))
    while True:
        try:
            # An accelerator tells what did not fit when its result is waited for.
            return jax.block_until_ready(_in_parts(function, variables, images, spec, extents, each, devices))
        except jax.errors.JaxRuntimeError as error:
            if each == 1 or not _is_out_of_memory(error):
                raise
        if not _FITTING:
            LOGGER.warning(
                "%d images of %d×%d px at a time do not fit into the device's memory; from now on it is given fewer, "
                "which changes nothing but the time; a smaller memory_mb does so from the start",
                *(each, *images.shape[1:3]),
            )
        each = _FITTING[kind] = -(-each // 2)


def _in_parts(function: Callable, variables, images, spec, extents, each: int, devices: int) -> jax.Array:
    """The function of `each` images a device at a time."""
    count, size = len(images), each * devices
    if size == count:
        return _on_devices(function, variables, images, spec, extents, devices)
    parts = []
    for start in range(0, count, size):
        chosen = np.minimum(np.arange(start, start + size), count - 1)
        parts.append(_on_devices(function, variables, images[chosen], spec, extents[chosen], devices))
    return jnp.concatenate(parts)[:count]


def _on_devices(function: Callable, variables, images, spec, extents, devices: int) -> jax.Array:
    if devices == 1:
        return function(variables, images, spec, extents)
    whole = replicated(devices)
    shared = NamedSharding(whole.mesh, PartitionSpec(AXIS))
    images, extents = jax.device_put((images, extents), shared)
    found = _shared_out(function, spec, whole.mesh)(jax.device_put(variables, whole), images, extents)
    return jax.device_put(found, jax.local_devices()[0])


@functools.lru_cache(maxsize=64)
def _shared_out(function: Callable, spec, mesh: Mesh) -> Callable:
    """The function as each device calls it on its own images: the same program as on a device alone."""

    def call(variables, images, extents):
        return function(variables, images, spec, extents)

    batch = PartitionSpec(AXIS)
    shared = jax.shard_map(call, mesh=mesh, in_specs=(PartitionSpec(), batch, batch), out_specs=batch, check_vma=False)
    return jax.jit(shared)


def _is_out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def telling_out_of_memory(what: str) -> Iterator[None]:
    """Turns an error of a device that has no memory left into an InputError; `what` is what it worked on."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError(
            "device-memory",
            f"{what}: does not fit into the memory of {jax.local_devices()[0]}, not even slice by slice; end other "
            "programs on it, or use a device with more memory (JAX_PLATFORMS=cpu takes the main memory)",
        ) from error
