"""Small results of each kind of study, with the truth as mask."""

import dataclasses

import numpy as np

from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box
from foanet_jax.measures.indices.short_axis import CANONICAL_SEPTUM, lv_indices, septum_angle
from foanet_jax.measures.indices.ventricle import structure_volumes, ventricle
from foanet_jax.pages.study_page import Flag, StudyResult


def stack_result(size: int = 64, slices: int = 4, frames: int = 4) -> StudyResult:
    """A beating stack with known orientation and time, flagged."""
    study = short_axis_stack(1, size=size, slices=slices, frames=frames)
    known = {"classes": study.classes, "spacing_mm": study.spacing_mm}
    septum = septum_angle(study.labels, **known)
    return StudyResult(
        study,
        study.labels,
        boxes=[Box(16, 16, 48, 48), Box(8, 8, 56, 56)],
        indices=lv_indices(study.labels, septum_degrees=septum, **known),
        septum_degrees=septum,
        ventricle=ventricle(study.labels, **known),
        volumes_ml=structure_volumes(study.labels, **known),
        flags=[Flag("leak", "The right ventricle leaks.", "frame 2")],
        verdict="check",
        confidence=0.81,
        frame_seconds=0.05,
        provenance={"model": {"checkpoint": "runs/acdc"}},
    )


def cine_result() -> StudyResult:
    """A beating slice whose orientation is not known."""
    study = short_axis_study(2, size=64, frames=3)
    indices = lv_indices(
        study.labels, classes=study.classes, spacing_mm=study.spacing_mm, septum_degrees=CANONICAL_SEPTUM
    )
    return StudyResult(study, study.labels, indices=indices, verdict="good")


def volume_result() -> StudyResult:
    """A volume of two structures, not judged: 80 ml and 120 ml."""
    classes = ("background", "left ventricle", "right ventricle")
    labels = np.zeros((1, 4, 20, 20), np.uint8)
    labels[:, :, 2:12, 2:4], labels[:, :, 2:12, 10:13] = 1, 2
    study = Study("p", "volume", np.random.default_rng(0).random(labels.shape, np.float32), (10, 10, 10), classes)
    volumes = structure_volumes(labels, classes=classes, spacing_mm=study.spacing_mm)
    return dataclasses.replace(StudyResult(study, labels), volumes_ml=volumes)
