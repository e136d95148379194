"""The job `evaluate`: segments the test patients, computes scores and draws overlays."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.model import Runs, find_runs, load_description, load_model, require_unseen
from foanet_jax.jobs.experiment.options import WHOM, memory_bytes, require_choice, test_time_augmentation
from foanet_jax.jobs.experiment.pages import as_seen
from foanet_jax.jobs.experiment.record import save_run
from foanet_jax.jobs.experiment.reviewing import calibrate, expectations, tell
from foanet_jax.jobs.experiment.scores import EVALUATION, Scores
from foanet_jax.jobs.experiment.studies import Config, list_studies, load_studies, open_folds, with_classes_of
from foanet_jax.measures.evaluation import Summary
from foanet_jax.measures.indices.position import View
from foanet_jax.measures.quality.review import review_study
from foanet_jax.pages.drawing import draw_overlay
from foanet_jax.pipeline import Prediction, predict_study
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import over

LOGGER = logging.getLogger(__name__)
ELSEWHERE = "evaluate on other data with --config.evaluation.patients=all and another --workdir"


def evaluate(
    config: Config,
    workdir: Path,
    checkpoint: Runs,
    *,
    refs: Sequence[StudyRef] | None = None,
    spacing_mm: Sequence[float] | None = None,
    command: Sequence[str] = (),
) -> Summary | None:
    """Evaluates checkpoints on the test patients of a fold, or on all patients of a data set.

    It writes to `workdir/evaluation`: scores.csv, patients.csv, sizes.csv, studies.csv, summary.json, table.md,
    flags.json, timing.json, boxplots.png, overlays of the first studies, and gallery.npz with images for a report;
    indices.csv and indices.json with predicted and true clinical indices; quality.csv and quality.json with an
    assessment of confidence and verdicts. If `workdir` is the workdir of the training, the run's confidence is also
    calibrated on the validation patients of the fold.

    Args:
        config: the configuration.
        workdir: the folder to write to.
        checkpoint: the workdir of the training, a weights file, or several of them as an ensemble, see `find_runs`.
        refs: the studies of the configured data set, if they have been listed already.
        spacing_mm: if they have not, the distances of slices, rows and columns in mm that replace those in the headers
            of all files.
        command: the user's command line, recorded if `workdir` is not the workdir of the training.

    Returns:
        The summary of the scores. None if the fold has no test patients and `workdir` is the workdir of the training;
        in that case, only the confidence is calibrated.

    Raises:
        InputError: the data set, the configuration or a checkpoint cannot be used; they do not fit together; or there
            are no test patients and `workdir` is not the workdir of the training.
    """
    start = time.monotonic()
    options, budget = config["evaluation"], memory_bytes(config)
    require_choice("evaluation.patients", options["patients"], WHOM)
    tta = test_time_augmentation(config)
    runs = find_runs(checkpoint)
    which = options["checkpoint"]
    model = load_model(runs, which=which)
    refs = list_studies(config, spacing_mm=spacing_mm) if refs is None else refs
    own = [run.resolve() for run in runs] == [workdir.resolve()]
    if options["patients"] == "all":
        patients = [ref.patient for ref in refs]
    else:
        fold = open_folds(config, refs, workdir, *runs).folds[config["data"]["fold"]]
        patients = list(fold.test)
        require_unseen(runs, patients)
        if own:
            validation = load_studies(refs, fold.validation, "validation studies")
            validation = [with_classes_of(study, model.classes) for study in validation]
            calibrate(model, validation, workdir, checkpoint=which, memory_bytes=budget, tta=tta)
            del validation
        if not patients:
            nobody = f"fold {config['data']['fold']} has no test patients; {ELSEWHERE}"
            if not own:
                raise InputError("folds", nobody)
            LOGGER.info(nobody)
            return None
    expected = expectations(runs, load_description(runs[0], which=which), checkpoint=which)
    studies = [with_classes_of(study, model.classes) for study in load_studies(refs, patients, "test studies")]
    folder = workdir / EVALUATION
    if not own:
        save_run(config, workdir, command, checkpoint=",".join(map(str, runs)))
    scores = Scores(model.classes, pooled=options["pooled_hd95"], exclude_empty=options["exclude_empty"])
    reviews = {}
    overlays = {study.case for study in studies[: options["overlays"]]}
    for study in over(studies, desc="evaluating", unit="study"):
        started = time.monotonic()
        prediction = predict_study(study, model, memory_bytes=budget, tta=tta)
        seconds = time.monotonic() - started
        review = reviews[study.case] = review_study(study, prediction, expected)
        scores.add(study, prediction, review, model=model, seconds=seconds)
        if study.case in overlays:
            draw_prediction(study, prediction, folder / "overlays" / f"{study.case}.png", review.indices.view)
    summary = scores.write(workdir, start=start)
    for case, review in reviews.items():
        tell(case, review)
    LOGGER.info("scores, table and pictures are in %s", folder)
    return summary


def draw_prediction(study: Study, prediction: Prediction, path: Path, view: View | None = None) -> None:
    """Draws an overlay of a study's prediction and, if the study has labels, of the ground truth.

    Args:
        study: the study as it was read.
        prediction: the prediction of the study.
        path: the picture to write.
        view: the view in which the slices are drawn; None to draw them as they are stored.
    """
    seen, mask, boxes = as_seen(study, prediction, view)
    draw_overlay(
        seen.voxels,
        mask,
        seen.labels,
        spacing_mm=seen.spacing_mm,
        classes=study.classes,
        boxes=boxes,
        title=study.case,
        path=path,
    )
