"""The job `release`: runs as one weights file."""

import copy
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foanet_jax.jobs.experiment.model import (
    Runs,
    describe_run,
    find_runs,
    load_model,
    read_checkpoints,
    seen_patients,
)
from foanet_jax.measures.quality.calibration import read_calibration
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import files_below, identities, require_no_input
from foanet_jax.training.spec import STAGES
from foanet_jax.training.weights import Member, Weights, is_weights, read_weights, write_weights

LOGGER = logging.getLogger(__name__)
TOLD = ("stage", "classes", "slice_axis", "training_range", "config")  # of a checkpoint's description


def release(
    checkpoint: Runs,
    output: Path,
    *,
    dtype: str = "float32",
    licence: str = "",
    citation: str = "",
    overwrite: bool = False,
) -> None:
    """Writes the best networks of a run, or of several that predict together, as one weights file.

    The file holds what a prediction needs and the ids of the patients that the runs were trained with. It holds no path
    of this machine.

    Args:
        checkpoint: the runs; see `find_runs`.
        output: the file, which ends in .safetensors.
        dtype: "float32", which predicts the same masks, or "float16", which is half as large.
        licence, citation: what people who use the file should know.
        overwrite: replace a file that is there.

    Raises:
        InputError: no checkpoint, runs that cannot predict together, an output that is a file of a run (also with
            `overwrite`), or a file that is there without `overwrite`.
    """
    runs = find_runs(checkpoint)
    require_no_input([output], identities(files_below(runs, but=[output])), "choose another --output")
    if output.exists() and not overwrite:
        raise InputError("output-exists", f"{output}: exists; pass --overwrite or another --output")
    load_model(runs)  # This checks that they can predict together.
    weights = Weights(tuple(member for run in runs for member in _members(run)), licence, citation)
    if any(member.calibration is None for member in weights.members):
        LOGGER.warning("not calibrated: predictions will have no expected Dice; evaluate the run to calibrate it")
    if any("training_range" not in member.stages["segmentation"].description for member in weights.members):
        LOGGER.warning(
            "predictions cannot flag images unlike the training images: the version that trained this run kept no range"
        )
    size = write_weights(weights, output, dtype=dtype)
    LOGGER.info("%s: %.2f MB as %s: %s", output, size / 1e6, dtype, weights.describe())


def _members(run: Path) -> tuple[Member, ...]:
    if is_weights(run):
        return read_weights(run).members
    (stored,) = read_checkpoints(run)
    config = stored["segmentation"].description["config"]
    ((fold, seen),) = seen_patients(run) or [(config["data"]["fold"], set())]
    stages = {
        stage: dataclasses.replace(checkpoint, description=_without_paths(checkpoint.description))
        for stage, checkpoint in stored.items()
    }
    return (Member(stages, fold, tuple(sorted(seen)), read_calibration(run)),)


def _without_paths(description: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a description that a prediction needs, with file names instead of paths."""
    told = {name: copy.deepcopy(description[name]) for name in TOLD if name in description}
    told["slice_axis"] = describe_run(description).slice_axis
    config = told["config"] = {name: value for name, value in told["config"].items() if name not in ("rows", "table")}
    config["data"] |= {"root": "", "folds_file": ""}
    for stage in STAGES:
        if train := config[stage].get("train"):
            train["pretrained"] = Path(train["pretrained"]).name
    return told
