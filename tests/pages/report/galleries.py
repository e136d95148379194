"""Galleries of phantoms with slightly wrong predictions, for made-up sweeps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import bounding_box, whole_image
from foanet_jax.jobs.experiment.planes import grey_levels
from foanet_jax.pages.gallery import Plane, save_gallery
from foanet_jax.pages.report.results import SweepResult


def make_planes(
    study: Study, patient: str, places: Sequence[tuple[int, int]], *, shift: int = 1, localized: bool = True
) -> list[Plane]:
    """Planes of a study at some (frame, slice), predicted `shift` px too far to the right; focused where localized."""
    frames, slices, *shape = study.voxels.shape
    object_box = bounding_box(study.labels.any((0, 1)))
    box = object_box.widen(10, tuple(shape)) if localized else whole_image(tuple(shape))

    def grey(frame: int, slice_: int) -> np.ndarray:
        return grey_levels(study.voxels, study.voxels[frame % frames, min(max(slice_, 0), slices - 1)])

    return [
        Plane(
            patient=patient,
            case=f"{patient}_cine",
            frame=frame,
            slice_=slice_,
            classes=study.classes,
            spacing_mm=study.spacing_mm[1:],
            image=grey(frame, slice_),
            truth=study.labels[frame, slice_],
            prediction=np.roll(study.labels[frame, slice_], shift, axis=-1),
            object_box=object_box if localized else None,
            box=box,
            before=grey(frame - 1, slice_) if frames > 1 else grey(frame, slice_ - 1),
            after=grey(frame + 1, slice_) if frames > 1 else grey(frame, slice_ + 1),
            delta=sum(box.shape) / 4 if localized else None,
        )
        for frame, slice_ in places
    ]


def save_galleries(result: SweepResult, studies: dict[str, Study], places: Sequence[tuple[int, int]]) -> None:
    """Writes the galleries of every run with a patient among `studies`; the first of several rows is not localized."""
    for number, row in enumerate(result.rows):
        for run in row.runs:
            planes = []
            for patient in dict.fromkeys(score.patient for score in run.scores):
                if patient in studies:
                    localized = number > 0 or len(result.rows) == 1
                    planes += make_planes(studies[patient], patient, places, shift=1 + number, localized=localized)
            save_gallery(planes, Path(run.folder) / "evaluation")
