"""The jobs by name: each passes the values of its options to the functions that do the work.

The modules of a job are imported when it runs, so that help and errors in the command do not wait for JAX.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from foanet_jax.jobs import commandline, startup
from foanet_jax.jobs.commandline import Given
from foanet_jax.system.diskspace import require_writable

LOGGER = logging.getLogger(__name__)


def work(given: Given) -> int:
    """Does the job; returns 0, or 1 where a part of it failed."""
    if given.job in ("predict", "measure"):
        from foanet_jax.data.refs import existing

        for name in ("input", "masks", "reference"):
            for path in commandline.inputs(given.values.get(name) or ()):
                existing(path)  # A mistyped path must not wait for JAX and the weights.
    if given.job != "doctor":  # It has to work where JAX does not.
        startup.set_up(deterministic=given.values.get("deterministic", False))
    startup.answer_interrupts()
    return int(BY_JOB[given.job](given) or 0)


def run(given: Given) -> None:
    """Trains, evaluates and reports."""
    from foanet_jax.system import distributed

    train(given)
    if distributed.is_first():  # The first process does the rest alone.
        evaluate(given)


def train(given: Given) -> None:
    """Trains both networks."""
    from foanet_jax.jobs.experiment import training

    with (
        commandline.training_together(given["coordinator"], given["processes"], given["process"]),
        commandline.ending_in_order("the same command and --resume"),
    ):
        LOGGER.info("the folder of this run is %s", _workdir(given))
        training.train(
            _config(given),
            _workdir(given),
            resume=given["resume"],
            tensorboard=given["tensorboard"],
            command=given.command,
        )


def evaluate(given: Given) -> None:
    """Evaluates the networks of one or several runs, and writes the report if there were test patients."""
    from foanet_jax.jobs.experiment import evaluating

    runs = commandline.paths(given["checkpoint"]) or [_workdir(given)]
    spacing = commandline.spacing(given.values.get("spacing_mm", []))  # The job `run` does not have this option.
    summary = evaluating.evaluate(_config(given), _workdir(given), runs, spacing_mm=spacing, command=given.command)
    if summary is not None:
        report(given)


def report(given: Given) -> None:
    """Writes the tables, figures and page for the results in the workdir."""
    from foanet_jax.pages.report import make_report

    make_report(_workdir(given))


def train_folds(given: Given) -> bool:
    """Trains and evaluates on all folds, in an ablation study for every row; returns whether a run failed."""
    from foanet_jax.jobs.sweep.work import sweep

    with commandline.ending_in_order("the same command"):
        failures = sweep(
            _config(given),
            _workdir(given, f"-{given.job}"),
            ablation=given.job == "ablate",
            rows=given.values.get("rows", []),  # Cross-validation has one row.
            folds=commandline.whole_numbers("folds", given["folds"]),
            processes=given["processes"],
            command=given.command,
        )
    return failures > 0


def check(given: Given) -> bool:
    """Checks the data of an experiment; returns whether it found errors."""
    from foanet_jax.jobs.experiment import checking

    return checking.check(_config(given), _workdir(given), spacing_mm=commandline.spacing(given["spacing_mm"])) > 0


def predict(given: Given) -> bool:
    """Segments the studies in files and folders; returns whether a study could not be segmented."""
    output = Path(given["output"])
    note = f"what was segmented is in {output}; give the same command with --overwrite to segment all again"
    with commandline.interruptible(note):
        from foanet_jax.data.dicom.wanted import wanted
        from foanet_jax.jobs import prediction
        from foanet_jax.measures.indices.counting import counting_of
        from foanet_jax.training.weights import default_weights

        failures = prediction.predict(
            commandline.paths(given["checkpoint"]) or [default_weights()],
            commandline.inputs(given["input"]),
            output,
            third_axis=given["third_axis"],
            spacing_mm=commandline.spacing(given["spacing_mm"]),
            dicom=wanted(given["series"], given["repeats"], given["incomplete"]),
            overwrite=given["overwrite"],
            dicom_seg=given["dicom_seg"] or given["dicom_seg_cine"],
            whole_cine=given["dicom_seg_cine"],
            memory_mb=given["memory_mb"],
            pages=given["pages"],
            tta=given["tta"],
            temporal=given["temporal"],
            patients=Path(given["patients"]) if given["patients"] else None,
            formula=given["bsa"],
            convention=given["papillary"],
            counting=counting_of(given["basal"], given["slices"], given["ed"], given["es"]),
        )
    return failures > 0


def measure(given: Given) -> bool:
    """Measures masks, whoever drew them; returns whether a study could not be measured."""
    output = Path(given["output"])
    note = f"what was measured is in {output}; give the same command with --overwrite to measure all again"
    with commandline.interruptible(note):
        from foanet_jax.data.dicom.wanted import wanted
        from foanet_jax.jobs.studies import measurement
        from foanet_jax.measures.indices.counting import ALL, counting_of

        failures = measurement.measure(
            commandline.inputs(given["input"]),
            commandline.inputs(given["masks"]),
            output,
            reference=commandline.inputs(given["reference"] or ()) or None,
            labels=given["labels"],
            third_axis=given["third_axis"],
            spacing_mm=commandline.spacing(given["spacing_mm"]),
            dicom=wanted(given["series"], given["repeats"], given["incomplete"]),
            overwrite=given["overwrite"],
            pages=given["pages"],
            for_training=given["training_set"],
            command=given.command,
            patients=Path(given["patients"]) if given["patients"] else None,
            formula=given["bsa"],
            convention=given["papillary"] or "",
            counting=counting_of(ALL, given["slices"], given["ed"], given["es"]),
        )
    return failures > 0


def export(given: Given) -> None:
    """Writes the networks of a run, so that they can be used without this package."""
    from foanet_jax.jobs.export import export_model

    export_model(Path(given["checkpoint"]), Path(given["output"]), kind=given["format"], overwrite=given["overwrite"])


def release(given: Given) -> None:
    """Writes runs as one file of weights."""
    from foanet_jax.jobs.experiment.release import release as release_weights

    release_weights(
        commandline.paths(given["checkpoint"]),
        Path(given["output"]),
        dtype=given["weights_dtype"],
        licence=given["licence"],
        citation=given["citation"],
        overwrite=given["overwrite"],
    )


def doctor(given: Given) -> None:
    """Prints what a bug report needs."""
    from foanet_jax.jobs.doctor import report_installation

    LOGGER.info("%s", report_installation())


BY_JOB: Mapping[str, Callable[[Given], bool | None]] = MappingProxyType(
    {
        "predict": predict,
        "measure": measure,
        "check": check,
        "run": run,
        "train": train,
        "evaluate": evaluate,
        "cv": train_folds,
        "ablate": train_folds,
        "report": report,
        "export": export,
        "release": release,
        "doctor": doctor,
    }
)


def _config(given: Given) -> dict[str, Any]:
    assert given.config is not None  # `commandline.read` has required it.
    return given.config


def _workdir(given: Given, ending: str = "") -> Path:
    folder = Path(given["workdir"] or f"runs/{_config(given)['name']}{ending}")
    require_writable(folder, "--workdir")
    return folder
