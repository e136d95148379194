"""Measures how often each finding and each verdict is right, on test patients and on degraded copies of them.

python -m benchmarks.verdicts --checkpoint RUN --config experiments/short_axis.py --config.data.root=DIR

The copies are degraded (noise, blur, ghosts, exchanged contrast …; `data.shifts.DEGRADATIONS`). A run without
calibrated classes is calibrated first, on its validation patients and on degraded copies of them. With
`--patients=validation`, the calibration that judges a patient is fitted on the other ones.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.judged import Judged, class_table, finding_table, judge_patients, judge_study, verdict_table
from benchmarks.report import say, write_json, write_text
from foanet_jax.data.frames import frames_apart, place_of
from foanet_jax.data.shifts import DEGRADATIONS, degraded
from foanet_jax.data.study import Study
from foanet_jax.jobs import commandline, helping, startup
from foanet_jax.jobs.experiment.model import load_description, load_model
from foanet_jax.jobs.experiment.options import memory_bytes
from foanet_jax.jobs.experiment.reviewing import COPIES, calibration_point, calibration_points, expectations
from foanet_jax.jobs.experiment.studies import list_studies, load_studies, open_folds, with_classes_of
from foanet_jax.jobs.options import Option
from foanet_jax.measures.quality.calibration import FEWEST, fit_calibration
from foanet_jax.measures.quality.review import Expectations, review_study
from foanet_jax.pipeline import Model, Prediction, predict_study
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import progress

ROWS = (
    Option("config", (), "Experiment", "Experiment file: FILE.py or FILE.py:ROW.", "config", "FILE.py"),
    Option("checkpoint", (), "Model", "Folder of the run whose networks are used, or a weights file.", value="PATH"),
    Option("patients", (), "Selection", "The fold's test patients, its validation patients, or all.", "choice",
           default="test", choices=("test", "validation", "all")),
    Option("count", (), "Selection", "Only the first so many patients.", "number", "NUMBER", default=0,
           default_text="all"),
    Option("copies", (), "Selection", "Degraded copies of each study.", "number", "NUMBER", default=COPIES),
    Option("output", (), "Output", "Folder for the tables.", value="FOLDER", default="runs/verdicts"),
)  # fmt: skip
OPTIONS = {option.name: option for option in ROWS}


def run(
    config: Mapping[str, Any],
    checkpoint: Path,
    output: Path,
    *,
    patients: str = "test",
    count: int = 0,
    copies: int = COPIES,
) -> list[Judged]:
    """Judges the verdicts, prints the tables, and writes verdicts.md and verdicts.json to `output`.

    Args:
        config: configuration with the data set.
        checkpoint: workdir of a training, whose folds define the patients; or a weights file.
        output: folder to write to.
        patients: "test" or "validation" for patients of the fold, or "all".
        count: number of patients to use, from the first one. 0: all.
        copies: number of degraded copies of each study.

    Raises:
        InputError: too many copies, no patients, or no validation patients to calibrate with.
    """
    if not 0 <= copies <= len(DEGRADATIONS):
        raise InputError("arguments", f"--copies={copies}; there are {len(DEGRADATIONS)} changes, so pass 0 to that")
    which, budget = config["evaluation"]["checkpoint"], memory_bytes(config)
    model = load_model(checkpoint, which=which)
    refs = list_studies(config)
    folds = None if checkpoint.is_file() else open_folds(config, refs, checkpoint)
    fold = (folds or open_folds(config, refs)).folds[config["data"]["fold"]]
    expected = expectations([checkpoint], load_description(checkpoint, which=which), checkpoint=which)
    known = expected.calibration is not None and bool(expected.calibration.classes)
    if not known and patients != "validation":
        validation = [with_classes_of(s, model.classes) for s in load_studies(refs, list(fold.validation), "studies")]
        points = calibration_points(model, validation, memory_bytes=budget)
        expected = dataclasses.replace(expected, calibration=fit_calibration(points, checkpoint=which))
        if expected.calibration is None:
            raise InputError("no-studies", f"{checkpoint}: fewer than {FEWEST} validation studies to calibrate with")
    who = {"all": list(dict.fromkeys(ref.patient for ref in refs)), "test": fold.test, "validation": fold.validation}
    chosen = list(who[patients])[: count or None]
    if not chosen:
        raise InputError("folds", f"fold {config['data']['fold']} has no {patients} patients; choose another fold")
    studies = load_studies(refs, chosen, "studies")
    predicted = list(predict_copies(model, studies, copies=copies, memory_bytes=budget))
    judged = judge(predicted, expected, leave_out=patients == "validation")
    text = report(judged, model.classes)
    title = f"{config['name']}, {len(chosen)} patients ({patients}), {copies} degraded copies of each study"
    write_text(f"{title}\n\n{text}\n", output / "verdicts.md")
    write_json({"title": title, "studies": [dataclasses.asdict(one) for one in judged]}, output / "verdicts.json")
    say(f"\n{title}\n\n{text}\n\nresults are in {output}")
    return judged


def predict_copies(
    model: Model, studies: Sequence[Study], *, copies: int, memory_bytes: int
) -> Iterator[tuple[str, Study, Prediction]]:
    """Segments studies and degraded copies of them.

    Yields:
        How the copy was degraded ("" for the study itself), the copy, and its prediction.
    """
    with progress(total=len(studies) * (1 + copies), desc="judging", unit="study") as bar:
        for number, loaded in enumerate(studies):
            study = with_classes_of(loaded, model.classes)
            changes = [DEGRADATIONS[(number * copies + place) % len(DEGRADATIONS)] for place in range(copies)]
            titles = ["", *(f"{change.__name__} {strength:g}" for change, strength in changes)]
            for title, copy in zip(titles, [study, *degraded(study, number, copies)], strict=True):
                yield title, copy, predict_study(copy, model, memory_bytes=memory_bytes)
                bar.update()


def judge(
    predicted: Sequence[tuple[str, Study, Prediction]], expected: Expectations, *, leave_out: bool
) -> list[Judged]:
    """Reviews predictions and compares the reviews with the truth; see `Judged`.

    Args:
        predicted: what `predict_copies` yields.
        expected: the expectations of the run.
        leave_out: whether a patient is judged by a calibration that is fitted on the other ones here.
    """
    points = [(study.patient, calibration_point(prediction, study)) for _, study, prediction in predicted]
    judged, reviews, places = [], {}, {}
    for patient in dict.fromkeys(study.patient for _, study, _ in predicted):
        if leave_out:
            others = [point for name, point in points if name != patient and point is not None]
            expected = dataclasses.replace(expected, calibration=fit_calibration(others, checkpoint="best"))
        for title, study, prediction in predicted:
            if study.patient != patient:
                continue
            review = review_study(study, prediction, expected)
            judged.append(judge_study(study, prediction, review, title))
            if not title:
                reviews[study.case], places[study.case] = review, place_of(study)
    classes = predicted[0][1].classes
    return judged + judge_patients(judged, reviews, classes, apart=frames_apart(places))


def report(judged: Sequence[Judged], classes: Sequence[str]) -> str:
    """Returns the tables: of verdicts and classes, of studies and of copies; and of findings, also of patients."""
    whole = [one for one in judged if not one.joined]
    kinds = {
        "studies": [one for one in whole if not one.change],
        "degraded copies": [one for one in whole if one.change],
    }
    parts = []
    for name, ones in kinds.items():
        if ones:
            parts += [f"Verdicts, {name}", verdict_table(ones), f"Classes, {name}", class_table(ones, classes)]
    parts += ["Findings, studies and copies", finding_table(whole)]
    joined = [one for one in judged if one.joined]
    if joined:
        parts += ["Findings about heartbeats of two frames", finding_table(joined)]
    return "\n\n".join(parts)


def main() -> None:
    """Reads the options of the command and runs it."""
    words = sys.argv[1:]
    if "--help" in words:
        sys.stdout.write("\n".join([(__doc__ or "").strip(), *helping.options_text(OPTIONS), ""]))
        return
    startup.set_up()
    given, config = commandline.read_options(OPTIONS, words)
    if not given["checkpoint"] or config is None:
        raise InputError("arguments", "--checkpoint and --config are needed; name the folder of a run and its file")
    run(
        config,
        Path(given["checkpoint"]),
        Path(given["output"]),
        patients=given["patients"],
        count=given["count"],
        copies=given["copies"],
    )


if __name__ == "__main__":
    commandline.end(main)
