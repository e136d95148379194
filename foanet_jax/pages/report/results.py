"""Reads the results in the folder of a sweep or of a single run. It needs no data set, no network and no device.

SWEEP/sweep.json                      the experiment: configuration, rows, folds, the row that others are compared with
SWEEP/folds.json                      the training and test patients of each fold
SWEEP/rows/ROW/foldK/                 a run, as `run.py` writes it; done.json exists when it has finished
SWEEP/rows/ROW/foldK/failed.json      instead of done.json, if it failed: {"error", "traceback"}
SWEEP/localization-DIGEST/foldK/      the localization network that several rows share
"""

import contextlib
import csv
import dataclasses
import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foanet_jax.data.acquisition import Acquisition, read_acquisitions
from foanet_jax.measures.evaluation import read_scores
from foanet_jax.measures.indices.compare import IndexPair, read_pairs
from foanet_jax.measures.metrics import PatientScore, Score, patient_means
from foanet_jax.measures.quality.table import QualityRow, read_quality
from foanet_jax.measures.sizes import Size, read_sizes
from foanet_jax.pages.gallery import Plane, load_gallery
from foanet_jax.pages.report.rows import require_names
from foanet_jax.system.errors import InputError
from foanet_jax.training.runlog import read_log, training_seconds
from foanet_jax.training.spec import NETWORKS

SWEEP, RUN, DONE, FAILED, EVALUATION = "sweep.json", "run.json", "done.json", "failed.json", "evaluation"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A finished run of one row on one fold.

    Attributes:
        folder: the folder of the run.
        fold: the number of the fold.
        record: run.json: configuration, command, versions, devices, platform, commit.
        timings: times in s: "localization" and "segmentation" (training), "evaluation", "study" (median time to
            predict a study). Unknown times are not in it.
        scores: the scores of every unit of the test patients.
        sizes: areas or volumes of the same units.
        flags: the flags of each case.
        logs: the records of the training log, by network.
        indices: predicted and true clinical indices; empty if an older version evaluated the run.
        quality: confidence and verdict of every test study; empty if an older version evaluated the run.
        acquisitions: group and grid of every test study; empty if an older version evaluated the run.
    """

    folder: Path
    fold: int
    record: Mapping[str, Any]
    timings: Mapping[str, float]
    scores: tuple[Score, ...]
    sizes: tuple[Size, ...]
    flags: Mapping[str, list[str]]
    logs: Mapping[str, list[dict[str, Any]]]
    indices: tuple[IndexPair, ...] = ()
    quality: tuple[QualityRow, ...] = ()
    acquisitions: tuple[Acquisition, ...] = ()

    def gallery(self) -> list[Plane]:
        """Reads the image planes that the evaluation stored. They are large; each call reads them again.

        Raises:
            InputError: "damaged-file" if their file is damaged.
        """
        with _readable(self.folder):
            return load_gallery(self.folder / EVALUATION)


@dataclasses.dataclass(frozen=True)
class RowResult:
    """One row of a table: a variant of an experiment, on all folds.

    Attributes:
        name: the short name, such as "c" in "experiments/lvquan19.py:c".
        title: the name in the table, such as "BLP+CCE".
        paper: the values in the paper, by measure ("dc", "hd95_mm", "bdc"); empty if it gives none.
        change: the new values of the fields that the row changes, by dotted name.
        wanted: the folds that the row should have.
        runs: the finished runs, in the order of the folds.
        failures: the error message of each failed fold.
    """

    name: str
    title: str
    paper: Mapping[str, float]
    change: Mapping[str, Any]
    wanted: tuple[int, ...]
    runs: tuple[RunResult, ...]
    failures: Mapping[int, str]

    @property
    def scores(self) -> list[Score]:
        """The scores of all finished folds."""
        return [score for run in self.runs for score in run.scores]

    @property
    def sizes(self) -> list[Size]:
        """The sizes of all finished folds."""
        return [size for run in self.runs for size in run.sizes]

    @property
    def indices(self) -> list[IndexPair]:
        """The clinical indices of all finished folds."""
        return [pair for run in self.runs for pair in run.indices]

    @property
    def quality(self) -> list[QualityRow]:
        """Confidence and verdict of the test studies of all finished folds."""
        return [row for run in self.runs for row in run.quality]

    @property
    def acquisitions(self) -> list[Acquisition]:
        """Group and grid of the test studies of all finished folds."""
        return [study for run in self.runs for study in run.acquisitions]

    def patients(self, class_name: str) -> dict[str, PatientScore]:
        """Returns the mean scores for one class, by patient."""
        return {row.patient: row for row in patient_means(self.scores) if row.class_name == class_name}

    @property
    def missing(self) -> tuple[int, ...]:
        """The folds that have neither finished nor failed."""
        there = {run.fold for run in self.runs} | set(self.failures)
        return tuple(fold for fold in self.wanted if fold not in there)


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The results of a sweep. A single run is a sweep of one row and one fold.

    Attributes:
        folder: the folder of the sweep or the run.
        name: the name of the experiment.
        title: the title of its table.
        config: the configuration of the experiment, without the changes of the rows.
        classes: the foreground classes, in their order.
        class_name: the class in the main table and the box plots.
        reference: the row with which the others are compared; None if there is only one row.
        rows: the rows, in the order of the table.
        single: whether this is a single run, not a sweep.
    """

    folder: Path
    name: str
    title: str
    config: Mapping[str, Any]
    classes: tuple[str, ...]
    class_name: str
    reference: str | None
    rows: tuple[RowResult, ...]
    single: bool = False

    @property
    def main_row(self) -> RowResult:
        """The row for figures of one row: the reference, or the first with a finished run if the reference has none."""
        rows = [row for row in self.rows if row.runs] or self.rows
        return next((row for row in rows if row.name == self.reference), rows[0])

    def row(self, name: str) -> RowResult:
        """Returns a row by its name.

        Raises:
            KeyError: there is no row of this name.
        """
        return {row.name: row for row in self.rows}[name]


