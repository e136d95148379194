"""What a sweep consists of: rows, folds, and the configuration of each run."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.errors import InputError
from foanet_jax.experiment import Config, write_text
from foanet_jax.settings import dotted, with_overrides
from foanet_jax.sweep.locks import locked
from foanet_jax.sweep.results import SWEEP, read_json

# Where the data lie and how predictions are made of them may differ between the machines that share a sweep.
ELSEWHERE = ("data.root", "data.fold", "data.folds_file", "prediction.memory_mb", "evaluation.overlays")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        title: as the table calls it.
        paper: the paper's numbers by measure.
        change: what the row changes, by dotted name.
    """

    title: str
    paper: Mapping[str, float]
    change: Mapping[str, Any]


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
        folds: their numbers.
    """

    name: str
    title: str
    class_name: str
    reference: str
    config: Config
    rows: Mapping[str, Row]
    folds: tuple[int, ...]

    def config_of(self, job: Job) -> dict[str, Any]:
        """The configuration of a run."""
        return with_overrides(self.config, {**self.rows[job.row].change, "row": job.row, "data.fold": job.fold})

    def jobs(self, rows: Sequence[str] = (), folds: Sequence[int] = ()) -> list[Job]:
        """The runs of some rows and folds, of all by default; neighbours in the list are of different folds.

        Raises:
            InputError: there is no such row or fold.
        """
        for what, asked, there in (("row", rows, self.rows), ("fold", folds, self.folds)):
            unknown = [str(one) for one in asked if one not in there]
            if unknown:
                known = ", ".join(map(str, there))
                raise InputError("arguments", f"{self.name}: no {what} {', '.join(unknown)}; there are {known}")
        return [
            Job(row, fold)
            for row in self.rows
            if not rows or row in rows
            for fold in self.folds
            if not folds or fold in folds
        ]


def plan_cross_validation(config: Config, folds: int) -> Plan:
    """The experiment itself on all folds."""
    row = config["row"]
    described = config["rows"].get(row, {"title": config["name"], "paper": {}})
    return _plan(config, {row: Row(described["title"], described["paper"], {})}, folds)


def plan_ablation(config: Config, folds: int) -> Plan:
    """All rows of the experiment's table on all folds.

    Raises:
        InputError: the configuration is that of a row already, or a row changes what there is not.
    """
    table = config["table"]
    rows = {
        name: Row(row["title"], row["paper"], dotted(row["change"]))
        for name, row in ((name, config["rows"][name]) for name in table["order"])
    }
    if table["reference"] not in rows:
        raise InputError(
            "configuration",
            f"config.table.reference is {table['reference']!r}; choose one of {', '.join(rows)}",
        )
    if config["row"] != table["reference"]:
        raise InputError(
            "arguments", f"--config …:{config['row']}: --mode ablate runs all rows; choose some with --rows"
        )
    plan = _plan(config, rows, folds)
    for row in rows:
        plan.config_of(Job(row, 0))
    return plan


def _plan(config: Config, rows: Mapping[str, Row], folds: int) -> Plan:
    table = config["table"]
    return Plan(
        name=config["name"],
        title=table["title"],
        class_name=table["class_name"],
        reference=table["reference"] if table["reference"] in rows else next(iter(rows)),
        config=config,
        rows=rows,
        folds=tuple(range(folds)),
    )


def localization_digest(config: Config) -> str:
    """Eight letters that two configurations share where they train the same localization network."""
    parts = {name: config[name] for name in ("localization", "data", "seed")}
    flat = {name: value for name, value in dotted(parts).items() if name not in ELSEWHERE}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:8]


def save_plan(plan: Plan, folder: Path, rows: Sequence[str]) -> None:
    """Writes sweep.json with the rows that are asked for, beside those that earlier calls asked for.

    Raises:
        InputError: the folder holds another sweep.
    """
    kept = {name: dataclasses.asdict(row) for name, row in plan.rows.items() if not rows or name in rows}
    config = {name: value for name, value in plan.config.items() if name not in ("rows", "table")}
    described = {**dataclasses.asdict(plan), "config": config, "rows": kept}
    described = json.loads(json.dumps(described))  # as it will be read: tuples are lists
    with locked(folder):
        if (folder / SWEEP).exists():
            there = read_json(folder / SWEEP)
            differing = _differences(there, described)
            if differing:
                raise InputError(
                    "run-exists",
                    f"{folder}: holds another sweep ({'; '.join(differing[:3])}); choose another --workdir",
                )
            rows_there = {**there["rows"], **described["rows"]}
            described["rows"] = {name: rows_there[name] for name in [*plan.rows, *rows_there] if name in rows_there}
            described["reference"] = there["reference"]
        elif (folder / "run.json").exists():
            raise InputError("run-exists", f"{folder}: holds a single run; choose another --workdir")
        write_text(folder / SWEEP, json.dumps(described, indent=1) + "\n")


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Fields of two sweeps that should be alike and are not, in words."""
    pairs = {
        f"config.{name}": (dotted(there["config"]).get(name), value)
        for name, value in dotted(now["config"]).items()
        if name not in ELSEWHERE
    }
    pairs |= {"folds": (there["folds"], now["folds"])}
    for row in set(there["rows"]) & set(now["rows"]):
        pairs[f"row {row}"] = (there["rows"][row]["change"], now["rows"][row]["change"])
    return [f"{name} was {old} and is {new}" for name, (old, new) in pairs.items() if old != new]
