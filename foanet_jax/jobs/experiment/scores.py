"""Scores of masks against the truth, collected study by study, and the files and tables that an evaluation leaves."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from foanet_jax.data.acquisition import Acquisition, acquisition_of, write_acquisitions
from foanet_jax.data.frames import Place, place_of
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.planes import choose_planes
from foanet_jax.jobs.experiment.record import write_json, write_text
from foanet_jax.jobs.experiment.reviewing import all_flags, index_table, pair_patients, pair_study, write_reviews
from foanet_jax.measures.evaluation import Summary, format_table, summarise, write_scores
from foanet_jax.measures.indices.compare import IndexPair, score_pairs
from foanet_jax.measures.indices.study import StudyIndices, measure_study
from foanet_jax.measures.metrics import Score, score_case
from foanet_jax.measures.quality.review import Review, expected_dice
from foanet_jax.measures.quality.table import QualityRow, quality_rows
from foanet_jax.measures.sizes import Size, measure_sizes, write_sizes
from foanet_jax.pages.drawing import draw_summary
from foanet_jax.pages.gallery import Plane, save_gallery
from foanet_jax.pipeline import Model, Prediction

LOGGER = logging.getLogger(__name__)
EVALUATION = "evaluation"  # the folder of the files


class Scores:
    """The scores of an evaluation, which grow with each study.

    Args:
        classes: names of the classes of all masks by index.
        pooled, exclude_empty: see `score_case`.
    """

    def __init__(self, classes: Sequence[str], *, pooled: bool = False, exclude_empty: bool = False) -> None:
        self._classes, self._pooled, self._exclude_empty = classes, pooled, exclude_empty
        self._scores: list[Score] = []
        self._sizes: list[Size] = []
        self._planes: list[Plane] = []
        self._pairs: list[IndexPair] = []
        self._rows: list[QualityRow] = []
        self._flags: dict[str, list[str]] = {}
        self._seconds: dict[str, float] = {}
        self._predicted: dict[str, StudyIndices] = {}
        self._true: dict[str, StudyIndices] = {}
        self._acquisitions: list[Acquisition] = []
        self._places: dict[str, Place] = {}

    @property
    def empty(self) -> bool:
        """Whether no study was added."""
        return not self._scores

    def add(
        self,
        study: Study,
        prediction: Prediction,
        review: Review,
        *,
        model: Model | None = None,
        seconds: float | None = None,
        frames: Sequence[int] | None = None,
    ) -> None:
        """Scores the mask of a study against its labels.

        Args:
            study: the labelled study.
            prediction: its mask.
            review: the review of the mask.
            model: the networks that made the mask; None if there are none.
            seconds: the time that the mask took; None if it is not known.
            frames: the numbers of the frames in the records, from 0, if the study has only some frames of its file.
        """
        assert study.labels is not None
        case = study.case
        whose: dict[str, Any] = {"patient": study.patient, "case": case}
        grid: dict[str, Any] = {"spacing_mm": study.spacing_mm, "classes": study.classes}
        scored = score_case(
            prediction.mask, study.labels, **grid, **whose, pooled=self._pooled, exclude_empty=self._exclude_empty
        )
        true = self._true[case] = measure_study(study.labels, **grid, affine=study.affine)
        self._predicted[case] = review.indices
        self._places[case] = place_of(study)
        self._flags[case] = all_flags(prediction, review)
        if seconds is not None:
            self._seconds[case] = seconds
        self._scores += _numbered(scored, frames)
        self._pairs += _numbered(pair_study(study, review, true), frames)
        if prediction.confidence is not None:
            self._rows += quality_rows(
                scored,
                prediction.confidence,
                verdict=review.verdict,
                reasons=[finding.code for finding in review.findings],
                expected_dice=expected_dice(review),
            )
        self._sizes += _numbered(measure_sizes(prediction.mask, study.labels, **grid, **whose), frames)
        several = not self._acquisitions and model is not None
        self._planes += _numbered(choose_planes(study, prediction, model, several=several), frames)
        self._acquisitions.append(acquisition_of(study))

    def write(self, workdir: Path, *, start: float) -> Summary:
        """Writes all scores, tables and pictures to `workdir/evaluation`, and logs the main ones.

        Args:
            workdir: the folder of the evaluation.
            start: when the evaluation began, by `time.monotonic`.

        Returns:
            The summary of the scores.
        """
        folder = workdir / EVALUATION
        pairs = [*pair_patients(self._predicted, self._true, self._classes, places=self._places), *self._pairs]
        index_scores = score_pairs(pairs)
        summary = summarise(self._scores)
        write_scores(self._scores, summary, folder)
        write_sizes(self._sizes, folder)
        write_acquisitions(self._acquisitions, folder)
        save_gallery(self._planes, folder)
        draw_summary(self._scores, folder / "boxplots.png")
        write_text(folder / "table.md", f"{format_table(summary, markdown=True)}\n{index_table(index_scores)}")
        write_json(folder / "flags.json", self._flags)
        write_json(folder / "timing.json", {"evaluation": time.monotonic() - start, "studies": self._seconds})
        LOGGER.info("\n%s\n", format_table(summary))
        write_reviews(pairs, index_scores, self._rows, folder)
        return summary


Record = TypeVar("Record", Score, Size, IndexPair, Plane)


def _numbered(records: Sequence[Record], frames: Sequence[int] | None) -> Sequence[Record]:
    """Returns the records with the frame numbers of the file."""
    if frames is None:
        return records
    return [
        record if record.frame is None else dataclasses.replace(record, frame=frames[record.frame])
        for record in records
    ]
