"""Evaluates a checkpoint on shifted test studies, as another scanner, patient or operator might produce them.

python -m benchmarks.robustness --checkpoint runs/acdc --config experiments/acdc.py --config.data.root=DIR
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots import draw_robustness
from benchmarks.report import say, write_json, write_text
from benchmarks.shifted import Outcome, measure, robustness_table
from foanet_jax.data.shifts import SHIFTS, Shift
from foanet_jax.jobs import commandline, helping, startup
from foanet_jax.jobs.experiment.model import load_model
from foanet_jax.jobs.experiment.options import memory_bytes
from foanet_jax.jobs.experiment.studies import list_studies, load_studies, open_folds, with_classes_of
from foanet_jax.jobs.options import Option
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import progress
from foanet_jax.system.records import write_records

ROWS = (
    Option("config", (), "Experiment", "Experiment file: FILE.py or FILE.py:ROW.", "config", "FILE.py"),
    Option("checkpoint", (), "Model", "Folder of the run whose networks are used.", value="PATH"),
    Option("patients", (), "Selection", "The fold's test patients, or all.", "choice", default="test",
           choices=("test", "all")),
    Option("count", (), "Selection", "Only the first so many patients.", "number", "NUMBER", default=0,
           default_text="all"),
    Option("shifts", (), "Selection", f"Only these of {', '.join(shift.name for shift in SHIFTS)}.", "list", "NAME,…",
           default=[], default_text="all"),
    Option("output", (), "Output", "Folder for the tables and the picture.", value="FOLDER",
           default="runs/robustness"),
)  # fmt: skip
OPTIONS = {option.name: option for option in ROWS}
PHANTOM = Path(__file__).parents[1] / "experiments" / "phantom.py"


def run(
    config: Mapping[str, Any],
    checkpoint: Path,
    output: Path,
    *,
    patients: str = "test",
    count: int = 0,
    shifts: Sequence[str] = (),
) -> list[Outcome]:
    """Measures the robustness, prints the table, and writes robustness.md, .json, .csv and .png to `output`.

    Args:
        config: configuration with the data set.
        checkpoint: workdir of a training; its folds define the test patients.
        output: folder to write to.
        patients: "test" for the test patients of the fold, or "all".
        count: number of patients to use, from the first one. 0: all.
        shifts: names of shifts. Empty: all.

    Raises:
        InputError: an unknown shift, or an error of `evaluate`.
    """
    unknown = sorted(set(shifts) - {shift.name for shift in SHIFTS})
    if unknown:
        known = ", ".join(shift.name for shift in SHIFTS)
        raise InputError("arguments", f"--shifts={','.join(shifts)}: no {', '.join(unknown)}; there are {known}")
    model = load_model(checkpoint, which=config["evaluation"]["checkpoint"])
    chosen = [
        shift
        for shift in SHIFTS
        if (not shifts or shift.name in shifts) and (shift.pool is None or shift.pool in model.classes)
    ]
    refs = list_studies(config)
    if patients == "all":
        who = list(dict.fromkeys(ref.patient for ref in refs))
    else:
        who = list(open_folds(config, refs, checkpoint).folds[config["data"]["fold"]].test)
    studies = [with_classes_of(study, model.classes) for study in load_studies(refs, who[: count or None], "studies")]
    total = len(studies) * sum(len(shift.strengths) for shift in chosen)
    with progress(total=total, desc="shifting", unit="study") as bar:
        outcomes = measure(
            studies, model, chosen, seed=config["seed"], memory_bytes=memory_bytes(config), progress=bar.update
        )
    title = f"{config['name']}, {len({study.patient for study in studies})} patients, {len(studies)} studies"
    table = robustness_table(outcomes)
    note = "Dice; in parentheses its change caused by the shift, on the same slices and region."
    write_text(f"{title}. {note}\n\n{table}\n", output / "robustness.md")
    record = {"title": title, "checkpoint": str(checkpoint), "cases": [study.case for study in studies]}
    write_json(
        {**record, "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes]}, output / "robustness.json"
    )
    write_records(output / "robustness.csv", Outcome, outcomes)
    draw_robustness([_panel(shift, outcomes) for shift in chosen], model.classes, title, output / "robustness.png")
    say(f"\n{table}\n\nresults are in {output}")
    return outcomes


def _panel(shift: Shift, outcomes: Sequence[Outcome]):
    """Returns the values for the panel of a shift."""
    its = [outcome for outcome in outcomes if outcome.shift == shift.name and outcome.class_name != FOREGROUND]
    after: dict[str, list[float]] = {}
    before: dict[str, list[float]] = {}
    for outcome in its:
        after.setdefault(outcome.class_name, []).append(outcome.dc)
        before.setdefault(outcome.class_name, []).append(outcome.dc_before)
    return shift, shift.strengths, after, before


def main() -> None:
    """Reads the options of the command and runs it."""
    words = sys.argv[1:]
    if "--help" in words:
        sys.stdout.write("\n".join([(__doc__ or "").strip(), *helping.options_text(OPTIONS), ""]))
        return
    startup.set_up()
    named = any(word.startswith("--config=") or word == "--config" for word in words)
    given, config = commandline.read_options(OPTIONS, words if named else [f"--config={PHANTOM}", *words])
    if not given["checkpoint"]:
        raise InputError("arguments", "--checkpoint is missing; name the folder of a run")
    assert config is not None  # If the user names no configuration, that of the phantom is added above.
    run(
        config,
        Path(given["checkpoint"]),
        Path(given["output"]),
        patients=given["patients"],
        count=given["count"],
        shifts=given["shifts"],
    )


if __name__ == "__main__":
    commandline.end(main)
