"""Training studies: studies with the labels and the crop that a network is trained with."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.augment import NO_AUGMENTATION, AugmentSpec, draw_augmentation
from foanet_jax.image.boxes import Box, slice_boxes, union_box, whole_image
from foanet_jax.image.prepare import Prepared, PrepareSpec, Source, open_source, prepare, prepared_extent
from foanet_jax.system.errors import InputError
from foanet_jax.training.losses import WINDOW

# The purpose of a random draw is part of its key, so that draws for different purposes are independent.
ORDER, CHANGE, JITTER, BLOCKS = 1, 2, 3, 4


@dataclasses.dataclass(frozen=True)
class TrainingStudy:
    """A study in the form in which one network is trained on it.

    Attributes:
        original: the labelled study.
        labels: (T, Z, H, W) uint8 with the classes of this network.
        classes: number of classes of this network.
        box: the crop, with its margin.
        cyclic: whether the last frame of a cine precedes the first one.
    """

    original: Study
    labels: np.ndarray
    classes: int
    box: Box
    cyclic: bool

    @property
    def examples(self) -> int:
        """T·Z, the number of slices in all frames."""
        return self.labels.shape[0] * self.labels.shape[1]


def localization_study(study: Study, *, cyclic: bool) -> TrainingStudy:
    """Makes a study for the localization network: whole frames, with all foreground in one class (Sec. III-D)."""
    labels = (_labels(study) > 0).astype(np.uint8)
    return TrainingStudy(study, labels, 2, whole_image(labels.shape[-2:]), cyclic)


def segmentation_study(study: Study, *, cyclic: bool, margin_px: int | None) -> TrainingStudy:
    """Makes a study for the segmentation network, cropped to the union box of the ground truth and a margin.

    Args:
        study: the labelled study.
        cyclic: see `TrainingStudy`.
        margin_px: px added on each side; None: whole frames, for a method without localization.

    Raises:
        InputError: the study has no labels.
    """
    labels = _labels(study)
    shape = labels.shape[-2:]
    box = union_box(slice_boxes(labels > 0)) if margin_px is not None else None
    box = box.widen(margin_px, shape) if box is not None and margin_px is not None else whole_image(shape)
    return TrainingStudy(study, labels, len(study.classes), box, cyclic)


def _labels(study: Study) -> np.ndarray:
    if study.labels is None:
        raise InputError("no-labels", f"{study.name}: no ground truth; training and evaluation need labelled studies")
    return study.labels


def jittered_box(study: TrainingStudy, jitter_px: int, key: tuple[int, ...], *, scale: float = 0.0) -> Box:
    """Changes a study's box at random, to imitate the errors of the localization network.

    Whole frames stay as they are. If the box would become too small, it is not changed.

    Args:
        study: the study.
        jitter_px: each side moves by up to this many px of the study.
        key: integers that determine the draw.
        scale: the box grows around its centre by a factor from 1 to 1 + `scale`.
    """
    shape, box = study.labels.shape[-2:], study.box
    if not (jitter_px or scale) or box == whole_image(shape):
        return box
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, JITTER))))
    sides = np.array(dataclasses.astuple(box)) + generator.integers(-jitter_px, jitter_px + 1, 4)
    growth = np.rint(scale * generator.random() / 2 * np.array(box.shape)).astype(int)
    sides += np.concatenate([-growth, growth])
    top, left = np.maximum(sides[:2], 0)
    bottom, right = np.minimum(sides[2:], shape)
    if bottom - top <= jitter_px or right - left <= jitter_px:
        return box
    return Box(int(top), int(left), int(bottom), int(right))


def open_study(study: TrainingStudy) -> Source:
    """Copies the frames and labels of a study to the device."""
    return open_source(study.original.voxels, study.labels)


def prepare_study(
    study: TrainingStudy,
    spec: PrepareSpec,
    augment: AugmentSpec | None = None,
    *,
    source: Source | None = None,
    jitter_px: int = 0,
    box_scale: float = 0.0,
    key: tuple[int, ...] = (),
) -> Prepared:
    """Preprocesses a study for its network, with augmentation if `augment` is given.

    Args:
        study: the study.
        spec: settings of the preprocessing.
        augment: ranges of the augmentation; None: no augmentation.
        source: result of `open_study(study)`, if the study is on the device already.
        jitter_px, box_scale: see `jittered_box`.
        key: integers that determine the random draws.
    """
    change = NO_AUGMENTATION
    if augment is not None:
        change = draw_augmentation((*key, CHANGE), augment, slices=study.labels.shape[1])
    return prepare(
        source or open_study(study),
        jittered_box(study, jitter_px, key, scale=box_scale),
        study.original.spacing_mm[1:],
        spec,
        classes=study.classes,
        augmentation=change,
    )


def require_window(studies: Sequence[TrainingStudy], spec: PrepareSpec) -> None:
    """Raises InputError for the first study whose preprocessed image is smaller than the SSIM window."""
    for study in studies:
        extent = prepared_extent(study.box, study.original.spacing_mm[1:], spec)
        if min(extent) < WINDOW:
            raise InputError(
                "too-small",
                f"{study.original.name}: the crop has {extent[0]}×{extent[1]} px, less than the {WINDOW}-px window "
                "of SSIM; use a smaller spacing_mm or ssim_mode=global",
            )
