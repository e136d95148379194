"""A data set to train on, from measured studies: images and masks as NIfTI, with their dataset.json."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.nifti.write import write_image, write_nifti
from foanet_jax.data.readers.folder import DESCRIPTION, FORMAT
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.jobs.studies.writing import Entry, note
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
FOLDER = "training"
_SUFFIX = ".nii.gz"


def require_absent(folder: Path) -> None:
    """Checks that the folder has no data set yet: two data sets would be mixed, and corrected masks could be replaced.

    Raises:
        InputError: "output-exists" if there are files in it.
    """
    there = sorted(folder.glob("*"))
    if there:
        raise InputError(
            "output-exists",
            f"{folder}: has files such as {there[0].name}; a training set is never replaced: remove the folder, or "
            "choose another --output",
        )


def add(study: Study, mask: np.ndarray, folder: Path, entry: Entry) -> None:
    """Writes the image and the mask of a study. If some frames have no mask, the others are written one by one.

    Frames without a mask would teach the networks that they show no heart.

    Args:
        study: the study.
        mask: (T, Z, H, W) uint8 class indices.
        folder: the folder of the data set.
        entry: the study's entry in the report, to which errors are added.
    """
    there = np.flatnonzero(mask.any(axis=(1, 2, 3)))
    if not len(there):
        LOGGER.warning("%s: nothing is drawn, so that it is no part of the training set", study.case)
        return
    parts = {study.case: slice(None)}
    if len(there) < len(mask):
        parts = {f"{study.case}_frame{frame + 1:02d}": slice(frame, frame + 1) for frame in there.tolist()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for case, frames in parts.items():
            part = dataclasses.replace(study, voxels=study.voxels[frames], labels=None)
            write_image(part, folder / f"{case}{_SUFFIX}")
            write_nifti(
                mask[frames],
                affine=study.affine,
                spacing_mm=study.spacing_mm,
                path=folder / f"{case}_seg{_SUFFIX}",
                frame_seconds=study.frame_seconds,
            )
    except OSError as error:
        message = f"{folder}: {study.case} cannot be written ({error.strerror}); make room or choose another --output"
        note(message, "unwritable", entry)


def describe(classes: Sequence[str], folder: Path) -> None:
    """Writes the dataset.json.

    Args:
        classes: names by index, background first.
        folder: the folder of the data set.
    """
    write_json(
        folder / DESCRIPTION,
        {
            "format": FORMAT,
            "classes": {name: index for index, name in enumerate(classes)},
            "images": f"{{case}}{_SUFFIX}",
            "labels": f"{{case}}_seg{_SUFFIX}",
        },
    )
