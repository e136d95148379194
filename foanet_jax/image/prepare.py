"""Preprocessing (Prepro.1 and Prepro.2 of Fig. 1): from a study's voxels to network input, and back."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from foanet_jax.image.augment import BANDS_MM, NO_AUGMENTATION, Augmentation, about_centre
from foanet_jax.image.boxes import Box
from foanet_jax.image.elastic import elastic_field, shifted_slices
from foanet_jax.image.foa import foa_weights
from foanet_jax.image.intensities import Intensities, change_intensities
from foanet_jax.image.normalise import gauss_normalise
from foanet_jax.image.resample import (
    METHODS,
    compose,
    invert,
    resize_matrix,
    resized_shape,
    sample_images,
    sample_labels,
)
from foanet_jax.image.stack import NEIGHBOURS

# Arrays are padded to multiples of these numbers of px and of frames, so that few shapes are compiled.
CANVAS = 128
SLOTS = 8
FOA_OF = ("voxels", "normalised")


@dataclasses.dataclass(frozen=True)
class PrepareSpec:
    """How a crop becomes the input of a network. The default is Prepro.1: no resizing, no FOA.

    Attributes:
        spacing_mm: in-plane spacing to which images are resampled, in mm (paper: 0.65 for Net.2). 0: keep the spacing
            of each study.
        foa: apply the focus of attention (FOA): multiply the crop by the Gaussian weight of Eq. 5.
        foa_of: what Eq. 5 multiplies. "voxels": the intensities of the crop (the paper), which fade to zero towards the
            border. "normalised": the normalised intensities, which fade to the mean of the crop; an offset added to all
            intensities then changes nothing.
        delta_ratio: δ of Eq. 5 (the width of the Gaussian), as a fraction of the mean side of the box.
        image_method: interpolation of images: "nearest", "linear" or "cubic".
        label_method: interpolation of labels: "linear" (of one-hot maps) or "nearest".
        bucket: image sizes are padded to a multiple of this many px. A larger value means fewer shapes to compile.
        neighbours: which images are the other two channels of the temporal-like image, beside the slice or frame itself
            (`image/stack.py`): "auto" (neighbouring frames in a cine, neighbouring slices otherwise), "frames",
            "slices" or "none".
    """

    spacing_mm: float = 0.0
    foa: bool = False
    foa_of: str = "voxels"
    delta_ratio: float = 0.5
    image_method: str = "linear"
    label_method: str = "linear"
    bucket: int = 32
    neighbours: str = "auto"

    def __post_init__(self):
        if self.image_method not in METHODS or self.label_method not in ("linear", "nearest"):
            raise ValueError(
                f"image_method is {self.image_method!r} and label_method is {self.label_method!r}; "
                "choose nearest, linear or cubic for images and linear or nearest for labels"
            )
        if self.foa_of not in FOA_OF:
            raise ValueError(f"foa_of {self.foa_of!r}; choose one of {', '.join(FOA_OF)}")
        if self.neighbours not in NEIGHBOURS:
            raise ValueError(f"neighbours {self.neighbours!r}; choose one of {', '.join(NEIGHBOURS)}")
        if self.spacing_mm < 0 or self.delta_ratio <= 0 or self.bucket < 16 or self.bucket % 16:
            raise ValueError(
                f"spacing_mm={self.spacing_mm}, delta_ratio={self.delta_ratio}, bucket={self.bucket}: "
                "spacing_mm must not be negative, delta_ratio must be positive, bucket must be a multiple of 16"
            )


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The preprocessed crop of a study, as a network reads it.

    Attributes:
        images: (N, H, W) float32, N = T·Z, Gauss-normalised, zero outside the extent.
        labels: (N, H, W) uint8 on the same grid, or None.
        extent: rows and columns of the grid that belong to the crop; the rest is padding.
        matrix: (2, 3) map from pixels of this grid to pixels of the study.
    """

    images: jax.Array
    labels: jax.Array | None
    extent: tuple[int, int]
    matrix: np.ndarray


