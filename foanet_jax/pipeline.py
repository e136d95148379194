"""The complete pipeline of Fig. 1, from a study to its segmentation; used by evaluation and prediction."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box, paste, slice_boxes, union_box, whole_image
from foanet_jax.image.components import keep_greatest
from foanet_jax.image.confidence import Confidence, confidence_of, overlap, tally
from foanet_jax.image.motion import FEWEST_FRAMES, along_motion, closes, displacement, frames_around, weights
from foanet_jax.image.prepare import Prepared, PrepareSpec, Source, open_source, prepare, restore_labels
from foanet_jax.image.slices import blank_planes, jumps, with_even_brightness
from foanet_jax.image.stack import neighbours, temporal_like
from foanet_jax.network import NetworkSpec, forward_bytes, probabilities
from foanet_jax.system.determinism import single_precision
from foanet_jax.system.devices import explaining_out_of_memory, spread

MEMORY_BYTES = 2 * 2**30
# Limits on the number of slices per forward pass on a device. More slices are not faster, and each number of slices
# needs its own compiled program. On an accelerator, a few additional slices take no extra time, so that numbers are
# rounded up.
MOST_TOGETHER, FEWEST_TOGETHER = 32, 16
MOST_ON_CPU = 4
# Test-time augmentation. For each view: whether the image is transposed, and which axes (rows, columns) are mirrored
# before that.
_FLIPS = ((), (0,), (1,), (0, 1))
SYMMETRIES = {
    "none": ((False, ()),),
    "flips": tuple((False, axes) for axes in _FLIPS),
    "turns": tuple(itertools.product((False, True), _FLIPS)),
}

# What is done with the probability maps of a cine: nothing, or averaged over neighbouring frames along the motion.
TEMPORAL = ("none", "motion")

Progress = Callable[[str, int, int], None]  # arguments: name of the step, slices done, total number of slices

AT_BORDER = "the heart touches the border of the image"
NOT_LOCALIZED = "the heart was not found: the whole image was segmented"
EMPTY = "nothing was segmented: the mask is empty"
BLANK = "slices without contrast: nothing is segmented on them"
UNEVEN = "the brightness changes abruptly from slice to slice: each slice was scaled to the same range"
NO_CONTRAST = "(σ = 0): nothing can be segmented"  # The end of a sentence. The value of the voxels comes before it.
# Smallest accepted intersection over union of the box and the box around the segmentation (with margin).
AGREEMENT = 0.75


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network and the preprocessing of its input."""

    spec: NetworkSpec
    prepare: PrepareSpec
    variables: dict


