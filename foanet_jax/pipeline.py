"""From a study to its segmentation: the whole of Fig. 1, for evaluation and prediction alike."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from foanet_jax.confidence import Confidence, confidence_of, tally
from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box, paste, slice_boxes, union_box, whole_image
from foanet_jax.image.components import keep_greatest
from foanet_jax.image.prepare import Prepared, PrepareSpec, Source, open_source, prepare, restore_labels
from foanet_jax.image.stack import neighbours, temporal_like
from foanet_jax.network import NetworkSpec, forward_bytes, probabilities

MEMORY_BYTES = 2 * 2**30
MOST_TOGETHER = 32  # slices a forward pass; more of them gain nothing

AT_BORDER = "the localized object touches the border of the image"
NOT_LOCALIZED = "nothing localized: the whole image was segmented"
EMPTY = "nothing segmented: the mask is empty"


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network and what it reads."""

    spec: NetworkSpec
    prepare: PrepareSpec
    variables: dict


@dataclasses.dataclass(frozen=True)
class Model:
    """Both trained networks.

    Attributes:
        classes: names of the classes that the segmentation network tells apart.
        localization: Net.1, or None to segment whole frames.
        segmentation: Net.2, or what stands in for it.
        margin_px: px that the localization box grows by on each side, at the study's own spacing.
        cyclic: whether a cine's last frame precedes its first.
    """

    classes: tuple[str, ...]
    localization: Network | None
    segmentation: Network
    margin_px: int
    cyclic: bool


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A study's segmentation.

    Attributes:
        mask: (T, Z, H, W) uint8 of class indices on the study's own grid.
        slice_boxes: the object's box on each slice of each frame, None where none was found; T·Z of them.
        object_box: the union box of those; None where nothing was found.
        box: the union box with its margin, in which the study was segmented.
        flags: what a reader should know before trusting the mask, in words; empty when all went well.
        confidence: of the segmentation network; None where it was not asked.
    """

    mask: np.ndarray
    slice_boxes: list[Box | None]
    object_box: Box | None
    box: Box
    flags: tuple[str, ...]
    confidence: Confidence | None = None


def slices_together(network: Network, shape: Sequence[int], count: int, memory_bytes: int) -> int:
    """How many slices a forward pass takes: as even a share of `count` as stays within the memory, one at least."""
    most = int(np.clip(memory_bytes // forward_bytes(network.spec, shape), 1, MOST_TOGETHER))
    size = -(-count // -(-count // most))
    # Fewer shapes to compile; a multiple of 8 is within what is allowed wherever the share is above 8.
    return size if size <= 8 else min(-(-size // 8) * 8, most)


def probability_maps(
    network: Network, prepared: Prepared, triples: np.ndarray, *, together: int
) -> Iterator[tuple[jax.Array, int]]:
    """Probabilities of the slices on their prepared grid, some slices at a time, on the device.

    Args:
        network: what to apply.
        prepared: the slices.
        triples: (N, 3) indices of each slice and its neighbours.
        together: slices a forward pass; the last one is filled up, so that one shape is compiled.

    Yields:
        (together, H, W, C) maps, and how many of them count.
    """
    extent = np.tile(np.array([prepared.extent], np.int32), (together, 1))
    for start in range(0, len(triples), together):
        chunk = triples[np.minimum(np.arange(start, start + together), len(triples) - 1)]
        batch = temporal_like(prepared.images, chunk)
        yield probabilities(network.variables, batch, network.spec, extent), min(together, len(triples) - start)


def likeliest(maps: Iterable[tuple[jax.Array, int]]) -> np.ndarray:
    """(N, H, W) uint8: the likeliest class of each pixel of what `probability_maps` yields."""
    return np.concatenate([np.asarray(_likeliest(part))[:count] for part, count in maps])


@jax.jit
def _likeliest(maps):
    return jnp.argmax(maps, axis=-1).astype(jnp.uint8)


def localize(
    study: Study, network: Network, *, cyclic: bool, memory_bytes: int, source: Source | None = None
) -> list[Box | None]:
    """Prepro.1, Net.1, and the object's box on each slice of each frame, None where there is none (Sec. II-B, Fig. 8a).

    Of what Net.1 finds, each frame's greatest connected component counts, so that a stray pixel far from the
    heart does not stretch the union box.
    """
    everything = whole_image(study.voxels.shape[-2:])
    prepared = prepare(source or open_source(study.voxels), everything, study.spacing_mm[1:], network.prepare)
    triples = neighbours(*study.voxels.shape[:2], cyclic=cyclic)
    together = slices_together(network, prepared.images.shape[1:], len(triples), memory_bytes)
    maps = probability_maps(network, prepared, triples, together=together)
    found = np.concatenate([restore_labels(part, prepared, everything)[:count] for part, count in maps])
    return slice_boxes(keep_greatest(found.reshape(study.voxels.shape)) > 0)


def segment(
    study: Study, box: Box, model: Model, *, memory_bytes: int, source: Source | None = None
) -> tuple[np.ndarray, Confidence]:
    """Prepro.2, Net.2 and the postprocessing inside a box (Sec. III-B, C).

    Returns:
        (T, Z, H, W) uint8 on the study's grid, and how sure the network was of it on its own.
    """
    network = model.segmentation
    frames, slices, *shape = study.voxels.shape
    prepared = prepare(source or open_source(study.voxels), box, study.spacing_mm[1:], network.prepare)
    triples = neighbours(frames, slices, cyclic=model.cyclic)
    # A frame's greatest component is known once all its slices are, so that the maps of whole frames are held.
    grid = prepared.images.shape[1:]
    most = max(1, slices_together(network, grid, len(triples), memory_bytes) // slices)
    held = -(-frames // -(-frames // most)) * slices
    together = slices_together(network, grid, held, memory_bytes)
    masks, tallies = [], []
    for start in range(0, len(triples), held):
        chunk = triples[start : start + held]
        maps = list(probability_maps(network, prepared, chunk, together=together))
        stray = _stray(likeliest(maps), prepared.extent, slices)
        for part, count in maps:
            here, stray = stray[:count], stray[count:]
            here = np.pad(here, ((0, len(part) - count), (0, 0), (0, 0)))
            cleaned = _without(part, here)
            tallies.append(tally(cleaned, np.array(prepared.extent, np.int32), np.int32(count)))
            masks.append(restore_labels(cleaned, prepared, box)[:count])
    mask = np.concatenate(masks).reshape(frames, slices, *box.shape)
    return paste(mask, box, (shape[0], shape[1])), confidence_of(jax.device_get(tallies), model.classes)


def _stray(labels: np.ndarray, extent: tuple[int, int], slices: int) -> np.ndarray:
    """(N, H, W): where the labels of whole frames are foreground outside the frame's greatest component."""
    rows, columns = extent
    labels[:, rows:], labels[:, :, columns:] = 0, 0
    return labels != keep_greatest(labels.reshape(-1, slices, *labels.shape[1:])).reshape(labels.shape)


