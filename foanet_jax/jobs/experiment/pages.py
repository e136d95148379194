"""The data for the page of a predicted study, and for its entry in the index of studies."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box
from foanet_jax.jobs.check.thumbnail import thumbnail_of
from foanet_jax.measures.indices.position import View
from foanet_jax.measures.quality.finding import summed_up
from foanet_jax.measures.quality.review import Review
from foanet_jax.pages.study_page import IndexEntry, StudyResult
from foanet_jax.pipeline import Prediction


def as_seen(study: Study, prediction: Prediction, view: View | None) -> tuple[Study, np.ndarray, tuple[Box, ...]]:
    """Returns the study, its predicted mask and its boxes as pictures show them.

    Args:
        study: the study as it was read.
        prediction: the prediction of the study.
        view: the view in which the slices are shown; None to show them as they are stored.

    Returns:
        The study with its voxels, labels and spacing in the view; the mask (T, Z, H, W); the box of the heart and the
        box with its margin, or no box if the heart was not found.
    """
    boxes: tuple[Box, ...] = () if prediction.object_box is None else (prediction.object_box, prediction.box)
    if view is None:
        return study, prediction.mask, boxes
    seen = dataclasses.replace(
        study,
        voxels=view.planes(study.voxels),
        labels=None if study.labels is None else view.planes(study.labels),
        spacing_mm=view.spacing(study.spacing_mm),
    )
    return seen, view.planes(prediction.mask), tuple(view.box(box, study.voxels.shape[2:]) for box in boxes)


# The files beside a page to which it links, by the ends of their names after the case.
_LINKS = {
    "_seg.nii.gz": "mask",
    ".nii.gz": "image",
    "_indices.csv": "areas and wall thicknesses (CSV)",
    "_volumes.csv": "volumes (CSV)",
}


def links(case: str, files: Iterable[str]) -> dict[str, str]:
    """Returns the written files of a study to which its page links, by what they are.

    Args:
        case: the id of the study.
        files: the names of the files that were written.
    """
    written = set(files)
    return {what: f"{case}{end}" for end, what in _LINKS.items() if f"{case}{end}" in written}


def study_result(
    study: Study,
    prediction: Prediction,
    review: Review,
    provenance: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> StudyResult:
    """Collects the data that the page of a study shows.

    Args:
        study: the study as it was read.
        prediction: the prediction of the study.
        review: the review of the prediction.
        provenance: the origin of the prediction, as names and values, such as the checkpoint and the version.
        files: the files beside the page to which it links, by what they are.
    """
    shown, mask, boxes = as_seen(study, prediction, review.indices.view)
    confidence = None
    if prediction.confidence is not None and np.isfinite(prediction.confidence.foreground):
        confidence = prediction.confidence.foreground
    return StudyResult(
        study=shown,
        mask=mask,
        boxes=boxes,
        indices=review.indices.slices,
        septum_degrees=review.indices.septum_degrees,
        view=review.indices.view,
        base_first=review.indices.base_first,
        ventricle=review.indices.ventricles,
        volumes_ml=review.indices.volumes_ml,
        flags=summed_up(review.findings),
        findings=review.findings,
        verdict=review.verdict,
        doubtful=review.doubtful,
        affected=review.affected,
        confidence=confidence,
        frame_seconds=study.frame_seconds,
        count=review.count,
        provenance=provenance,
        context=review.context,
        files=files or {},
    )


def index_entry(result: StudyResult, page: str) -> IndexEntry:
    """Returns the entry of a study in the index of studies.

    Args:
        result: data of the study's page.
        page: path of the page, relative to the index.
    """
    return IndexEntry(
        case=result.study.case,
        page=page,
        verdict=result.verdict,
        reason=result.flags[0][1] if result.flags else "",
        ef_percent=None if result.ventricle is None else result.ventricle.left.ef_percent,
        thumbnail=thumbnail_of(dataclasses.replace(result.study, labels=result.mask)),
    )
