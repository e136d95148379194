"""The jobs of `run.py` that have a configuration: check, train and evaluate."""

import json
import logging
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from foanet_jax.atomic import atomic_path
from foanet_jax.check import check_data_set, draw_check, format_check, write_check
from foanet_jax.data import phantoms
from foanet_jax.data.catalogue import described_slice_axis, open_catalogue
from foanet_jax.data.folds import Folds, load_folds, make_folds, save_folds
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study, require_contrast
from foanet_jax.drawing import draw_foa_steps, draw_overlay, draw_summary, draw_temporal_like
from foanet_jax.errors import InputError
from foanet_jax.evaluation import Summary, format_table, summarise, write_scores
from foanet_jax.image.boxes import crop
from foanet_jax.image.foa import foa_weights
from foanet_jax.image.stack import neighbours, temporal_like
from foanet_jax.metrics import score_case
from foanet_jax.network import init_network
from foanet_jax.pipeline import MEMORY_BYTES, Model, Network, Prediction, predict_study
from foanet_jax.settings import stage_settings
from foanet_jax.training.checkpoint import open_checkpoints
from foanet_jax.training.examples import Case, object_case, segmentation_case
from foanet_jax.training.loop import train_network

LOGGER = logging.getLogger(__name__)
STAGES = ("localization", "segmentation")
FOLDS = "folds.json"
Config = Mapping[str, Any]


def list_studies(config: Config, problems: list[str] | None = None) -> list[StudyRef]:
    """The studies of the configured data set, the first `data.patients` patients of it (0: all).

    Args:
        config: the configuration.
        problems: where given, problems of single files are added here instead of raised, and images without labels
            are listed as well.
    """
    data = config["data"]
    name, seed = data["name"], config["seed"]
    phantom = data["phantom"]
    if name == "phantom":
        return phantoms.list_short_axis_phantom(
            data["patients"], size=phantom["size"], frames=phantom["frames"], seed=seed
        )
    if name == "phantom_stack":
        return phantoms.list_stack_phantom(data["patients"], size=phantom["size"], seed=seed)
    if name == "phantom_whole_heart":
        return phantoms.list_whole_heart_phantom(data["patients"], shape=tuple(phantom["shape"]), seed=seed)
    if not data["root"]:
        raise InputError("missing-root", f"data.root is empty; pass --config.data.root=DIR, the folder of {name}")
    options: dict[str, Any] = {"slice_axis": data["slice_axis"]} if name == "mmwhs2017" else {}
    if problems is not None and name == "folder":
        options["unlabelled"] = True
    refs = open_catalogue(name, data["root"], problems=problems, **options)
    patients = list(dict.fromkeys(ref.patient for ref in refs))
    chosen = set(patients[: data["patients"]] if data["patients"] else patients)
    return [ref for ref in refs if ref.patient in chosen]


def check(config: Config, workdir: Path) -> int:
    """Reads the whole data set and reports all that is wrong or odd with it; returns how many errors there are.

    Leaves in `workdir/check`: check.json, check.md and check.png. Nothing is written where nothing could be listed.
    """
    report = check_data_set(lambda problems: list_studies(config, problems), name=config["data"]["name"])
    LOGGER.info("\n%s\n", format_check(report))
    if report.patients:
        folder = workdir / "check"
        write_check(report, folder)
        draw_check(report, folder / "check.png")
        LOGGER.info("the report and a picture of the data set are in %s", folder)
    return report.count("error")


def slice_axis_of(config: Config) -> str | None:
    """The axis of the world that the configured data set is reoriented to and sliced along; None: as files have it."""
    data = config["data"]
    if data["name"] == "mmwhs2017":
        return data["slice_axis"]
    return described_slice_axis(data["name"], data["root"])


