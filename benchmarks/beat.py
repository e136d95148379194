"""Measures how coherent in time the masks of whole cines are, and how they agree with what is known of some frames.

python -m benchmarks.beat
python -m benchmarks.beat --data DATA

The cines are beating phantoms, and, in DATA/acdc and DATA/sunnybrook, ACDC's 4D files and Sunnybrook's cines.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cines import Cine, acdc_cines, phantom_cine, sunnybrook_cines
from benchmarks.coherence import Agreement, Coherence, agreement, coherence, volumes_ml
from benchmarks.plots import BeatPanel, draw_beat
from benchmarks.report import markdown_table, say, write_json, write_text
from foanet_jax.jobs.experiment.model import load_model
from foanet_jax.pipeline import TEMPORAL, Model, predict_study
from foanet_jax.system.errors import InputError
from foanet_jax.training.weights import default_weights

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SHORT = {"right ventricle": "RV", "myocardium": "myocardium", "cavity": "cavity"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The measures of one cine; `truth` is the coherence of the true masks where all frames are known."""

    cine: str
    temporal: str
    shape: tuple[int, ...]
    found: Coherence
    truth: Coherence | None
    agreement: Agreement | None
    curves_ml: dict[str, list[float]]
    true_curves_ml: dict[str, list[float]]


def cines(data: Path | None, *, phantoms: int, frames: int, size: int) -> Iterator[Cine]:
    """Yields the cines of the data sets in a folder, then phantoms.

    Args:
        data: folder with `acdc` or `sunnybrook`, or both; None: phantoms only.
        phantoms, frames, size: number of phantoms, and their frames and rows.

    Raises:
        InputError: the folder has neither data set, or a file cannot be used.
    """
    if data is not None:
        acdc, sunnybrook = data / "acdc", data / "sunnybrook"
        if not acdc.is_dir() and not sunnybrook.is_dir():
            raise InputError("data-root", f"{data}: has no folder acdc or sunnybrook; name the folder above them")
        if acdc.is_dir():
            yield from acdc_cines(acdc)
        if sunnybrook.is_dir():
            yield from sunnybrook_cines(sunnybrook)
    for patient in range(phantoms):
        yield phantom_cine(patient, frames=frames, size=size)


def measure(cine: Cine, model: Model) -> Outcome:
    """Segments a cine and measures its masks."""
    study = cine.study
    mask = predict_study(study, model).mask
    spacing, classes = study.spacing_mm, model.classes
    known = len({truth.frame for truth in cine.truths if truth.class_name == "cavity"})
    true = _true_mask(cine, classes)
    return Outcome(
        cine=study.case,
        temporal=model.temporal,
        shape=study.voxels.shape,
        found=coherence(mask, classes, spacing),
        truth=None if true is None else coherence(true, classes, spacing),
        agreement=agreement(mask, cine.truths, classes, spacing) if known > 1 else None,
        curves_ml=_lists(volumes_ml(mask, classes, spacing)),
        true_curves_ml={} if true is None else _lists(volumes_ml(true, classes, spacing)),
    )


def _true_mask(cine: Cine, classes: Sequence[str]) -> np.ndarray | None:
    """Returns the true mask (T, Z, H, W) if all classes are known in all slices of all frames."""
    frames, slices = cine.study.voxels.shape[:2]
    whole = [truth for truth in cine.truths if len(truth.slices) == slices]
    if len(whole) < frames * (len(classes) - 1):
        return None
    mask = np.zeros(cine.study.voxels.shape, np.uint8)
    for truth in whole:
        mask[truth.frame][truth.mask] = classes.index(truth.class_name)
    return mask


def _lists(curves: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: curve.tolist() for name, curve in curves.items()}


def coherence_table(outcomes: Sequence[Outcome]) -> str:
    """Returns the table of the measures over time. The truth of a cine has a row where all its frames are known."""
    header = ["cine", "frames × slices", "CV of myocardium", "SV of RV / LV", "end systoles apart"]
    header += [f"roughness {short}" for short in SHORT.values()] + [f"next frame {short}" for short in SHORT.values()]
    rows = []
    for number, outcome in enumerate(outcomes):
        frames, slices = outcome.shape[:2]
        rows.append([_title(outcome), f"{frames} × {slices}", *_measures(outcome.found)])
        is_last = outcome.cine not in [other.cine for other in outcomes[number + 1 :]]
        if outcome.truth is not None and is_last:
            rows.append([f"{outcome.cine}, truth", "", *_measures(outcome.truth)])
    return markdown_table(header, rows)


