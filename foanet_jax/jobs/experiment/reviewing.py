"""Clinical indices and quality control in an evaluation, and calibration of a run's confidence."""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.data.frames import Place, frames_apart, patient_of_frame
from foanet_jax.data.shifts import degraded
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.measures.evaluation import json_ready
from foanet_jax.measures.indices.compare import IndexPair, IndexScore, format_scores, pair_indices, write_pairs
from foanet_jax.measures.indices.study import StudyIndices, join_frames, volume_column
from foanet_jax.measures.metrics import FOREGROUND, score_study
from foanet_jax.measures.quality.calibration import (
    FEWEST,
    NAME,
    Calibration,
    Point,
    fit_calibration,
    read_calibration,
)
from foanet_jax.measures.quality.finding import REASONS, first_of_each
from foanet_jax.measures.quality.review import Expectations, Review
from foanet_jax.measures.quality.table import QualityRow, case_dice, summarise_quality, write_quality
from foanet_jax.pipeline import Model, Prediction, predict_study
from foanet_jax.system.progress import progress
from foanet_jax.training.weights import is_weights, read_weights

LOGGER = logging.getLogger(__name__)
COPIES = 2  # number of degraded copies of each validation study in the calibration of the confidence


def expectations(runs: Sequence[Path], description: Mapping[str, Any], *, checkpoint: str = "best") -> Expectations:
    """Returns the references of the quality control: the training range and, for a single run, its calibration.

    Args:
        runs: workdirs of trainings, or weights files. The training range comes from the first one.
        description: description of the first run's checkpoint; older versions did not save the training range.
        checkpoint: "best" or "last".
    """
    calibration = run_calibration(runs[0], checkpoint=checkpoint) if len(runs) == 1 else None
    return Expectations(description.get("training_range"), calibration)


def run_calibration(run: Path, *, checkpoint: str = "best") -> Calibration | None:
    """Returns the calibration of a run, or of a weights file with one run; None for several runs."""
    if not is_weights(run):
        return read_calibration(run, checkpoint=checkpoint)
    members = read_weights(run).members
    return members[0].calibration if len(members) == 1 else None


def calibrate(
    model: Model,
    studies: Sequence[Study],
    run: Path,
    *,
    checkpoint: str,
    memory_bytes: int,
    tta: str = "none",
    copies: int = COPIES,
) -> Calibration | None:
    """Fits confidence to Dice on validation studies and writes `RUN/calibration.json`.

    Degraded copies of the studies are predicted too (noise, blur, ghosts, exchanged contrast …, see
    `data.shifts.DEGRADATIONS`). The fit therefore covers the whole range from excellent to useless masks.

    Args:
        model: the networks of the run.
        studies: validation studies with labels. They have selected the checkpoint, so the fitted Dice may be slightly
            too high.
        run: the workdir of the training.
        checkpoint: "best" or "last".
        memory_bytes: memory limit of a forward pass.
        tta: test-time augmentation, the same as in the evaluation.
        copies: number of degraded copies of each study.

    Returns:
        The fit. None if there are fewer than FEWEST studies; no file is written then.
    """
    points = []
    if len(studies) >= FEWEST:
        points = calibration_points(model, studies, memory_bytes=memory_bytes, tta=tta, copies=copies)
    fitted = fit_calibration(points, checkpoint=checkpoint)
    if fitted is None:
        (run / NAME).unlink(missing_ok=True)
        LOGGER.info("the confidence is not calibrated: this needs at least %d validation studies", FEWEST)
    else:
        write_json(run / NAME, dataclasses.asdict(fitted))
    return fitted


def calibration_points(
    model: Model,
    studies: Sequence[Study],
    *,
    memory_bytes: int,
    tta: str = "none",
    copies: int = COPIES,
    first: int = 0,
) -> list[Point]:
    """Measures the confidence and the Dice of labelled studies and of their degraded copies.

    Studies in which nothing is found have no confidence and are left out. See `calibrate` for the other arguments.

    Args:
        first: number of studies before these, which selects the degradations.
    """
    points = []
    with progress(total=len(studies) * (1 + copies), desc="calibrating", unit="study") as bar:
        for number, study in enumerate(studies, start=first):
            for copy in (study, *degraded(study, number, copies)):
                prediction = predict_study(copy, model, memory_bytes=memory_bytes, tta=tta)
                bar.update()
                point = calibration_point(prediction, copy)
                points += [] if point is None else [point]
    return points


