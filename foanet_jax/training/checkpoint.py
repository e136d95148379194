"""Checkpoints: the only module that knows Orbax.

A run keeps its best and its last checkpoint of each network. Each holds the variables that predict, what else training
needs (the optimiser's state, and the variables behind an average), and a JSON description from which the network is
rebuilt without any configuration file.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from foanet_jax.errors import InputError
from foanet_jax.training import parallel
from foanet_jax.training.step import TrainState

FOLDER = "checkpoints"
SCORE = "score"


class Checkpoints:
    """The checkpoints of one network's training; to be opened with `open_checkpoints`."""

    def __init__(self, manager: ocp.CheckpointManager):
        self._manager = manager

    @property
    def last_epoch(self) -> int | None:
        """Epochs done by the last checkpoint, None where there is none."""
        return self._manager.latest_step()

    @property
    def best_epoch(self) -> int | None:
        """Epochs done by the checkpoint with the highest score; where none has a score, the last one's."""
        best = self._manager.best_step()
        return self.last_epoch if best is None else best

    def save(self, epoch: int, state: TrainState, description: dict[str, Any], *, score: float | None) -> None:
        """Writes a checkpoint after `epoch` epochs; without a `score` it only counts as the last one."""
        self._manager.save(
            epoch,
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(state.evaluated),
                optimiser=ocp.args.StandardSave(_unseen(state)),
                description=ocp.args.JsonSave(description),
            ),
            metrics=None if score is None else {SCORE: score},
        )

    def description(self, epoch: int) -> dict[str, Any]:
        """The JSON description saved with a checkpoint."""
        return self._manager.restore(epoch, args=ocp.args.Composite(description=ocp.args.JsonRestore()))["description"]

    def restore_variables(self, epoch: int, like) -> Any:
        """The variables of a checkpoint, in the tree, shapes and devices (the first, where it has none) of `like`."""
        args = ocp.args.Composite(variables=ocp.args.StandardRestore(_abstract(like)))
        return self._manager.restore(epoch, args=args)["variables"]

    def restore_state(self, epoch: int, like: TrainState) -> TrainState:
        """The whole training state of a checkpoint, in the tree, shapes and devices of `like`."""
        args = ocp.args.Composite(
            variables=ocp.args.StandardRestore(_abstract(like.evaluated)),
            optimiser=ocp.args.StandardRestore(_abstract(_unseen(like))),
        )
        found = self._manager.restore(epoch, args=args)
        unseen, evaluated = found["optimiser"], found["variables"]
        optimiser = jax.tree.unflatten(jax.tree.structure(like.optimiser), jax.tree.leaves(unseen["optimiser"]))
        if like.average is None:
            return TrainState(unseen["step"], evaluated, optimiser)
        return TrainState(unseen["step"], unseen["variables"], optimiser, evaluated)


def _unseen(state: TrainState) -> dict[str, Any]:
    """What of a state only training needs; the variables among it where an average stands for them."""
    unseen = {"step": state.step, "optimiser": _plain(state.optimiser)}
    return unseen if state.average is None else unseen | {"variables": state.variables}


def _plain(optimiser) -> dict[str, Any]:
    """Optax's named tuples as a flat dictionary in tree order, which any Orbax version stores alike."""
    return {f"{index:04d}": leaf for index, leaf in enumerate(jax.tree.leaves(optimiser))}


def _abstract(tree):
    def abstract(leaf):
        sharding = leaf.sharding or parallel.replicated(1)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(abstract, tree)


@contextlib.contextmanager
def open_checkpoints(folder: Path, *, write: bool) -> Iterator[Checkpoints]:
    """The checkpoints below a network's folder; all writing is finished when the context ends.

    Raises:
        InputError: reading was asked for and there are none.
    """
    path = (folder / FOLDER).absolute()
    if not write and not path.is_dir():
        raise InputError(
            "missing-checkpoint",
            f"{path}: no checkpoints; --checkpoint (or --workdir) must name the folder of a run that trained",
        )
    policy = preservation_policy.AnyPreservationPolicy(
        [
            preservation_policy.LatestN(1),
            preservation_policy.BestN(
                get_metric_fn=lambda metrics: metrics[SCORE], n=1, keep_checkpoints_without_metrics=False
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        create=write,
        read_only=not write,
        preservation_policy=policy,
        best_fn=lambda metrics: metrics[SCORE],
        best_mode="max",
    )
    manager = ocp.CheckpointManager(path, options=options)
    try:
        yield Checkpoints(manager)
    finally:
        manager.close()
