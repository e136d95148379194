"""What a sweep, or a single run, has left in its folders, read back without data, networks or a device.

SWEEP/sweep.json                      the experiment: configuration, rows, folds, what is compared with what
SWEEP/folds.json                      who is trained on and who tested in each fold
SWEEP/rows/ROW/foldK/                 a run, as `run.py` leaves it; done.json once it is finished
SWEEP/rows/ROW/foldK/failed.json      instead, where it failed: {"error", "traceback"}
SWEEP/localization-DIGEST/foldK/      the localization network that rows share
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
from foanet_jax.training.spec import STAGES

SWEEP, RUN, DONE, FAILED, EVALUATION = "sweep.json", "run.json", "done.json", "failed.json", "evaluation"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A finished run of one row on one fold.

    Attributes:
        folder: of the run.
        fold: its number.
        record: run.json: config, command, versions, devices, platform, commit.
        timings: seconds: "localization", "segmentation" (training), "evaluation", "study" (prediction of a study, the
            median); without those that are not known.
        scores: of every unit of the test patients.
        sizes: the same units' areas or volumes.
        flags: what was flagged, by case.
        logs: the training log's records of each network, by its name.
        indices: clinical indices beside the true ones; empty where an older version evaluated.
        quality: confidence and verdict of every test study; empty as well.
        acquisitions: the test studies' groups and grids; empty as well.
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
        """The image planes that the evaluation kept; read anew each time, they are large.

        Raises:
            InputError: their file is damaged.
        """
        with _readable(self.folder):
            return load_gallery(self.folder / EVALUATION)


@dataclasses.dataclass(frozen=True)
class RowResult:
    """One row of a table: an experiment's variant over the folds.

    Attributes:
        name: as in "experiments/lvquan19.py:c".
        title: as the table calls it, "BLP+CCE".
        paper: the paper's own numbers by measure ("dc", "hd95_mm", "bdc"); empty where it has none.
        change: what the row changes, by dotted name.
        wanted: the folds that the row should have.
        runs: the finished ones, in the order of their folds.
        failures: what went wrong, by fold.
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
        """Of all finished folds."""
        return [score for run in self.runs for score in run.scores]

    @property
    def sizes(self) -> list[Size]:
        """Of all finished folds."""
        return [size for run in self.runs for size in run.sizes]

    @property
    def indices(self) -> list[IndexPair]:
        """Of all finished folds."""
        return [pair for run in self.runs for pair in run.indices]

    @property
    def quality(self) -> list[QualityRow]:
        """Of all finished folds."""
        return [row for run in self.runs for row in run.quality]

    @property
    def acquisitions(self) -> list[Acquisition]:
        """Of all finished folds."""
        return [study for run in self.runs for study in run.acquisitions]

    def patients(self, class_name: str) -> dict[str, PatientScore]:
        """The patients' means of one class, by patient."""
        return {row.patient: row for row in patient_means(self.scores) if row.class_name == class_name}

    @property
    def missing(self) -> tuple[int, ...]:
        """Folds that neither finished nor failed."""
        there = {run.fold for run in self.runs} | set(self.failures)
        return tuple(fold for fold in self.wanted if fold not in there)


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """A sweep, or a single run as a sweep of one row and one fold.

    Attributes:
        folder: where it lies.
        name: of the experiment.
        title: over its table.
        config: of the experiment, before the rows' changes.
        classes: foreground classes in their order.
        class_name: the class that the tables and box plots are about.
        reference: the row that the others are compared with; None where there is only one.
        rows: in the order of the table.
        single: whether this is one run that no sweep made.
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
        """What is shown where one row must do: the reference, or the first with a finished run where it has none."""
        rows = [row for row in self.rows if row.runs] or self.rows
        return next((row for row in rows if row.name == self.reference), rows[0])

    def row(self, name: str) -> RowResult:
        """A row by its name.

        Raises:
            KeyError: there is none of that name.
        """
        return {row.name: row for row in self.rows}[name]


def read_sweep(folder: Path) -> SweepResult:
    """All that is there of a sweep, or of a single run.

    Raises:
        InputError: the folder holds neither, or a file in it cannot be read.
    """
    with _readable(folder):
        if (folder / SWEEP).exists():
            return _read_sweep(folder)
        if (folder / RUN).exists():
            return _read_single(folder)
    raise InputError(
        "missing-file", f"{folder}: neither {SWEEP} nor {RUN} is in it; name the folder of a sweep or of a run"
    )


def _read_sweep(folder: Path) -> SweepResult:
    plan = read_json(folder / SWEEP)
    require_names(plan["rows"])
    if not all(type(fold) is int for fold in plan["folds"]):  # They become names of folders.
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
        # It may not have been asked for yet.
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
    """How the run in a folder failed; None where it did not."""
    try:
        return json.loads((place / FAILED).read_text(encoding="utf-8"))["error"]
    except FileNotFoundError:  # Another process may just be trying again.
        return None


def run_folder(sweep: Path, row: str, fold: int) -> Path:
    """Where a row's run on a fold lies."""
    return sweep / "rows" / row / f"fold{fold}"


def chosen_class(wanted: str, classes: tuple[str, ...]) -> str:
    """The class that a table is about: the wanted one, or the first where the data set has none of that name."""
    return wanted if wanted in classes or not classes else classes[0]


def _classes_of(runs: list[RunResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(score.class_name for run in runs for score in run.scores))


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Tells whatever damage is met below a folder as an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError("damaged-file", f"{folder}: cannot be read ({what}); run what is damaged again") from error


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
        logs={stage: read_log(folder / stage) for stage in STAGES},
        indices=tuple(read_pairs(evaluation / "indices.csv")),
        quality=tuple(read_quality(evaluation)),
        acquisitions=tuple(read_acquisitions(evaluation)),
    )


def _timings(folder: Path) -> dict[str, float]:
    trained = {stage: training_seconds(folder / stage) for stage in STAGES}
    timings = {stage: seconds for stage, seconds in trained.items() if seconds is not None}
    path = folder / EVALUATION / "timing.json"
    if path.exists():
        timing = read_json(path)
        timings["evaluation"] = timing["evaluation"]
        if timing["studies"]:
            timings["study"] = statistics.median(timing["studies"].values())
    return timings


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("missing-file", f"{path}: no such file; is the folder whole?") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError("damaged-file", f"{path}: {error}; run that part again") from None
