"""Clinical indices and quality control in an evaluation, and calibration of a run's confidence."""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.measures.evaluation import json_ready
from foanet_jax.measures.indices.compare import IndexPair, IndexScore, format_scores, pair_indices, write_pairs
from foanet_jax.measures.indices.study import StudyIndices, join_frames, patient_of_frame, volume_column
from foanet_jax.measures.metrics import FOREGROUND, score_case
from foanet_jax.measures.quality.calibration import FEWEST, NAME, Calibration, fit_calibration, read_calibration
from foanet_jax.measures.quality.finding import REASONS, first_of_each
from foanet_jax.measures.quality.review import Expectations, Review
from foanet_jax.measures.quality.table import QualityRow, case_dice, summarise_quality, write_quality
from foanet_jax.pipeline import Model, Prediction, predict_study
from foanet_jax.system.progress import over
from foanet_jax.training.weights import is_weights, read_weights

LOGGER = logging.getLogger(__name__)


def expectations(runs: Sequence[Path], description: Mapping[str, Any], *, checkpoint: str = "best") -> Expectations:
    """Returns what quality control compares studies with: the training range and, for a single run, its calibration.

    Args:
        runs: workdirs of trainings, or weights files; the training range is that of the first one.
        description: of the first run's checkpoint; older versions did not save the range.
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
    model: Model, studies: Sequence[Study], run: Path, *, checkpoint: str, memory_bytes: int, tta: str = "none"
) -> Calibration | None:
    """Fits the relation of confidence and Dice on validation studies and writes `RUN/calibration.json`.

    The same studies selected the best checkpoint, so that the expected Dice may be slightly too high.

    Args:
        model: the networks of the run.
        studies: labelled validation studies.
        run: the workdir of the training.
        checkpoint: "best" or "last".
        memory_bytes: memory limit of a forward pass.
        tta: test-time augmentation, the same as in the evaluation.

    Returns:
        The calibration; None, and no file, if there are too few studies.
    """
    confidence, dice = [], []
    if len(studies) >= FEWEST:
        for study in over(studies, desc="calibrating", unit="study"):
            prediction = predict_study(study, model, memory_bytes=memory_bytes, tta=tta)
            if prediction.confidence is None or math.isnan(prediction.confidence.foreground):
                continue  # Without foreground there is no confidence; quality control reports the empty mask.
            scores = score_case(
                prediction.mask,
                study.labels,
                spacing_mm=study.spacing_mm,
                classes=study.classes,
                patient=study.patient,
                case=study.case,
            )
            confidence.append(prediction.confidence.foreground)
            dice.append(case_dice(scores)[FOREGROUND])
    fitted = fit_calibration(confidence, dice, checkpoint=checkpoint)
    if fitted is None:
        (run / NAME).unlink(missing_ok=True)
        LOGGER.info("confidence is not calibrated: at least %d validation studies are needed", FEWEST)
    else:
        write_json(run / NAME, dataclasses.asdict(fitted))
    return fitted


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
    predicted: Mapping[str, StudyIndices], true: Mapping[str, StudyIndices], classes: Sequence[str]
) -> list[IndexPair]:
    """Pairs predicted and true ventricular indices of patients whose frames are separate cases.

    Args:
        predicted, true: indices by case.
        classes: class names by index.
    """
    found = join_frames(predicted, classes)
    return [
        pair
        for patient, indices in join_frames(true, classes).items()
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
