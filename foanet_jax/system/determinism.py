"""Reproducibility: whether a repeated run gives bit-identical results.

On a CPU, results are identical with the same number of cores. On a GPU, two things are needed. The training step uses
operations that add in a fixed order (no scatter, no select-and-scatter). A flag makes XLA use only deterministic
kernels, without choosing kernels by timing them. On all devices, the numbers must have the precision of the training,
float32. JAX_ENABLE_X64=1 would change it.
"""

import contextlib
import os
from collections.abc import Iterator

import jax

FLAG = "--xla_gpu_deterministic_ops=true"


def make_deterministic() -> None:
    """Makes XLA use deterministic kernels on a GPU, which are slower. Call it before JAX is used."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """Makes JAX use 32-bit numbers in a block or a decorated function. The configuration of JAX stays as it is."""
    with jax.enable_x64(False):
        yield


def use_single_precision() -> None:
    """Makes JAX use 32-bit numbers in the whole process."""
    jax.config.update("jax_enable_x64", False)


def promise() -> str:
    """Returns a sentence on the reproducibility of this process, for the record of a run."""
    if jax.default_backend() == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"bit-identical on this kind of processor with {cores} cores and the same versions"
    if FLAG in os.environ.get("XLA_FLAGS", "").split():
        return "bit-identical on the same number of devices of this kind with the same versions (--deterministic)"
    return "not bit-identical: devices may add in a different order; use --deterministic to prevent that"