def read_sweep(folder: Path) -> SweepResult:
    """Reads the results of a sweep or a single run, as far as they exist.

    Raises:
        InputError: "missing-file" if the folder is not that of a sweep or a run, or if a file is missing;
            "damaged-file" if a file cannot be read.
    """
    with _readable(folder):
        if (folder / SWEEP).exists():
            return _read_sweep(folder)
        if (folder / RUN).exists():
            return _read_single(folder)
    raise InputError(
        "missing-file", f"{folder}: contains neither {SWEEP} nor {RUN}; name the folder of a sweep or of a run"
    )


def _read_sweep(folder: Path) -> SweepResult:
    plan = read_json(folder / SWEEP)
    require_names(plan["rows"])
    if not all(type(fold) is int for fold in plan["folds"]):  # They are part of the names of folders.
        raise ValueError(f"{SWEEP} has the folds {plan['folds']}")
    rows = []
    for name, row in plan["rows"].items():
        places = {fold: run_folder(folder, name, fold) for fold in plan["folds"]}
        done = [_read_run(place, fold) for fold, place in places.items() if (place / DONE).exists()]
        failures = {
            fold: message
            for fold, place in places.items()
            if not (place / DONE).exists() and (message := failure(place)) is not None
        }
        rows.append(
            RowResult(name, row["title"], row["paper"], row["change"], tuple(plan["folds"]), tuple(done), failures)
        )
    classes = _classes_of([run for row in rows for run in row.runs])
    return SweepResult(
        folder=folder,
        name=plan["name"],
        title=plan["title"],
        config=plan["config"],
        classes=classes,
        class_name=chosen_class(plan["class_name"], classes),
        # The row of the reference may not have been requested yet.
        reference=plan["reference"] if plan["reference"] in plan["rows"] else None,
        rows=tuple(rows),
    )


def _read_single(folder: Path) -> SweepResult:
    run = _read_run(folder, read_json(folder / RUN)["config"]["data"]["fold"])
    config = run.record["config"]
    name = config["name"]
    row = RowResult(config["row"] or name, name, {}, {}, (run.fold,), (run,), {})
    classes = _classes_of([run])
    return SweepResult(
        folder=folder,
        name=name,
        title=name,
        config=config,
        classes=classes,
        class_name=chosen_class(config.get("table", {}).get("class_name", ""), classes),
        reference=None,
        rows=(row,),
        single=True,
    )


def failure(place: Path) -> str | None:
    """Returns the error message of the run in a folder; None if it did not fail."""
    try:
        return json.loads((place / FAILED).read_text(encoding="utf-8"))["error"]
    except FileNotFoundError:  # This also happens while another process tries the run again.
        return None


def run_folder(sweep: Path, row: str, fold: int) -> Path:
    """Returns the folder of the run of a row on a fold."""
    return sweep / "rows" / row / f"fold{fold}"


def chosen_class(wanted: str, classes: tuple[str, ...]) -> str:
    """Returns the class of the main table: the wanted class, or the first one if the data set does not have it."""
    return wanted if wanted in classes or not classes else classes[0]


def _classes_of(runs: list[RunResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(score.class_name for run in runs for score in run.scores))


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turns every error from a damaged file in a folder into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError("damaged-file", f"{folder}: cannot be read ({what}); repeat the run") from error


def _read_run(folder: Path, fold: int) -> RunResult:
    evaluation = folder / EVALUATION
    try:
        scores = read_scores(evaluation / "scores.csv")
    except FileNotFoundError:
        raise InputError("missing-file", f"{evaluation}: no scores.csv; evaluate the run first") from None
    return RunResult(
        folder=folder,
        fold=fold,
        record=read_json(folder / RUN),
        timings=_timings(folder),
        scores=tuple(scores),
        sizes=tuple(read_sizes(evaluation)),
        flags=read_json(evaluation / "flags.json"),
        logs={network: read_log(folder / network) for network in NETWORKS},
        indices=tuple(read_pairs(evaluation / "indices.csv")),
        quality=tuple(read_quality(evaluation)),
        acquisitions=tuple(read_acquisitions(evaluation)),
    )


def _timings(folder: Path) -> dict[str, float]:
    trained = {network: training_seconds(folder / network) for network in NETWORKS}
    timings = {network: seconds for network, seconds in trained.items() if seconds is not None}
    path = folder / EVALUATION / "timing.json"
    if path.exists():
        timing = read_json(path)
        timings["evaluation"] = timing["evaluation"]
        if timing["studies"]:
            timings["study"] = statistics.median(timing["studies"].values())
    return timings


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: "missing-file" if there is no such file; "damaged-file" if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("missing-file", f"{path}: no such file; copy the whole folder, or repeat the run") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError("damaged-file", f"{path}: {error}; repeat the run") from None