@jax.jit
def _without(maps, stray):
    """Maps (N, H, W, C) that are certain of the background where (N, H, W) is true."""
    return jnp.where(stray[..., None], (jnp.arange(maps.shape[-1]) == 0).astype(maps.dtype), maps)


def predict_study(study: Study, model: Model, *, memory_bytes: int = MEMORY_BYTES) -> Prediction:
    """Localizes and segments a study.

    Args:
        study: what to segment; its labels are not looked at.
        model: both networks.
        memory_bytes: what a forward pass may take. Beside it there are the study's frames, a padded and a resampled
            copy of them, and the probability maps of as many slices, of a frame at least, on both grids.
    """
    shape = study.voxels.shape[-2:]
    boxes: list[Box | None] = [None] * (study.voxels.shape[0] * study.voxels.shape[1])
    if float(np.ptp(study.voxels)) == 0:
        flag = f"every voxel is {float(study.voxels.flat[0]):g} (σ = 0): nothing can be segmented"
        return Prediction(np.zeros(study.voxels.shape, np.uint8), boxes, None, whole_image(shape), (flag,))
    flags = []
    source = open_source(study.voxels)
    if model.localization is not None:
        boxes = localize(study, model.localization, cyclic=model.cyclic, memory_bytes=memory_bytes, source=source)
    union = union_box(boxes)
    box = whole_image(shape) if union is None else union.widen(model.margin_px, shape)
    if union is not None and union.touches_border(shape):
        flags.append(AT_BORDER)
    if union is None and model.localization is not None:
        flags.append(NOT_LOCALIZED)
    mask, confidence = segment(study, box, model, memory_bytes=memory_bytes, source=source)
    if not mask.any():
        flags.append(EMPTY)
    return Prediction(mask, boxes, union, box, tuple(flags), confidence)
