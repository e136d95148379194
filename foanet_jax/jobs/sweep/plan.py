"""What a sweep consists of: rows, folds, and the configuration of each run."""

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
from foanet_jax.training.spec import STAGES

# Where the data lie, when a training is saved and how predictions are made may differ between the machines that share a
# sweep.
ELSEWHERE = (
    *("data.root", "data.fold", "data.folds_file", "prediction.memory_mb", "evaluation.overlays"),
    *(f"{stage}.{field}" for stage in STAGES for field in FREE),
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One row on one fold."""

    row: str
    fold: int

    def __str__(self) -> str:
        return f"row {self.row}, fold {self.fold}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        name, title: of the experiment and its table.
        class_name: the class that the table is about.
        reference: the row that the others are compared with.
        config: of the experiment, before the rows' changes.
        rows: in the order of the table.
        folds: their numbers, once they are known.
    """

    name: str
    title: str
    class_name: str
    reference: str
    config: Config
    rows: Mapping[str, Row]
    folds: tuple[int, ...] = ()

    def config_of(self, job: Job) -> dict[str, Any]:
        """The configuration of a run; its folds are those that the sweep saved."""
        of_the_run = {"row": job.row, "data.fold": job.fold, "data.folds_file": ""}
        return with_overrides(self.config, {**self.rows[job.row].change, **of_the_run})

    def require_rows(self, rows: Sequence[str]) -> None:
        """Checks that there are such rows.

        Raises:
            InputError: there is not.
        """
        _require("row", rows, self.rows, self.name)

    def jobs(self, rows: Sequence[str] = (), folds: Sequence[int] = ()) -> list[Job]:
        """The runs of some rows and folds, of all by default; neighbours in the list are of different folds.

        Raises:
            InputError: there is no such row or fold.
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
        raise InputError("arguments", f"{name}: no {what} {', '.join(unknown)}; there are {known}")


def plan_cross_validation(config: Config) -> Plan:
    """The experiment itself, or the row that was chosen of it, on all folds."""
    name = config["row"] or config["name"]
    row = config["rows"].get(config["row"], {"title": config["name"], "paper": {}})
    return _plan(config, {name: Row(row["title"], {}, row["paper"])})


def plan_ablation(config: Config) -> Plan:
    """All rows of the experiment's table on all folds.

    Raises:
        InputError: the configuration is that of a row already, or a row changes what there is not or the data.
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
            "arguments", f"--config …:{config['row']}: --mode ablate runs all rows; choose some with --rows"
        )
    for name, row in rows.items():
        # Rows are compared patient by patient on the same folds of the same studies.
        of_the_data = [field for field in row.change if field.startswith("data.") and field != "data.cyclic"]
        if of_the_data:
            raise InputError("configuration", f"row {name} changes {of_the_data[0]}; make it an experiment of its own")
    plan = _plan(config, rows)
    for row in rows:
        plan.config_of(Job(row, 0))
    return plan


def _plan(config: Config, rows: Mapping[str, Row]) -> Plan:
    require_names(rows)
    if config["evaluation"]["patients"] != "test":
        raise InputError("configuration", "config.evaluation.patients must be 'test' where folds are put together")
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
    """Eight letters that two configurations share where they train the same localization network."""
    parts = {name: config[name] for name in ("localization", "data", "seed")}
    flat = {name: value for name, value in dotted(parts).items() if name not in ELSEWHERE}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:8]


def require_same(plan: Plan, folder: Path) -> None:
    """Checks that a folder holds nothing, or this sweep.

    Raises:
        InputError: it holds another sweep, or a single run.
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
    """Writes sweep.json with the rows that are asked for (none: all), beside those that earlier calls asked for."""
    described = _described(plan)
    kept = {name: row for name, row in described["rows"].items() if not rows or name in rows}
    if (folder / SWEEP).exists():
        kept = {**read_json(folder / SWEEP)["rows"], **kept}
    described["rows"] = {name: kept[name] for name in dict.fromkeys([*plan.rows, *kept]) if name in kept}
    write_json(folder / SWEEP, described)


def _described(plan: Plan) -> dict[str, Any]:
    """The plan as it is read from its file."""
    config = {name: value for name, value in plan.config.items() if name not in ("rows", "table")}
    return json.loads(json.dumps({**dataclasses.asdict(plan), "config": config}))


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings and rows of two sweeps that should be alike and are not, in words."""
    old, new = dotted(there["config"]), dotted(now["config"])
    pairs = {
        f"config.{name}": (old.get(name), new.get(name)) for name in old.keys() | new.keys() if name not in ELSEWHERE
    }
    for row in there["rows"].keys() & now["rows"].keys():
        pairs[f"row {row}"] = (there["rows"][row]["change"], now["rows"][row]["change"])
    return [f"{name} was {one} and is {other}" for name, (one, other) in sorted(pairs.items()) if one != other]
