"""What it costs that patients are of a kind that the networks never saw: two cross-validations, patient by patient.

python -m benchmarks.heldout --seen runs/short_axis-cv --held-out runs/short_axis-groups
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.plots import draw_heldout
from benchmarks.report import markdown_table, say, write_json, write_text
from foanet_jax.data.folds import FOLDS
from foanet_jax.errors import InputError
from foanet_jax.metrics import FOREGROUND
from foanet_jax.report.statistics import compare, holm
from foanet_jax.settings import dotted
from foanet_jax.sweep.plan import ELSEWHERE
from foanet_jax.sweep.results import RowResult, SweepResult, read_json, read_sweep

ALL = "all"
OTHERWISE = ("data.split", "data.folds", *ELSEWHERE)  # of a configuration: who is tested, and what changes no network


@dataclasses.dataclass(frozen=True)
class Cost:
    """One class of the patients that one fold leaves out, or of all of them.

    Attributes:
        held_out: what these patients have in common, or "all".
        class_name: the class, or the mean over classes.
        patients: how many both cross-validations have tested.
        dc_seen, dc_held_out: mean Dice by networks that saw such patients, and by those that did not.
        hd95_mm_seen, hd95_mm_held_out: mean 95HD likewise.
        difference, low, high: mean over patients of the Dice held out less that seen, and its bootstrap 95 % interval.
        p: Wilcoxon's, two-sided, by Holm's method over what is held out.
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
    """What each fold's patients lose, class by class, and all of them together, which is not adjusted for.

    Args:
        seen: a row whose folds are random.
        held_out: the same, whose folds each leave something out.
        names: what each fold of the latter leaves out.
        classes: foreground classes; the mean over them is added.
    """
    patients_of = {names[run.fold]: list(dict.fromkeys(score.patient for score in run.scores)) for run in held_out.runs}
    found: list[Cost] = []
    for class_name in (*classes, FOREGROUND):
        before, after = seen.patients(class_name), held_out.patients(class_name)
        made = []
        for name, patients in {**patients_of, ALL: list(after)}.items():
            both = [patient for patient in patients if patient in before]
            old, new = [before[patient] for patient in both], [after[patient] for patient in both]
            result = compare([row.dc for row in new], [row.dc for row in old])
            if result.n:
                made.append(
                    Cost(
                        name,
                        class_name,
                        result.n,
                        dc_seen=_mean([row.dc for row in old]),
                        dc_held_out=_mean([row.dc for row in new]),
                        hd95_mm_seen=_mean([row.hd95_mm for row in old]),
                        hd95_mm_held_out=_mean([row.hd95_mm for row in new]),
                        difference=result.mean,
                        low=result.interval.low,
                        high=result.interval.high,
                        p=result.p,
                    )
                )
        adjusted = holm([cost.p for cost in made if cost.held_out != ALL])
        found += [dataclasses.replace(cost, p=p) for cost, p in zip(made, [*adjusted, made[-1].p], strict=True)]
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def cost_table(found: Sequence[Cost]) -> str:
    """A row for what is held out: of each class the Dice seen, held out and p, of their mean the 95HD too."""
    classes = list(dict.fromkeys(cost.class_name for cost in found))
    rows = []
    for held_out in dict.fromkeys(cost.held_out for cost in found):
        its = [cost for cost in found if cost.held_out == held_out]
        cells = [f"{cost.dc_seen:.3f} → {cost.dc_held_out:.3f} ({_p(cost.p)})" for cost in its]
        distance = f"{its[-1].hd95_mm_seen:.1f} → {its[-1].hd95_mm_held_out:.1f}"
        rows.append([held_out, str(its[0].patients), *cells, distance])
    header = ["held out", "patients", *(f"{name} DC" for name in classes), f"{FOREGROUND} 95HD mm"]
    return markdown_table(header, rows)


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.2g}"


def run(seen: Path, held_out: Path, output: Path) -> list[Cost]:
    """Compares, prints the table, and leaves heldout.md, .json and .png in `output`.

    Args:
        seen: folder of a cross-validation whose folds are random.
        held_out: of the same with `data.split`.
        output: where to write.

    Raises:
        InputError: a folder that holds no cross-validation with finished folds, folds that leave nothing out or the
            other way about, or networks that were not trained alike.
    """
    first, second = read_sweep(seen), read_sweep(held_out)
    for result in (first, second):
        if not result.rows or not result.main_row.runs:
            raise InputError("missing-file", f"{result.folder}: no finished folds; run --mode cv there first")
    names = _held_out(second)
    if names is None:
        raise InputError(
            "folds", f"{held_out}: its folds are random; give --config.data.split=group, spacing or size to --mode cv"
        )
    if _held_out(first) is not None:
        raise InputError("folds", f"{seen}: its folds leave something out; --seen is of random folds")
    _require_alike(first, second)
    found = costs(first.main_row, second.main_row, names, second.classes)
    if not found:
        raise InputError("folds", f"{held_out}: tested none of the patients of {seen}; compare the same data set")
    table = cost_table(found)
    title = f"{second.name}: {second.main_row.title}, networks that saw such patients → that did not"
    write_text(f"{title}\n\n{table}\n", output / "heldout.md")
    write_json({"title": title, "costs": [dataclasses.asdict(cost) for cost in found]}, output / "heldout.json")
    draw_heldout(
        [(cost.held_out, cost.class_name, cost.difference, cost.low, cost.high) for cost in found],
        second.classes,
        title,
        output / "heldout.png",
    )
    say(f"{title}\n\n{table}\n\nresults are in {output}")
    return found


def _held_out(result: SweepResult) -> dict[int, str] | None:
    """What each fold leaves out, None where folds are random."""
    named = read_json(result.folder / FOLDS).get("held_out", [])
    return dict(enumerate(named)) or None


def _require_alike(seen: SweepResult, held_out: SweepResult) -> None:
    first, second = (
        {name: value for name, value in dotted(result.config).items() if name not in OTHERWISE}
        for result in (seen, held_out)
    )
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            raise InputError(
                "configuration",
                f"{held_out.folder}: {name} is {second.get(name)!r}, but {first.get(name)!r} in {seen.folder}; compare "
                "cross-validations that differ in data.split alone",
            )


def main(arguments: list[str] | None = None) -> int:
    """The command; 2 where the folders cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heldout", description=__doc__.splitlines()[0])
    parser.add_argument("--seen", type=Path, required=True, help="folder of `--mode cv` with random folds")
    parser.add_argument("--held-out", type=Path, required=True, help="of the same with --config.data.split")
    parser.add_argument("--output", type=Path, default=Path("runs/heldout"), help="folder for table and picture")
    given = parser.parse_args(arguments)
    try:
        run(given.seen, given.held_out, given.output)
    except InputError as error:
        sys.stderr.write(f"error: {error.code}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
