"""A checkpoint on its test patients as another scanner, patient or operator would have made them.

python -m benchmarks.robustness --checkpoint runs/acdc --config experiments/acdc.py --config.data.root=DIR
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from benchmarks.plots import draw_robustness
from benchmarks.report import say, write_json, write_text
from benchmarks.shifted import Outcome, measure, robustness_table
from foanet_jax.data.shifts import SHIFTS, Shift
from foanet_jax.jobs import commandline
from foanet_jax.jobs.experiment.model import load_model
from foanet_jax.jobs.experiment.options import memory_bytes
from foanet_jax.jobs.experiment.studies import list_studies, load_studies, open_folds
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.system.errors import InputError
from foanet_jax.system.records import write_records


def define_flags() -> None:
    """The command's flags; not at import, since run.py has some of the same names."""
    config_flags.DEFINE_config_file("config", None, "FILE.py or FILE.py:ROW.")
    flags.DEFINE_string("checkpoint", None, "Folder of the run whose networks are used.")
    flags.DEFINE_enum("patients", "test", ["test", "all"], "The fold's test patients, or all.")
    flags.DEFINE_integer("count", 0, "Only the first so many of them. [default: all]", lower_bound=0)
    flags.DEFINE_list("shifts", [], f"Only these of {', '.join(shift.name for shift in SHIFTS)}.")
    flags.DEFINE_string("output", "runs/robustness", "Folder for the tables and the picture.")


def run(
    config: Mapping[str, Any],
    checkpoint: Path,
    output: Path,
    *,
    patients: str = "test",
    count: int = 0,
    shifts: Sequence[str] = (),
) -> list[Outcome]:
    """Measures, prints the table, and leaves robustness.md, .json, .csv and .png in `output`.

    Args:
        config: of the data set.
        checkpoint: the workdir of a training; its folds say who is a test patient.
        output: where to write.
        patients: "test" or "all".
        count: only the first so many patients; 0: all.
        shifts: names of shifts; none: all.

    Raises:
        InputError: a shift that there is not, or as `evaluate`.
    """
    unknown = sorted(set(shifts) - {shift.name for shift in SHIFTS})
    if unknown:
        known = ", ".join(shift.name for shift in SHIFTS)
        raise InputError("arguments", f"--shifts={','.join(shifts)}: no {', '.join(unknown)}; there are {known}")
    chosen = [shift for shift in SHIFTS if not shifts or shift.name in shifts]
    model = load_model(checkpoint, which=config["evaluation"]["checkpoint"])
    refs = list_studies(config)
    if patients == "all":
        who = list(dict.fromkeys(ref.patient for ref in refs))
    else:
        who = list(open_folds(config, refs, checkpoint).folds[config["data"]["fold"]].test)
    studies = load_studies(refs, who[: count or None], "studies")
    for study in studies:
        if study.classes != model.classes:
            raise InputError(
                "classes", f"{study.name}: classes {study.classes}, but the checkpoint knows {model.classes}"
            )
    total = len(studies) * sum(len(shift.strengths) for shift in chosen)
    with tqdm(total=total, desc="shifting", unit="study", mininterval=1) as bar:
        outcomes = measure(
            studies, model, chosen, seed=config["seed"], memory_bytes=memory_bytes(config), progress=bar.update
        )
    title = f"{config['name']}, {len({study.patient for study in studies})} patients, {len(studies)} studies"
    table = robustness_table(outcomes)
    note = "Dice, and in parentheses how much of it the shift took: of the same slices and region."
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
    """What the shift's panel shows."""
    its = [outcome for outcome in outcomes if outcome.shift == shift.name and outcome.class_name != FOREGROUND]
    after: dict[str, list[float]] = {}
    before: dict[str, list[float]] = {}
    for outcome in its:
        after.setdefault(outcome.class_name, []).append(outcome.dc)
        before.setdefault(outcome.class_name, []).append(outcome.dc_before)
    return shift, shift.strengths, after, before


def main(argv: list[str]) -> None:
    """The command, once absl has read its flags."""
    commandline.set_up()
    given = flags.FLAGS
    if len(argv) > 1:
        raise InputError("arguments", f"left over: {' '.join(argv[1:])}; write every option as --name=value")
    if not given.checkpoint:
        raise InputError("arguments", "--checkpoint is missing; name the folder of a run")
    run(
        given.config.to_dict(),
        Path(given.checkpoint),
        Path(given.output),
        patients=given.patients,
        count=given.count,
        shifts=given.shifts,
    )


if __name__ == "__main__":
    define_flags()
    commandline.start(main, default=Path(__file__).parents[1] / "experiments" / "phantom.py")
