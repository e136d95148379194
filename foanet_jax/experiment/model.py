"""The networks of one or several runs, from their checkpoints."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from foanet_jax.data.folds import FOLDS
from foanet_jax.data.orientation import SliceAxis
from foanet_jax.devices import everywhere
from foanet_jax.errors import InputError
from foanet_jax.experiment.description import readable, require_description
from foanet_jax.experiment.options import memory_bytes, require_choice, test_time_augmentation
from foanet_jax.experiment.studies import slice_axis_of
from foanet_jax.network import init_network
from foanet_jax.pipeline import Model, Network
from foanet_jax.settings import STAGES, stage_settings, stages_of
from foanet_jax.training.checkpoint import FOLDER, Which, open_checkpoints

LOGGER = logging.getLogger(__name__)
Runs = Path | Sequence[Path]


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What a prediction takes from a run besides its networks.

    Attributes:
        memory_bytes: what a forward pass may take.
        tta: test-time augmentation.
        slice_axis: axis of the world along which NIfTI volumes are sliced; None: as they are.
    """

    memory_bytes: int
    tta: str
    slice_axis: SliceAxis | None


def describe_run(description: Mapping[str, Any]) -> RunFacts:
    """What the description of a run's checkpoint tells of how it reads studies."""
    config = description["config"]
    # Checkpoints of older versions do not tell it.
    slice_axis: Any = description["slice_axis"] if "slice_axis" in description else slice_axis_of(config)
    return RunFacts(memory_bytes(config), test_time_augmentation(config), slice_axis)


def find_runs(folders: Runs) -> list[Path]:
    """The runs in folders: a training's workdir is one; a sweep's row, or a sweep of one row, those of its folds.

    Raises:
        InputError: a sweep of several rows.
    """
    named = [folders] if isinstance(folders, Path) else list(folders)
    return [run for folder in named for run in _runs_below(folder)]


def _runs_below(folder: Path) -> list[Path]:
    rows = sorted(path for path in (folder / "rows").glob("*") if path.is_dir())
    if len(rows) > 1:
        raise InputError(
            "checkpoint", f"{folder}: a sweep of {len(rows)} rows; name one of them, such as --checkpoint={rows[0]}"
        )
    place = rows[0] if rows else folder
    folds = sorted(path.parents[1] for path in place.glob(f"fold*/segmentation/{FOLDER}"))
    return folds or [folder]


def load_model(folders: Runs, *, which: Which = "best") -> Model:
    """The networks of a run, or of several that predict together, from their checkpoints alone.

    Args:
        folders: what `find_runs` takes.
        which: "best" by validation Dice, or "last".

    Raises:
        InputError: there are no checkpoints, all of them are damaged or not of this program, or the runs do not go
            together; a checkpoint that is damaged is passed over.
    """
    require_choice("evaluation.checkpoint", which, ("best", "last"))
    runs = find_runs(folders)
    networks: dict[str, list[Network]] = {stage: [] for stage in STAGES}
    descriptions = []
    for run in runs:
        segmentation, description = _load_network(run, "segmentation", which)
        networks["segmentation"].append(segmentation)
        descriptions.append(description)
        if description["config"]["localization"]["enabled"]:
            networks["localization"].append(_load_network(run, "localization", which)[0])
    _require_alike(runs, descriptions)
    config = descriptions[0]["config"]
    return Model(
        classes=tuple(descriptions[0]["classes"]),
        localization=tuple(networks["localization"]),
        segmentation=tuple(networks["segmentation"]),
        margin_px=config["localization"]["margin_px"],
        cyclic=config["data"]["cyclic"],
    )


def _require_alike(runs: Sequence[Path], descriptions: Sequence[Mapping[str, Any]]) -> None:
    """Checks that the networks of several runs can be averaged.

    Raises:
        InputError: naming what differs, and in which runs.
    """

    def shared(description: Mapping[str, Any]) -> dict[str, Any]:
        config = description["config"]
        grids = {
            f"{stage}.prepare.{field}": config[stage]["prepare"][field]
            for stage in stages_of(config)
            for field in ("spacing_mm", "bucket")
        }
        return {
            "classes": tuple(description["classes"]),
            "slice axis": description.get("slice_axis"),
            "localization.enabled": config["localization"]["enabled"],
            "localization.margin_px": config["localization"]["margin_px"],
            "data.cyclic": config["data"]["cyclic"],
            **grids,
        }

    first = shared(descriptions[0])
    for run, description in zip(runs[1:], descriptions[1:], strict=True):
        for name, value in shared(description).items():
            if value != first[name]:
                raise InputError(
                    "ensemble",
                    f"{run}: {name} is {value}, but {first[name]} in {runs[0]}; choose runs that are alike in it",
                )


def require_unseen(runs: Sequence[Path], patients: Sequence[str]) -> None:
    """Checks that no run was trained, or its best checkpoint chosen, on the patients that are to be its test.

    Raises:
        InputError: one was, with the patient.
    """
    for run in runs:
        if not ((run / FOLDS).exists() and (run / "run.json").exists()):
            continue
        number = json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]["data"]["fold"]
        fold = json.loads((run / FOLDS).read_text(encoding="utf-8"))["folds"][number]
        seen = sorted({*fold["train"], *fold["validation"]} & set(patients))
        if seen:
            raise InputError(
                "seen-patients",
                f"{run}: was trained with {len(seen)} of the test patients ({seen[0]} …); choose its own fold with "
                f"--config.data.fold={number}, runs that share their fold, or other data with evaluation.patients=all",
            )


def load_description(run: Path, *, which: Which = "best") -> dict[str, Any]:
    """What the segmentation network's checkpoint says of its training.

    Raises:
        InputError: there are no checkpoints, or all of them are damaged.
    """
    place = run / "segmentation"
    with readable(place), open_checkpoints(place, write=False) as checkpoints:
        description = checkpoints.description(which)
    require_description(description, place)
    return description


def _load_network(run: Path, stage: str, which: Which) -> tuple[Network, dict[str, Any]]:
    place = run / stage
    with readable(place), open_checkpoints(place, write=False) as checkpoints:
        found = checkpoints.read(which)
        description = found.description
        require_description(description, place)
        classes = 2 if stage == "localization" else len(description["classes"])
        settings = stage_settings(description["config"], stage, classes=classes)
        shapes = jax.eval_shape(lambda: init_network(jax.random.key(0), settings.network))
        variables = everywhere(found.variables(shapes))
    LOGGER.info("%s: checkpoint after step %d, epoch %d (%s)", place, found.step, found.epoch, which)
    return Network(settings.network, settings.prepare, variables), description
