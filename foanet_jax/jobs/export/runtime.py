"""Segmentation with exported FOANet networks, without the FOANet project. NumPy computes all other steps.

    import foanet_runtime

    model = foanet_runtime.load()                    # from the folder of this file; load(FOLDER) for another folder
    found = model.predict(voxels, (8.0, 1.4, 1.4))   # (T, Z, H, W); mm between slices, rows and columns
    found.mask                                       # (T, Z, H, W) uint8, indices into model.classes

It needs numpy and scipy; for StableHLO networks also jax and flatbuffers, for ONNX networks onnxruntime.
"""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

MEMORY_BYTES = 2 * 2**30
MOST_TOGETHER = 32  # largest number of slices per forward pass
# The study is segmented again if the intersection over union of the box and the box around the segmentation is smaller.
AGREEMENT = 0.75


class Box(NamedTuple):
    """A rectangle of pixels, half-open: rows top ≤ a < bottom, columns left ≤ b < right."""

    top: int
    left: int
    bottom: int
    right: int


class Found(NamedTuple):
    """The segmentation of a study: class indices on its own grid, the box that was segmented, and warnings."""

    mask: np.ndarray
    box: Box
    flags: tuple[str, ...]


class Stage(NamedTuple):
    """A network and its preprocessing. It maps (B, H, W, 3) images and (B, 2) extents to (B, H, W, C) probabilities."""

    network: Callable[[np.ndarray, np.ndarray], np.ndarray]
    prepare: dict[str, Any]
    bytes_a_pixel: int


class Prepared(NamedTuple):
    """The preprocessed images (N, H, W) on a network's grid, their extent without padding, and the map to the study.

    Pixel i of the network's grid lies at scale · i + shift of the study's grid.
    """

    images: np.ndarray
    extent: tuple[int, int]
    scale: np.ndarray
    shift: np.ndarray


