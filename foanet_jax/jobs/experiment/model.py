"""Loading of the networks of one or several runs, from checkpoints or from weights files."""

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from foanet_jax.data.folds import FOLDS
from foanet_jax.data.nifti.orientation import SliceAxis
from foanet_jax.jobs.experiment.description import readable, require_description
from foanet_jax.jobs.experiment.options import memory_bytes, require_choice, temporal_averaging, test_time_augmentation
from foanet_jax.jobs.experiment.studies import slice_axis_of
from foanet_jax.network import NetworkSpec, init_network, on_this_device
from foanet_jax.pipeline import Model, Network
from foanet_jax.settings import box_settings, network_settings, networks_of
from foanet_jax.system.determinism import single_precision
from foanet_jax.system.devices import everywhere
from foanet_jax.system.errors import InputError, printable
from foanet_jax.training.checkpoint import FOLDER, WHICH, Checkpoint, Which, open_checkpoints
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.weights import Weights, is_weights, read_weights

LOGGER = logging.getLogger(__name__)
Runs = Path | Sequence[Path]
# What the labels of a data set count papillary muscles to (ACDC: Bernard et al. 2018).
CONVENTIONS = {"acdc": "cavity"}


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """The settings of a run that a prediction needs in addition to the networks.

    Attributes:
        memory_bytes: memory limit of a forward pass.
        tta: test-time augmentation, see `pipeline.probability_maps`.
        temporal: what is done with the maps of a cine, see `pipeline.Model`.
        slice_axis: world axis along which NIfTI volumes are sliced; None: the third axis of the file.
        convention: what the masks count papillary muscles to, "cavity" or "myocardium"; "" if it is not known.
    """

    memory_bytes: int
    tta: str
    temporal: str
    slice_axis: SliceAxis | None
    convention: str = ""


def describe_run(description: Mapping[str, Any]) -> RunFacts:
    """Returns the settings for predictions from the description of a run's checkpoint."""
    config = description["config"]
    # Checkpoints of older versions do not have this entry.
    slice_axis: Any = description["slice_axis"] if "slice_axis" in description else slice_axis_of(config)
    convention = CONVENTIONS.get(str(config.get("data", {}).get("name", "")), "")
    return RunFacts(
        memory_bytes(config), test_time_augmentation(config), temporal_averaging(config), slice_axis, convention
    )


def find_runs(folders: Runs) -> list[Path]:
    """Finds the runs in folders.

    The workdir of a training is one run. A row of a sweep, or a sweep with a single row, contains one run per fold. A
    weights file is returned unchanged.

    Args:
        folders: workdirs, folders of sweeps and weights files.

    Raises:
        InputError: a folder is a sweep with several rows.
    """
    named = [folders] if isinstance(folders, Path) else list(folders)
    return [run for folder in named for run in _runs_below(folder)]


def _runs_below(folder: Path) -> list[Path]:
    if is_weights(folder):
        return [folder]
    rows = sorted(path for path in (folder / "rows").glob("*") if path.is_dir())
    if len(rows) > 1:
        raise InputError(
            "checkpoint",
            f"{folder}: is a sweep with {len(rows)} rows; choose one of them, such as --checkpoint={rows[0]}",
        )
    place = rows[0] if rows else folder
    folds = sorted(path.parents[1] for path in place.glob(f"fold*/segmentation/{FOLDER}"))
    return folds or [folder]


@single_precision()
def load_model(folders: Runs, *, which: Which = "best") -> Model:
    """Loads the networks of a run, or of several runs as an ensemble. It needs only the checkpoints.

    A damaged checkpoint is skipped if there is another one.

    Args:
        folders: workdirs, folders of sweeps and weights files, as for `find_runs`.
        which: "best" by validation Dice, or "last".

    Raises:
        InputError: there are no checkpoints; all of them are damaged or from another program; or the runs cannot form
            an ensemble.
    """
    require_choice("evaluation.checkpoint", which, WHICH)
    networks: dict[str, list[Network]] = {network: [] for network in NETWORKS}
    places, descriptions = [], []
    for run in find_runs(folders):
        for stored in read_checkpoints(run, which=which):
            places.append(run)
            descriptions.append(stored["segmentation"].description)
            for network, checkpoint in stored.items():
                networks[network].append(_network(network, checkpoint))
    _require_alike(places, descriptions)
    config = descriptions[0]["config"]
    box = box_settings(config)
    return Model(
        classes=tuple(descriptions[0]["classes"]),
        localization=tuple(networks["localization"]),
        segmentation=tuple(networks["segmentation"]),
        margin_px=box.margin_px,
        cyclic=config["data"]["cyclic"],
        passes=box.passes,
        temporal=temporal_averaging(config),
    )


