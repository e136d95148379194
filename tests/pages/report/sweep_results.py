"""Sweeps made up by hand: plausible scores, no training, nothing on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.measures.metrics import Score
from foanet_jax.measures.sizes import Size
from foanet_jax.pages.report.results import RowResult, RunResult, SweepResult

CLASSES = ("myocardium", "cavity")
TITLES = {"a": "B + CCE", "b": "B + L + CCE", "c": "BLP + CCE", "i": "BLP + FOA + CSD", "unet": "U-Net"}
PAPER = {
    "a": {"dc": 0.842, "hd95_mm": 3.186, "bdc": 0.269},
    "b": {"dc": 0.867, "hd95_mm": 2.209, "bdc": 0.281},
    "c": {"dc": 0.877, "hd95_mm": 2.019, "bdc": 0.303},
    "i": {"dc": 0.879, "hd95_mm": 1.826, "bdc": 0.306},
    "unet": {"dc": 0.862, "hd95_mm": 3.976, "bdc": 0.291},
}
PIXEL_MM = 1.25


def make_result(
    *,
    rows: Sequence[str] = ("a", "c", "i"),
    folds: int = 3,
    patients: int = 12,
    frames: int = 2,
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
    failures: Mapping[str, Mapping[int, str]] | None = None,
    missing: Mapping[str, Sequence[int]] | None = None,
    misses: Mapping[str, Sequence[str]] | None = None,
    titles: Mapping[str, str] | None = None,
    reference: str | None = "",
    folder: Path = Path("sweep"),
    single: bool = False,
) -> SweepResult:
    """A sweep over `patients` patients, patient k tested in fold k mod `folds`; later rows are better ones.

    Args:
        rows: names of the rows.
        failures: what went wrong, by row and fold; such a fold has no run.
        missing: folds without a run and without a failure, by row.
        misses: patients whose first frame's first class is missed, by row.
        titles: titles of rows, instead of those of Table I.
        reference: the row that others are compared with; "": the last, or None where there is one row.
        single: one run that no sweep made; takes one row and one fold.
    """
    failures, missing, misses = failures or {}, missing or {}, misses or {}
    titles = {**TITLES, **(titles or {})}
    if reference == "":
        reference = rows[-1] if len(rows) > 1 else None
    rng = np.random.default_rng(seed)
    # A patient who is hard for one row is hard for all of them.
    hardness = rng.normal(0, 0.02, patients)
    made = []
    for place, name in enumerate(rows):
        failed = dict(failures.get(name, {}))
        done = [fold for fold in range(folds) if fold not in failed and fold not in missing.get(name, ())]
        runs = []
        for fold in range(folds):
            ids = [k for k in range(patients) if k % folds == fold]
            scores, sizes = _scores(ids, hardness, place, frames, classes, set(misses.get(name, ())), rng)
            if fold in done:
                runs.append(_run(folder, name, fold, place, scores, sizes))
        made.append(
            RowResult(
                name=name,
                title=titles.get(name, name),
                paper=PAPER.get(name, {}),
                change={"segmentation.prepare.foa": name == "i"},
                wanted=tuple(range(folds)),
                runs=tuple(runs),
                failures=failed,
            )
        )
    return SweepResult(
        folder=folder,
        name="lvquan19",
        title="Ablation study, LVQuan19",
        config={"name": "lvquan19", "seed": seed},
        classes=tuple(classes),
        class_name=classes[0],
        reference=reference,
        rows=tuple(made),
        single=single,
    )


def _scores(ids, hardness, place, frames, classes, missed, rng) -> tuple[list[Score], list[Size]]:
    scores, sizes = [], []
    for k in ids:
        patient = f"patient{k + 1:02d}"
        for frame in range(frames):
            for index, name in enumerate(classes):
                miss = patient in missed and frame == 0 and index == 0
                dc = float(np.clip(0.83 + 0.02 * place + 0.05 * index + hardness[k] + rng.normal(0, 0.01), 0.0, 1.0))
                hd = 320.0 if miss else float(3.2 - 0.4 * place - 20 * hardness[k] + abs(rng.normal(0, 0.3)))
                bdc = float(np.clip(0.27 + 0.015 * place + hardness[k] + rng.normal(0, 0.01), 0.0, 1.0))
                dc, bdc = (0.0, 0.0) if miss else (dc, bdc)
                scores.append(Score(patient, f"{patient}_cine", frame, name, dc, hd, hd / PIXEL_MM, bdc, miss, False))
                truth = float(900 + 400 * index + 20 * k - 30 * frame)
                found = 0.0 if miss else truth * float(1 + rng.normal(0, 0.04))
                sizes.append(Size(patient, f"{patient}_cine", frame, name, "mm²", found, truth))
    return scores, sizes


def _run(folder: Path, name: str, fold: int, place: int, scores: list[Score], sizes: list[Size]) -> RunResult:
    cases = list(dict.fromkeys(score.case for score in scores))
    return RunResult(
        folder=folder / "rows" / name / f"fold{fold}",
        fold=fold,
        record={
            "config": {"name": "lvquan19", "row": name, "seed": 0, "data": {"fold": fold}},
            "command": ["run.py", f"--config=experiments/lvquan19.py:{name}"],
            "versions": {"python": "3.12.1", "jax": "0.11.2"},
            "devices": ["TFRT_CPU_0"],
            "platform": "Linux",
            "commit": "0" * 40,
        },
        timings={"localization": 100.0 + fold, "segmentation": 200.0 + 10 * place + fold, "evaluation": 5.0 + fold},
        scores=tuple(scores),
        sizes=tuple(sizes),
        flags={case: [] for case in cases},
        logs={stage: _log(place) for stage in ("localization", "segmentation")},
    )


def _log(place: int) -> list[dict]:
    records: list[dict] = []
    for epoch in range(3):
        for step in range(2):
            loss = 1.5 / (1 + epoch + 0.5 * step) - 0.02 * place
            records.append({"kind": "train", "step": 2 * epoch + step + 1, "epoch": epoch, "loss": loss, "cce": loss})
        records.append({"kind": "validation", "step": 2 * epoch + 2, "epoch": epoch, "dice": 0.7 + 0.05 * epoch})
    return records