class Model:
    """The networks in a folder that `--mode export` has written; `facts` is the content of model.json."""

    def __init__(self, folder: Path):
        self.facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.classes: tuple[str, ...] = tuple(self.facts["classes"])
        stages = {
            name: Stage(_load_network(folder, stage), stage["prepare"], stage["bytes_a_pixel"])
            for name, stage in self.facts["stages"].items()
        }
        self._localization, self._segmentation = stages.get("localization"), stages["segmentation"]

    def predict(self, voxels: np.ndarray, spacing_mm: Sequence[float], *, memory_bytes: int = MEMORY_BYTES) -> Found:
        """Localizes and segments a study.

        Args:
            voxels: (T, Z, H, W): T frames in time, Z slices.
            spacing_mm: distances between slices, rows and columns.
            memory_bytes: memory limit of a forward pass.

        Raises:
            ValueError: the array or the spacing cannot be used.
        """
        voxels = np.asarray(voxels, np.float32)
        if voxels.ndim != 4 or not voxels.size or not np.isfinite(voxels).all():
            raise ValueError(
                f"voxels have the shape {voxels.shape}; pass finite numbers of shape (T, Z, H, W), without empty axes"
            )
        if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
            raise ValueError(
                f"spacing_mm is {spacing_mm}; pass the distances between slices, rows and columns in mm, all positive"
            )
        everything = Box(0, 0, *voxels.shape[2:])
        if np.ptp(voxels) == 0:
            flag = f"every voxel is {float(voxels.flat[0]):g} (σ = 0): nothing can be segmented"
            return Found(np.zeros(voxels.shape, np.uint8), everything, (flag,))
        spacing = np.asarray(spacing_mm[1:], np.float64)
        frames = voxels.reshape(-1, *voxels.shape[2:])
        box = everything
        flags: list[str] = []
        if self._localization is not None:
            box, flags = self._localize(self._localization, frames, voxels.shape, spacing, memory_bytes)
        mask = self._segment(frames, voxels.shape, box, spacing, memory_bytes)
        for _ in range(self.facts["passes"] - 1 if self._localization is not None else 0):
            # If nothing was segmented, the next pass searches in a box of twice the size.
            half = max(box.bottom - box.top, box.right - box.left) // 2
            better = self._box_of(mask) or widened(box, half, mask.shape[2:])
            if overlap(box, better) >= AGREEMENT:
                break
            box = better
            mask = self._segment(frames, voxels.shape, box, spacing, memory_bytes)
        if not mask.any():
            flags.append("nothing was segmented: the mask is empty")
        return Found(mask, box, tuple(flags))

    def _localize(self, stage, frames, shape, spacing, memory_bytes) -> tuple[Box, list[str]]:
        """Returns the box around the foreground that the first network finds, with the margin, and warnings."""
        height, width = shape[2:]
        triples = self._neighbours(stage, shape[0], shape[1])
        everything = Box(0, 0, height, width)
        prepared = prepare(frames, everything, spacing, stage.prepare)
        together = slices_together(stage, prepared.images, len(triples), memory_bytes)
        parts = [restore(maps, prepared, everything) for maps in forward(stage, prepared, triples, together)]
        foreground = keep_greatest(np.concatenate(parts).reshape(shape))
        box = self._box_of(foreground)
        if box is None:
            return everything, ["the heart was not found: the whole image was segmented"]
        seen = np.asarray(foreground.any((0, 1)))
        at_border = seen[[0, -1]].any() or seen[:, [0, -1]].any()
        return box, ["the heart touches the border of the image"] if at_border else []

    def _box_of(self, mask: np.ndarray) -> Box | None:
        """Returns the box around the foreground of (T, Z, H, W), with the margin; None if there is no foreground."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in ((0, 1, 3), (0, 1, 2)))
        if not rows.size:
            return None
        found = Box(*(int(n) for n in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)))
        return widened(found, self.facts["margin_px"], mask.shape[2:])

    def _neighbours(self, stage, frames: int, slices: int) -> np.ndarray:
        return neighbours(frames, slices, cyclic=self.facts["cyclic"], along=stage.prepare["neighbours"])

    def _segment(self, frames, shape, box: Box, spacing, memory_bytes) -> np.ndarray:
        """Segments a box with the second network, keeps the largest component of each frame, returns (T, Z, H, W)."""
        stage, slices = self._segmentation, shape[1]
        triples = self._neighbours(stage, len(frames) // slices, slices)
        prepared = prepare(frames, box, spacing, stage.prepare)
        rows, columns = prepared.extent
        held = max(1, slices_together(stage, prepared.images, len(triples), memory_bytes) // slices) * slices
        together = slices_together(stage, prepared.images, held, memory_bytes)
        masks = []
        for start in range(0, len(triples), held):
            maps = np.concatenate(list(forward(stage, prepared, triples[start : start + held], together)))
            maps = maps[:, :rows, :columns].copy()
            labels = maps.argmax(-1).reshape(-1, slices, rows, columns)
            stray = ((labels > 0) & ~keep_greatest(labels)).reshape(maps.shape[:3])
            maps[stray] = np.arange(maps.shape[-1]) == 0
            masks.append(restore(maps, prepared, box))
        found = np.concatenate(masks)
        mask: np.ndarray = np.zeros(shape, np.uint8)
        mask[..., box.top : box.bottom, box.left : box.right] = found.reshape(*shape[:2], *found.shape[1:])
        return mask


def load(folder: str | Path | None = None) -> Model:
    """Loads the model from an exported folder, by default from the folder of this file."""
    return Model(Path(__file__).parent if folder is None else Path(folder))


def _load_network(folder: Path, facts: dict[str, Any]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    path = folder / facts["network"]
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        return lambda images, extent: session.run(None, {"images": images, "extent": extent})[0]
    import jax

    with np.load(folder / facts["weights"]) as file:
        weights = jax.device_put(dict(file))
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda images, extent: np.asarray(call(weights, images, extent))


def neighbours(frames: int, slices: int, *, cyclic: bool, along: str) -> np.ndarray:
    """Returns, for each slice, the indices of the slice before it, the slice itself and the slice after it: (T·Z, 3).

    `along` is "frames", "slices", "auto" (frames if there is more than one, else slices) or "none" (the slice itself
    three times).
    """
    index = np.arange(frames * slices).reshape(frames, slices)
    if along == "none":
        return np.repeat(index.reshape(-1, 1), 3, axis=1)
    in_time = along == "frames" or (along == "auto" and frames > 1)
    axis = 0 if in_time else 1
    places = np.arange(-1, index.shape[axis] + 1)
    padded = np.take(index, places, axis, mode="wrap" if cyclic and in_time else "clip")
    before, after = (np.take(padded, np.arange(index.shape[axis]) + shift, axis) for shift in (0, 2))
    return np.stack([before, index, after], axis=-1).reshape(-1, 3)


def widened(box: Box, margin: int, shape: Sequence[int]) -> Box:
    """Returns the box with `margin` px added on each side, clipped to an image of `shape` rows and columns."""
    top, left, bottom, right = box
    return Box(
        max(0, top - margin), max(0, left - margin), min(shape[0], bottom + margin), min(shape[1], right + margin)
    )


def overlap(one: Box, other: Box) -> float:
    """Returns the intersection over union of two boxes."""
    rows = max(0, min(one.bottom, other.bottom) - max(one.top, other.top))
    columns = max(0, min(one.right, other.right) - max(one.left, other.left))
    areas = [(box.bottom - box.top) * (box.right - box.left) for box in (one, other)]
    return rows * columns / (sum(areas) - rows * columns)


def prepare(frames: np.ndarray, box: Box, spacing: np.ndarray, facts: dict[str, Any]) -> Prepared:
    """Crops (N, H, W) frames, resizes them, applies the focus of attention, Gauss-normalises and pads with zeros."""
    sides = np.array([box.bottom - box.top, box.right - box.left])
    target = np.full(2, facts["spacing_mm"]) if facts["spacing_mm"] else spacing
    extent = tuple(max(1, round(n * a / b)) for n, a, b in zip(sides.tolist(), spacing, target, strict=True))
    scale = target / spacing
    shift = np.array(box[:2]) + 0.5 * scale - 0.5
    images = resample(frames, scale, shift, extent, facts["image_method"])
    if facts["foa"]:
        delta = np.float32(facts["delta_ratio"] * sum(extent) / 2)
        rows, columns = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in extent)
        if facts.get("foa_of") == "normalised":
            images = gauss_normalise(images)
        images *= np.exp(-(rows[:, None] ** 2 + columns**2) / delta**2)
    images = gauss_normalise(images)
    padding = [(0, -n % facts["bucket"]) for n in extent]
    return Prepared(np.pad(images, [(0, 0), *padding]), extent, scale, shift)


def gauss_normalise(images: np.ndarray) -> np.ndarray:
    """Normalises to (I − μ)/σ over all pixels of all images; returns zeros if σ is 0 up to rounding."""
    mean, sigma = images.mean(dtype=np.float64), images.std(dtype=np.float64)
    if sigma <= 1e-6 * abs(mean):
        return np.zeros_like(images)
    return (images - np.float32(mean)) / np.float32(sigma)


def slices_together(stage: Stage, images: np.ndarray, count: int, memory_bytes: int) -> int:
    """Returns the number of slices per forward pass within the memory limit. The passes are as equal as possible."""
    most = int(np.clip(memory_bytes // (stage.bytes_a_pixel * images[0].size), 1, MOST_TOGETHER))
    return -(-count // -(-count // most))


def forward(stage: Stage, prepared: Prepared, triples: np.ndarray, together: int) -> Iterator[np.ndarray]:
    """Yields the probabilities of `together` slices at a time. The last pass is filled up to have the same shape."""
    extent = np.tile(np.array(prepared.extent, np.int32), (together, 1))
    for start in range(0, len(triples), together):
        chunk = triples[np.minimum(np.arange(start, start + together), len(triples) - 1)]
        images = prepared.images[chunk].transpose(0, 2, 3, 1)
        yield stage.network(np.ascontiguousarray(images), extent)[: len(triples) - start]


def restore(maps: np.ndarray, prepared: Prepared, box: Box) -> np.ndarray:
    """Resamples (N, H, W, C) maps to the box's own pixels and takes the most probable class: (N, *box) uint8."""
    rows, columns = prepared.extent
    shape = (box.bottom - box.top, box.right - box.left)
    shift = (np.array(box[:2]) - prepared.shift) / prepared.scale
    back = resample(maps[:, :rows, :columns], 1 / prepared.scale, shift, shape, "linear")
    return back.argmax(-1).astype(np.uint8)


