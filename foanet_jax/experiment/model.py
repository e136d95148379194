"""Both networks of a run, from its checkpoints."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax

from foanet_jax.data.orientation import SliceAxis
from foanet_jax.errors import InputError
from foanet_jax.experiment.options import memory_bytes, require_choice
from foanet_jax.experiment.studies import slice_axis_of
from foanet_jax.network import init_network
from foanet_jax.pipeline import Model, Network
from foanet_jax.settings import stage_settings
from foanet_jax.training.checkpoint import open_checkpoints

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What a prediction takes from a run besides its networks.

    Attributes:
        memory_bytes: what a forward pass may take.
        slice_axis: axis of the world along which NIfTI volumes are sliced; None: as they are.
    """

    memory_bytes: int
    slice_axis: SliceAxis | None


def describe_run(run: Path) -> RunFacts:
    """What the checkpoints of a run tell of how it read its studies.

    Raises:
        InputError: there are no checkpoints.
    """
    with open_checkpoints(run / "segmentation", write=False) as checkpoints:
        description = checkpoints.description(checkpoints.best_epoch or 0)
    config = description["config"]
    # Checkpoints of older versions do not tell it.
    slice_axis: Any = description["slice_axis"] if "slice_axis" in description else slice_axis_of(config)
    return RunFacts(memory_bytes(config), slice_axis)


def load_model(run: Path, *, which: str = "best") -> Model:
    """Both networks of a run, from its checkpoints alone.

    Args:
        run: the workdir of a training.
        which: "best" by validation Dice, or "last".

    Raises:
        InputError: there are no checkpoints.
    """
    require_choice("evaluation.checkpoint", which, ("best", "last"))
    segmentation, description = _load_network(run, "segmentation", which)
    config = description["config"]
    localization = _load_network(run, "localization", which)[0] if config["localization"]["enabled"] else None
    return Model(
        classes=tuple(description["classes"]),
        localization=localization,
        segmentation=segmentation,
        margin_px=config["localization"]["margin_px"],
        cyclic=config["data"]["cyclic"],
    )


def _load_network(run: Path, stage: str, which: str) -> tuple[Network, dict[str, Any]]:
    with open_checkpoints(run / stage, write=False) as checkpoints:
        epoch = checkpoints.best_epoch if which == "best" else checkpoints.last_epoch
        if epoch is None:
            raise InputError("missing-checkpoint", f"{run / stage}: no finished checkpoint; let the training run on")
        description = checkpoints.description(epoch)
        classes = 2 if stage == "localization" else len(description["classes"])
        settings = stage_settings(description["config"], stage, classes=classes)
        shapes = jax.eval_shape(lambda: init_network(jax.random.key(0), settings.network))
        variables = checkpoints.restore_variables(epoch, shapes)
    LOGGER.info("%s: checkpoint after epoch %d (%s)", run / stage, epoch, which)
    return Network(settings.network, settings.prepare, variables), description
