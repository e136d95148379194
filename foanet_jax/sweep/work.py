"""The runs of a sweep, done one after the other in this process, or by several processes."""

import json
import logging
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import jax

from foanet_jax.data.folds import FOLDS, save_folds
from foanet_jax.data.refs import StudyRef, kept_in_memory
from foanet_jax.errors import InputError
from foanet_jax.experiment import Config, evaluate, list_studies, open_folds, train, write_text
from foanet_jax.report import make_report
from foanet_jax.sweep.locks import locked
from foanet_jax.sweep.plan import Job, Plan, localization_digest, plan_ablation, plan_cross_validation, save_plan
from foanet_jax.sweep.processes import devices_at_hand, run_in_processes
from foanet_jax.sweep.results import DONE, FAILED, read_sweep, run_folder

LOGGER = logging.getLogger(__name__)
LOCALIZATION = "localization"


def sweep(
    config: Config,
    folder: Path,
    *,
    ablation: bool,
    rows: Sequence[str] = (),
    folds: Sequence[int] = (),
    processes: int = 0,
    command: Sequence[str],
) -> int:
    """Runs the experiment, or all rows of its table, on all folds; returns how many runs failed.

    What is finished is not done again, and what was begun goes on from its last checkpoint, so that the same command
    may be given any number of times, and on several machines that share the folder. A run that fails is told and
    the rest go on. Once nothing is missing the report is made.

    Args:
        config: of the experiment.
        folder: of the sweep; see `sweep.results` for what is in it.
        ablation: all rows of the table, not only the experiment itself.
        rows, folds: only these; all by default.
        processes: how many runs at a time, each in a process and on a device of its own; 0: as many as there are GPUs,
            and 1 on a CPU.
        command: what the user typed; with `--rows` and `--folds` of one run it is what each process is given.

    Raises:
        InputError: the data set or the configuration cannot be used, or the folder holds another sweep.
    """
    refs = kept_in_memory(list_studies(config))
    with locked(folder):
        found = open_folds(config, refs, folder)
        save_folds(found, folder / FOLDS)
    plan = (plan_ablation if ablation else plan_cross_validation)(config, len(found.folds))
    jobs = plan.jobs(rows, folds)
    save_plan(plan, folder, rows)
    waiting = [job for job in jobs if not (run_folder(folder, job.row, job.fold) / DONE).exists()]
    LOGGER.info("%s: %d runs, %d of them done", folder, len(jobs), len(jobs) - len(waiting))
    devices = devices_at_hand(processes)
    if len(devices) > 1 and len(waiting) > 1:
        run_in_processes(waiting, folder, devices=devices, command=command)
    else:
        _run_here(waiting, plan, folder, refs, command)
    result = read_sweep(folder)
    failures = [f"row {row.name}, fold {fold}: {why}" for row in result.rows for fold, why in row.failures.items()]
    for failure in failures:
        LOGGER.error("failed: %s", failure)
    missing = sum(len(row.missing) for row in result.rows)
    if missing:
        LOGGER.info("%s: %d runs are still to be done; --mode report makes a report of what is there", folder, missing)
    elif waiting or not (folder / "report").exists():
        make_report(folder)
    return len(failures)


def _run_here(
    waiting: Sequence[Job], plan: Plan, folder: Path, refs: Sequence[StudyRef], command: Sequence[str]
) -> None:
    start = time.monotonic()
    for number, job in enumerate(waiting):
        left = (
            f", about {_duration((time.monotonic() - start) / number * (len(waiting) - number))} left" if number else ""
        )
        LOGGER.info("\n%s (%s): run %d of %d%s", job, plan.rows[job.row].title, number + 1, len(waiting), left)
        run(plan, job, folder, refs, command)
        jax.clear_caches()  # A run's programs are of no use to the next one, and large.


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run(plan: Plan, job: Job, folder: Path, refs: Sequence[StudyRef], command: Sequence[str]) -> None:
    """One row on one fold, unless it is done: both networks trained, the test patients evaluated.

    Where it fails, failed.json says how.
    """
    place = run_folder(folder, job.row, job.fold)
    with locked(place):
        if (place / DONE).exists():
            return
        (place / FAILED).unlink(missing_ok=True)
        config = plan.config_of(job)
        try:
            write_text(place / FOLDS, (folder / FOLDS).read_text(encoding="utf-8"))
            if config["localization"]["enabled"]:
                _share_localization(config, folder, place, refs, command)
            train(config, place, resume=True, tensorboard=False, command=command, stages=("segmentation",), refs=refs)
            evaluate(config, place, place, refs=refs)
        except Exception as error:  # Whatever it is, the other runs go on.
            _note_failure(place, error)
        else:
            write_text(place / DONE, json.dumps({"row": job.row, "fold": job.fold}) + "\n")


def _note_failure(place: Path, error: Exception) -> None:
    message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    LOGGER.error("%s: failed: %s", place, message)
    record = {"error": message, "traceback": traceback.format_exc()}
    write_text(place / FAILED, json.dumps(record, indent=1) + "\n")


def _share_localization(
    config: Config, folder: Path, place: Path, refs: Sequence[StudyRef], command: Sequence[str]
) -> None:
    """Trains the fold's localization network where no row with the same one has, and links it into the run."""
    shared = folder / f"localization-{localization_digest(config)}" / f"fold{config['data']['fold']}"
    with locked(shared):
        if not (shared / DONE).exists():
            write_text(shared / FOLDS, (folder / FOLDS).read_text(encoding="utf-8"))
            train(config, shared, resume=True, tensorboard=False, command=command, stages=(LOCALIZATION,), refs=refs)
            write_text(shared / DONE, "{}\n")
    link = place / LOCALIZATION
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(shared / LOCALIZATION, place))
