"""Both networks of a run, from its checkpoints."""

import logging
from pathlib import Path
from typing import Any

import jax

from foanet_jax.experiment.options import require_choice
from foanet_jax.network import init_network
from foanet_jax.pipeline import Model, Network
from foanet_jax.settings import stage_settings
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import Which, open_checkpoints

LOGGER = logging.getLogger(__name__)


def load_model(run: Path, *, which: Which = "best") -> Model:
    """Both networks of a run, from its checkpoints alone.

    Args:
        run: the workdir of a training.
        which: "best" by validation Dice, or "last".

    Raises:
        InputError: there are no checkpoints, or all of them are damaged; one that is damaged is passed over.
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


def _load_network(run: Path, stage: str, which: Which) -> tuple[Network, dict[str, Any]]:
    with open_checkpoints(run / stage, write=False) as checkpoints:
        found = checkpoints.read(which)
    description = found.description
    classes = 2 if stage == "localization" else len(description["classes"])
    settings = stage_settings(description["config"], stage, classes=classes)
    shapes = jax.eval_shape(lambda: init_network(jax.random.key(0), settings.network))
    variables = parallel.place(found.variables(shapes), 1)
    LOGGER.info("%s: checkpoint after step %d, epoch %d (%s)", run / stage, found.step, found.epoch, which)
    return Network(settings.network, settings.prepare, variables), description