def _require_alike(runs: Sequence[Path], descriptions: Sequence[Mapping[str, Any]]) -> None:
    """Checks that the predictions of several runs can be averaged.

    Raises:
        InputError: a setting differs; the message names it and the runs.
    """

    def shared(description: Mapping[str, Any]) -> dict[str, Any]:
        config = description["config"]
        grids = {
            f"{network}.prepare.{field}": config[network]["prepare"][field]
            for network in networks_of(config)
            for field in ("spacing_mm", "bucket")
        }
        return {
            "classes": tuple(description["classes"]),
            "slice axis": description.get("slice_axis"),
            "localization.enabled": config["localization"]["enabled"],
            **{f"localization.{name}": value for name, value in dataclasses.asdict(box_settings(config)).items()},
            "data.cyclic": config["data"]["cyclic"],
            **grids,
        }

    first = shared(descriptions[0])
    for run, description in zip(runs[1:], descriptions[1:], strict=True):
        for name, value in shared(description).items():
            if value != first[name]:
                raise InputError(
                    "ensemble",
                    f"{run}: {name} is {value}, but {first[name]} in {runs[0]}; choose runs that have the same value",
                )


def require_unseen(runs: Sequence[Path], patients: Sequence[str]) -> None:
    """Checks that no run was trained or validated with its test patients.

    Args:
        runs: workdirs and weights files.
        patients: the test patients.

    Raises:
        InputError: a run has seen a test patient; the message names both.
    """
    for run in runs:
        for number, known in seen_patients(run):
            if seen := sorted(known & set(patients)):
                raise InputError(
                    "seen-patients",
                    f"{run}: was trained with {len(seen)} of the test patients ({seen[0]} …); use the fold of the run, "
                    f"--config.data.fold={number}, runs of the same fold, or other data with evaluation.patients=all",
                )


def seen_patients(run: Path) -> list[tuple[int, set[str]]]:
    """Returns the fold of each run and the patients of its training and validation sets.

    The list is empty if the folder does not have this information.
    """
    if is_weights(run):
        return [(member.fold, set(member.seen)) for member in read_weights(run).members]
    if not ((run / FOLDS).exists() and (run / "run.json").exists()):
        return []
    number = json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]["data"]["fold"]
    fold = json.loads((run / FOLDS).read_text(encoding="utf-8"))["folds"][number]
    return [(number, {*fold["train"], *fold["validation"]})]


def load_description(run: Path, *, which: Which = "best") -> dict[str, Any]:
    """Reads the description in the checkpoint of a run's segmentation network.

    Args:
        run: the workdir of a training, or a weights file, whose first run is used.
        which: "best" or "last".

    Raises:
        InputError: there are no checkpoints, or all of them are damaged.
    """
    if is_weights(run):
        return _weights(run, which).members[0].stages["segmentation"].description
    place = run / "segmentation"
    with readable(place), open_checkpoints(place, write=False) as checkpoints:
        description = checkpoints.description(which)
    require_description(description, place)
    return description


def read_checkpoints(run: Path, *, which: Which = "best") -> list[dict[str, Checkpoint]]:
    """Reads the checkpoints of the networks of a run: one dictionary per run, with the network's name as key.

    Args:
        run: the workdir of a training, or a weights file.
        which: "best" or "last"; a weights file has only the best checkpoint.

    Raises:
        InputError: as for `load_model`; or the last checkpoint of a weights file was requested.
    """
    if not is_weights(run):
        segmentation = _read(run / "segmentation", which)
        others = [network for network in networks_of(segmentation.description["config"]) if network != "segmentation"]
        return [{**{network: _read(run / network, which) for network in others}, "segmentation": segmentation}]
    weights = _weights(run, which)
    LOGGER.info("%s: %s", run, printable(weights.describe()))
    return [dict(member.stages) for member in weights.members]


def describe_source(run: Path) -> str:
    """Describes the source of networks for records: the folder of a run, or a weights file and its content."""
    return f"{run.name} ({printable(read_weights(run).describe())})" if is_weights(run) else str(run)


def _weights(path: Path, which: Which) -> Weights:
    """Reads a weights file and checks that its descriptions match its networks."""
    if which != "best":
        raise InputError(
            "checkpoint", f"{path}: a weights file has no {which} checkpoints; leave out evaluation.checkpoint"
        )
    weights = read_weights(path)
    for member in weights.members:
        for checkpoint in member.stages.values():
            require_description(checkpoint.description, path)
        if set(member.stages) != set(networks_of(member.stages["segmentation"].description["config"])):
            raise InputError(
                "damaged-weights", f"{path}: its networks do not match its configuration; copy the file again"
            )
    return weights


def _read(place: Path, which: Which) -> Checkpoint:
    with readable(place), open_checkpoints(place, write=False) as checkpoints:
        found = checkpoints.read(which)
        require_description(found.description, place)
    LOGGER.info("%s: checkpoint after step %d, epoch %d (%s)", place, found.step, found.epoch, which)
    return found


def _network(network: str, stored: Checkpoint) -> Network:
    with readable(stored.folder):
        classes = 2 if network == "localization" else len(stored.description["classes"])
        settings = network_settings(stored.description["config"], network, classes=classes)
        variables = everywhere(stored.variables(_shapes(settings.network)))
    return Network(on_this_device(settings.network), settings.prepare, variables)


@functools.cache
def _shapes(spec: NetworkSpec) -> Any:
    """Returns the shapes and dtypes of a network's variables.

    The result is cached, because tracing is slow, and the runs of an ensemble often have the same network.
    """
    return jax.eval_shape(lambda: init_network(jax.random.key(0), spec))