@dataclasses.dataclass(frozen=True)
class Model:
    """Net.1 and Net.2 after their training: one network each, or an ensemble whose probabilities are averaged.

    All networks of an ensemble have the same grid: the same `spacing_mm` and `bucket`.

    Attributes:
        classes: names of the classes of the segmentation network, background first.
        localization: Net.1, or the networks of an ensemble; empty if whole frames are segmented.
        segmentation: Net.2 or the network that replaces it, or the networks of an ensemble; at least one.
        margin_px: px added on each side of the localization's box, at the study's own spacing.
        passes: the maximum number of segmentations of a study; it is repeated if the result does not fit the box.
        cyclic: whether the last frame of a cine precedes the first one.
        temporal: "motion" averages the maps of a cine over neighbouring frames (`image.motion`); "none" does not.
    """

    classes: tuple[str, ...]
    localization: tuple[Network, ...]
    segmentation: tuple[Network, ...]
    margin_px: int
    cyclic: bool
    passes: int = 1
    temporal: str = "none"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The segmentation of a study.

    Attributes:
        mask: (T, Z, H, W) uint8 class indices on the study's own grid.
        slice_boxes: T·Z boxes of the object, one per slice of each frame; None for a slice without the object.
        object_box: the union of these boxes; None if nothing was found.
        box: the union box with its margin, in which the study was segmented.
        flags: warnings about the mask, as sentences; empty if there are none.
        confidence: confidence of the segmentation network; None if that network was not run.
    """

    mask: np.ndarray
    slice_boxes: list[Box | None]
    object_box: Box | None
    box: Box
    flags: tuple[str, ...]
    confidence: Confidence | None = None


def slices_together(networks: Sequence[Network], shape: Sequence[int], count: int, memory_bytes: int) -> int:
    """Returns the number of slices per forward pass, summed over all devices of this process.

    Each device gets the same number of slices, at least one. The sizes of the passes are as equal as possible.

    Args:
        networks: the networks that are applied.
        shape: rows and columns of a slice on the networks' grid, px.
        count: total number of slices.
        memory_bytes: memory limit of a forward pass on each device.
    """
    devices = jax.local_device_count()
    needed = max(forward_bytes(network.spec, shape) for network in networks)
    on_cpu = jax.default_backend() == "cpu"
    most = int(np.clip(memory_bytes // needed, 1, MOST_ON_CPU if on_cpu else MOST_TOGETHER))
    passes = -(-count // (most * devices))
    size = -(-count // (passes * devices))
    return devices * (size if on_cpu else min(-(-size // FEWEST_TOGETHER) * FEWEST_TOGETHER, most))


def probability_maps(
    network: Network, prepared: Prepared, triples: np.ndarray, *, together: int, tta: str = "none"
) -> Iterator[tuple[jax.Array, int]]:
    """Yields the class probabilities of some slices at a time, on the network's grid. They stay on the device.

    Args:
        network: the network.
        prepared: the preprocessed slices.
        triples: (N, 3) indices of each slice and its neighbours.
        together: slices per forward pass; the last pass is filled up, so that only one shape is compiled.
        tta: test-time augmentation: "none", "flips" (the mean over 4 mirrored views of the image) or "turns" (the mean
            over 8 views, also with quarter turns).

    Yields:
        (together, H, W, C) maps, and the number of maps that belong to slices; the rest fills up the last pass.
    """
    for seen, count in _views(network, prepared, triples, together=together, tta=tta):
        yield _mean(seen), count


def _views(
    network: Network, prepared: Prepared, triples: np.ndarray, *, together: int, tta: str
) -> Iterator[tuple[list[jax.Array], int]]:
    """Yields the maps of each view separately; `probability_maps` is their mean."""
    for start in range(0, len(triples), together):
        chunk = triples[np.minimum(np.arange(start, start + together), len(triples) - 1)]
        batch = temporal_like(prepared.images, chunk)
        seen = [_as_seen(network, batch, prepared.extent, *symmetry) for symmetry in SYMMETRIES[tta]]
        yield seen, min(together, len(triples) - start)


def _mean(maps: Sequence[jax.Array]) -> jax.Array:
    return sum(maps[1:], maps[0]) / len(maps)


def _as_seen(network: Network, batch: jax.Array, extent: tuple[int, int], transposed: bool, axes: tuple[int, ...]):
    """Applies the network to mirrored or rotated images and transforms the probabilities back."""
    turned = _mirrored(batch, extent, axes)
    extents = np.tile(np.array([extent], np.int32), (len(batch), 1))
    if transposed:
        turned, extents = turned.swapaxes(1, 2), extents[:, ::-1]
    maps = spread(probabilities, network.variables, turned, network.spec, extents)
    return _mirrored(maps.swapaxes(1, 2) if transposed else maps, extent, axes)


@functools.partial(jax.jit, static_argnames="axes")
def _mirrored(images, extent, axes: tuple[int, ...]):
    """Reverses rows (axis 0) or columns (axis 1) of images (N, H, W, C) inside their extent."""
    for axis in axes:
        images = jnp.roll(jnp.flip(images, axis + 1), extent[axis] - images.shape[axis + 1], axis + 1)
    return images


class _Reading:
    """The preprocessed crop of a study for all networks of an ensemble.

    Networks with the same preprocessing share the preprocessed images.
    """

    def __init__(self, networks: Sequence[Network], study: Study, box: Box, source: Source, *, cyclic: bool, tta: str):
        self.networks, self.tta = networks, tta
        self.prepared: dict[PrepareSpec, Prepared] = {}
        self.triples: dict[PrepareSpec, np.ndarray] = {}
        for spec in dict.fromkeys(network.prepare for network in networks):
            self.prepared[spec] = prepare(source, box, study.spacing_mm[1:], spec)
            self.triples[spec] = neighbours(*study.voxels.shape[:2], cyclic=cyclic, along=spec.neighbours)

    @property
    def grid(self) -> Prepared:
        """The preprocessed crop whose grid all networks have in common."""
        return self.prepared[self.networks[0].prepare]

    def views(self, slices: slice, *, together: int) -> Iterator[tuple[list[jax.Array], int]]:
        """Yields the maps of some slices for each network and view, and the number of maps that belong to slices."""
        each = [
            _views(
                network,
                self.prepared[network.prepare],
                self.triples[network.prepare][slices],
                together=together,
                tta=self.tta,
            )
            for network in self.networks
        ]
        for parts in zip(*each, strict=True):
            yield [view for seen, _ in parts for view in seen], parts[0][1]

    def maps(self, slices: slice, *, together: int) -> Iterator[tuple[jax.Array, int]]:
        """Yields the mean maps over the `views`, and the number of maps that belong to slices."""
        for views, count in self.views(slices, together=together):
            yield _mean(views), count


def likeliest(maps: Iterable[tuple[jax.Array, int]]) -> np.ndarray:
    """Returns the most probable class of each pixel, (N, H, W) uint8, from the maps of `probability_maps`."""
    return np.concatenate([np.asarray(_likeliest(part))[:count] for part, count in maps])


@jax.jit
def _likeliest(maps):
    return jnp.argmax(maps, axis=-1).astype(jnp.uint8)


def localize(
    study: Study,
    networks: Sequence[Network],
    *,
    cyclic: bool,
    memory_bytes: int,
    tta: str = "none",
    source: Source | None = None,
    progress: Progress | None = None,
) -> list[Box | None]:
    """Localizes the object: Prepro.1, Net.1 and the box on each slice of each frame (Sec. II-B, Fig. 8a).

    Only the largest connected component of each frame is used, so that false positives far from the heart do not
    enlarge the union box.

    Args:
        study: the study.
        networks: Net.1, or an ensemble.
        cyclic: whether the last frame of a cine precedes the first one.
        memory_bytes: memory limit of a forward pass on each device.
        tta: test-time augmentation, see `probability_maps`.
        source: the study on the device, if it is there already.
        progress: see `predict_study`.

    Returns:
        T·Z boxes in px; None for a slice without the object.
    """
    everything = whole_image(study.voxels.shape[-2:])
    reading = _Reading(networks, study, everything, source or open_source(study.voxels), cyclic=cyclic, tta=tta)
    total = study.voxels.shape[0] * study.voxels.shape[1]
    together = slices_together(networks, reading.grid.images.shape[1:], total, memory_bytes)
    found = np.empty((total, *study.voxels.shape[-2:]), np.uint8)
    done = 0
    for part, count in reading.maps(slice(None), together=together):
        found[done : done + count] = restore_labels(part, reading.grid, everything)[:count]
        done += count
        if progress is not None:
            progress("localizing", done, total)
    return slice_boxes(keep_greatest(found.reshape(study.voxels.shape)) > 0)


def segment(
    study: Study,
    box: Box,
    model: Model,
    *,
    memory_bytes: int,
    tta: str = "none",
    source: Source | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, Confidence]:
    """Segments a study inside a box: Prepro.2, Net.2 and postprocessing (Sec. III-B, C).

    Args:
        study: the study.
        box: the region to segment, px of the study.
        model: the networks.
        memory_bytes: memory limit of a forward pass on each device.
        tta: test-time augmentation, see `probability_maps`.
        source: the study on the device, if it is there already.
        progress: see `predict_study`.

    Returns:
        (T, Z, H, W) uint8 class indices on the study's grid, and the confidence. The confidence comes from the original
        image, also with test-time augmentation (see `Confidence`).
    """
    networks = model.segmentation
    frames, slices, *shape = study.voxels.shape
    source = source or open_source(study.voxels)
    reading = _Reading(networks, study, box, source, cyclic=model.cyclic, tta=tta)
    prepared = reading.grid
    # The largest component of a frame needs all its slices. The maps of whole frames are therefore kept in memory.
    grid = prepared.images.shape[1:]
    most = max(1, slices_together(networks, grid, frames * slices, memory_bytes) // slices)
    held = -(-frames // -(-frames // most)) * slices
    together = slices_together(networks, grid, held, memory_bytes)
    extent = np.array(prepared.extent, np.int32)
    masks, tallies, overlaps = [], [], []
    beat = model.temporal == "motion" and frames >= FEWEST_FRAMES
    unsmoothed: list[np.ndarray] = []
    done = 0

    def restored(part: jax.Array, count: int) -> np.ndarray:
        return restore_labels(part, prepared, box)[:count]

    for start in range(0, frames * slices, held):
        maps, unturned = [], []
        for views, count in reading.views(slice(start, start + held), together=together):
            if len(views) > 1:
                overlaps.append(overlap(views, extent, np.int32(count)))
            maps.append((_mean(views), count))
            unturned.append(maps[-1][0] if tta == "none" else _mean(views[:: len(SYMMETRIES[tta])]))
        for (part, count), plain, stray in zip(maps, unturned, _strays(maps, prepared.extent, slices), strict=True):
            cleaned = _without(part, stray)
            # The confidence was calibrated on single frames. It comes from maps that were not averaged over time.
            sure = cleaned if plain is part else _without(plain, stray)
            tallies.append(tally(sure, extent, np.int32(count)))
            if beat:
                unsmoothed.append(np.asarray(part)[:count])
            else:
                masks.append(restored(cleaned, count))
            done += count
            if progress is not None:
                progress("segmenting", done, frames * slices)
    if beat:
        maps_of = _along_the_beat(np.concatenate(unsmoothed), prepared, frames, cyclic=model.cyclic, together=together)
        for start in range(0, frames * slices, held):
            maps = list(maps_of(slice(start, start + held)))
            for (part, count), stray in zip(maps, _strays(maps, prepared.extent, slices), strict=True):
                masks.append(restored(_without(part, stray), count))
    mask = np.concatenate(masks).reshape(frames, slices, *box.shape)
    confidence = confidence_of(jax.device_get(tallies), model.classes, jax.device_get(overlaps))
    return paste(mask, box, (shape[0], shape[1])), confidence


def _along_the_beat(
    maps: np.ndarray, prepared: Prepared, frames: int, *, cyclic: bool, together: int
) -> Callable[[slice], Iterator[tuple[jax.Array, int]]]:
    """Returns a function that yields the maps of some slices, averaged over neighbouring frames along the motion.

    The maps stay on the host; the device holds those of the frames around `together` slices at a time.

    Args:
        maps: (N, H, W, C) maps of all slices.
        prepared: the preprocessed crop, in which the motion is found.
        frames: T.
        cyclic: whether the cine is known to cover the whole beat; otherwise the images decide.
        together: slices at a time.
    """
    images = np.asarray(prepared.images)
    total = len(images)
    slices = total // frames
    around = frames_around(frames, cyclic=cyclic or closes(images.reshape(frames, slices, *images.shape[1:])))
    # (N, 2·REACH + 1) indices of the same slice in the frames around.
    places = (around[:, None] * slices + np.arange(slices)[:, None]).reshape(total, -1)
    reach = around.shape[1] // 2
    own = np.arange(total)
    present = places != own[:, None]
    share = weights(frames)

    def chunk(start: int, stop: int) -> np.ndarray:
        return np.minimum(np.arange(start, start + together), stop - 1)

    steps: dict[int, np.ndarray] = {}
    for side in (1, -1):
        parts = []
        for start in range(0, total, together):
            here = chunk(start, total)
            parts.append(np.asarray(displacement(images[here], images[places[here, reach + side]])))
        steps[side] = np.concatenate(parts)[:total]

    def averaged(wanted: slice) -> Iterator[tuple[jax.Array, int]]:
        stop = min(wanted.stop, total)
        for start in range(wanted.start, stop, together):
            here = chunk(start, stop)
            forward, backward = (
                np.stack([steps[side][places[here, reach + side * number]] for number in range(reach)])
                for side in (1, -1)
            )
            seen = maps[places[here].T]
            there = present[here].T.astype(np.float32)
            extent = np.array(prepared.extent, np.int32)
            yield along_motion(seen, forward, backward, there, share, extent), min(together, stop - start)

    return averaged


def _strays(maps: Sequence[tuple[jax.Array, int]], extent: tuple[int, int], slices: int) -> Iterator[np.ndarray]:
    """Yields, for each part of the maps of whole frames, the `_stray` pixels, filled up to the size of the part."""
    stray = _stray(likeliest(maps), extent, slices)
    for part, count in maps:
        here, stray = stray[:count], stray[count:]
        yield np.pad(here, ((0, len(part) - count), (0, 0), (0, 0)))


def _stray(labels: np.ndarray, extent: tuple[int, int], slices: int) -> np.ndarray:
    """Marks the foreground pixels outside the largest component of their frame, (N, H, W) boolean."""
    rows, columns = extent
    labels[:, rows:], labels[:, :, columns:] = 0, 0
    return labels != keep_greatest(labels.reshape(-1, slices, *labels.shape[1:])).reshape(labels.shape)


@jax.jit
def _without(maps, stray):
    """Sets maps (N, H, W, C) to background with probability 1 where `stray` (N, H, W) is true."""
    return jnp.where(stray[..., None], (jnp.arange(maps.shape[-1]) == 0).astype(maps.dtype), maps)


@single_precision()
def predict_study(
    study: Study,
    model: Model,
    *,
    memory_bytes: int = MEMORY_BYTES,
    tta: str = "none",
    progress: Progress | None = None,
) -> Prediction:
    """Localizes and segments a study.

    Args:
        study: the study; its labels are not used.
        model: the networks.
        memory_bytes: memory limit of a forward pass on each device. In addition, the first device holds the frames of
            the study, with a padded and a resampled copy. It also holds, on both grids, the probability maps of all
            slices of a forward pass, or of one frame if a frame has more slices. If the model averages over time, the
            maps of all frames are on the host, and the first device holds those of five frames for as many slices.
        tta: test-time augmentation of all networks, see `probability_maps`.
        progress: called after each forward pass with "localizing" or "segmenting", the number of slices done and the
            total number of slices.

    Raises:
        InputError: a single slice does not fit into the device's memory.
    """
    with explaining_out_of_memory(study.name):
        return _predict_study(study, model, memory_bytes=memory_bytes, tta=tta, progress=progress)


def _predict_study(study: Study, model: Model, *, memory_bytes: int, tta: str, progress: Progress | None) -> Prediction:
    shape = study.voxels.shape[-2:]
    boxes: list[Box | None] = [None] * (study.voxels.shape[0] * study.voxels.shape[1])
    if float(np.ptp(study.voxels)) == 0:
        flag = f"every voxel is {float(study.voxels.flat[0]):g} {NO_CONTRAST}"
        return Prediction(np.zeros(study.voxels.shape, np.uint8), boxes, None, whole_image(shape), (flag,))
    flags = []
    blank = blank_planes(study.voxels)
    if blank.any():
        flags.append(BLANK)
    factors = jumps(study.voxels, study.spacing_mm[0])
    if (factors != 1).any():
        flags.append(UNEVEN)
        study = dataclasses.replace(study, voxels=with_even_brightness(study.voxels, factors))
    source = open_source(study.voxels)
    options: dict[str, Any] = {"memory_bytes": memory_bytes, "tta": tta, "source": source, "progress": progress}
    if model.localization:
        boxes = localize(study, model.localization, cyclic=model.cyclic, **options)
    union = union_box(boxes)
    box = whole_image(shape) if union is None else union.widen(model.margin_px, shape)
    if union is not None and union.touches_border(shape):
        flags.append(AT_BORDER)
    if union is None and model.localization:
        flags.append(NOT_LOCALIZED)
    mask, confidence = segment(study, box, model, **options)
    for _ in range(model.passes - 1 if model.localization else 0):
        found = union_box(slice_boxes(mask > 0))
        # If nothing was segmented, the next pass searches in a box of twice the size.
        better = box.widen(max(box.shape) // 2, shape) if found is None else found.widen(model.margin_px, shape)
        if box.overlap(better) >= AGREEMENT:
            break
        union, box = found or union, better
        mask, confidence = segment(study, box, model, **options)
    mask[blank] = 0  # The networks also see the neighbouring slices, and would segment the heart that is in them.
    if not mask.any():
        flags.append(EMPTY)
    return Prediction(mask, boxes, union, box, tuple(flags), confidence)
