"""The training state and one step on it, as pure functions."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from foanet_jax.losses import LossSpec, hybrid_loss
from foanet_jax.network import NetworkSpec, apply_network


@dataclasses.dataclass(frozen=True)
class OptimiserSpec:
    """Adam and its schedule; the default is the paper's (Sec. III-D).

    Attributes:
        learning_rate, beta1, beta2, epsilon: Adam's.
        keras_epsilon: add ε before the bias correction, as Keras does, instead of after it.
        schedule: "constant" (the paper) or "cosine" to zero over the whole run.
        warmup_steps: steps over which the rate first rises from zero.
        clip_norm: largest global norm of the gradients; 0 does not clip.
    """

    learning_rate: float = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 0.001
    keras_epsilon: bool = False
    schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float = 0.0

    def __post_init__(self):
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"optimiser schedule {self.schedule!r}; choose constant or cosine")
        if self.learning_rate <= 0 or self.epsilon <= 0 or self.clip_norm < 0 or self.warmup_steps < 0:
            raise ValueError(f"{self}: learning_rate and epsilon must be positive, the others not negative")


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
        step: int32, updates made.
        variables: the network's parameters and statistics.
        optimiser: Optax's state.
    """

    step: jax.Array
    variables: Any
    optimiser: Any


def scale_by_keras_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam's direction with Keras's ε: m·√(1−β2ᵗ)/(1−β1ᵗ) / (√v + ε) (Kingma & Ba 2015, end of Sec. 2)."""

    def init(params):
        return optax.ScaleByAdamState(
            count=jnp.zeros([], jnp.int32),
            mu=jax.tree.map(jnp.zeros_like, params),
            nu=jax.tree.map(jnp.zeros_like, params),
        )

    def update(gradients, state, params=None):
        del params
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, gradients)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, gradients)
        correction = jnp.sqrt(1 - b2**count) / (1 - b1**count)
        updates = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + eps), mu, nu)
        return updates, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def make_optimiser(spec: OptimiserSpec, total_steps: int) -> optax.GradientTransformation:
    """The Optax transformation of a spec; `total_steps` sets the cosine's end."""
    if spec.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            0.0 if spec.warmup_steps else spec.learning_rate,
            spec.learning_rate,
            spec.warmup_steps,
            max(total_steps, spec.warmup_steps + 1),
        )
    else:
        rate = optax.linear_schedule(
            0.0 if spec.warmup_steps else spec.learning_rate, spec.learning_rate, max(1, spec.warmup_steps)
        )
    adam = scale_by_keras_adam if spec.keras_epsilon else optax.scale_by_adam
    direction = adam(spec.beta1, spec.beta2, spec.epsilon)
    clip = [optax.clip_by_global_norm(spec.clip_norm)] if spec.clip_norm else []
    return optax.chain(*clip, direction, optax.scale_by_learning_rate(rate))


def init_state(variables, optimiser: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.zeros([], jnp.int32), variables, optimiser.init(variables["params"]))


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    network: NetworkSpec,
    loss: LossSpec,
    optimiser: optax.GradientTransformation,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on one batch.

    Args:
        state: what to update.
        batch: `images` (B, H, W, 3) float32, `labels` (B, H, W) uint8, `extent` (B, 2) int32.
        axis_name: device axis over which gradients and metrics are averaged.

    Returns:
        The new state, and scalar metrics: `loss` and its terms, `gradient_norm`, and `skipped`, which is 1 where one of
        them or of the new statistics is not finite: then only the step is counted, and all else stays as it was.
    """

    def objective(params):
        logits, statistics = apply_network(
            state.variables | {"params": params},
            batch["images"],
            network,
            extent=batch["extent"],
            train=True,
            axis_name=axis_name,
        )
        total, terms = hybrid_loss(logits, batch["labels"], loss, extent=batch["extent"])
        return total, (terms, statistics)

    (total, (terms, statistics)), gradients = jax.value_and_grad(objective, has_aux=True)(state.variables["params"])
    metrics = {"loss": total, **terms}
    if axis_name is not None:
        gradients, metrics = lax.pmean((gradients, metrics), axis_name)
    updates, optimiser_state = optimiser.update(gradients, state.optimiser, state.variables["params"])
    variables = dict(state.variables, params=optax.apply_updates(state.variables["params"], updates))
    if statistics:
        variables["statistics"] = statistics
    metrics["gradient_norm"] = optax.tree.norm(gradients)
    new = TrainState(state.step + 1, variables, optimiser_state)
    return keep_finite(new, state, metrics)


def keep_finite(
    new: TrainState, old: TrainState, metrics: dict[str, jax.Array]
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The new state where loss, gradients and statistics are finite, else the old one at the new step; and `skipped`.

    A norm that overflows counts as not finite: the squares in Adam's state would be too.
    """
    numbers = [metrics["loss"], metrics["gradient_norm"], *jax.tree.leaves(new.variables.get("statistics", {}))]
    finite = jnp.all(jnp.stack([jnp.isfinite(number).all() for number in numbers]))
    kept = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, old).replace(step=new.step)
    return kept, {**metrics, "skipped": 1.0 - finite.astype(jnp.float32)}


def train_steps(state: TrainState, batches: dict[str, jax.Array], **options) -> tuple[TrainState, dict[str, jax.Array]]:
    """Updates on S batches, one after the other, in one program; `options` are those of `train_step`.

    Args:
        state: what to update.
        batches: as `train_step`'s, stacked: (S, B, …).

    Returns:
        The last state, and the metrics of every step, (S,).
    """

    def step(state, batch):
        return train_step(state, batch, **options)

    if len(batches["images"]) > 1:
        return lax.scan(step, state, batches)
    # A loop of one would keep XLA from using all of a CPU's cores.
    state, metrics = step(state, jax.tree.map(lambda leaf: leaf[0], batches))
    return state, jax.tree.map(lambda value: value[None], metrics)
