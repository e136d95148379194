"""Trains MONAI's U-Net on one of our folds, and scores its test patients with our metrics.

python -m benchmarks.monai --root DATA/acdc --folds runs/acdc/folds.json --minutes 60 --output runs/monai
"""

import argparse
import dataclasses
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.monai.rival import Recipe, predict, train
from benchmarks.report import say, write_json, write_text
from foanet_jax.data.acquisition import acquisition_of, write_acquisitions
from foanet_jax.data.folds import FOLDS, load_folds, save_folds
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.measures.evaluation import format_table, summarise, write_scores
from foanet_jax.measures.metrics import score_case
from foanet_jax.measures.sizes import measure_sizes, write_sizes
from foanet_jax.system.errors import InputError
from foanet_jax.training.runlog import RunLog

TITLE = "U-Net of MONAI"


def main(arguments: list[str] | None = None) -> int:
    """Writes the same files as a run of `run.py`, except figures and our checkpoints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monai", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of ACDC")
    parser.add_argument("--folds", type=Path, required=True, help="folds.json of one of our runs")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/monai"), help="folder for this run")
    parser.add_argument(
        "--sweep", type=Path, help="instead of --output: folder of our sweep; the run becomes its row `monai`"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--count", type=int, default=0, help="use only the first so many patients of each part, for a trial"
    )
    for field in dataclasses.fields(Recipe):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    given = parser.parse_args(arguments)
    recipe = Recipe(**{field.name: getattr(given, field.name) for field in dataclasses.fields(Recipe)})
    folder = given.output if given.sweep is None else given.sweep / "rows" / "monai" / f"fold{given.fold}"
    try:
        compare(given, recipe, folder)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def compare(given: argparse.Namespace, recipe: Recipe, folder: Path) -> None:
    """Runs the whole comparison with the parsed arguments."""
    refs = list_acdc(given.root)
    folds = load_folds(given.folds, refs)
    if not 0 <= given.fold < len(folds.folds):
        raise InputError("folds", f"--fold={given.fold}: {given.folds} has folds 0 to {len(folds.folds) - 1}")
    if given.sweep is not None and not (given.sweep / "sweep.json").exists():
        raise InputError("missing-file", f"--sweep={given.sweep}: contains no sweep.json; name the folder of a sweep")
    fold = folds.folds[given.fold]
    training, validation, test = (_load(refs, part, given.count) for part in (fold.train, fold.validation, fold.test))
    say(f"studies: {len(training)} training, {len(validation)} validation, {len(test)} test")
    (folder / "segmentation").mkdir(parents=True, exist_ok=True)
    for log in (folder / "segmentation").glob("*.jsonl"):
        log.unlink()  # of an earlier training
    with (
        RunLog(folder / "segmentation", tensorboard=False) as log,
        tqdm(total=100, desc="training", unit="%", bar_format="{desc}: {n:.0f} % |{bar}| {elapsed}") as bar,
    ):
        network, trained = train(
            training,
            validation,
            recipe,
            device=given.device,
            log=log.write,
            progress=lambda share: bar.update(100 * share - bar.n),
        )
        log.write_seconds(int(trained["steps"]), 0, trained["seconds"])
    say(f"{trained['steps']} steps in {trained['seconds']:.0f} s, validation Dice {trained['validation_dice']:.3f}")
    torch.save(network.state_dict(), folder / "segmentation" / "weights.pt")
    _score(network, test, recipe, given, folder / "evaluation")
    save_folds(folds, folder / FOLDS)
    write_json(_record(given, recipe, trained), folder / "run.json")
    if given.sweep is not None:
        _add_row(given.sweep)
        write_json({"row": "monai", "fold": given.fold}, folder / "done.json")
    say(f"results are in {folder}")


def _load(refs: Sequence[StudyRef], patients: Sequence[str], count: int) -> list[Study]:
    wanted = set(patients[: count or None])
    return [ref.load() for ref in tqdm(refs, desc="reading") if ref.patient in wanted]


def _score(network, studies: Sequence[Study], recipe: Recipe, given: argparse.Namespace, folder: Path) -> None:
    scores, sizes, seconds, start = [], [], {}, time.monotonic()
    for study in tqdm(studies, desc="evaluating", unit="study"):
        begun = time.monotonic()
        mask = predict(network, study, recipe, device=given.device)
        seconds[study.case] = time.monotonic() - begun
        described = {
            "spacing_mm": study.spacing_mm,
            "classes": study.classes,
            "patient": study.patient,
            "case": study.case,
        }
        scores += score_case(mask, study.labels, **described)
        sizes += measure_sizes(mask, study.labels, **described)
    summary = summarise(scores)
    write_scores(scores, summary, folder)
    write_sizes(sizes, folder)
    write_acquisitions(map(acquisition_of, studies), folder)
    write_text(format_table(summary, markdown=True) + "\n", folder / "table.md")
    write_json({study.case: [] for study in studies}, folder / "flags.json")
    write_json({"evaluation": time.monotonic() - start, "studies": seconds}, folder / "timing.json")
    say(f"\n{format_table(summary)}\n")


def _record(given: argparse.Namespace, recipe: Recipe, trained: dict[str, float]) -> dict[str, Any]:
    """The record of the run that our report reads."""
    packages = ("torch", "monai", "numpy", "scipy", "nibabel")
    return {
        "config": {
            "name": TITLE,
            "row": "monai",
            "seed": recipe.seed,
            "data": {"name": "acdc", "fold": given.fold},
            "recipe": dataclasses.asdict(recipe),
            "table": {"class_name": "myocardium"},
        },
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "devices": [f"{given.device}, {torch.get_num_threads()} threads"],
        "platform": platform.platform(),
        "commit": None,
        "trained": trained,
    }


def _add_row(sweep: Path) -> None:
    """Adds the row to the record of the sweep, which its report reads."""
    plan = json.loads((sweep / "sweep.json").read_text(encoding="utf-8"))
    plan["rows"]["monai"] = {"title": TITLE, "paper": {}, "change": {}}
    write_json(plan, sweep / "sweep.json")


if __name__ == "__main__":
    sys.exit(main())
