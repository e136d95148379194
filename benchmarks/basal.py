"""Compares the slices that the rule of the SCMR leaves out with those that experts drew, on ACDC.

python -m benchmarks.basal --data DATA/acdc
python -m benchmarks.basal --data DATA/acdc --masks OUT

OUT is the folder of a prediction with --basal=all, with CASE_seg.nii.gz for the studies of DATA/acdc or some of them.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from benchmarks.report import markdown_table, say, write_text
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.study import Study
from foanet_jax.measures.indices.counting import LEFT, RIGHT, counted_mask
from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY
from foanet_jax.measures.indices.study import count_study
from foanet_jax.system.errors import InputError

SHOWN = (*LV_CAVITY, MYOCARDIUM, *RV_CAVITY)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the rule did to one mask.

    Attributes:
        drawn: slices with the left ventricle.
        left_out: structure, reason, and whether the expert drew this structure there, of each part that was left out.
        errors_ml: errors of the volume of each class, with everything and with the rule.
    """

    drawn: int
    left_out: tuple[tuple[str, str, bool], ...]
    errors_ml: dict[str, tuple[float, float]]


def compare(study: Study, mask: np.ndarray) -> Outcome:
    """Applies the rule to a mask of a study with labels, and compares both with the labels.

    Args:
        study: with labels (T, Z, H, W).
        mask: (T, Z, H, W) class indices.

    Raises:
        InputError: "shape-mismatch" if the mask has another shape.
    """
    truth = study.labels
    if truth is None or mask.shape != truth.shape:
        raise InputError("shape-mismatch", f"{study.case}: mask {mask.shape}, image {study.voxels.shape}")
    grid = {"classes": study.classes, "spacing_mm": study.spacing_mm, "affine": study.affine}
    count = count_study(mask, **grid)
    assert count is not None
    kept, ml = counted_mask(mask, count, study.classes), float(np.prod(study.spacing_mm)) / 1000
    parts = {LEFT: (*LV_CAVITY, MYOCARDIUM), RIGHT: RV_CAVITY}
    left_out = []
    for side, frame, slice_ in np.argwhere(count.reasons != "").tolist():
        structure = (LEFT, RIGHT)[side]
        wanted = [index for index, name in enumerate(study.classes) if name in parts[structure]]
        there = bool(np.isin(truth[frame, slice_], wanted).any())
        left_out.append((structure, str(count.reasons[side, frame, slice_]), there))
    errors = {
        name: tuple(ml * float((other == index).sum() - (truth == index).sum()) for other in (mask, kept))
        for index, name in enumerate(study.classes)
        if name in SHOWN
    }
    drawn = int(count.counts[0].sum() + (count.reasons[0] != "").sum())
    return Outcome(drawn, tuple(left_out), errors)  # type: ignore[arg-type]


def tables(outcomes: Sequence[Outcome]) -> str:
    """Returns the tables of the parts that were left out, and of the errors of the volumes."""
    parts = [part for outcome in outcomes for part in outcome.left_out]
    kinds = sorted(set((structure, reason) for structure, reason, _ in parts))
    rows = []
    for kind in kinds:
        drew = [there for structure, reason, there in parts if (structure, reason) == kind]
        rows.append([*kind, str(len(drew)), str(sum(drew))])
    header = ["structure", "reason", "left out", "of these, drawn by the expert"]
    first = [markdown_table(header, rows)] if rows else []
    rows = []
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.errors_ml):
        errors = np.array([outcome.errors_ml[name] for outcome in outcomes])
        means = [*errors.mean(0), *np.abs(errors).mean(0)]
        rows.append([name, *(f"{mean:.2f}" for mean in means)])
    header = ["class", "bias ml, all", "bias ml, SCMR", "mean error ml, all", "mean error ml, SCMR"]
    slices = sum(outcome.drawn for outcome in outcomes)
    changed = sum(bool(outcome.left_out) for outcome in outcomes)
    told = f"{len(outcomes)} masks with {slices} slices of the left ventricle; {changed} of them are changed."
    return "\n\n".join([told, *first, markdown_table(header, rows)])


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables and writes basal.md. Returns 2 if the data or the masks cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.basal", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="ACDC's folder")
    parser.add_argument("--masks", type=Path, help="folder of a prediction [default: the ground truth itself]")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    given = parser.parse_args(arguments)
    outcomes = []
    try:
        for ref in list_acdc(given.data):
            path = None if given.masks is None else given.masks / f"{ref.case}_seg.nii.gz"
            if path is not None and not path.is_file():
                continue
            study = ref.load()
            assert study.labels is not None
            mask = study.labels if path is None else np.asanyarray(nibabel.load(path).dataobj).T[None].astype(np.uint8)
            outcomes.append(compare(study, mask))
        if not outcomes:
            raise InputError("no-masks", f"{given.masks}: has no CASE_seg.nii.gz of {given.data}; predict it first")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = tables(outcomes)
    write_text(text + "\n", given.out / "basal.md")
    say(f"{text}\n\nthe table is in {given.out / 'basal.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
