"""Checks whether a training may be resumed: its settings and data must equal those stored in its checkpoints."""

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted
from foanet_jax.training.examples import TrainingStudy
from foanet_jax.training.spec import NetworkSettings

# These settings may change, because they do not influence the result.
FREE = ("train.save_minutes", "train.keep_last", "train.keep_best", "train.max_skipped")
ELSEWHERE = ("root", "folds_file")  # paths of the data may change too, because the studies themselves are compared
STUDIES = "studies"


def describe_training(
    network: str,
    settings: NetworkSettings,
    data: Mapping[str, Any],
    studies: Sequence[TrainingStudy],
    validation_studies: Sequence[TrainingStudy],
    *,
    seed: int,
) -> dict[str, Any]:
    """Describes everything that the result of a training depends on, as JSON values.

    Args:
        network: the network's name.
        settings: all settings of the network.
        data: the section `data` of the configuration.
        studies, validation_studies: in their order.
        seed: seed of initialization, order and augmentation.
    """
    parts = dataclasses.asdict(settings)
    for name in FREE:
        part, field = name.split(".")
        del parts[part][field]
    described = {
        "data": {name: value for name, value in data.items() if name not in ELSEWHERE},
        network: {"seed": seed, **parts},
        STUDIES: {
            use: {study.original.case: f"{number} {_digest(study)}" for number, study in enumerate(of)}
            for use, of in (("training", studies), ("validation", validation_studies))
        },
    }
    return json.loads(json.dumps(described))


def _digest(study: TrainingStudy) -> str:
    """Returns an eight-digit checksum of a study's voxels, labels, spacing, box and classes."""
    digest = zlib.crc32(repr((study.original.spacing_mm, study.box, study.classes, study.cyclic)).encode())
    for array in (study.original.voxels, study.labels):
        digest = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, digest)
    return f"{digest:08x}"


def require_same_training(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Checks that a resumed training has the settings and data that it started with.

    One change is allowed: with a constant learning rate, the number of epochs may grow. Settings that exist in only one
    of the two are ignored, because the versions of the project may differ.

    Args:
        stored: from `describe_training`, as the checkpoint holds it.
        now: from `describe_training`, for this run.
        folder: folder of the network, for the message.

    Raises:
        InputError: a value differs; the message names the first one and both values.
    """
    old, new = dotted(stored), dotted(now)
    for name in dict.fromkeys([*new, *old]):
        if not (name in old and name in new) and not name.startswith(STUDIES):
            continue
        was, is_ = old.get(name, "missing"), new.get(name, "missing")
        if was == is_:
            continue
        network, _, field = name.partition(".")
        if field == "train.epochs" and new[f"{network}.optimiser.schedule"] == "constant" and is_ > was:
            continue
        what = name if name.startswith(STUDIES) else f"config.{name}"
        raise InputError(
            "other-training",
            f"{folder}: the training there was started with {what} = {was!r}, but now it is {is_!r}; "
            "use the original value, or choose another --workdir",
        )