def open_folds(config: Config, refs: Sequence[StudyRef], *places: Path) -> Folds:
    """The data set's folds: from `data.folds_file`, else from the first `folds.json` in `places`, else made anew.

    Raises:
        InputError: a file that does not fit the data set, or a fold that there is not.
    """
    data = config["data"]
    saved = [place / FOLDS for place in places if (place / FOLDS).exists()]
    if data["folds_file"] or saved:
        folds = load_folds(data["folds_file"] or saved[0], refs)
    else:
        folds = make_folds(
            refs, count=data["folds"], seed=config["seed"], validation_fraction=data["validation_fraction"]
        )
    if not 0 <= data["fold"] < len(folds.folds):
        raise InputError("folds", f"data.fold is {data['fold']}; there are folds 0 to {len(folds.folds) - 1}")
    return folds


def load_studies(refs: Sequence[StudyRef], patients: Sequence[str], what: str) -> list[Study]:
    """The studies of some patients.

    Raises:
        InputError: naming every study that cannot be used, not only the first.
    """
    studies, problems = [], []
    wanted = [ref for ref in refs if ref.patient in set(patients)]
    for ref in tqdm(wanted, desc=f"reading {what}", unit="study", mininterval=1):
        try:
            study = ref.load()
            require_contrast(study)
            studies.append(study)
        except InputError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise InputError(problems[0].code, f"{len(problems)} of {len(wanted)} studies cannot be used:\n{listed}")
    return studies


def _cases(studies: Sequence[Study], stage: str, config: Config) -> list[Case]:
    cyclic = config["data"]["cyclic"]
    if stage == "localization":
        return [object_case(study, cyclic=cyclic) for study in studies]
    margin = config["localization"]["margin_px"] if config["localization"]["enabled"] else None
    return [segmentation_case(study, cyclic=cyclic, margin_px=margin) for study in studies]


def train(config: Config, workdir: Path, *, resume: bool, tensorboard: bool, command: Sequence[str]) -> None:
    """Trains the localization network, where the configuration has one, then the segmentation network.

    Leaves in `workdir`: `run.json`, `folds.json`, and a folder for each network.
    """
    stages = [stage for stage in STAGES if stage == "segmentation" or config["localization"]["enabled"]]
    for stage in stages:
        stage_settings(config, stage, classes=2)  # Every setting is checked before the first file is written.
    budget = memory_bytes(config)
    refs = list_studies(config)
    folds = open_folds(config, refs, workdir)
    fold = folds.folds[config["data"]["fold"]]
    training = load_studies(refs, fold.train, "training studies")
    validation = load_studies(refs, fold.validation, "validation studies")
    workdir.mkdir(parents=True, exist_ok=True)
    save_folds(folds, workdir / FOLDS)
    save_run(config, workdir, command)
    classes = training[0].classes
    for stage in stages:
        train_network(
            stage,
            _cases(training, stage, config),
            _cases(validation, stage, config),
            stage_settings(config, stage, classes=2 if stage == "localization" else len(classes)),
            workdir / stage,
            description={
                "stage": stage,
                "classes": list(classes),
                "slice_axis": slice_axis_of(config),
                "config": dict(config),
            },
            seed=config["seed"] + STAGES.index(stage),
            memory_bytes=budget,
            resume=resume,
            tensorboard=tensorboard,
        )


def load_model(run: Path, *, which: str = "best") -> Model:
    """Both networks of a run, from its checkpoints alone.

    Args:
        run: the workdir of a training.
        which: "best" by validation Dice, or "last".

    Raises:
        InputError: there are no checkpoints.
    """
    _require_choice("evaluation.checkpoint", which, ("best", "last"))
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


def _require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError("configuration", f"config.{name} is {value!r}; choose {' or '.join(choices)}")


