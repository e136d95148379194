"""From a study to its segmentation: the whole of Fig. 1, for evaluation and prediction alike."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box, paste, slice_boxes, union_box, whole_image
from foanet_jax.image.components import keep_greatest
from foanet_jax.image.prepare import Prepared, PrepareSpec, prepare, restore
from foanet_jax.image.stack import neighbours, temporal_like
from foanet_jax.network import NetworkSpec, probabilities


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
    """

    mask: np.ndarray
    slice_boxes: list[Box | None]
    object_box: Box | None
    box: Box
    flags: tuple[str, ...]


def probability_maps(network: Network, prepared: Prepared, triples: np.ndarray, *, batch_size: int) -> np.ndarray:
    """(N, H, W, C) probabilities of every slice on its prepared grid, `batch_size` slices at a time.

    Args:
        network: what to apply.
        prepared: N slices.
        triples: (N, 3) indices of each slice and its neighbours.
        batch_size: slices a forward pass; the last batch is filled up, so that one shape is compiled.
    """
    count = len(triples)
    size = min(batch_size, count)
    extent = np.tile(np.array([prepared.extent], np.int32), (size, 1))
    images = jnp.asarray(prepared.images)
    maps = []
    for start in range(0, count, size):
        chunk = np.minimum(np.arange(start, start + size), count - 1)
        batch = temporal_like(images, triples[chunk])
        maps.append(np.asarray(probabilities(network.variables, batch, network.spec, extent)))
    return np.concatenate(maps)[:count]


def localize(study: Study, network: Network, *, cyclic: bool, batch_size: int) -> list[Box | None]:
    """Prepro.1, Net.1, and the object's box on each slice of each frame, None where there is none (Sec. II-B, Fig. 8a).

    Of what Net.1 finds, each frame's greatest connected component counts, so that a stray pixel far from the
    heart does not stretch the union box.
    """
    everything = whole_image(study.voxels.shape[-2:])
    prepared = prepare(study.voxels, everything, study.spacing_mm[1:], network.prepare)
    triples = neighbours(*study.voxels.shape[:2], cyclic=cyclic)
    maps = restore(probability_maps(network, prepared, triples, batch_size=batch_size), prepared, everything)
    found = keep_greatest(maps.argmax(axis=-1).astype(np.uint8).reshape(study.voxels.shape))
    return slice_boxes(found > 0)


def segment(study: Study, box: Box, model: Model, *, batch_size: int) -> np.ndarray:
    """Prepro.2, Net.2 and the postprocessing inside a box: (T, Z, H, W) uint8 on the study's grid (Sec. III-B, C)."""
    network = model.segmentation
    frames, slices, *shape = study.voxels.shape
    prepared = prepare(study.voxels, box, study.spacing_mm[1:], network.prepare)
    triples = neighbours(frames, slices, cyclic=model.cyclic)
    maps = probability_maps(network, prepared, triples, batch_size=batch_size)
    labels = maps.argmax(axis=-1).astype(np.uint8)
    rows, columns = prepared.extent
    labels[:, rows:], labels[:, :, columns:] = 0, 0
    kept = keep_greatest(labels.reshape(frames, slices, *labels.shape[1:])).reshape(labels.shape)
    background = np.zeros(maps.shape[-1], maps.dtype)
    background[0] = 1
    maps = np.where((labels != kept)[..., None], background, maps)
    mask = restore(maps, prepared, box).argmax(axis=-1).astype(np.uint8)
    return paste(mask.reshape(frames, slices, *box.shape), box, (shape[0], shape[1]))


def predict_study(study: Study, model: Model, *, batch_size: int = 8) -> Prediction:
    """Localizes and segments a study.

    Args:
        study: what to segment; its labels are not looked at.
        model: both networks.
        batch_size: slices a forward pass; bounds the memory.
    """
    shape = study.voxels.shape[-2:]
    boxes: list[Box | None] = [None] * (study.voxels.shape[0] * study.voxels.shape[1])
    if float(np.ptp(study.voxels)) == 0:
        flag = f"every voxel is {float(study.voxels.flat[0]):g} (σ = 0): nothing can be segmented"
        return Prediction(np.zeros(study.voxels.shape, np.uint8), boxes, None, whole_image(shape), (flag,))
    flags = []
    if model.localization is not None:
        boxes = localize(study, model.localization, cyclic=model.cyclic, batch_size=batch_size)
    union = union_box(boxes)
    box = whole_image(shape) if union is None else union.widen(model.margin_px, shape)
    if union is not None and union.touches_border(shape):
        flags.append("the localized object touches the border of the image")
    if union is None and model.localization is not None:
        flags.append("nothing localized: the whole image was segmented")
    mask = segment(study, box, model, batch_size=batch_size)
    if not mask.any():
        flags.append("nothing segmented: the mask is empty")
    return Prediction(mask, boxes, union, box, tuple(flags))
