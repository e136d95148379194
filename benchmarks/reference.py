"""The reference results for all contestants, from this project's functions, and the inputs for all contestants."""

import dataclasses

import jax

from benchmarks.inputs import draw_inputs
from benchmarks.ours import loss_of, network_of, versions
from benchmarks.program import Program, Settings, save_inputs
from foanet_jax.network import apply_network
from foanet_jax.training.losses import hybrid_loss


def make(settings: Settings) -> Program:
    """Draws and stores the inputs. The program computes logits and probabilities; in training, loss and gradient."""
    case, inputs = settings.case, draw_inputs(settings.case)
    save_inputs(inputs, settings.inputs)
    network, loss = dataclasses.replace(network_of(case), dtype="float32"), loss_of(case)

    def objective(params):
        logits = apply_network({"params": params}, inputs.images, network)
        return hybrid_loss(logits, inputs.labels, loss)[0], logits

    @jax.jit
    def numbers(params):
        if case.kind != "train":
            logits = apply_network({"params": params}, inputs.images, network)
            return {"logits": logits, "probabilities": jax.nn.softmax(logits, axis=-1)}
        (value, logits), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(gradients))
        return {"logits": logits, "loss": value, "gradient_norm": squares**0.5}

    def step():
        with jax.default_matmul_precision("highest"):
            return numbers(inputs.params)

    return Program(step, jax.device_get, versions())
