"""Whether a run that is repeated gives the same bits.

On a CPU it does, on as many cores. On a GPU the training step has forms that add in a fixed order (no scatter and no
select-and-scatter), and XLA can be told to keep to such ones itself, and not to choose them by measuring.
"""

import os

import jax

FLAG = "--xla_gpu_deterministic_ops=true"


def make_deterministic() -> None:
    """Tells XLA to give the same bits every time on a GPU, which takes longer; to be called before JAX is used."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()


def promise() -> str:
    """What holds of this process, in words, for the record of a run."""
    if jax.default_backend() == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"the same bits on this kind of processor with {cores} cores and these versions"
    if FLAG in os.environ.get("XLA_FLAGS", "").split():
        return "the same bits on as many devices of this kind with these versions (--deterministic)"
    return "not the same bits: devices may add in another order; --deterministic tells them not to"
