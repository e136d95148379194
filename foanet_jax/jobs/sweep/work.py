"""The runs of a sweep, done one after the other in this process, or by several processes."""

import dataclasses
import logging
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from foanet_jax.data.folds import FOLDS, Folds, load_folds, save_folds
from foanet_jax.data.refs import StudyRef, kept_in_memory
from foanet_jax.jobs.experiment.evaluating import evaluate
from foanet_jax.jobs.experiment.options import require_settings
from foanet_jax.jobs.experiment.record import write_json, write_text
from foanet_jax.jobs.experiment.studies import Config, list_studies, open_folds
from foanet_jax.jobs.experiment.training import train
from foanet_jax.jobs.sweep.locks import locked
from foanet_jax.jobs.sweep.plan import (
    Job,
    Plan,
    localization_digest,
    plan_ablation,
    plan_cross_validation,
    require_same,
    save_plan,
)
from foanet_jax.jobs.sweep.processes import Device, devices_at_hand, run_in_processes
from foanet_jax.pages.report import PAGE, make_report
from foanet_jax.pages.report.results import DONE, FAILED, SWEEP, failure, read_json, run_folder
from foanet_jax.system.atomic import open_unlinked
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
LOCALIZATION = "localization"
ATTEMPTS = "attempts"


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
    """Runs the experiment, or all rows of its table, on all folds; returns how many of the runs asked for failed.

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
    plan = (plan_ablation if ablation else plan_cross_validation)(config)
    plan.require_rows(rows)
    require_same(plan, folder)
    refs = kept_in_memory(list_studies(config))
    found = _folds(config, refs, folder)
    if not all(fold.test for fold in found.folds):
        raise InputError("folds", "one fold that all train with tests nobody; a sweep takes data.folds=2 or more")
    plan = dataclasses.replace(plan, folds=tuple(range(len(found.folds))))
    jobs = plan.jobs(rows, folds)
    for row in dict.fromkeys(job.row for job in jobs):  # What is saved could not be put right in the same folder.
        require_settings(plan.config_of(Job(row, 0)))
    with locked(folder):
        require_same(plan, folder)
        save_folds(found, folder / FOLDS)
        save_plan(plan, folder, rows)
    waiting = [job for job in jobs if not _done(job, folder)]
    # What ended its process before, without a word, may do so again: the others first.
    waiting.sort(key=lambda job: _attempts(run_folder(folder, job.row, job.fold)))
    LOGGER.info("%s: %d runs, %d of them done", folder, len(jobs), len(jobs) - len(waiting))
    devices = devices_at_hand(processes)
    if len(devices) > 1:
        run_in_processes(waiting, folder, devices=devices, command=command)
    else:
        _run_here(waiting, plan, folder, refs, command, devices[0])
    failed = [job for job in jobs if not _done(job, folder)]
    for job in failed:
        LOGGER.error("failed: %s: %s", job, failure(run_folder(folder, job.row, job.fold)))
    result_rows = read_json(folder / SWEEP)["rows"]
    everything = [Job(row, fold) for row in result_rows for fold in plan.folds]
    missing = [
        job for job in everything if not _done(job, folder) and failure(run_folder(folder, job.row, job.fold)) is None
    ]
    if missing:
        LOGGER.info(
            "%s: %d runs are still to be done; --mode report makes a report of what is there", folder, len(missing)
        )
    elif not _report_is_current(folder, everything):
        make_report(folder)
    return len(failed)


def _folds(config: Config, refs: Sequence[StudyRef], folder: Path) -> Folds:
    """The sweep's folds: those that it began with, else as the configuration says."""
    named = config["data"]["folds_file"]
    if not (folder / FOLDS).exists():
        return open_folds(config, refs)
    kept = load_folds(folder / FOLDS, refs)
    if named and load_folds(named, refs).folds != kept.folds:
        raise InputError(
            "folds", f"{named}: not the folds that {folder} began with; choose another --workdir for other folds"
        )
    return kept


def _done(job: Job, folder: Path) -> bool:
    return (run_folder(folder, job.row, job.fold) / DONE).exists()


def _attempts(place: Path) -> int:
    """How often a run was begun and neither finished nor failed."""
    return len((place / ATTEMPTS).read_text()) if (place / ATTEMPTS).exists() else 0


def _report_is_current(folder: Path, jobs: Sequence[Job]) -> bool:
    """Whether the page, which is written last, is younger than every run."""
    page = folder / PAGE
    ends = [run_folder(folder, job.row, job.fold) / name for job in jobs for name in (DONE, FAILED)]
    return page.exists() and all(end.stat().st_mtime_ns <= page.stat().st_mtime_ns for end in ends if end.exists())


def _run_here(
    waiting: Sequence[Job],
    plan: Plan,
    folder: Path,
    refs: Sequence[StudyRef],
    command: Sequence[str],
    device: Device,
) -> None:
    if isinstance(device, Mapping):
        os.environ.update(device)  # JAX has not looked for devices yet.
    start = time.monotonic()
    for number, job in enumerate(waiting):
        left = (
            f", about {_duration((time.monotonic() - start) / number * (len(waiting) - number))} left" if number else ""
        )
        LOGGER.info("\n%s (%s): run %d of %d%s", job, plan.rows[job.row].title, number + 1, len(waiting), left)
        if number and job.row != waiting[number - 1].row:
            jax.clear_caches()  # Another row compiles other programs; the old ones would stay in memory.
        run(plan, job, folder, refs, command)


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
        with open_unlinked(place / ATTEMPTS, "a") as attempts:
            attempts.write("I")
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
            write_json(place / DONE, {"row": job.row, "fold": job.fold})
        finally:
            (place / ATTEMPTS).unlink()


def _note_failure(place: Path, error: Exception) -> None:
    message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    LOGGER.error("%s: failed: %s", place, message)
    texts = {"error": message, "traceback": traceback.format_exc()}
    # Names of files may hold bytes that are no UTF-8.
    record = {name: text.encode(errors="backslashreplace").decode() for name, text in texts.items()}
    write_json(place / FAILED, record)


def _share_localization(
    config: Config, folder: Path, place: Path, refs: Sequence[StudyRef], command: Sequence[str]
) -> None:
    """Trains the fold's localization network where no row with the same one has, and links it into the run."""
    shared = folder / f"localization-{localization_digest(config)}" / f"fold{config['data']['fold']}"
    with locked(shared):
        if not (shared / DONE).exists():
            write_text(shared / FOLDS, (folder / FOLDS).read_text(encoding="utf-8"))
            train(config, shared, resume=True, tensorboard=False, command=command, stages=(LOCALIZATION,), refs=refs)
            write_json(shared / DONE, {})
    link = place / LOCALIZATION
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(shared / LOCALIZATION, place))
