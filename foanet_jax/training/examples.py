"""What a network trains on: studies with the labels and the crop that are its own."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.augment import NO_AUGMENTATION, AugmentSpec, draw_augmentation
from foanet_jax.image.boxes import Box, slice_boxes, union_box, whole_image
from foanet_jax.image.prepare import Prepared, PrepareSpec, Source, open_source, prepare, prepared_extent
from foanet_jax.system.errors import InputError
from foanet_jax.training.losses import WINDOW

# What a random draw is for: part of its key.
ORDER, CHANGE, JITTER, BLOCKS = 1, 2, 3, 4


@dataclasses.dataclass(frozen=True)
class Case:
    """A study as one network trains on it.

    Attributes:
        study: the labelled study.
        labels: (T, Z, H, W) uint8, as this network sees the classes.
        classes: how many those are.
        box: the crop, margin included.
        cyclic: whether a cine's last frame precedes its first.
    """

    study: Study
    labels: np.ndarray
    classes: int
    box: Box
    cyclic: bool

    @property
    def examples(self) -> int:
        """Slices of all frames."""
        return self.labels.shape[0] * self.labels.shape[1]


def object_case(study: Study, *, cyclic: bool) -> Case:
    """A study for the localization network: whole frames, all foreground merged into one object (Sec. III-D)."""
    labels = (_labels(study) > 0).astype(np.uint8)
    return Case(study, labels, 2, whole_image(labels.shape[-2:]), cyclic)


def segmentation_case(study: Study, *, cyclic: bool, margin_px: int | None) -> Case:
    """A study for the segmentation network, cropped to its ground truth's union box and margin.

    Args:
        margin_px: px added on each side; None: no localization, whole frames.
    """
    labels = _labels(study)
    shape = labels.shape[-2:]
    box = union_box(slice_boxes(labels > 0)) if margin_px is not None else None
    box = box.widen(margin_px, shape) if box is not None and margin_px is not None else whole_image(shape)
    return Case(study, labels, len(study.classes), box, cyclic)


def _labels(study: Study) -> np.ndarray:
    if study.labels is None:
        raise InputError("no-labels", f"{study.name}: no ground truth; training and evaluation need labelled studies")
    return study.labels


def jittered_box(case: Case, jitter_px: int, key: tuple[int, ...], *, scale: float = 0.0) -> Box:
    """The case's box as the localization network might have found it.

    Each side moves by up to `jitter_px`, and the box grows about its centre to 1 … 1 + `scale` times its size. Whole
    frames stay whole; `key` holds the integers that fix the draw.
    """
    shape, box = case.labels.shape[-2:], case.box
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


def open_case(case: Case) -> Source:
    """The case's frames and labels on the device."""
    return open_source(case.study.voxels, case.labels)


def prepare_case(
    case: Case,
    spec: PrepareSpec,
    augment: AugmentSpec | None = None,
    *,
    source: Source | None = None,
    jitter_px: int = 0,
    box_scale: float = 0.0,
    key: tuple[int, ...] = (),
) -> Prepared:
    """A case on its network's grid, changed at random where `augment` is given.

    Args:
        source: `open_case(case)`, where it is on the device already.
        jitter_px, box_scale: see `jittered_box`.
        key: integers that fix the random draws.
    """
    change = NO_AUGMENTATION
    if augment is not None:
        change = draw_augmentation((*key, CHANGE), augment, slices=case.labels.shape[1])
    return prepare(
        source or open_case(case),
        jittered_box(case, jitter_px, key, scale=box_scale),
        case.study.spacing_mm[1:],
        spec,
        classes=case.classes,
        augmentation=change,
    )


def require_window(cases: Sequence[Case], spec: PrepareSpec) -> None:
    """Raises InputError for the first case whose prepared image is smaller than the SSIM window."""
    for case in cases:
        extent = prepared_extent(case.box, case.study.spacing_mm[1:], spec)
        if min(extent) < WINDOW:
            raise InputError(
                "too-small",
                f"{case.study.name}: {extent[0]}×{extent[1]} px to train on, below SSIM's {WINDOW}-px window; "
                "use a finer spacing_mm or ssim_mode=global",
            )
