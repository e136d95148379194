"""Whether a training may go on: what it began with is stored in its checkpoints, and compared."""

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted
from foanet_jax.training.examples import Case
from foanet_jax.training.spec import StageSettings

# These change nothing in what is learned.
FREE = ("train.save_minutes", "train.keep_last", "train.keep_best", "train.max_skipped")
ELSEWHERE = ("root", "folds_file")  # of the data: where they lie; what they are is told by the studies
STUDIES = "studies"


def describe_training(
    stage: str,
    settings: StageSettings,
    data: Mapping[str, Any],
    cases: Sequence[Case],
    validation_cases: Sequence[Case],
    *,
    seed: int,
) -> dict[str, Any]:
    """What the numbers of a training depend on, as JSON.

    Args:
        stage: the network's name.
        settings: all about it.
        data: the configuration's part of that name.
        cases, validation_cases: in their order.
        seed: of initialisation, order and augmentation.
    """
    parts = dataclasses.asdict(settings)
    for name in FREE:
        part, field = name.split(".")
        del parts[part][field]
    described = {
        "data": {name: value for name, value in data.items() if name not in ELSEWHERE},
        stage: {"seed": seed, **parts},
        STUDIES: {
            use: {case.study.case: f"{number} {_digest(case)}" for number, case in enumerate(of)}
            for use, of in (("training", cases), ("validation", validation_cases))
        },
    }
    return json.loads(json.dumps(described))


def _digest(case: Case) -> str:
    """Eight letters of a case's voxels, labels and all else that is trained on."""
    digest = zlib.crc32(repr((case.study.spacing_mm, case.box, case.classes, case.cyclic)).encode())
    for array in (case.study.voxels, case.labels):
        digest = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, digest)
    return f"{digest:08x}"


def require_same_training(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Checks that a training goes on as it began; only at a constant rate may there be more epochs.

    Fields that either version does not know are passed over.

    Raises:
        InputError: naming the first field that differs, and both values.
    """
    old, new = dotted(stored), dotted(now)
    for name in dict.fromkeys([*new, *old]):
        if not (name in old and name in new) and not name.startswith(STUDIES):
            continue
        was, is_ = old.get(name, "missing"), new.get(name, "missing")
        if was == is_:
            continue
        stage, _, field = name.partition(".")
        if field == "train.epochs" and new[f"{stage}.optimiser.schedule"] == "constant" and is_ > was:
            continue
        what = name if name.startswith(STUDIES) else f"config.{name}"
        raise InputError(
            "other-training",
            f"{folder}: the training there began with {what} = {was!r}, not {is_!r}; "
            "give it what it began with, or choose another --workdir",
        )
