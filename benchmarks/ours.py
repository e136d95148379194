"""This project as a contestant, with the same functions that training and prediction call."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case
from benchmarks.inputs import draw_inputs
from benchmarks.predict import make_predict
from benchmarks.program import Inputs, Program, Settings, load_inputs
from foanet_jax.network import NetworkSpec, probabilities
from foanet_jax.system.memory import keep_freed_memory, release_freed_memory
from foanet_jax.training import parallel
from foanet_jax.training.epoch import BLOCK
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.step import OptimiserSpec, init_state, make_optimiser, train_steps


def versions() -> dict[str, str]:
    """Returns the version of JAX and the device."""
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind}


def network_of(case: Case) -> NetworkSpec:
    """Returns the network of a case as a `NetworkSpec`."""
    return NetworkSpec(case.architecture, case.classes, width=case.width, dtype=case.dtype)


def loss_of(case: Case) -> LossSpec:
    """Returns the loss of a case as a `LossSpec`."""
    cce, ssim, dice = (float(term in case.terms) for term in ("cce", "ssim", "dice"))
    return LossSpec(cce=cce, ssim=ssim, dice=dice)


def device_peak() -> int:
    """Returns the peak memory in use on the accelerator, in bytes."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def make(settings: Settings) -> Program:
    """Makes the program of a case. Freed memory is kept, as in `run.py`."""
    keep_freed_memory()
    kinds = {"train": _train, "forward": _forward, "predict": _predict}
    step, fetch, steps = kinds[settings.case.kind](settings)
    peak = device_peak if settings.device == "gpu" else None
    return Program(step, fetch, versions(), peak, steps, release_freed_memory)


def _extent(case: Case) -> np.ndarray:
    return np.full((case.batch, 2), case.size, np.int32)


def _inputs(settings: Settings) -> Inputs:
    """Returns the inputs that the reference has written. If ours runs alone, the same inputs are drawn here."""
    return load_inputs(settings.inputs) if settings.inputs.exists() else draw_inputs(settings.case)


def _train(settings: Settings):
    case = settings.case
    inputs = _inputs(settings)
    devices = parallel.device_count(case.batch)
    together = BLOCK if settings.device == "gpu" else 1  # as in training
    optimiser = make_optimiser(OptimiserSpec(), 1000)
    step = parallel.parallelise(
        functools.partial(
            train_steps, network=network_of(case), loss=loss_of(case), optimiser=optimiser, axis_name=parallel.AXIS
        ),
        devices,
    )
    state = parallel.place(init_state({"params": jax.device_put(inputs.params)}, optimiser), devices)
    batch = {"images": inputs.images, "labels": inputs.labels, "extent": _extent(case)}
    batches = jax.tree.map(lambda leaf: jnp.asarray(np.repeat(leaf[None], together, axis=0)), batch)

    def one_call() -> Any:
        nonlocal state
        state, metrics = step(state, parallel.split(batches, devices))
        return metrics

    def fetch(metrics) -> dict[str, np.ndarray]:
        numbers = jax.device_get(metrics)
        return {name: numbers[name][0] for name in ("loss", "gradient_norm")}

    return one_call, fetch, together


def _forward(settings: Settings):
    case = settings.case
    inputs = _inputs(settings)
    variables = {"params": jax.device_put(inputs.params)}
    images, extent = jnp.asarray(inputs.images), _extent(case)

    def one_step():
        return probabilities(variables, images, network_of(case), extent)

    return one_step, lambda maps: {"probabilities": np.asarray(maps)}, 1


def _predict(settings: Settings):
    return make_predict(settings.case), lambda mask: {"mask": mask}, 1