def _title(outcome: Outcome) -> str:
    return outcome.cine if outcome.temporal == "none" else f"{outcome.cine}, {outcome.temporal}"


def _measures(found: Coherence) -> list[str]:
    values = [_number(found.myocardium_cv, 3), _number(found.stroke_ratio, 2), _number(found.systole_gap, 0)]
    values += [_number(found.roughness[name], 2) for name in SHORT]
    return values + [_number(found.neighbour_dice[name], 3) for name in SHORT]


def agreement_table(outcomes: Sequence[Outcome]) -> str:
    """Returns the table of Dice and indices on the frames and slices that are known; "" if there are none."""
    compared = [(_title(outcome), outcome.agreement) for outcome in outcomes if outcome.agreement is not None]
    if not compared:
        return ""
    scores = [f"{name}, {moment}" for name in SHORT for moment in ("ED", "ES")]
    indices = {"edv_ml": "EDV ml", "esv_ml": "ESV ml", "ef_percent": "EF %", "mass_g": "mass g"}
    indices |= {"rv_edv_ml": "RV EDV ml", "rv_esv_ml": "RV ESV ml", "rv_ef_percent": "RV EF %"}
    header = ["cine", *(score.replace("right ventricle", "RV") for score in scores), *indices.values()]
    rows = []
    for name, found in compared:
        cells = [_number(found.dice.get(score, math.nan), 3) for score in scores]
        for index in indices:
            known = index in found.true
            cells.append(f"{found.predicted[index]:.1f} ({found.true[index]:.1f})" if known else "–")
        rows.append([name, *cells])
    return markdown_table(header, rows)


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; writes beat.json, .md and .png. Returns 2 if the weights or the data cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beat", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with acdc, sunnybrook [default: ../shared/data, if there]")
    parser.add_argument("--checkpoint", type=Path, help="weights file or run [default: the package's weights]")
    parser.add_argument("--temporal", default="none,motion", help="values of prediction.temporal to compare")
    parser.add_argument("--phantoms", type=int, default=3, help="number of beating phantoms")
    parser.add_argument("--frames", type=int, default=20, help="frames of a phantom")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--tiny", action="store_true", help="one small phantom, no data")
    given = parser.parse_args(arguments)
    data = given.data or (DATA if DATA.is_dir() else None)
    sizes = {"phantoms": given.phantoms, "frames": given.frames, "size": 192}
    if given.tiny:
        data, sizes = None, {"phantoms": 1, "frames": 6, "size": 160}
    outcomes: list[Outcome] = []
    ways = given.temporal.split(",")
    try:
        if unknown := sorted(set(ways) - set(TEMPORAL)):
            raise InputError(
                "arguments", f"--temporal={given.temporal}: no {unknown[0]}; there are {', '.join(TEMPORAL)}"
            )
        model = load_model(given.checkpoint or default_weights())
        for cine in cines(data, **sizes):
            outcomes += [measure(cine, dataclasses.replace(model, temporal=way)) for way in ways]
            say(f"{outcomes[-1].cine} is measured")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    tables = [coherence_table(outcomes), agreement_table(outcomes)]
    if data is None:
        tables.append("Phantoms only: there are no data, or --tiny was given.")
    text = "\n\n".join(table for table in tables if table)
    write_text(text + "\n", given.out / "beat.md")
    record: dict[str, Any] = {"outcomes": [dataclasses.asdict(outcome) for outcome in outcomes]}
    write_json(record, given.out / "beat.json")
    panels, dotted = _panels(outcomes, ways)
    draw_beat(panels, model.classes, given.out / "beat.png", dotted=dotted)
    say(f"\n{text}\n\nresults are in {given.out}")
    return 0


def _panels(outcomes: Sequence[Outcome], ways: Sequence[str]) -> tuple[list[BeatPanel], str]:
    """Returns the curves of the last way of each cine, with those of the first way or of the truth dotted beside."""
    before = {outcome.cine: outcome.curves_ml for outcome in outcomes if outcome.temporal == ways[0]}
    last = [outcome for outcome in outcomes if outcome.temporal == ways[-1]]
    if len(ways) > 1:
        return [BeatPanel(o.cine, o.curves_ml, before[o.cine]) for o in last], f"dotted: {ways[0]}; lines: {ways[-1]}"
    return [BeatPanel(o.cine, o.curves_ml, o.true_curves_ml) for o in last], "dotted: truth"


if __name__ == "__main__":
    sys.exit(main())
