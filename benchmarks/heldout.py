"""Compares two cross-validations: the cost when the networks have never seen patients of a kind.

python -m benchmarks.heldout --seen runs/short_axis-cv --held-out runs/short_axis-groups
"""

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.plots import draw_heldout
from benchmarks.report import markdown_table, say, write_json, write_text
from foanet_jax.data.folds import FOLDS
from foanet_jax.jobs.sweep.plan import ELSEWHERE
from foanet_jax.measures.evaluation import json_ready
from foanet_jax.measures.metrics import FOREGROUND, PatientScore
from foanet_jax.pages.report.results import RowResult, SweepResult, read_json, read_sweep
from foanet_jax.pages.report.statistics import compare, holm
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted

ALL = "all of them"
NOTE = (
    "p: Wilcoxon signed-rank test over patients, with Holm's correction over the groups; not corrected for all of them."
)
OTHERWISE = (
    "data.split",
    "data.folds",
    *ELSEWHERE,
)  # settings that may differ, because they change only the test patients or do not change the networks


@dataclasses.dataclass(frozen=True)
class Cost:
    """The result of one class, for the patients that one fold holds out or for all of them.

    Attributes:
        held_out: what these patients have in common, or `ALL`.
        class_name: the class, or the mean over classes.
        patients: number of patients that both cross-validations have tested.
        dc_seen, dc_held_out: mean Dice of networks that have seen such patients, and of networks that have not.
        hd95_mm_seen, hd95_mm_held_out: mean 95HD in mm of the same networks.
        difference, low, high: mean over patients of the difference dc_held_out − dc_seen, and its bootstrap 95 %
            interval; NaN for a single patient.
        p: two-sided Wilcoxon signed-rank test, with Holm's correction over the folds; not corrected for `ALL`.
    """

    held_out: str
    class_name: str
    patients: int
    dc_seen: float
    dc_held_out: float
    hd95_mm_seen: float
    hd95_mm_held_out: float
    difference: float
    low: float
    high: float
    p: float


def costs(seen: RowResult, held_out: RowResult, names: Mapping[int, str], classes: Sequence[str]) -> list[Cost]:
    """Computes the cost of each class for the patients of each fold and for all patients.

    Args:
        seen: a row with random folds.
        held_out: the same row with held-out groups as folds.
        names: name of the group that each fold of `held_out` holds out.
        classes: foreground classes; the mean over them is added.

    Returns:
        The costs, class by class. For each class: one cost for each fold with patients that both rows have tested, and
        last the cost for all these patients.
    """
    tested = [(names[run.fold], {score.patient for score in run.scores}) for run in held_out.runs]
    tested.append((ALL, {score.patient for score in held_out.scores}))
    found: list[Cost] = []
    for class_name in (*classes, FOREGROUND):
        before, after = (
            {patient: score for patient, score in row.patients(class_name).items() if score.n_units}
            for row in (seen, held_out)
        )
        both = before.keys() & after.keys()
        made = [
            _cost(name, class_name, [(before[patient], after[patient]) for patient in sorted(patients & both)])
            for name, patients in tested
            if patients & both
        ]
        adjusted = holm([cost.p for cost in made[:-1]])
        found += [dataclasses.replace(cost, p=p) for cost, p in zip(made[:-1], adjusted, strict=True)] + made[-1:]
    return found


def _cost(name: str, class_name: str, pairs: Sequence[tuple[PatientScore, PatientScore]]) -> Cost:
    result = compare([after.dc for _, after in pairs], [before.dc for before, _ in pairs])
    return Cost(
        name,
        class_name,
        result.n,
        dc_seen=statistics.fmean(before.dc for before, _ in pairs),
        dc_held_out=statistics.fmean(after.dc for _, after in pairs),
        hd95_mm_seen=statistics.fmean(before.hd95_mm for before, _ in pairs),
        hd95_mm_held_out=statistics.fmean(after.hd95_mm for _, after in pairs),
        difference=result.mean,
        low=result.interval.low,
        high=result.interval.high,
        p=result.p,
    )