def evaluate(config: Config, workdir: Path, run: Path) -> Summary:
    """Segments a fold's test patients, or all of a data set's, with a run's checkpoint: scores, table, pictures.

    Leaves in `workdir/evaluation`: scores.csv, patients.csv, summary.json, table.md, boxplots.png, one overlay
    a study, and the steps of the method on the first study.
    """
    options, budget = config["evaluation"], memory_bytes(config)
    _require_choice("evaluation.patients", options["patients"], ("test", "all"))
    model = load_model(run, which=options["checkpoint"])
    refs = list_studies(config)
    if options["patients"] == "all":
        patients = [ref.patient for ref in refs]
    else:
        patients = list(open_folds(config, refs, workdir, run).folds[config["data"]["fold"]].test)
    studies = load_studies(refs, patients, "test studies")
    folder = workdir / "evaluation"
    scores, flagged = [], {}
    overlays = {study.case for study in studies[: options["overlays"]]}
    for study in tqdm(studies, desc="evaluating", unit="study", mininterval=1):
        if study.classes != model.classes:
            raise InputError(
                "classes", f"{study.name}: classes {study.classes}, but the checkpoint knows {model.classes}"
            )
        prediction = predict_study(study, model, memory_bytes=budget)
        flagged[study.case] = list(prediction.flags)
        scores += score_case(
            prediction.mask,
            study.labels,
            spacing_mm=study.spacing_mm,
            classes=study.classes,
            patient=study.patient,
            case=study.case,
            pooled=options["pooled_hd95"],
            exclude_empty=options["exclude_empty"],
        )
        if study.case in overlays:
            draw_prediction(study, prediction, folder / "overlays" / f"{study.case}.png")
        if study is studies[0]:
            draw_method(study, prediction, model, folder)
    summary = summarise(scores)
    write_scores(scores, summary, folder)
    draw_summary(scores, folder / "boxplots.png")
    write_text(folder / "table.md", format_table(summary, markdown=True) + "\n")
    write_text(folder / "flags.json", json.dumps(flagged, indent=1) + "\n")
    LOGGER.info("\n%s\n", format_table(summary))
    for case, flags in flagged.items():
        for flag in flags:
            LOGGER.warning("%s: %s", case, flag)
    LOGGER.info("scores, table and pictures are in %s", folder)
    return summary


def memory_bytes(config: Config) -> int:
    """What a forward pass of prediction and validation may take.

    Raises:
        InputError: the configuration says less than 1 MiB.
    """
    # Checkpoints of older versions do not tell it.
    memory_mb = config["prediction"].get("memory_mb", MEMORY_BYTES // 2**20)
    if memory_mb < 1:
        raise InputError("configuration", f"prediction.memory_mb is {memory_mb}; it must be at least 1")
    return memory_mb * 2**20


def draw_prediction(study: Study, prediction: Prediction, path: Path) -> None:
    """An overlay of a study's prediction, with its truth where there is one."""
    draw_overlay(
        study.voxels,
        prediction.mask,
        study.labels,
        spacing_mm=study.spacing_mm,
        classes=study.classes,
        boxes=[prediction.object_box, prediction.box] if prediction.object_box is not None else None,
        title=study.case,
        path=path,
    )


def draw_method(study: Study, prediction: Prediction, model: Model, folder: Path) -> None:
    """The method's steps on a study's middle slice: focus of attention (Fig. 3) and temporal-like images (Fig. 4)."""
    frames, slices, *shape = study.voxels.shape
    planes = study.voxels.reshape(-1, *shape)
    middle = planes[len(planes) // 2]
    box = prediction.box
    cropped = crop(middle, box)
    centre = ((box.shape[0] - 1) / 2, (box.shape[1] - 1) / 2)
    delta = model.segmentation.prepare.delta_ratio * sum(box.shape) / 2
    weights = np.asarray(foa_weights(box.shape, centre, delta))
    draw_foa_steps(
        middle, box, cropped, weights, cropped * weights, path=folder / "focus_of_attention.png", title=study.case
    )
    stack = temporal_like(crop(planes, box), neighbours(frames, slices, cyclic=model.cyclic))
    draw_temporal_like(stack, path=folder / "temporal_like.png", title=study.case)


def save_run(config: Config, workdir: Path, command: Sequence[str]) -> None:
    """Writes `run.json`: configuration, command line, versions, devices and commit."""
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "nibabel")
    record = {
        "config": dict(config),
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "devices": [str(device) for device in jax.devices()],
        "platform": platform.platform(),
        "commit": _commit(),
    }
    write_text(workdir / "run.json", json.dumps(record, indent=1) + "\n")


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except OSError:
        return None
    return found.stdout.strip() or None


def write_text(path: Path, text: str) -> None:
    """Writes a text whole or not at all, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
