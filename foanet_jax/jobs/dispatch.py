"""The jobs of the command line by `--mode`: each hands the options that it reads to the functions that do it."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from foanet_jax.jobs import commandline, options
from foanet_jax.jobs.experiment import checking, evaluating, training
from foanet_jax.jobs.experiment.release import release as release_weights
from foanet_jax.jobs.export import export_model
from foanet_jax.jobs.prediction import predict
from foanet_jax.jobs.sweep.work import sweep
from foanet_jax.pages.report import make_report
from foanet_jax.system import distributed
from foanet_jax.training.weights import default_weights


def run() -> None:
    """Trains, evaluates and reports."""
    train()
    if distributed.is_first():  # It does the rest alone.
        evaluate()


def train() -> None:
    """Trains both networks."""
    with (
        commandline.training_together(options.COORDINATOR.value, options.PROCESSES.value, options.PROCESS.value),
        commandline.ending_in_order("the same command and --resume"),
    ):
        training.train(
            _config(), _workdir(), resume=options.RESUME.value, tensorboard=options.TENSORBOARD.value, command=sys.argv
        )


def evaluate() -> None:
    """Evaluates the networks of a run, or of several, and reports, where there is somebody to test."""
    runs = commandline.folders(options.CHECKPOINT.value or str(_workdir()))
    if evaluating.evaluate(_config(), _workdir(), runs, command=sys.argv) is not None:
        report()


def report() -> None:
    """Writes tables, figures and a page of what the workdir holds."""
    make_report(_workdir())


def train_folds() -> None:
    """Trains and evaluates on all folds; of an ablation every row."""
    mode = options.MODE.value
    with commandline.ending_in_order("the same command"):
        failures = sweep(
            _config(),
            _workdir(f"-{mode}"),
            ablation=mode == "ablate",
            rows=options.ROWS.value,
            folds=commandline.whole_numbers("folds", options.FOLDS.value),
            processes=options.PROCESSES.value,
            command=sys.argv,
        )
    sys.exit(failures > 0)


def check() -> None:
    """Checks the data of an experiment."""
    sys.exit(checking.check(_config(), _workdir()) > 0)


def predict_studies() -> None:
    """Segments files and folders of files."""
    commandline.require("predict", options.INPUT, options.OUTPUT)
    failures = predict(
        commandline.folders(options.CHECKPOINT.value or "") or [default_weights()],
        commandline.inputs(options.INPUT.value or []),
        Path(options.OUTPUT.value or ""),
        third_axis=options.THIRD_AXIS.value,
        overwrite=options.OVERWRITE.value,
        dicom_seg=options.DICOM_SEG.value,
        memory_mb=options.MEMORY_MB.value,
        pages=options.PAGES.value,
        tta=options.TTA.value,
    )
    sys.exit(failures > 0)


def export() -> None:
    """Writes a run's networks so that they run without this project."""
    checkpoint, output = commandline.paths("export", options.CHECKPOINT, options.OUTPUT)
    export_model(checkpoint, output, kind=options.FORMAT.value, overwrite=options.OVERWRITE.value)


def release() -> None:
    """Writes runs as one file of weights."""
    checkpoint, output = commandline.paths("release", options.CHECKPOINT, options.OUTPUT)
    release_weights(
        commandline.folders(str(checkpoint)),
        output,
        dtype=options.WEIGHTS_DTYPE.value,
        licence=options.LICENCE.value,
        citation=options.CITATION.value,
        overwrite=options.OVERWRITE.value,
    )


BY_MODE: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "run": run,
        "train": train,
        "evaluate": evaluate,
        "predict": predict_studies,
        "check": check,
        "cv": train_folds,
        "ablate": train_folds,
        "report": report,
        "export": export,
        "release": release,
    }
)


def _config() -> dict[str, Any]:
    return options.CONFIG.value.to_dict()


def _workdir(ending: str = "") -> Path:
    return Path(options.WORKDIR.value or f"runs/{_config()['name']}{ending}")
