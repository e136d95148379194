"""The job `release`: writes runs to one weights file."""

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
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.weights import Member, Weights, is_weights, read_weights, write_weights

LOGGER = logging.getLogger(__name__)
KEPT = ("stage", "classes", "slice_axis", "training_range", "config")  # entries of the description that are released


def release(
    checkpoint: Runs,
    output: Path,
    *,
    dtype: str = "float32",
    licence: str = "",
    citation: str = "",
    overwrite: bool = False,
) -> None:
    """Writes the best networks of a run, or of several runs that form an ensemble, to one weights file.

    The file holds everything that a prediction needs, and the ids of the training patients. It holds no paths of this
    machine.

    Args:
        checkpoint: workdirs, folders of sweeps or weights files, as for `find_runs`.
        output: the file, with the suffix .safetensors.
        dtype: "float32" or "float16". With "float32", the file predicts the same masks as the run. With "float16", the
            file has half the size.
        licence, citation: information for the users of the file.
        overwrite: replace an existing file.

    Raises:
        InputError: there are no checkpoints; the runs cannot form an ensemble; the output is a file of a run (also with
            `overwrite`); or the file exists and `overwrite` is false.
    """
    runs = find_runs(checkpoint)
    require_no_input([output], identities(files_below(runs, but=[output])), "choose another --output")
    if output.exists() and not overwrite:
        raise InputError("output-exists", f"{output}: already exists; pass --overwrite or another --output")
    load_model(runs)  # This checks that the runs can form an ensemble.
    weights = Weights(tuple(member for run in runs for member in _members(run)), licence, citation)
    if any(member.calibration is None for member in weights.members):
        LOGGER.warning(
            "the run is not calibrated, so that predictions have no expected Dice; evaluate the run to calibrate it"
        )
    if any("training_range" not in member.stages["segmentation"].description for member in weights.members):
        LOGGER.warning(
            "predictions will not detect images that differ from the training images: the version that trained this "
            "run did not save their range"
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
        network: dataclasses.replace(checkpoint, description=_without_paths(checkpoint.description))
        for network, checkpoint in stored.items()
    }
    return (Member(stages, fold, tuple(sorted(seen)), read_calibration(run)),)


def _without_paths(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a description that a prediction needs, without any folders."""
    kept = {name: copy.deepcopy(description[name]) for name in KEPT if name in description}
    kept["slice_axis"] = describe_run(description).slice_axis
    config = kept["config"] = {name: value for name, value in kept["config"].items() if name not in ("rows", "table")}
    config["data"] |= {"root": "", "folds_file": ""}
    for network in NETWORKS:
        if train := config[network].get("train"):
            train["pretrained"] = Path(train["pretrained"]).name
    return kept
