"""Running of a sweep: one run after the other in this process, or in several processes."""

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
    """Runs an experiment, or all rows of its table, on all folds.

    Finished runs are not repeated, and interrupted runs continue from their last checkpoint. The same command can
    therefore be given several times, and on several machines that share the folder. If a run fails, the error is logged
    and the others continue. When all runs are finished, the report is made.

    Args:
        config: configuration of the experiment.
        folder: folder of the sweep; `pages.report.results` describes its content.
        ablation: run all rows of the table, not only the experiment itself.
        rows, folds: run only these; all by default. Only an ablation has several rows.
        processes: number of runs at the same time, each in its own process on its own device; 0: one per GPU, or one on
            a CPU.
        command: the user's command-line arguments; each process gets them, and the options that select its run.

    Returns:
        The number of requested runs that failed.

    Raises:
        InputError: the data set or the configuration cannot be used, or the folder holds another sweep.
    """
    plan = (plan_ablation if ablation else plan_cross_validation)(config)
    plan.require_rows(rows)
    require_same(plan, folder)
    refs = kept_in_memory(list_studies(config))
    found = _folds(config, refs, folder)
    if not all(fold.test for fold in found.folds):
        raise InputError("folds", "a sweep needs test patients, but data.folds=1 has none; use data.folds=2 or more")
    plan = dataclasses.replace(plan, folds=tuple(range(len(found.folds))))
    jobs = plan.jobs(rows, folds)
    # All settings are checked first: once a plan is saved, it cannot be corrected in the same folder.
    for row in dict.fromkeys(job.row for job in jobs):
        require_settings(plan.config_of(Job(row, 0)))
    with locked(folder):
        require_same(plan, folder)
        save_folds(found, folder / FOLDS)
        save_plan(plan, folder, rows)
    waiting = [job for job in jobs if not _done(job, folder)]
    # Runs whose process was killed before may be killed again. They are tried last.
    waiting.sort(key=lambda job: _attempts(run_folder(folder, job.row, job.fold)))
    LOGGER.info("%s: %d runs, %d of them already done", folder, len(jobs), len(jobs) - len(waiting))
    devices = devices_at_hand(processes)
    if len(devices) > 1:
        run_in_processes(waiting, folder, devices=devices, command=command, ablation=ablation)
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
            "%s: %d runs are still missing; --mode report makes a report of the finished ones", folder, len(missing)
        )
    elif not _report_is_current(folder, everything):
        make_report(folder)
    return len(failed)


def _folds(config: Config, refs: Sequence[StudyRef], folder: Path) -> Folds:
    """Returns the folds with which the sweep was started, or the folds of the configuration for a new sweep."""
    named = config["data"]["folds_file"]
    if not (folder / FOLDS).exists():
        return open_folds(config, refs)
    kept = load_folds(folder / FOLDS, refs)
    if named and load_folds(named, refs).folds != kept.folds:
        raise InputError(
            "folds",
            f"{named}: differs from the folds that {folder} was started with; choose another --workdir for other folds",
        )
    return kept


def _done(job: Job, folder: Path) -> bool:
    return (run_folder(folder, job.row, job.fold) / DONE).exists()


def _attempts(place: Path) -> int:
    """Returns how often a run was started but neither finished nor failed."""
    return len((place / ATTEMPTS).read_text()) if (place / ATTEMPTS).exists() else 0


def _report_is_current(folder: Path, jobs: Sequence[Job]) -> bool:
    """Returns whether the report's page, which is written last, is newer than all runs."""
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
        os.environ.update(device)  # This has an effect because JAX has not searched for devices yet.
    start = time.monotonic()
    for number, job in enumerate(waiting):
        left = (
            f", about {_duration((time.monotonic() - start) / number * (len(waiting) - number))} left" if number else ""
        )
        LOGGER.info("\n%s (%s): run %d of %d%s", job, plan.rows[job.row].title, number + 1, len(waiting), left)
        if number and job.row != waiting[number - 1].row:
            jax.clear_caches()  # The next row compiles other programs; the old ones would waste memory.
        run(plan, job, folder, refs, command)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run(plan: Plan, job: Job, folder: Path, refs: Sequence[StudyRef], command: Sequence[str]) -> None:
    """Trains both networks of one run and evaluates its test patients, unless the run is already done.

    If it fails, the error is written to failed.json.

    Args:
        plan: the plan of the sweep.
        job: the run.
        folder: folder of the sweep.
        refs: the studies of the data set.
        command: the user's command-line arguments, for the record.
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
            train(config, place, resume=True, tensorboard=False, command=command, networks=("segmentation",), refs=refs)
            evaluate(config, place, place, refs=refs)
        except Exception as error:  # The other runs must continue after any error.
            _note_failure(place, error)
        else:
            write_json(place / DONE, {"row": job.row, "fold": job.fold})
        finally:
            (place / ATTEMPTS).unlink()


def _note_failure(place: Path, error: Exception) -> None:
    message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    LOGGER.error("%s: failed: %s", place, message)
    texts = {"error": message, "traceback": traceback.format_exc()}
    # File names can contain bytes that are not UTF-8.
    record = {name: text.encode(errors="backslashreplace").decode() for name, text in texts.items()}
    write_json(place / FAILED, record)


def _share_localization(
    config: Config, folder: Path, place: Path, refs: Sequence[StudyRef], command: Sequence[str]
) -> None:
    """Trains the localization network of a fold, unless another row has trained it. Then links it to the run."""
    shared = folder / f"localization-{localization_digest(config)}" / f"fold{config['data']['fold']}"
    with locked(shared):
        if not (shared / DONE).exists():
            write_text(shared / FOLDS, (folder / FOLDS).read_text(encoding="utf-8"))
            train(config, shared, resume=True, tensorboard=False, command=command, networks=(LOCALIZATION,), refs=refs)
            write_json(shared / DONE, {})
    link = place / LOCALIZATION
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(shared / LOCALIZATION, place))
