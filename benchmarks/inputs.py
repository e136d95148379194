"""Draws the same parameters, images and labels for all contestants; the others read them from a file."""

import jax
import numpy as np

from benchmarks.cases import Case
from benchmarks.program import Inputs
from foanet_jax.network import NetworkSpec, init_network

SEED = 2020

# The initialization is compiled as one program, which starts much faster.
initialise = jax.jit(init_network, static_argnums=1)


def draw_inputs(case: Case) -> Inputs:
    """Draws parameters, images and labels of a case. They are the same in every call.

    The parameters are those of our networks at the start of a training, but with biases that are not zero. The images
    are white noise of unit variance, as after Gauss normalisation. The labels are rings around the centre.
    """
    generator = np.random.default_rng(SEED)
    network = NetworkSpec(case.architecture, case.classes, width=case.width)
    params = jax.device_get(initialise(jax.random.key(SEED), network)["params"])
    for group in params.values():
        group["bias"] = (0.1 * generator.standard_normal(group["bias"].shape)).astype(np.float32)
    shape = (case.batch, case.size, case.size)
    images = generator.standard_normal((*shape, 3), dtype=np.float32)
    axis = np.linspace(-1, 1, case.size)
    radius = np.hypot(axis[:, None], axis[None, :])
    rings = np.maximum(0, case.classes - 1 - np.floor(radius / 0.7 * (case.classes - 1))).astype(np.uint8)
    return Inputs(params, images, np.broadcast_to(rings, shape).copy())
