"""The batches of an epoch: which slices, in which order, and how they are assembled on the device.

All random draws depend only on (seed, epoch, study), so that a training can be resumed at any step.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from foanet_jax.image.augment import NO_CHANGE, AugmentSpec
from foanet_jax.image.prepare import PrepareSpec, Source, padded_shape, prepared_extent, source_bytes
from foanet_jax.image.stack import neighbours
from foanet_jax.training.examples import BLOCKS, ORDER, TrainingStudy, jittered_box, open_study, prepare_study

BLOCK = 16  # successive batches of one shape, which an accelerator computes as one program
RESIDENT_BYTES = 4 * 2**30  # up to this total size, studies stay on the device for the whole training
SHELF = 64  # the number of slices on a shelf is rounded up to a multiple of this, so that few shapes are compiled
Shape = tuple[int, int]  # rows and columns, px
Example = tuple[int, int]  # study and slice


@dataclasses.dataclass(frozen=True)
class EpochSpec:
    """Settings of an epoch's batches.

    Attributes:
        prepare, augment: preprocessing and augmentation of a study.
        batch_size: slices per batch.
        limit: slices per epoch; 0: all.
        jitter_px, box_scale: see `jittered_box`.
        seed: of the order and of the augmentation.
    """

    prepare: PrepareSpec
    augment: AugmentSpec
    batch_size: int
    limit: int = 0
    jitter_px: int = 0
    box_scale: float = 0.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Block:
    """Up to BLOCK batches of (study, slice) whose images have the same shape."""

    shape: Shape
    batches: tuple[tuple[Example, ...], ...]


def epoch_order(studies: Sequence[TrainingStudy], *, seed: int, epoch: int, limit: int) -> list[Example]:
    """Returns the examples (study, slice) of an epoch in random order, at most `limit` of them (0: all)."""
    every = [(number, slice_) for number, study in enumerate(studies) for slice_ in range(study.examples)]
    order = _generator(seed, epoch, ORDER).permutation(len(every))
    return [every[index] for index in (order[:limit] if limit else order)]


def plan_epoch(studies: Sequence[TrainingStudy], spec: EpochSpec, epoch: int) -> list[Block]:
    """Plans the blocks of an epoch, in random order, without reading any voxels.

    All slices of a batch have the same shape. The last batch of a shape is filled up by repeating examples of that
    shape.
    """
    by_shape: dict[Shape, list[Example]] = {}
    shape_of: dict[int, Shape] = {}
    for number, slice_ in epoch_order(studies, seed=spec.seed, epoch=epoch, limit=spec.limit):
        if number not in shape_of:
            study = studies[number]
            box = jittered_box(study, spec.jitter_px, (spec.seed, epoch, number), scale=spec.box_scale)
            extent = prepared_extent(box, study.original.spacing_mm[1:], spec.prepare)
            shape_of[number] = padded_shape(extent, spec.prepare.bucket)
        by_shape.setdefault(shape_of[number], []).append((number, slice_))
    blocks = []
    for shape, examples in by_shape.items():
        missing = -len(examples) % spec.batch_size
        examples = [*examples, *(examples[i % len(examples)] for i in range(missing))]
        batches = [tuple(examples[i : i + spec.batch_size]) for i in range(0, len(examples), spec.batch_size)]
        blocks += [Block(shape, tuple(batches[i : i + BLOCK])) for i in range(0, len(batches), BLOCK)]
    return [blocks[index] for index in _generator(spec.seed, epoch, BLOCKS).permutation(len(blocks))]


def count_steps(studies: Sequence[TrainingStudy], spec: EpochSpec, epochs: int) -> list[int]:
    """Returns the number of batches of each epoch."""
    same_every_epoch = not (spec.jitter_px or spec.box_scale or spec.limit)
    counted = [
        sum(len(block.batches) for block in plan_epoch(studies, spec, epoch))
        for epoch in range(1 if same_every_epoch else epochs)
    ]
    return counted * epochs if same_every_epoch else counted


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


class Sources:
    """The studies on the device: for the whole training if all of them fit, else only while they are needed."""

    def __init__(self, studies: Sequence[TrainingStudy]):
        self.studies = studies
        self.resident = sum(source_bytes(study.labels.shape) for study in studies) <= RESIDENT_BYTES
        self._open: dict[int, Source] = {}

    def __getitem__(self, number: int) -> Source:
        """Returns the source of the study with this index."""
        if number in self._open:
            return self._open[number]
        source = open_study(self.studies[number])
        if self.resident:
            self._open[number] = source
        return source


@dataclasses.dataclass(frozen=True)
class Shelf:
    """All slices of the studies whose preprocessed images have one shape, on the device.

    Attributes:
        images: (N, H, W) float32, the slices of all studies one after the other, then zeros.
        labels: (N, H, W) uint8.
        extents: (N, 2) int32 rows and columns that belong to each image, px.
        triples: for each study, (slices, 3) indices into `images` of each slice and its two neighbours.
    """

    images: jax.Array
    labels: jax.Array
    extents: np.ndarray
    triples: dict[int, np.ndarray]

    def collect(self, batches: Sequence[Sequence[Example]]) -> dict[str, jax.Array]:
        """Assembles S batches: images (S, B, H, W, 3), labels (S, B, H, W) and extents (S, B, 2)."""
        picks = np.array([[self.triples[c][s] for c, s in batch] for batch in batches], np.int32)
        images, labels = _collect(self.images, self.labels, picks)
        return {"images": images, "labels": labels, "extent": jnp.asarray(self.extents[picks[..., 1]])}


@jax.jit
def _collect(images, labels, picks):
    return jnp.moveaxis(images[picks], 2, -1), labels[picks[..., 1]]


def fill_shelf(
    studies: Sequence[TrainingStudy],
    numbers: Sequence[int],
    sources: Sources,
    spec: EpochSpec,
    epoch: int,
    shape: Shape,
) -> Shelf:
    """Preprocesses the studies whose images have one shape.

    A study is augmented once per epoch, with the same changes for all its slices. The studies are written into arrays
    whose number of slices is rounded up, so that the program compiled in one epoch can be used in the next.

    Args:
        studies: all training studies.
        numbers: indices of the studies of this shape.
        sources: the studies on the device.
        spec: settings of the epoch.
        epoch: from 0.
        shape: rows and columns of the images, px.
    """
    count = sum(studies[n].examples for n in numbers)
    slots = -(-count // SHELF) * SHELF
    images, labels = jnp.zeros((slots, *shape), jnp.float32), jnp.zeros((slots, *shape), jnp.uint8)
    extents = np.zeros((slots, 2), np.int32)
    triples = {}
    start = 0
    for n in numbers:
        study = studies[n]
        prepared = prepare_study(
            study,
            spec.prepare,
            None if spec.augment == NO_CHANGE else spec.augment,
            source=sources[n],
            jitter_px=spec.jitter_px,
            box_scale=spec.box_scale,
            key=(spec.seed, epoch, n),
        )
        assert prepared.labels is not None
        images, labels = _put(images, labels, prepared.images, prepared.labels, start)
        extents[start : start + study.examples] = prepared.extent
        along = spec.prepare.neighbours
        triples[n] = start + neighbours(*study.labels.shape[:2], cyclic=study.cyclic, along=along)
        start += study.examples
    return Shelf(images, labels, extents, triples)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _put(images, labels, new_images, new_labels, start):
    where = (start, 0, 0)
    return lax.dynamic_update_slice(images, new_images, where), lax.dynamic_update_slice(labels, new_labels, where)


def split_blocks(plan: Sequence[Block], *, together: int, skip: int = 0) -> list[Block]:
    """Splits blocks into parts of `together` batches, and the rest of each block into single batches.

    The boundaries of the parts do not depend on `skip`. If `skip` ends inside a part, the remaining batches of that
    part become single batches.

    Args:
        plan: the blocks of an epoch.
        together: batches per part, 1 … BLOCK.
        skip: number of batches at the start that are left out.
    """
    parts = []
    for block in plan:
        whole = len(block.batches) // together * together
        starts = [*range(0, whole, together), *range(whole, len(block.batches))]
        for start, stop in zip(starts, [*starts[1:], len(block.batches)], strict=True):
            left = block.batches[start:stop][skip:]
            single = 0 < len(left) < stop - start
            parts += [Block(block.shape, (batch,)) for batch in left] if single else [Block(block.shape, left)]
            skip = max(0, skip - (stop - start))
    return [part for part in parts if part.batches]


def epoch_batches(
    studies: Sequence[TrainingStudy],
    spec: EpochSpec,
    epoch: int,
    *,
    sources: Sources | None = None,
    together: int = 1,
    skip: int = 0,
    share: slice = slice(None),
) -> Iterator[tuple[Block, dict[str, jax.Array]]]:
    """Yields the batches of an epoch on the device, in groups of `together` batches or of a single batch.

    Args:
        studies: training studies.
        spec: settings of the epoch.
        epoch: from 0.
        sources: the studies on the device, if they are kept from epoch to epoch.
        together: batches per group, 1 … BLOCK; it does not change the batches themselves.
        skip: number of batches at the start of the epoch that are left out and not preprocessed.
        share: the part of each batch that this process needs; other examples are not preprocessed.

    Yields:
        The examples of the whole batches, and for this process's share `images` (S, B, H, W, 3) float32, `labels`
        (S, B, H, W) uint8 and `extent` (S, B, 2) int32, where S is `together` or 1.
    """
    sources = sources or Sources(studies)
    parts = split_blocks(plan_epoch(studies, spec, epoch), together=together, skip=skip)
    left = collections.Counter(part.shape for part in parts)
    shelves: dict[Shape, Shelf] = {}
    for part in parts:
        if part.shape not in shelves:
            alike = [batch[share] for other in parts if other.shape == part.shape for batch in other.batches]
            numbers = {number for batch in alike for number, _ in batch}
            shelves[part.shape] = fill_shelf(studies, sorted(numbers), sources, spec, epoch, part.shape)
        yield part, shelves[part.shape].collect([batch[share] for batch in part.batches])
        left[part.shape] -= 1
        if not left[part.shape]:
            del shelves[part.shape]
