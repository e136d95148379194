"""The training state and the training step, as pure functions."""

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
POWER = 0.9  # exponent of the polynomial schedule, as in nnU-Net


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
                f"{self}: learning_rate and epsilon must be positive, the others not negative, and average must "
                "be below 1"
            )


@flax.struct.dataclass
class TrainState:
    """Everything that a training step changes.

    Attributes:
        step: int32, number of steps done.
        variables: the network's parameters and statistics.
        optimiser: state of the Optax optimiser.
        average: moving average of the variables; None if there is none.
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
    """Returns Adam's update with ε as in Keras: m·√(1−β2ᵗ)/(1−β1ᵗ) / (√v + ε) (Kingma & Ba 2015, end of Sec. 2)."""

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
    """Builds the Optax optimiser.

    Args:
        spec: settings of the optimiser.
        total_steps: number of steps of the whole training. The schedule ends there.
    """
    adam = scale_by_keras_adam if spec.keras_epsilon else optax.scale_by_adam
    direction = adam(spec.beta1, spec.beta2, spec.epsilon)
    clip = [optax.clip_by_global_norm(spec.clip_norm)] if spec.clip_norm else []
    decay = [optax.add_decayed_weights(spec.weight_decay, mask=_is_kernel)] if spec.weight_decay else []
    return optax.chain(*clip, direction, *decay, optax.scale_by_learning_rate(_rate(spec, total_steps)))


def _rate(spec: OptimiserSpec, total_steps: int) -> optax.Schedule:
    """Returns the learning rate schedule: a linear warm-up, then the schedule over the remaining steps."""
    left = max(total_steps - spec.warmup_steps, 1)
    after = {
        "constant": optax.constant_schedule(spec.learning_rate),
        "cosine": optax.cosine_decay_schedule(spec.learning_rate, left),
        # At the end, Optax's polynomial schedule can take the power of a negative number, because of rounding.
        "poly": lambda step: spec.learning_rate * jnp.maximum(1 - step / left, 0) ** POWER,
    }[spec.schedule]
    if not spec.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, spec.learning_rate, spec.warmup_steps)
    return optax.join_schedules([warmup, after], [spec.warmup_steps])


def _is_kernel(params):
    """Returns a tree of booleans that marks the kernels of convolutions. It has the structure of the parameters."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def init_state(variables, optimiser: optax.GradientTransformation, *, average: float = 0.0) -> TrainState:
    """Returns the state before the first step.

    Args:
        variables: the network's initial variables.
        optimiser: from `make_optimiser`.
        average: decay of the moving average of the variables; 0: no average.
    """
    # The average is a copy, because a step reuses the memory of both arrays ("donated" arrays).
    kept = jax.tree.map(jnp.copy, variables) if average else None
    return TrainState(jnp.zeros([], jnp.int32), variables, optimiser.init(variables["params"]), kept)


def averaged(average, variables, decay: float, step):
    """Updates the moving average of the variables.

    Args:
        average: the average so far.
        variables: the variables after `step` steps.
        decay: weight of the old average, limited to (1 + step)/(10 + step).
        step: number of steps done.
    """
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
    """Runs one training step on one batch.

    Args:
        state: the state before the step.
        batch: `images` (B, H, W, 3) float32, `labels` (B, H, W) uint8, `extent` (B, 2) int32.
        network: the network.
        loss: the loss.
        optimiser: from `make_optimiser`.
        average: decay of the moving average, if the state has one.
        axis_name: device axis over which gradients and metrics are averaged.

    Returns:
        The new state, and scalar metrics: `loss` and its terms, `gradient_norm` and `skipped`. If the loss, the
        gradients or the new statistics are not finite, `skipped` is 1, the step is counted, and everything else in the
        state stays as it was.
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
    """Keeps the old state, except the step number, if loss, gradients or statistics are not finite.

    A gradient norm that overflows counts as not finite: the squared gradients in Adam's state would overflow too.

    Args:
        new: the state after the step.
        old: the state before the step.
        metrics: with `loss` and `gradient_norm`.

    Returns:
        The new or the old state, and the metrics with `skipped` (0 or 1).
    """
    numbers = [metrics["loss"], metrics["gradient_norm"], *jax.tree.leaves(new.variables.get("statistics", {}))]
    finite = jnp.all(jnp.stack([jnp.isfinite(number).all() for number in numbers]))
    kept = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, old).replace(step=new.step)
    return kept, {**metrics, "skipped": 1.0 - finite.astype(jnp.float32)}


def train_steps(state: TrainState, batches: dict[str, jax.Array], **options) -> tuple[TrainState, dict[str, jax.Array]]:
    """Runs S training steps, one after the other, in one program.

    Args:
        state: the state before the first step.
        batches: stacked batches (S, B, …), see `train_step`.
        options: the other arguments of `train_step`.

    Returns:
        The state after the last step, and the metrics of all steps, each (S,).
    """

    def step(state, batch):
        return train_step(state, batch, **options)

    if len(batches["images"]) > 1:
        return lax.scan(step, state, batches)
    # Inside a loop, even of one step, XLA does not use all cores of a CPU.
    state, metrics = step(state, jax.tree.map(lambda leaf: leaf[0], batches))
    return state, jax.tree.map(lambda value: value[None], metrics)
