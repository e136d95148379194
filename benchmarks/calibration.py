"""Calibrates the confidence of a weights file again, on its validation patients and on degraded copies of them.

python -m benchmarks.calibration --data DATA/acdc --output runs/short_axis.safetensors

The networks stay as they are; only the maps from confidence to expected Dice change. The table shows, leaving one
patient out at a time, how far the expected Dice of the foreground and of each class is from the true one.
"""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.report import markdown_table, say, write_json, write_text
from foanet_jax.jobs.experiment.model import load_model
from foanet_jax.jobs.experiment.options import memory_bytes
from foanet_jax.jobs.experiment.reviewing import COPIES, calibration_points
from foanet_jax.jobs.experiment.studies import list_studies, load_studies, open_folds
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.measures.quality.calibration import Calibration, Point, fit_calibration
from foanet_jax.pages.drawing.style import INK, PAGE, QUIET_INK, save
from foanet_jax.system.errors import InputError
from foanet_jax.training.weights import default_weights, read_weights, write_weights

Measured = tuple[str, Point]  # patient, and what was measured on one of its studies or copies
BANDS = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 1.01)  # of expected Dice


def measure(path: Path, data: Path, *, copies: int = COPIES, patients: int = 0) -> list[Measured]:
    """Measures confidence and Dice of the validation patients of a weights file and of degraded copies.

    Args:
        path: weights file of one run.
        data: folder of its data set.
        copies: number of degraded copies of each study, at most the length of DEGRADATIONS.
        patients: number of patients to use, from the first one. 0: all.

    Raises:
        InputError: the file holds several runs, or the run was trained with other patients than those in the data set.
    """
    members = read_weights(path).members
    if len(members) != 1:
        raise InputError("ensemble", f"{path}: holds {len(members)} runs; only a file of one run has a calibration")
    config = dict(members[0].stages["segmentation"].description["config"])
    config["data"] = {**config["data"], "root": str(data)}
    refs = list_studies(config)
    fold = open_folds(config, refs).folds[members[0].fold]
    if {*fold.train, *fold.validation} != set(members[0].seen):
        raise InputError("folds", f"{data}: has other patients than {path} was trained with; name that data set")
    model = load_model(path)
    points: list[Measured] = []
    before = 0
    for patient in fold.validation[: patients or None]:
        studies = load_studies(refs, [patient], "validation studies")
        found = calibration_points(model, studies, memory_bytes=memory_bytes(config), copies=copies, first=before)
        before += len(studies)
        points += [(patient, point) for point in found]
    return points


def fit(points: Sequence[Measured]) -> Calibration | None:
    """Fits the maps from confidence to Dice to the points; None if there are too few points."""
    return fit_calibration([point for _, point in points], checkpoint="best")


def left_out(points: Sequence[Measured]) -> dict[str, list[tuple[float, float]]]:
    """Returns expected and true Dice of each point, of the foreground and of each class.

    The maps are fitted without the patient of the point. Unknown Dice counts as 0.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for patient in dict.fromkeys(name for name, _ in points):
        fitted = fit([point for point in points if point[0] != patient])
        for point in (point for name, point in points if name == patient):
            expected = (fitted and fitted.expected_dice(point.confidence)) or 0.0
            pairs.setdefault(FOREGROUND, []).append((expected, point.dice))
            for name, (sure, dice) in point.classes.items():
                curve = fitted and fitted.classes.get(name)
                pairs.setdefault(name, []).append(((curve and curve.expected_dice(sure)) or 0.0, dice))
    return pairs


def table(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Returns a table with the number of studies, their mean Dice and the mean error for each band of expected Dice."""
    rows = []
    for name, of_class in pairs.items():
        expected, true = np.array(of_class).T
        for low, high in itertools.pairwise(BANDS):
            inside = (expected >= low) & (expected < high)
            if inside.any():
                error = np.abs(expected[inside] - true[inside]).mean()
                band = f"{low:g} to {min(high, 1):g}"
                rows.append([name, band, str(inside.sum()), f"{true[inside].mean():.3f}", f"{error:.3f}"])
        error = np.abs(expected - true).mean()
        rows.append([name, "all", str(len(of_class)), f"{true.mean():.3f}", f"{error:.3f}"])
    return markdown_table(["class", "expected Dice", "studies", "mean Dice", "mean error"], rows)


def draw(points: Sequence[Measured], fitted: Calibration, path: Path) -> None:
    """Draws the Dice of each study against its confidence, and the fitted map: of the foreground and of each class."""
    panels = {FOREGROUND: ([(p.confidence, p.dice) for _, p in points], fitted)}
    panels |= {
        name: ([p.classes[name] for _, p in points if name in p.classes], curve)
        for name, curve in fitted.classes.items()
    }
    figure = Figure(figsize=(5 * len(panels), 5), facecolor=PAGE, layout="constrained")
    for axes, (name, (pairs, curve)) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
    ):
        axes.set_facecolor(PAGE)
        axes.scatter(*np.array(pairs).T, s=12, color="#5caee6", label="studies and copies")
        axes.plot(curve.confidence, curve.dice, color="#ff7f2a", label="expected Dice")
        axes.set_title(name, color=INK)
        axes.set_xlabel("confidence" if name == FOREGROUND else "soft Dice", color=INK)
        axes.set_ylabel("Dice, mean of the classes" if name == FOREGROUND else "Dice", color=INK)
        axes.tick_params(colors=QUIET_INK)
    axes.legend(frameon=False, labelcolor=INK)
    save(figure, path)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns 2 if the weights or the data cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="weights file [default: the package's]")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set that it was trained with")
    parser.add_argument("--output", type=Path, required=True, help="weights file to write; table and figure beside it")
    parser.add_argument("--dtype", default="float16", help="how the networks' numbers are stored")
    parser.add_argument("--copies", type=int, default=COPIES, help="degraded copies of each study")
    parser.add_argument("--patients", type=int, default=0, help="use only the first so many validation patients")
    given = parser.parse_args(arguments)
    try:
        path = given.checkpoint or default_weights()
        points = measure(path, given.data, copies=given.copies, patients=given.patients)
        fitted = fit(points)
        if fitted is None:
            raise InputError("no-studies", f"{given.data}: too few validation studies to calibrate with; use more")
        weights = read_weights(path)
        members = (dataclasses.replace(weights.members[0], calibration=fitted),)
        write_weights(dataclasses.replace(weights, members=members), given.output, dtype=given.dtype)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    told = table(left_out(points))
    write_text(told + "\n", given.output.with_suffix(".md"))
    write_json(
        {
            "points": [(patient, dataclasses.asdict(point)) for patient, point in points],
            "calibration": dataclasses.asdict(fitted),
        },
        given.output.with_suffix(".json"),
    )
    draw(points, fitted, given.output.with_suffix(".png"))
    say(f"{told}\n\n{given.output} has the new calibration")
    return 0


if __name__ == "__main__":
    sys.exit(main())
