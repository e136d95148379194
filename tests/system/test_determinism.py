"""What a run promises of its repetition, and a training step on a GPU without operations that add in any order."""

import functools
import os
import re

import jax
import jax.numpy as jnp
import pytest

from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.system import determinism
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.step import OptimiserSpec, init_state, make_optimiser, train_steps

TINY = {"classes": 3, "width": 1 / 32, "side_maps": 2}
SPECS = {
    "net2": (NetworkSpec("net2", norm="batch", **TINY), LossSpec()),
    "net1": (
        NetworkSpec("net1", norm="group", side_heads=True, order="conv_up", up="learned", **TINY),
        LossSpec(side=0.5, dice_batch=True, ssim_mode="global", label_smoothing=0.1),
    ),
    "unet": (NetworkSpec("unet", norm="instance", dtype="bfloat16", **TINY), LossSpec()),
}
OPTIMISER = OptimiserSpec(schedule="poly", warmup_steps=2, clip_norm=1.0, weight_decay=0.1, average=0.9)


@pytest.mark.parametrize("name", SPECS)
def test_a_training_step_on_a_gpu_scatters_nothing(name):
    network, loss = SPECS[name]
    optimiser = make_optimiser(OPTIMISER, 10)

    def begin():
        return init_state(init_network(jax.random.key(0), network), optimiser, average=0.9)

    step = functools.partial(train_steps, network=network, loss=loss, optimiser=optimiser, average=0.9)
    batches = {
        "images": jax.ShapeDtypeStruct((2, 2, 40, 48, 3), jnp.float32),
        "labels": jax.ShapeDtypeStruct((2, 2, 40, 48), jnp.uint8),
        "extent": jax.ShapeDtypeStruct((2, 2, 2), jnp.int32),
    }
    traced = jax.jit(step).trace(jax.eval_shape(begin), batches)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    used = set(re.findall(r"stablehlo\.(\w+)", text))
    assert {"convolution", "reduce"} <= used
    assert not {word for word in used if re.search("scatter|gather", word)}


def test_a_scatter_would_be_found():
    traced = jax.jit(jax.grad(lambda x: x[jnp.array([0, 0])].sum())).trace(jnp.ones(3))
    assert "stablehlo.scatter" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_what_is_promised(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=1")
    cores = len(os.sched_getaffinity(0))
    assert determinism.promise() == f"bit-identical on this kind of processor with {cores} cores and the same versions"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert determinism.promise().startswith("not bit-identical")
    determinism.make_deterministic()
    assert os.environ["XLA_FLAGS"] == "--a=1 --xla_gpu_deterministic_ops=true"
    assert determinism.promise().startswith("bit-identical on the same number of devices")