def cost_table(found: Sequence[Cost]) -> str:
    """Returns a table with one row for each held-out group.

    It has Dice seen, Dice held out and p of each class and of their mean, and the 95HD of the mean.
    """
    classes = list(dict.fromkeys(cost.class_name for cost in found))
    rows = []
    for held_out in dict.fromkeys(cost.held_out for cost in found):
        its = {cost.class_name: cost for cost in found if cost.held_out == held_out}
        mean = its[FOREGROUND]
        cells = [_dice(its[name]) if name in its else "–" for name in classes]
        distance = f"{mean.hd95_mm_seen:.1f} → {mean.hd95_mm_held_out:.1f}"
        rows.append([held_out, str(mean.patients), *cells, distance])
    header = ["held out", "patients", *(f"{name} DC" for name in classes), f"{FOREGROUND} 95HD mm"]
    return markdown_table(header, rows)


def _dice(cost: Cost) -> str:
    p = "p < 0.001" if cost.p < 0.001 else f"p {cost.p:.2g}"
    return f"{cost.dc_seen:.3f} → {cost.dc_held_out:.3f} ({p})"


def run(seen: Path, held_out: Path, output: Path) -> list[Cost]:
    """Compares two cross-validations, prints the table, and writes heldout.md, .json and .png to `output`.

    Args:
        seen: folder of a cross-validation with random folds.
        held_out: folder of the same cross-validation with `data.split`.
        output: folder to write to.

    Raises:
        InputError: a folder has no cross-validation with finished folds; `held_out` has random folds; `seen` has
            held-out groups; or the networks were trained with different settings.
    """
    first, second = read_sweep(seen), read_sweep(held_out)
    for result in (first, second):
        if result.single or not result.main_row.runs:
            raise InputError("missing-file", f"{result.folder}: no finished folds; run --mode cv there first")
    names = _held_out(second)
    if names is None:
        raise InputError(
            "folds", f"{held_out}: its folds are random; give --config.data.split=group, spacing or size to --mode cv"
        )
    if _held_out(first) is not None:
        raise InputError("folds", f"{seen}: its folds hold out groups; give --seen a folder with random folds")
    _require_alike(first, second)
    found = costs(first.main_row, second.main_row, names, second.classes)
    if not found:
        raise InputError(
            "folds", f"{held_out}: has no test patients in common with {seen}; compare runs on the same data set"
        )
    table = cost_table(found)
    title = f"{second.name}: networks that have seen such patients → networks that have not"
    write_text(f"{title}. {NOTE}\n\n{table}\n", output / "heldout.md")
    listed = [json_ready(dataclasses.asdict(cost)) for cost in found]
    write_json({"title": title, "costs": listed}, output / "heldout.json")
    draw_heldout(
        [(cost.held_out, cost.class_name, cost.difference, cost.low, cost.high) for cost in found],
        second.classes,
        title,
        output / "heldout.png",
    )
    say(f"{title}\n\n{table}\n\nresults are in {output}")
    return found


def _held_out(result: SweepResult) -> dict[int, str] | None:
    """Returns the name of the group that each fold holds out; None if the folds are random."""
    named = read_json(result.folder / FOLDS).get("held_out", [])
    return dict(enumerate(named)) or None


def _require_alike(seen: SweepResult, held_out: SweepResult) -> None:
    first, second = (
        {
            **{name: value for name, value in dotted(result.config).items() if name not in OTHERWISE},
            **dotted(result.main_row.change),
        }
        for result in (seen, held_out)
    )
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            raise InputError(
                "configuration",
                f"{held_out.folder}: {name} is {second.get(name)!r}, but {first.get(name)!r} in {seen.folder}; compare "
                "cross-validations that differ only in data.split",
            )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns 2 if the folders cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heldout", description=__doc__.splitlines()[0])
    parser.add_argument("--seen", type=Path, required=True, help="folder of `--mode cv` with random folds")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of the same with --config.data.split")
    parser.add_argument("--output", type=Path, default=Path("runs/heldout"), help="folder for the table and the figure")
    given = parser.parse_args(arguments)
    try:
        run(given.seen, given.held_out, given.output)
    except InputError as error:
        sys.stderr.write(f"error: {error.code}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
