"""Reproducibility: whether a repeated run gives bit-identical results.

On a CPU it does, with the same number of cores. On a GPU two things are needed: the training step uses operations that
add in a fixed order (no scatter, no select-and-scatter), and a flag makes XLA use only deterministic kernels, without
choosing kernels by timing them.
"""

import os

import jax

FLAG = "--xla_gpu_deterministic_ops=true"


def make_deterministic() -> None:
    """Makes XLA use deterministic kernels on a GPU, which are slower; call it before JAX is used."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()


def promise() -> str:
    """Returns a sentence on the reproducibility of this process, for the record of a run."""
    if jax.default_backend() == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"bit-identical on this kind of processor with {cores} cores and the same versions"
    if FLAG in os.environ.get("XLA_FLAGS", "").split():
        return "bit-identical on the same number of devices of this kind with the same versions (--deterministic)"
    return "not bit-identical: devices may add in a different order; use --deterministic to prevent that"
