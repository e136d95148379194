"""Forward passes on all devices of this process, in batches that fit into their memory."""

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
from foanet_jax.system.programs import kept

LOGGER = logging.getLogger(__name__)
AXIS = "batch"
# The number of images that fit into a device at a time, for each network and image size that once ran out of memory.
_FITTING: dict[tuple[Any, ...], int] = {}


def replicated(devices: int) -> NamedSharding:
    """Returns the sharding that puts a whole copy on each of the first `devices` devices of this process."""
    mesh = Mesh(np.array(jax.local_devices()[:devices]), (AXIS,))
    return NamedSharding(mesh, PartitionSpec())


def everywhere(tree):
    """Copies arrays to each device of this process."""
    return jax.device_put(tree, replicated(jax.local_device_count()))


def spread(function: Callable, variables, images, spec, extents) -> jax.Array:
    """Calls `function(variables, images, spec, extents)` with the images distributed over all devices of this process.

    Each device gets the same number of images; the last image is repeated to fill the last batch. If a batch does not
    fit into the memory of a device, its size is halved. Later calls use the smaller size too. The result is the same.

    Args:
        function: a jitted function that treats each image independently, such as `network.probabilities`.
        variables: the network's arrays; faster if `everywhere` has copied them to the devices before.
        images: (B, H, W, 3).
        spec: hashable argument of the function.
        extents: (B, 2), rows and columns that belong to each image.

    Returns:
        (B, …) on the first device.

    Raises:
        JaxRuntimeError: a single image does not fit into a device's memory, see `explaining_out_of_memory`.
    """
    devices = jax.local_device_count()
    kind = (spec, images.shape[1:])
    each = min(-(-len(images) // devices), _FITTING.get(kind, len(images)))
    while True:
        try:
            # Accelerators run asynchronously. They report a lack of memory only when the program waits for the result.
            return jax.block_until_ready(_in_parts(function, variables, images, spec, extents, each, devices))
        except jax.errors.JaxRuntimeError as error:
            if each == 1 or not _is_out_of_memory(error):
                raise
        if not _FITTING:
            LOGGER.warning(
                "%d images of %d×%d px at a time do not fit into the device's memory; the batch is made smaller, which "
                "does not change the results; set a smaller memory_mb to use smaller batches from the start",
                *(each, *images.shape[1:3]),
            )
        each = _FITTING[kind] = -(-each // 2)


def _in_parts(function: Callable, variables, images, spec, extents, each: int, devices: int) -> jax.Array:
    """Calls the function with at most `each` images per device at a time and joins the results."""
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
        return kept(function, variables, images, spec, extents)(variables, images, extents)
    whole = replicated(devices)
    shared = NamedSharding(whole.mesh, PartitionSpec(AXIS))
    images, extents = jax.device_put((images, extents), shared)
    found = _shared_out(function, spec, whole.mesh)(jax.device_put(variables, whole), images, extents)
    return jax.device_put(found, jax.local_devices()[0])


@functools.lru_cache(maxsize=64)
def _shared_out(function: Callable, spec, mesh: Mesh) -> Callable:
    """Compiles the function so that each device calls it on its own share of the images.

    Each device runs the same program as a single device would, so that the results are the same.
    """

    def call(variables, images, extents):
        return function(variables, images, spec, extents)

    batch = PartitionSpec(AXIS)
    shared = jax.shard_map(call, mesh=mesh, in_specs=(PartitionSpec(), batch, batch), out_specs=batch, check_vma=False)
    return jax.jit(shared)


def _is_out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def explaining_out_of_memory(what: str) -> Iterator[None]:
    """Turns an out-of-memory error of a device into an InputError.

    Args:
        what: the subject of the computation, such as the name of a study. The message begins with it.

    Raises:
        InputError: the block ran out of device memory.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError(
            "device-memory",
            f"{what}: does not fit into the memory of {jax.local_devices()[0]}, not even slice by slice; close other "
            "programs that use it, or use a device with more memory (JAX_PLATFORMS=cpu uses the main memory)",
        ) from error
