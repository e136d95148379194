"""What a network trains on: one slice with its neighbours at a time, in an order fixed by seed and epoch."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.errors import InputError
from foanet_jax.image.augment import NO_AUGMENTATION, AugmentSpec, draw_augmentation
from foanet_jax.image.boxes import Box, slice_boxes, union_box, whole_image
from foanet_jax.image.prepare import Prepared, PrepareSpec, padded_shape, prepare, prepared_extent
from foanet_jax.image.stack import neighbours, temporal_like
from foanet_jax.losses import WINDOW

ORDER, CHANGE, JITTER = 1, 2, 3


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


def prepare_case(
    case: Case, spec: PrepareSpec, augment: AugmentSpec | None = None, *, jitter_px: int = 0, key: tuple[int, ...] = ()
) -> Prepared:
    """A case on its network's grid, changed at random where `augment` is given.

    Args:
        jitter_px: each side of the box moves by up to this, as the localization network's would.
        key: integers that fix the random draws.
    """
    study, box = case.study, case.box
    shape = study.voxels.shape[-2:]
    if jitter_px and box != whole_image(shape):
        shifts = np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, JITTER))))
        sides = np.array(dataclasses.astuple(box)) + shifts.integers(-jitter_px, jitter_px + 1, 4)
        top, left = np.maximum(sides[:2], 0)
        bottom, right = np.minimum(sides[2:], shape)
        if bottom - top > jitter_px and right - left > jitter_px:
            box = Box(int(top), int(left), int(bottom), int(right))
    change = NO_AUGMENTATION if augment is None else draw_augmentation((*key, CHANGE), augment)
    return prepare(
        study.voxels,
        box,
        study.spacing_mm[1:],
        spec,
        labels=case.labels,
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


def batch_of(prepared: Sequence[Prepared], triples: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Images (B, H, W, 3), labels (B, H, W) and extents (B, 2) of slices on grids of one shape.

    Args:
        prepared: the study of each example.
        triples: (3,) indices of each example's slice (the middle one) and its neighbours.
    """
    return {
        "images": np.stack(
            [temporal_like(np.asarray(p.images), t[None])[0] for p, t in zip(prepared, triples, strict=True)]
        ),
        "labels": np.stack([np.asarray(p.labels)[t[1]] for p, t in zip(prepared, triples, strict=True)]),
        "extent": np.array([p.extent for p in prepared], np.int32),
    }


def epoch_order(cases: Sequence[Case], *, seed: int, epoch: int, limit: int) -> list[tuple[int, int]]:
    """(case, slice) of every example of an epoch in random order, the first `limit` of them (0: all)."""
    every = [(number, slice_) for number, case in enumerate(cases) for slice_ in range(case.examples)]
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, ORDER))))
    order = generator.permutation(len(every))
    return [every[index] for index in (order[:limit] if limit else order)]


def epoch_batches(
    cases: Sequence[Case],
    spec: PrepareSpec,
    augment: AugmentSpec,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    limit: int = 0,
    jitter_px: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """An epoch's batches: a function of its arguments alone, so that a run can be taken up anywhere.

    Each study is changed once an epoch, all its slices alike. A batch holds slices on grids of one shape; the
    last one of a shape is filled up with examples of that shape drawn again.
    """
    order = epoch_order(cases, seed=seed, epoch=epoch, limit=limit)
    ready: dict[int, Prepared] = {}
    waiting: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    seen: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    triples = [neighbours(*case.labels.shape[:2], cyclic=case.cyclic) for case in cases]

    def collect(examples):
        return batch_of([ready[c] for c, _ in examples], [triples[c][s] for c, s in examples])

    for number, slice_ in order:
        if number not in ready:
            key = (seed, epoch, number)
            ready[number] = prepare_case(cases[number], spec, augment, jitter_px=jitter_px, key=key)
        shape = ready[number].images.shape[1:]
        waiting.setdefault(shape, []).append((number, slice_))
        seen.setdefault(shape, []).append((number, slice_))
        if len(waiting[shape]) == batch_size:
            yield collect(waiting.pop(shape))
    for shape, examples in waiting.items():
        pool = seen[shape]
        yield collect([*examples, *(pool[i % len(pool)] for i in range(batch_size - len(examples)))])


def count_batches(cases: Sequence[Case], spec: PrepareSpec, *, batch_size: int, limit: int) -> int:
    """About how many batches an epoch has: exact without `limit` and jitter."""
    shapes: dict[tuple[int, int], int] = {}
    for case in cases:
        shape = padded_shape(prepared_extent(case.box, case.study.spacing_mm[1:], spec), spec.bucket)
        shapes[shape] = shapes.get(shape, 0) + case.examples
    if limit:
        return -(-min(limit, sum(shapes.values())) // batch_size)
    return sum(-(-count // batch_size) for count in shapes.values())