def padded_shape(shape: tuple[int, int], bucket: int) -> tuple[int, int]:
    """Rounds a shape up to multiples of `bucket` px."""
    return tuple(-(-size // bucket) * bucket for size in shape)  # type: ignore[return-value]


def _target(spacing: tuple[float, float], spec: PrepareSpec) -> tuple[float, float]:
    return (spec.spacing_mm, spec.spacing_mm) if spec.spacing_mm else spacing


def prepared_extent(box: Box, spacing: tuple[float, float], spec: PrepareSpec) -> tuple[int, int]:
    """Returns rows and columns of a box after resizing.

    Args:
        box: the crop, in px of the study.
        spacing: (row, column) spacing of the study in mm.
        spec: the spacing to resize to.
    """
    return resized_shape(box.shape, spacing, _target(spacing, spec))


def _slots(count: int) -> int:
    return -(-count // SLOTS) * SLOTS


@dataclasses.dataclass(frozen=True)
class Source:
    """A study's frames on the device, padded to square images so that few shapes are compiled.

    Each frame lies in the top left corner of its square.

    Attributes:
        voxels: (slots, side, side) float32; the first `count` images are used.
        labels: uint8 labels in the same layout, or None.
        count: N = T·Z.
        shape: rows and columns of a frame.
    """

    voxels: jax.Array
    labels: jax.Array | None
    count: int
    shape: tuple[int, int]


def _canvas(height: int, width: int) -> int:
    return -(-max(height, width) // CANVAS) * CANVAS


def source_bytes(shape: tuple[int, ...]) -> int:
    """Returns the number of bytes that the `Source` of a labelled study of shape (T, Z, H, W) takes."""
    frames, slices, height, width = shape
    return 5 * _slots(frames * slices) * _canvas(height, width) ** 2


def open_source(voxels: np.ndarray, labels: np.ndarray | None = None) -> Source:
    """Copies (T, Z, H, W) voxels, and labels of the same shape if given, to the device."""
    height, width = voxels.shape[-2:]
    frames = voxels.reshape(-1, height, width)
    side = _canvas(height, width)

    def on_canvas(array: np.ndarray, dtype: type) -> jax.Array:
        canvas: np.ndarray = np.zeros((_slots(len(frames)), side, side), dtype)
        canvas[: len(frames), :height, :width] = array.reshape(frames.shape)
        return jnp.asarray(canvas)

    placed = None if labels is None else on_canvas(labels, np.uint8)
    return Source(on_canvas(frames, np.float32), placed, len(frames), (height, width))


# Sampling is compiled for each pair of source and target shapes. The later steps are compiled for each target shape.
_sample = jax.jit(sample_images, static_argnames=("shape", "method"))


_elastic_field = jax.jit(elastic_field, static_argnames="shape")


@functools.partial(jax.jit, static_argnames=("shape", "foa", "normalised"))
def _finish_images(sampled, labels, extent, count, centre, delta, change, tone, *, shape, foa, normalised):
    inside = (jnp.arange(shape[0])[:, None] < extent[0]) & (jnp.arange(shape[1])[None, :] < extent[1])
    inside = inside[None] & (jnp.arange(sampled.shape[0]) < count)[:, None, None]
    sampled = change_intensities(sampled, inside, extent, change, labels)
    if foa:
        if normalised:
            sampled = gauss_normalise(sampled, inside)
        sampled = sampled * foa_weights(shape, centre, delta)
    images = gauss_normalise(sampled, inside)
    return images if tone is None else jnp.where(inside, images * tone[0] + tone[1], 0)


@functools.partial(jax.jit, static_argnames=("shape", "classes", "method"))
def _prepare_labels(labels, matrix, source_extent, extent, displacement, *, shape, classes, method):
    sampled = sample_labels(
        labels, matrix, shape, classes, extent=source_extent, method=method, displacement=displacement
    )
    inside = (jnp.arange(shape[0])[:, None] < extent[0]) & (jnp.arange(shape[1])[None, :] < extent[1])
    return jnp.where(inside, sampled, 0)


def prepare(
    source: Source,
    box: Box,
    spacing: tuple[float, float],
    spec: PrepareSpec,
    *,
    classes: int = 2,
    augmentation: Augmentation = NO_AUGMENTATION,
) -> Prepared:
    """Crops a study, augments, resizes, applies FOA and normalises, in the paper's order (Sec. III-B).

    Augmentation and resizing are done in a single interpolation from the whole frames. After a rotation, the corners of
    the crop therefore show the surrounding tissue and not a padding value. Labels are transformed too if the source has
    them.

    Args:
        source: whole frames.
        box: the crop, in px of the frames.
        spacing: (row, column) spacing of the frames in mm.
        spec: settings of the steps.
        classes: number of classes in the source's labels.
        augmentation: one random draw for the whole volume.
    """
    count = source.count
    target = _target(spacing, spec)
    extent = prepared_extent(box, spacing, spec)
    shape = padded_shape(extent, spec.bucket)
    matrix = resize_matrix(spacing, target, (box.top, box.left))
    matrix = compose(about_centre(augmentation.linear, box.centre, spacing), matrix)
    middle = ((extent[0] - 1) / 2, (extent[1] - 1) / 2)
    delta = spec.delta_ratio * (extent[0] + extent[1]) / 2

    source_extent = np.array(source.shape, np.int32)
    middle_32, extent_32 = np.array(middle, np.float32), np.array(extent, np.int32)
    maps, displacement = matrix, None
    if augmentation.lattice is not None:
        lattice = (augmentation.lattice / np.reshape(target, (2, 1, 1))).astype(np.float32)
        displacement = _elastic_field(lattice, shape, middle_32, _float32(augmentation.lattice_mm / np.array(target)))
    if augmentation.shifts is not None:
        maps = shifted_slices(matrix, augmentation.shifts / target, len(source.voxels))
    maps = maps.astype(np.float32)
    sampled = _sample(
        source.voxels, maps, shape, extent=source_extent, method=spec.image_method, displacement=displacement
    )
    labels = None
    if source.labels is not None:
        labels = _prepare_labels(
            source.labels,
            maps,
            source_extent,
            extent_32,
            displacement,
            shape=shape,
            classes=classes,
            method=spec.label_method,
        )
    images = _finish_images(
        sampled,
        None if augmentation.classes is None else labels,
        extent_32,
        np.int32(count),
        middle_32,
        np.float32(delta),
        _intensities(augmentation, len(source.voxels), extent, target),
        None if augmentation.tone is None else _float32(augmentation.tone),
        shape=shape,
        foa=spec.foa,
        normalised=spec.foa_of == "normalised",
    )[:count]
    return Prepared(images, None if labels is None else labels[:count], extent, matrix)


def _float32(values) -> np.ndarray:
    return np.asarray(values, np.float32)


def _intensities(
    augmentation: Augmentation, count: int, extent: tuple[int, int], target: tuple[float, float]
) -> Intensities:
    """Converts the intensity changes of a draw from mm to px of the target grid, and repeats them for all frames.

    Args:
        augmentation: the draw.
        count: number of slices on the grid.
        extent: rows and columns of the resized crop.
        target: (row, column) spacing of the target grid in mm.
    """
    change = Intensities(_float32(augmentation.gamma), _float32(augmentation.noise), np.uint32(augmentation.noise_seed))
    if augmentation.bias is not None:
        change = change._replace(bias=_float32(augmentation.bias))
    if augmentation.ghosts is not None:
        step = np.rint(np.multiply(augmentation.ghost_step, extent)).astype(np.int32)
        change = change._replace(ghosts=_float32(np.resize(augmentation.ghosts, count)), ghost_step=step)
    if augmentation.blur_mm is not None:
        change = change._replace(blur=_float32(augmentation.blur_mm / np.array(target)))
    if augmentation.classes is not None:
        change = change._replace(classes=_float32(augmentation.classes))
    if augmentation.slice_gains is not None:
        change = change._replace(slice_gains=_float32(np.resize(augmentation.slice_gains, count)))
    if augmentation.bands is not None:
        edges = _float32(np.divide.outer(BANDS_MM, target))
        change = change._replace(bands=_float32(augmentation.bands), band_edges=edges)
    if augmentation.curve is not None:
        change = change._replace(curve=_float32(augmentation.curve))
    return change


@functools.partial(jax.jit, static_argnames="side")
def _restore_labels(maps, matrix, extent, *, side):
    back = sample_images(maps, matrix, (side, side), extent=extent)
    return jnp.argmax(back, axis=-1).astype(jnp.uint8)


def restore_labels(maps, prepared: Prepared, box: Box) -> np.ndarray:
    """Resamples probability maps linearly to the grid of the study and takes the most probable class.

    Args:
        maps: (N, H, W, C) probabilities on the grid of the preprocessed crop.
        prepared: the preprocessed crop.
        box: position of the crop in the study, px.

    Returns:
        (N, *box.shape) uint8 class indices.
    """
    origin = np.array([[1.0, 0, box.top], [0, 1.0, box.left]])
    matrix = compose(invert(prepared.matrix), origin).astype(np.float32)
    side = _canvas(*box.shape)
    labels = _restore_labels(maps, matrix, np.array(prepared.extent, np.int32), side=side)
    return np.asarray(labels)[:, : box.shape[0], : box.shape[1]]