def resample(images: np.ndarray, scale, shift, shape: Sequence[int], method: str) -> np.ndarray:
    """Resamples (N, H, W[, C]) images at rows and columns scale · (0, 1, …) + shift; border pixels are repeated."""
    for axis, size in enumerate(shape, start=1):
        at = np.float32(scale[axis - 1]) * np.arange(size, dtype=np.float32) + np.float32(shift[axis - 1])
        parts = (
            np.take(images, np.clip(index, 0, images.shape[axis] - 1).astype(int), axis)
            * np.expand_dims(weight, tuple(range(1, images.ndim - axis)))
            for index, weight in _taps(at, method)
        )
        images = functools.reduce(np.add, parts)
    return images


def _taps(at: np.ndarray, method: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the indices of the pixels to interpolate at each coordinate, and their weights."""
    if method == "nearest":
        return [(np.floor(at + np.float32(0.5)), np.ones_like(at))]
    base = np.floor(at)
    t = at - base
    if method == "linear":
        return [(base, 1 - t), (base + 1, t)]
    weights = (  # Keys' cubic convolution, a = −1/2
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    return [(base + offset, weight) for offset, weight in zip((-1, 0, 1, 2), weights, strict=True)]


def keep_greatest(labels: np.ndarray) -> np.ndarray:
    """Returns a mask of the largest face-connected foreground component of each frame of labels (T, Z, H, W)."""
    kept = np.zeros(labels.shape, bool)
    for frame, out in zip(labels, kept, strict=True):
        components, count = ndimage.label(frame > 0)
        if count:
            sizes = np.bincount(components.ravel())
            out[...] = components == 1 + sizes[1:].argmax()
    return kept
