"""The plan of a sweep: its rows, its folds and the configuration of each run."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.jobs.experiment.studies import Config
from foanet_jax.pages.report.results import SWEEP, read_json
from foanet_jax.pages.report.rows import Row, require_names
from foanet_jax.settings import with_overrides
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted
from foanet_jax.training.resuming import FREE
from foanet_jax.training.spec import NETWORKS

# These fields may differ between machines that share a sweep: the paths of the data, how often a training is saved, and
# the memory limit of predictions.
ELSEWHERE = (
    *("data.root", "data.fold", "data.folds_file", "prediction.memory_mb", "evaluation.overlays"),
    *(f"{network}.{field}" for network in NETWORKS for field in FREE),
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a sweep: one row on one fold."""

    row: str
    fold: int

    def __str__(self) -> str:
        return f"row {self.row}, fold {self.fold}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a sweep.

    Attributes:
        name, title: name of the experiment, and title of its table.
        class_name: the class whose scores the table shows.
        reference: the row that the other rows are compared with.
        config: configuration of the experiment, without the rows' changes.
        rows: the rows, in the order of the table.
        folds: numbers of the folds; empty until they are known.
    """

    name: str
    title: str
    class_name: str
    reference: str
    config: Config
    rows: Mapping[str, Row]
    folds: tuple[int, ...] = ()

    def config_of(self, job: Job) -> dict[str, Any]:
        """Returns the configuration of a run. The run reads the folds that the sweep has saved."""
        of_the_run = {"row": job.row, "data.fold": job.fold, "data.folds_file": ""}
        return with_overrides(self.config, {**self.rows[job.row].change, **of_the_run})

    def require_rows(self, rows: Sequence[str]) -> None:
        """Checks that the plan has these rows.

        Raises:
            InputError: a row does not exist.
        """
        _require("row", rows, self.rows, self.name)

    def jobs(self, rows: Sequence[str] = (), folds: Sequence[int] = ()) -> list[Job]:
        """Returns the runs of some rows and folds, row by row.

        Args:
            rows, folds: which rows and folds; all by default.

        Raises:
            InputError: a row or a fold does not exist.
        """
        self.require_rows(rows)
        _require("fold", folds, self.folds, self.name)
        return [
            Job(row, fold)
            for row in self.rows
            if not rows or row in rows
            for fold in self.folds
            if not folds or fold in folds
        ]


def _require(what: str, asked: Sequence[Any], there: Collection[Any], name: str) -> None:
    unknown = [str(one) for one in asked if one not in there]
    if unknown:
        known = ", ".join(map(str, there))
        raise InputError("arguments", f"{name}: there is no {what} {', '.join(unknown)}; choose from {known}")


def plan_cross_validation(config: Config) -> Plan:
    """Plans the cross-validation of an experiment, or of the row that the configuration selects, on all folds."""
    name = config["row"] or config["name"]
    row = config["rows"].get(config["row"], {"title": config["name"], "paper": {}})
    return _plan(config, {name: Row(row["title"], {}, row["paper"])})


def plan_ablation(config: Config) -> Plan:
    """Plans all rows of an experiment's table on all folds.

    Raises:
        InputError: the configuration already selects a row; or a row changes a field that does not exist, or the data.
    """
    table = config["table"]
    rows = {
        name: Row(row["title"], dotted(row["change"]), row["paper"])
        for name, row in ((name, config["rows"][name]) for name in table["order"])
    }
    if table["reference"] not in rows:
        raise InputError(
            "configuration",
            f"config.table.reference is {table['reference']!r}; choose one of {', '.join(rows)}",
        )
    if config["row"]:
        raise InputError(
            "arguments",
            f"--config …:{config['row']}: --mode ablate runs all rows; leave out :{config['row']}, or select rows with "
            "--rows",
        )
    for name, row in rows.items():
        # Rows are compared patient by patient. They therefore need the same studies and the same folds.
        of_the_data = [field for field in row.change if field.startswith("data.") and field != "data.cyclic"]
        if of_the_data:
            raise InputError(
                "configuration",
                f"row {name} changes {of_the_data[0]}, but all rows must have the same data; make it a separate "
                "experiment",
            )
    plan = _plan(config, rows)
    for row in rows:
        plan.config_of(Job(row, 0))
    return plan


def _plan(config: Config, rows: Mapping[str, Row]) -> Plan:
    require_names(rows)
    if config["evaluation"]["patients"] != "test":
        raise InputError("configuration", "config.evaluation.patients must be 'test' in a sweep")
    table = config["table"]
    return Plan(
        name=config["name"],
        title=table["title"] if len(rows) > 1 else config["name"],
        class_name=table["class_name"],
        reference=table["reference"] if table["reference"] in rows else next(iter(rows)),
        config=config,
        rows=rows,
    )


def localization_digest(config: Config) -> str:
    """Returns an eight-digit checksum: the same for configurations that train the same localization network."""
    parts = {name: config[name] for name in ("localization", "data", "seed")}
    flat = {name: value for name, value in dotted(parts).items() if name not in ELSEWHERE}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:8]


def require_same(plan: Plan, folder: Path) -> None:
    """Checks that a folder is empty or holds this sweep.

    Raises:
        InputError: the folder holds another sweep or a single run.
    """
    if (folder / SWEEP).exists():
        differing = _differences(read_json(folder / SWEEP), _described(plan))
        if differing:
            raise InputError(
                "run-exists", f"{folder}: holds another sweep ({'; '.join(differing[:3])}); choose another --workdir"
            )
    elif (folder / "run.json").exists():
        raise InputError("run-exists", f"{folder}: holds a single run; choose another --workdir")


def save_plan(plan: Plan, folder: Path, rows: Sequence[str]) -> None:
    """Writes sweep.json with the requested rows and the rows that earlier calls have requested.

    Args:
        plan: the plan.
        folder: folder of the sweep.
        rows: the requested rows; empty: all.
    """
    described = _described(plan)
    kept = {name: row for name, row in described["rows"].items() if not rows or name in rows}
    if (folder / SWEEP).exists():
        kept = {**read_json(folder / SWEEP)["rows"], **kept}
    described["rows"] = {name: kept[name] for name in dict.fromkeys([*plan.rows, *kept]) if name in kept}
    write_json(folder / SWEEP, described)


def _described(plan: Plan) -> dict[str, Any]:
    """Returns the plan in the form that reading its file gives."""
    config = {name: value for name, value in plan.config.items() if name not in ("rows", "table")}
    return json.loads(json.dumps({**dataclasses.asdict(plan), "config": config}))


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describes the settings and rows that differ between two sweeps but should be equal."""
    old, new = dotted(there["config"]), dotted(now["config"])
    pairs = {
        f"config.{name}": (old.get(name), new.get(name)) for name in old.keys() | new.keys() if name not in ELSEWHERE
    }
    for row in there["rows"].keys() & now["rows"].keys():
        pairs[f"row {row}"] = (there["rows"][row]["change"], now["rows"][row]["change"])
    return [f"{name} was {one} and is now {other}" for name, (one, other) in sorted(pairs.items()) if one != other]
