"""Parameters, images and labels that any framework can draw again from a seed, without storing them.

Philox counters are keyed by name and shape, so that one tensor never depends on the order in which the others are
drawn, and only exact operations follow (a 53-bit uniform, one product): the same bits on every machine.
"""

import hashlib
import math

import numpy as np

Shapes = dict[str, dict[str, tuple[int, ...]]]
Params = dict[str, dict[str, np.ndarray]]

SIDE_MAPS = 16
SAMPLES_A_TENSOR = 512


def uniform(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Uniform float64 numbers in [−1, 1) of `shape`, a pure function of the three arguments."""
    digest = hashlib.sha256(f"{seed}/{name}/{shape}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(math.prod(shape))
    return ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0).reshape(shape)


def random_params(shapes: Shapes, seed: int) -> Params:
    """He-scaled uniform kernels and non-zero biases (±0.1), float32, for every layer of `shapes`."""
    params: Params = {}
    for layer, leaves in shapes.items():
        params[layer] = {}
        for leaf, shape in leaves.items():
            scale = math.sqrt(6.0 / math.prod(shape[:-1])) if leaf == "kernel" else 0.1
            params[layer][leaf] = (uniform(f"{layer}/{leaf}", shape, seed) * scale).astype(np.float32)
    return params


def random_images(shape: tuple[int, int, int, int], seed: int) -> np.ndarray:
    """Images (B,H,W,3), float32, white noise of unit variance: what Gauss normalisation leaves."""
    return (uniform("images", shape, seed) * math.sqrt(3.0)).astype(np.float32)


def random_labels(shape: tuple[int, int, int], classes: int, seed: int) -> np.ndarray:
    """Labels (B,H,W), int32: one random ellipse a class over a background of 0, later classes on top."""
    batch, height, width = shape
    draws = uniform("labels", (batch, classes, 4), seed)
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(shape, np.int32)
    for sample in range(batch):
        for label in range(1, classes):
            row, column, tall, wide = draws[sample, label]
            distance = ((rows - height * (0.5 + 0.25 * row)) / (height * (0.2 + 0.1 * tall))) ** 2
            distance += ((columns - width * (0.5 + 0.25 * column)) / (width * (0.2 + 0.1 * wide))) ** 2
            labels[sample][distance <= 1.0] = label
    return labels


def network_shapes(architecture: str, *, classes: int, width: float) -> Shapes:
    """Shapes of every parameter of "net1", "net2" or "unet", written down apart from the code under test.

    "net2+top_down" is Net.2 with that decoder.
    """
    architecture, _, decoder = architecture.partition("+")
    last = 1024 if architecture == "unet" else 512
    c = [max(1, round(n * width)) for n in (64, 128, 256, 512, last)]
    kernels: dict[str, tuple[int, ...]] = {}
    if architecture == "unet":
        for level, (inputs, outputs) in enumerate(zip([3, *c[:3]], c[:4], strict=True), start=1):
            kernels[f"down{level}_conv1"] = (3, 3, inputs, outputs)
            kernels[f"down{level}_conv2"] = (3, 3, outputs, outputs)
        kernels["bottom_conv1"] = (3, 3, c[3], c[4])
        kernels["bottom_conv2"] = (3, 3, c[4], c[4])
        for level in (4, 3, 2, 1):
            deep, here = c[level], c[level - 1]
            kernels[f"up{level}"] = (2, 2, deep, here)
            kernels[f"up{level}_conv1"] = (3, 3, 2 * here, here)
            kernels[f"up{level}_conv2"] = (3, 3, here, here)
        kernels["score"] = (1, 1, c[0], classes)
    else:
        inputs = 3
        for stage, (depth, outputs) in enumerate(zip((2, 2, 3, 3, 3), c, strict=True), start=1):
            for n in range(1, depth + 1):
                kernels[f"block{stage}_conv{n}"] = (3, 3, inputs, outputs)
                inputs = outputs
            if architecture == "net2" and stage >= 3:
                kernels[f"block{stage}_dilated2"] = (3, 3, outputs, outputs)
                kernels[f"block{stage}_dilated3"] = (3, 3, outputs, outputs)
                kernels[f"block{stage}_project"] = (1, 1, 3 * outputs, outputs)
            kernels[f"side{stage}"] = (3, 3, outputs, SIDE_MAPS)
        for level in (4, 3, 2, 1) if decoder else ():
            kernels[f"top{level}"] = (2, 2, c[level], c[level - 1])
            kernels[f"top{level}_conv1"] = (3, 3, 2 * c[level - 1], c[level - 1])
            kernels[f"top{level}_conv2"] = (3, 3, c[level - 1], c[level - 1])
        kernels["score"] = (1, 1, 5 * SIDE_MAPS, classes)
    return {layer: {"kernel": shape, "bias": shape[-1:]} for layer, shape in kernels.items()}


def gradient_sample(tensor: np.ndarray, name: str) -> np.ndarray:
    """At most SAMPLES_A_TENSOR elements of a tensor, flat, at positions fixed by its name and shape.

    The fixtures hold these, with the largest magnitude and the norm of the whole tensor: a third of a megabyte
    a network is too much for a repository, and a wrong gradient is seldom wrong in nine elements of ten thousand only.
    """
    if tensor.size <= SAMPLES_A_TENSOR:
        return tensor.ravel()
    order = np.argsort(uniform(f"sample/{name}", (tensor.size,), 0), kind="stable")
    return tensor.ravel()[np.sort(order[:SAMPLES_A_TENSOR])]
