"""The training state and one step on it, as pure functions."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from foanet_jax.network import NetworkSpec, apply_with_sides
from foanet_jax.training.losses import LossSpec, hybrid_loss

SCHEDULES = ("constant", "cosine", "poly")
POWER = 0.9  # of the polynomial schedule, as nnU-Net has it


@dataclasses.dataclass(frozen=True)
class OptimiserSpec:
    """Adam and its learning rate schedule. The default is the paper's (Sec. III-D).

    Attributes:
        learning_rate: learning rate of Adam.
        beta1: decay rate of Adam's first moment.
        beta2: decay rate of Adam's second moment.
        epsilon: ε of Adam.
        keras_epsilon: add ε before the bias correction, as Keras does, instead of after it.
        schedule: schedule of the learning rate: "constant" (the paper), "cosine" (falls to zero over the whole
            training), or "poly" (falls to zero as (1 − t)^0.9).
        warmup_steps: number of steps over which the learning rate rises from zero at the start.
        clip_norm: gradients with a larger global norm are scaled down to it. 0: no clipping.
        weight_decay: decoupled weight decay (Loshchilov & Hutter 2019): each step reduces every kernel by this share
            times the learning rate. Biases and scales are not decayed.
        average: decay of a moving average of all variables, such as 0.999. Validation and prediction use the average
            instead of the last values. After t steps the decay is at most (1 + t)/(10 + t), so that the first steps are
            forgotten. 0: no average.
    """

    learning_rate: float = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 0.001
    keras_epsilon: bool = False
    schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float = 0.0
    weight_decay: float = 0.0
    average: float = 0.0

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(f"optimiser schedule {self.schedule!r}; choose one of {', '.join(SCHEDULES)}")
        others = (self.clip_norm, self.warmup_steps, self.weight_decay, self.average)
        if self.learning_rate <= 0 or self.epsilon <= 0 or min(others) < 0 or self.average >= 1:
            raise ValueError(
                f"{self}: learning_rate and epsilon must be positive, the others not negative, and average below 1"
            )


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
        step: int32, updates made.
        variables: the network's parameters and statistics.
        optimiser: Optax's state.
        average: the moving average of the variables; None where none is kept.
    """

    step: jax.Array
    variables: Any
    optimiser: Any
    average: Any = None

    @property
    def evaluated(self) -> Any:
        """The variables that validation and prediction use."""
        return self.variables if self.average is None else self.average


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
    """The Optax transformation of a spec; `total_steps` sets where a schedule ends."""
    adam = scale_by_keras_adam if spec.keras_epsilon else optax.scale_by_adam
    direction = adam(spec.beta1, spec.beta2, spec.epsilon)
    clip = [optax.clip_by_global_norm(spec.clip_norm)] if spec.clip_norm else []
    decay = [optax.add_decayed_weights(spec.weight_decay, mask=_is_kernel)] if spec.weight_decay else []
    return optax.chain(*clip, direction, *decay, optax.scale_by_learning_rate(_rate(spec, total_steps)))


def _rate(spec: OptimiserSpec, total_steps: int) -> optax.Schedule:
    """The learning rate by step: a linear warm-up, then the schedule over the steps that are left."""
    left = max(total_steps - spec.warmup_steps, 1)
    after = {
        "constant": optax.constant_schedule(spec.learning_rate),
        "cosine": optax.cosine_decay_schedule(spec.learning_rate, left),
        # Optax's own rounds to the power of a negative number at the end.
        "poly": lambda step: spec.learning_rate * jnp.maximum(1 - step / left, 0) ** POWER,
    }[spec.schedule]
    if not spec.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, spec.learning_rate, spec.warmup_steps)
    return optax.join_schedules([warmup, after], [spec.warmup_steps])


def _is_kernel(params):
    """A tree like the parameters': which of them are kernels of convolutions."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def init_state(variables, optimiser: optax.GradientTransformation, *, average: float = 0.0) -> TrainState:
    """The state before the first step; `average` is the decay of the average, 0 for none."""
    # A copy: a step is given the memory of both.
    kept = jax.tree.map(jnp.copy, variables) if average else None
    return TrainState(jnp.zeros([], jnp.int32), variables, optimiser.init(variables["params"]), kept)


def averaged(average, variables, decay: float, step):
    """The moving average once the variables after `step` updates have been added."""
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, average, variables)


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    network: NetworkSpec,
    loss: LossSpec,
    optimiser: optax.GradientTransformation,
    average: float = 0.0,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on one batch.

    Args:
        state: what to update.
        batch: `images` (B, H, W, 3) float32, `labels` (B, H, W) uint8, `extent` (B, 2) int32.
        average: decay of the variables' average, where the state keeps one.
        axis_name: device axis over which gradients and metrics are averaged.

    Returns:
        The new state, and scalar metrics: `loss` and its terms, `gradient_norm`, and `skipped`, which is 1 where one of
        them or of the new statistics is not finite: then only the step is counted, and all else stays as it was.
    """

    def objective(params):
        logits, sides, statistics = apply_with_sides(
            state.variables | {"params": params},
            batch["images"],
            network,
            extent=batch["extent"],
            axis_name=axis_name,
        )
        total, terms = hybrid_loss(
            logits, batch["labels"], loss, extent=batch["extent"], sides=sides, axis_name=axis_name
        )
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
    step = state.step + 1
    kept = None if state.average is None else averaged(state.average, variables, average, step)
    return keep_finite(TrainState(step, variables, optimiser_state, kept), state, metrics)


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
