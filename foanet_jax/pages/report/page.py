"""The report as one page: an HTML file without scripts, which opens offline, on a phone and on paper."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foanet_jax.data.folds import FOLDS
from foanet_jax.measures.evaluation import ClassSummary, Statistic, summarise
from foanet_jax.measures.metrics import PatientScore
from foanet_jax.pages.markup.elements import (
    ENLARGE_HINT,
    Html,
    counted,
    details,
    enlargeable,
    join,
    numbers,
    tag,
    titled_table,
)
from foanet_jax.pages.markup.page import write_page
from foanet_jax.pages.report.figures import FigureFile
from foanet_jax.pages.report.results import RowResult, RunResult, SweepResult, read_json
from foanet_jax.pages.report.table import Table, cell_parts
from foanet_jax.pages.report.tables import HEADINGS
from foanet_jax.system.nesting import dotted
from foanet_jax.training.spec import NETWORKS

_EXTREMES = 5
_BESIDE = (
    "The folder of this page also has tables/ (Markdown, LaTeX, and CSV with all digits) and figures/ (PNG and PDF)."
)


def write_report_page(result: SweepResult, tables: Sequence[Table], figures: Sequence[FigureFile], path: Path) -> None:
    """Writes the page, whole or not at all: key numbers, tables, pictures, configuration and versions.

    Args:
        result: a sweep or a single run. `folds.json` is read from its folder if it is there.
        tables: the tables in their order, the main one first.
        figures: the figures, whose PNGs become part of the page.
        path: the HTML file.
    """
    write_page(
        path,
        result.title,
        above="FOANet" if result.name in result.title else f"FOANet · {result.name}",
        summary=_summary(result),
        top=join([_problems(result), _key_numbers(result)]),
        parts={
            "tables": ("Tables", _tables(tables)),
            "figures": ("Figures", _figures(figures)),
            "cases": ("Worst and best patients", _extremes(result)),
            "flags": ("Flags", _flags(result)),
            "data": ("Data", _data(result)),
            "configuration": ("Configuration", _configuration(result)),
            "provenance": ("How it was run", _provenance(result)),
        },
        end=_BESIDE,
    )


def _wanted(result: SweepResult) -> int:
    return sum(len(row.wanted) for row in result.rows)


def _class_summary(result: SweepResult, row: RowResult) -> ClassSummary | None:
    if not row.patients(result.class_name):
        return None
    return summarise(row.scores).row(result.class_name)


def _summary(result: SweepResult) -> str:
    row = result.main_row
    wanted = _wanted(result)
    if result.single:
        (run,) = row.runs
        compared = "comparison" in result.config
        text = "Masks against a reference" if compared else f"One run of {result.name}, fold {run.fold}"
    else:
        text = f"{counted(len(result.rows), 'row')} on {counted(len(row.wanted), 'fold')}: "
        states = {
            "finished": sum(len(row.runs) for row in result.rows),
            "failed": sum(len(row.failures) for row in result.rows),
            "missing": sum(len(row.missing) for row in result.rows),
        }
        if states["finished"] == wanted:
            text += f"all {counted(wanted, 'run')} finished"
        else:
            listed = [f"{count} {state}" for state, count in states.items() if count or state == "finished"]
            text += f"of {counted(wanted, 'run')} {_and(listed)}"
    patients = {score.patient for row in result.rows for score in row.scores}
    misses = sum(score.miss for score in row.scores)
    text += f"; {counted(len(patients), 'test patient')}. "
    main = _class_summary(result, row)
    if main is None:
        return text + f"{row.title} has no scores yet."
    incomplete = "" if len(row.runs) == len(row.wanted) else f" over {len(row.runs)} of {len(row.wanted)} folds"
    paper = f"; paper: {row.paper['dc']:.3f}" if "dc" in row.paper else ""
    return text + (
        f"{row.title} reaches a {result.class_name} DC of {_mean_sd(main.dc)}{incomplete} (mean ± sd over "
        f"{counted(main.n_patients, 'patient')}{paper}), with {counted(misses, 'miss', 'misses')} of any class."
    )


def _key_numbers(result: SweepResult) -> Html:
    row = result.main_row
    main = _class_summary(result, row)
    if main is None:
        return Html()
    tiles = []
    for measure, label in HEADINGS.items():
        statistic = getattr(main, measure)
        beside = [f"± {_number(statistic.sd)}"] if math.isfinite(statistic.sd) else []
        beside += [f"paper {row.paper[measure]:.3f}"] if measure in row.paper else []
        tiles.append((f"{result.class_name} {label}", _number(statistic.mean), ", ".join(beside)))
    tiles += [
        ("Patients", str(main.n_patients), "tested"),
        ("Misses", str(main.misses), f"in {counted(main.n_units, 'unit')}"),
        ("Finished", str(sum(len(row.runs) for row in result.rows)), f"of {counted(_wanted(result), 'run')}"),
    ]
    return numbers(tiles)


def _problems(result: SweepResult) -> Html:
    # Dozens of runs can fail for the same reason. Each message is shown once.
    failed: dict[str, dict[str, list[int]]] = {}
    for row in result.rows:
        for fold, message in row.failures.items():
            failed.setdefault(message, {}).setdefault(row.title, []).append(fold)
    items = [
        tag(
            "li",
            tag("strong", "; ".join(f"{title}, {_fold_names(folds)}" for title, folds in runs.items())),
            tag("pre", message),
        )
        for message, runs in failed.items()
    ]
    items += [
        tag("li", tag("strong", f"{row.title}, {_fold_names(row.missing)}"), ": not finished")
        for row in result.rows
        if row.missing
    ]
    if not items:
        return Html()
    return tag(
        "section",
        tag("h2", "What went wrong" if failed else "What is missing"),
        tag("ul", *items),
        class_="problems",
        id="problems",
    )


def _tables(tables: Sequence[Table]) -> Html:
    return join(map(_typed_table, tables))


def _typed_table(table: Table) -> Html:
    rows = [
        [_cell(cell_parts(cell), best=(i, j) in table.best) for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    words = {j for row in table.rows for j, cell in enumerate(row) if isinstance(cell, str)}
    starts = {i for i, row in enumerate(table.rows) if table.grouped and i and row[0] != table.rows[i - 1][0]}
    return titled_table(
        table.title,
        table.header,
        rows,
        numeric=set(range(len(table.header))) - words,
        starts=starts,
        notes=table.notes,
        id=f"table-{table.name}",
    )


def _cell(parts: Sequence[str], *, best: bool) -> Html:
    first, *others = parts
    return join([tag("strong", first) if best else first, *(tag("small", f" {other}") for other in others)])


def _figures(figures: Sequence[FigureFile]) -> Html:
    if not figures:
        return Html()
    drawn = [enlargeable(figure.name, figure.title, figure.caption, figure.png.read_bytes()) for figure in figures]
    return join([ENLARGE_HINT, *drawn])


def _extremes(result: SweepResult) -> Html:
    row = result.main_row
    # With evaluation.patients="all", every fold tests every patient.
    folds_of: dict[str, list[str]] = {}
    for run in row.runs:
        for name in dict.fromkeys(score.patient for score in run.scores):
            folds_of.setdefault(name, []).append(str(run.fold))
    patients = sorted(
        (patient for patient in row.patients(result.class_name).values() if patient.n_units),
        key=lambda patient: patient.dc,
    )
    count = min(_EXTREMES, len(patients) // 2)
    if not count:
        return Html()
    header = ["Patient", "Fold", *HEADINGS.values(), "Misses"]

    def table(title: str, chosen: Sequence[PatientScore]) -> Html:
        cells = [
            [
                patient.patient,
                ", ".join(folds_of[patient.patient]),
                *(_number(getattr(patient, measure)) for measure in HEADINGS),
                str(patient.misses),
            ]
            for patient in chosen
        ]
        return titled_table(title, header, cells, numeric=range(1, len(header)))

    return join(
        [
            tag("p", f"{row.title}, patients sorted by their mean DC of the {result.class_name}."),
            tag("div", table("Worst", patients[:count]), table("Best", patients[: -count - 1 : -1]), class_="pair"),
        ]
    )


def _flags(result: SweepResult) -> Html:
    cases: dict[tuple[str, str], list[str]] = {}
    for row in result.rows:
        for run in row.runs:
            for case, flags in run.flags.items():
                for flag in flags:
                    cases.setdefault((flag, row.title), []).append(f"{case} (fold {run.fold})")
    if not cases:
        return tag("p", "No case was flagged.") if any(row.runs for row in result.rows) else Html()
    return titled_table(
        "Cases in which the method reports a problem",
        ["Row", "Flag", "Number", "Cases"],
        [[title, flag, str(len(which)), ", ".join(which)] for (flag, title), which in cases.items()],
        numeric=[2],
        long=[1, 3],
    )


def _data(result: SweepResult) -> Html:
    parts = [tag("p", f"Classes: {', '.join(result.classes)}.")] if result.classes else []
    if (result.folder / FOLDS).exists():
        planned = read_json(result.folder / FOLDS)
        names = ("train", "validation", "test")
        folds = list(enumerate(planned["folds"]))
        parts += [
            titled_table(
                "Patients of each fold",
                ["Fold", "Train", "Validation", "Test"],
                [[str(number), *(str(len(fold[name])) for name in names)] for number, fold in folds],
                numeric=range(1, 4),
                notes=[f"The folds were made with seed {planned['seed']}."],
            ),
            details(
                "Test patients of each fold",
                titled_table(
                    "Test patients",
                    ["Fold", "Patients"],
                    [[str(number), ", ".join(fold["test"])] for number, fold in folds],
                    long=[1],
                ),
            ),
        ]
    return join(parts)


def _configuration(result: SweepResult) -> Html:
    parts = []
    if not result.single:
        changes = [
            [row.title, row.name, ", ".join(f"{name} = {_value(value)}" for name, value in row.change.items()) or "–"]
            for row in result.rows
        ]
        parts.append(titled_table("What each row changes", ["Row", "Name", "Changes"], changes, long=[2]))
    networks = {name: dotted(result.config[name]) for name in NETWORKS if name in result.config}
    settings = dict.fromkeys(name for network in networks.values() for name in network)
    # "rows" and "table" describe the experiment; they are not settings of a run.
    others = {name: value for name, value in result.config.items() if name not in (*networks, "rows", "table")}
    blocks = [
        titled_table(
            "The two networks",
            ["Setting", *networks],
            [[name, *(_value(network.get(name, "–")) for network in networks.values())] for name in settings],
        ),
        titled_table(
            "Other settings",
            ["Setting", "Value"],
            [[name, _value(value)] for name, value in dotted(others).items()],
            long=[1],
        ),
    ]
    return join([*parts, details("All settings", tag("div", *blocks, class_="pair"))])


def _provenance(result: SweepResult) -> Html:
    runs = [run for row in result.rows for run in row.runs]
    if not runs:
        return Html()
    facts = {
        "commit": lambda record: record["commit"] or "unknown",
        "devices": lambda record: ", ".join(record["devices"]),
        "platform": lambda record: record["platform"],
        "seed": lambda record: str(record["config"]["seed"]),
    }
    rows = [[name, _distinct(runs, fact)] for name, fact in facts.items()]
    for package in dict.fromkeys(name for run in runs for name in run.record["versions"]):
        rows.append([package, _distinct(runs, lambda record, name=package: record["versions"].get(name, "–"))])
    commands = dict.fromkeys(shlex.join(run.record["command"]) for run in runs)
    return join(
        [
            titled_table("Code, devices and versions", ["Item", "Value"], rows, long=[1]),
            details(counted(len(commands), "command line"), *(tag("pre", command) for command in commands)),
        ]
    )


def _distinct(runs: Sequence[RunResult], fact: Any) -> str:
    """Returns a fact from the records of the runs; if the runs differ, each value with its number of runs."""
    counts = Counter(fact(run.record) for run in runs)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({counted(count, 'run')})" for value, count in counts.most_common())


def _value(value: Any) -> str:
    return '""' if value == "" else str(value)


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _fold_names(folds: Sequence[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {_and([str(fold) for fold in folds])}"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _mean_sd(statistic: Statistic) -> str:
    return _number(statistic.mean) + (f" ± {_number(statistic.sd)}" if math.isfinite(statistic.sd) else "")