def calibration_point(prediction: Prediction, study: Study) -> Point | None:
    """Returns confidence and Dice of a prediction, by class; None if nothing was found, which has no confidence.

    Args:
        prediction: the prediction for the study.
        study: the study, with labels.
    """
    sure = prediction.confidence
    if sure is None or math.isnan(sure.foreground):
        return None
    scores = score_study(prediction.mask, study)
    dice = case_dice(scores)
    of_class = {name: (sure.soft_dice[name], dice[name]) for name in sure.soft_dice if name in dice}
    return Point(sure.foreground, dice[FOREGROUND], of_class)


def pair_study(study: Study, review: Review, true: StudyIndices) -> list[IndexPair]:
    """Pairs the predicted indices of a study with the true ones.

    Volumes are paired only if the study is a whole stack, not one of several frames of a patient (see `pair_patients`).
    """
    whose = {"patient": study.patient, "case": study.case}
    pairs = []
    if review.indices.ventricles is not None and true.ventricles is not None:
        pairs += pair_indices(review.indices.ventricles, true.ventricles, **whose)
    elif patient_of_frame(study.case) is None:
        pairs += [
            IndexPair(
                **whose,
                frame=frame,
                slice_=None,
                index=volume_column(name),
                prediction=float(found),
                truth=float(wanted),
            )
            for name, volumes in true.volumes_ml.items()
            for frame, (found, wanted) in enumerate(zip(review.indices.volumes_ml[name], volumes, strict=True))
        ]
    if review.indices.slices is not None and true.slices is not None:
        pairs += pair_indices(review.indices.slices, true.slices, **whose)
    return pairs


def pair_patients(
    predicted: Mapping[str, StudyIndices],
    true: Mapping[str, StudyIndices],
    classes: Sequence[str],
    *,
    places: Mapping[str, Place],
) -> list[IndexPair]:
    """Pairs predicted and true ventricular indices of patients whose frames are separate cases.

    Args:
        predicted, true: indices by case.
        classes: class names by index.
        places: grids of the cases. Patients whose frames have different grids are left out, with a warning.
    """
    apart = frames_apart(places)
    for patient, difference in apart.items():
        LOGGER.warning("%s: not joined to a heartbeat, because %s", patient, difference)
    found = join_frames(predicted, classes, apart=apart)
    return [
        pair
        for patient, indices in join_frames(true, classes, apart=apart).items()
        for pair in pair_indices(found[patient], indices, patient=patient, case=patient)
    ]


def write_reviews(
    pairs: Sequence[IndexPair], scores: Mapping[str, IndexScore], rows: Sequence[QualityRow], folder: Path
) -> None:
    """Writes quality.csv and quality.json and, if there are indices, indices.csv and indices.json, and logs them."""
    if pairs:
        write_pairs(pairs, folder / "indices.csv")
        write_json(
            folder / "indices.json",
            json_ready({name: dataclasses.asdict(score) for name, score in scores.items()}),
        )
        LOGGER.info("%s\n", format_scores(scores))
    write_quality(rows, folder)
    write_json(folder / "quality.json", json_ready(summarise_quality(rows)))


def index_table(scores: Mapping[str, IndexScore]) -> str:
    """Returns the scores of the indices as a Markdown table; empty if there are none."""
    return f"\n{format_scores(scores, markdown=True)}\n" if scores else ""


def all_flags(prediction: Prediction, review: Review) -> list[str]:
    """Returns the warnings of the pipeline and the reasons that the review found, each once."""
    since = dict.fromkeys(finding.code for finding in review.findings if finding.message not in prediction.flags)
    return [*prediction.flags, *(REASONS[code] for code in since)]


def tell(case: str, review: Review) -> None:
    """Logs the findings about a study as warnings: for each reason the first finding and the number of others."""
    for finding, number in first_of_each(review.findings).values():
        more = f", and {number - 1} more of this kind" if number > 1 else ""
        LOGGER.warning("%s: %s%s", case, finding, more)
