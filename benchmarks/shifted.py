"""Measures how well shifted studies are segmented, compared with the segmentation before the shift."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from benchmarks.report import markdown_table
from foanet_jax.data.shifts import SHIFTS, Shift, restored
from foanet_jax.data.study import Study
from foanet_jax.measures.evaluation import ClassSummary, summarise
from foanet_jax.measures.metrics import FOREGROUND, Score, score_study
from foanet_jax.pipeline import MEMORY_BYTES, Model, predict_study


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One class under one shift of one strength, over all patients.

    Attributes:
        shift, step: name of the shift, and label of its strength.
        strength: strength as a number.
        class_name: the class, or the mean over classes.
        patients, misses: number of patients in the means, and number of cases in which only one of the masks was empty.
        dc, dc_sd, hd95_mm: Dice of the shifted studies (mean, standard deviation over patients) and mean 95HD in mm.
        dc_before: mean Dice of the prediction on the unshifted studies, after it was moved in the same way as the
            labels. It covers the same slices and region, so the shift causes the difference.
        misses_before: number of misses of this prediction.
        flagged: number of studies whose prediction has a flag.
    """

    shift: str
    step: str
    strength: float
    class_name: str
    patients: int
    misses: int
    dc: float
    dc_sd: float
    hd95_mm: float
    dc_before: float
    misses_before: int
    flagged: int


def measure(
    studies: Iterable[Study],
    model: Model,
    shifts: Sequence[Shift],
    *,
    seed: int = 0,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Applies every shift at every strength to every study, predicts, and compares the mask with the shifted truth.

    Args:
        studies: studies with labels.
        model: both networks.
        shifts: shifts to apply, from SHIFTS.
        seed: random seed. A study gets the same random draws at every strength.
        memory_bytes: memory limit of a forward pass.
        progress: called after each study under each shift and strength.
    """
    conditions = [(shift, strength) for shift in shifts for strength in shift.strengths]
    after: list[list[Score]] = [[] for _ in conditions]
    before: list[list[Score]] = [[] for _ in conditions]
    flagged = [0] * len(conditions)
    for number, study in enumerate(studies):
        mask = predict_study(study, model, memory_bytes=memory_bytes).mask
        known = dataclasses.replace(study, labels=mask)
        for place, (shift, strength) in enumerate(conditions):
            key = (seed, SHIFTS.index(shift), number)
            shifted = shift.apply(study, strength, key)
            prediction = predict_study(shifted, model, memory_bytes=memory_bytes)
            flagged[place] += bool(prediction.flags)
            if shift.own_grid:
                after[place] += score_study(restored(prediction.mask, study), study)
                before[place] += score_study(mask, study)
            else:
                after[place] += score_study(prediction.mask, shifted)
                moved = shift.apply(known, strength, key).labels
                assert moved is not None
                before[place] += score_study(moved, shifted)
            progress()
    return [
        _outcome(shift, strength, row, old, count)
        for (shift, strength), new_scores, old_scores, count in zip(conditions, after, before, flagged, strict=True)
        for row, old in zip(summarise(new_scores).classes, summarise(old_scores).classes, strict=True)
    ]


def _outcome(shift: Shift, strength: float, row: ClassSummary, old: ClassSummary, flagged: int) -> Outcome:
    return Outcome(
        shift=shift.name,
        step=shift.step(strength),
        strength=strength,
        class_name=row.class_name,
        patients=row.n_patients,
        misses=row.misses,
        dc=row.dc.mean,
        dc_sd=row.dc.sd,
        hd95_mm=row.hd95_mm.mean,
        dc_before=old.dc.mean,
        misses_before=old.misses,
        flagged=flagged,
    )


def robustness_table(outcomes: Sequence[Outcome]) -> str:
    """Returns a table of the Dice of each class at each strength, with its change, and the misses of all classes."""
    rows: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault((outcome.shift, outcome.step), []).append(outcome)
    titles = {shift.name: shift.title for shift in SHIFTS}
    names = list(dict.fromkeys(outcome.class_name for outcome in outcomes))
    body = []
    for (shift, step), row in rows.items():
        (mean,) = (outcome for outcome in row if outcome.class_name == FOREGROUND)
        cells = [f"{outcome.dc:.3f} ({outcome.dc - outcome.dc_before:+.3f})" for outcome in row]
        body.append([titles[shift], step, *cells, f"{mean.misses} ({mean.misses - mean.misses_before:+d})"])
        body[-1].append(str(mean.flagged))
    return markdown_table(("shift", "strength", *names, "misses", "flagged"), body)
