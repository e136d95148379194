"""The networks as pure functions: `init_network(key, spec)` and `apply_network(variables, images, spec)`.

Flax Linen is used inside this folder only; the rest of the project sees nested dictionaries of arrays.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from foanet_jax.network.foanet import FoaNet
from foanet_jax.network.modules import ConvRelu, Grid
from foanet_jax.network.unet import UNet

COARSEST = 16
CHOICES = {
    "architecture": ("net1", "net2", "unet"),
    "order": ("up_conv", "conv_up"),
    "up": ("bilinear", "learned"),
    "decoder": ("none", "top_down"),
    "norm": ("none", "batch", "group", "instance"),
    "dtype": ("float32", "bfloat16"),
}


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """The architecture of a network.

    Attributes:
        architecture: "net1" (localization), "net2" (segmentation, with Part 2) or "unet".
        classes: number of classes, including the background.
        width: fraction of the full number of feature maps. ImageNet weights need 1.
        side_maps: number K of feature maps of each side output (paper: 16).
        order: "up_conv" up-samples a side output before its 3×3 convolution (the paper); "conv_up" does it afterwards.
        up: up-convolutions: "bilinear" (fixed) or "learned" (trained, starting from bilinear).
        norm: normalisation after each convolution of the base network: "none" (the paper), "batch", "group" or
            "instance". The last two normalise each image on its own, and therefore suit a batch size of 1.
        decoder: where Net.1 and Net.2 take their side outputs from (the K maps that they compute from each stage).
            "none": from the stages of the base network (the paper). "top_down": from a decoder that joins each stage
            with the coarser ones (`network/decoder.py`).
        side_heads: add a classifier to each side output of Net.1 and Net.2. It is used in training only (`loss.side`).
        dtype: data type in which the base network computes. Parameters, statistics and logits are always float32. On
            CPUs, "bfloat16" trains and predicts in float32.
    """

    architecture: str
    classes: int
    width: float = 1.0
    side_maps: int = 16
    order: str = "up_conv"
    up: str = "bilinear"
    norm: str = "none"
    decoder: str = "none"
    side_heads: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise ValueError(f"network {field} {getattr(self, field)!r}; choose one of {', '.join(choices)}")
        if self.classes < 2 or self.width <= 0 or self.side_maps < 1:
            raise ValueError(
                f"network classes={self.classes}, width={self.width}, side_maps={self.side_maps}; "
                "use at least 2 classes, a positive width and at least one side map"
            )
        if self.architecture == "unet" and (self.side_heads or self.decoder != "none"):
            raise ValueError(
                f"network side_heads={self.side_heads}, decoder={self.decoder!r}: unet has no side outputs; "
                "use side_heads=False and decoder=none for unet"
            )


def on_this_device(spec: NetworkSpec) -> NetworkSpec:
    """Returns the spec with the data type of this machine: CPUs have no bfloat16 arithmetic and compute in float32."""
    return dataclasses.replace(spec, dtype="float32") if jax.default_backend() == "cpu" else spec


def _module(spec: NetworkSpec, axis_name: str | None = None) -> nn.Module:
    conv = functools.partial(ConvRelu, norm=spec.norm, dtype=spec.dtype, axis_name=axis_name)
    if spec.architecture == "unet":
        return UNet(spec.classes, spec.width, conv)
    part2 = spec.architecture == "net2"
    return FoaNet(
        classes=spec.classes,
        part2=part2,
        width=spec.width,
        side_maps=spec.side_maps,
        order=spec.order,
        up=spec.up,
        side_heads=spec.side_heads,
        decoder=spec.decoder,
        conv=conv,
    )


def init_network(key, spec: NetworkSpec):
    """Initialises a network with random variables.

    Layers with ReLU use He initialization, linear layers use LeCun initialization, and biases are zero. The other
    layers get the same values with and without side heads, because side heads are initialised last.

    Args:
        key: JAX random key.
        spec: the network.

    Returns:
        {"params": {layer: arrays}} and, with batch normalisation, also "statistics".
    """
    images = jnp.zeros((1, COARSEST, COARSEST, 3), spec.dtype)
    variables = _module(spec).init(key, images, Grid(None), False)
    return {name: dict(variables[name]) for name in ("params", "statistics") if name in variables}


def random_variables(key, spec: NetworkSpec):
    """Calls `init_network` as a compiled program.

    On a CPU it is compiled without optimisation: it runs only once, and optimising would take a hundred times as long
    as running it.
    """
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(init_network, static_argnames="spec", compiler_options=options)(key, spec)


def apply_network(variables, images, spec: NetworkSpec, *, extent=None, train: bool = False, axis_name=None):
    """Computes the logits of a network for images of any size.

    Args:
        variables: from `init_network`.
        images: (B, H, W, 3) temporal-like images.
        spec: the network that `variables` belong to.
        extent: (B, 2) int rows and columns that belong to each image, if images were padded to a common shape; the
            padding is ignored. None: all of H × W.
        train: with batch normalisation, use the statistics of the batch and return updated running statistics.
        axis_name: device axis over which these statistics are computed.

    Returns:
        (B, H, W, classes) float32 logits, undefined in the padding; with `train`, also the statistics.
    """
    logits, changed = _forward(variables, images, spec, extent, train, axis_name)
    return (logits, dict(changed.get("statistics", {}))) if train else logits


def apply_with_sides(variables, images, spec: NetworkSpec, *, extent=None, axis_name=None):
    """Computes the logits and the statistics as `apply_network` does in training, and the logits of the side heads.

    Args:
        variables, images, spec, extent, axis_name: as for `apply_network`.

    Returns:
        The logits; a tuple of float32 side logits (B, H/s, W/s, classes) at the strides s = 1, 2, 4, 8, 16, with H and
        W rounded up to a multiple of 16, or () without `side_heads`; the statistics.
    """
    logits, changed = _forward(variables, images, spec, extent, True, axis_name)
    (sides,) = changed.get("sides", {}).get("logits", ((),))
    return logits, sides, dict(changed.get("statistics", {}))


def _forward(variables, images, spec: NetworkSpec, extent, train: bool, axis_name):
    """Returns the logits and the Flax collections that training changes."""
    batch, height, width, _ = images.shape
    pad_rows, pad_columns = -height % COARSEST, -width % COARSEST
    if extent is None and (pad_rows or pad_columns):
        extent = jnp.tile(jnp.array([[height, width]]), (batch, 1))
    grid = Grid(extent)
    images = jnp.pad(images, ((0, 0), (0, pad_rows), (0, pad_columns), (0, 0)))
    images = grid.clear(images, 1).astype(spec.dtype)
    module = _module(spec, axis_name)
    mutable = ["statistics", "sides"] if train else []
    found: Any = module.apply(variables, images, grid, train, mutable=mutable)
    logits, changed = found
    return logits[:, :height, :width], changed


@functools.partial(jax.jit, static_argnames="spec")
def probabilities(variables, images, spec: NetworkSpec, extent=None):
    """Computes (B, H, W, classes) softmax probabilities; arguments as for `apply_network`."""
    return jax.nn.softmax(apply_network(variables, images, spec, extent=extent), axis=-1)


def forward_bytes(spec: NetworkSpec, shape: Sequence[int]) -> int:
    """Returns an upper bound of the memory in bytes that `probabilities` takes for one slice, without the parameters.

    The bound is the size of the feature maps at full resolution. It counts twelve times the width of the first stage;
    the side outputs and the logits, which do not depend on the width; and, for learned up-convolutions, the features of
    the last stages. On a CPU it adds the transformed Winograd kernels. A forward pass holds these kernels once. For a
    single slice, they take most of the memory.

    Args:
        spec: the network.
        shape: rows and columns of the slice, px.
    """
    maps = 12 * 64 * spec.width + 32 + 8 * spec.classes
    if spec.up == "learned":
        maps += 3 * 512 * spec.width + 4 * spec.side_maps
    if jax.default_backend() == "cpu":
        maps += (900 if spec.decoder == "top_down" else 330) * spec.width**2
    return int(4 * maps * shape[0] * shape[1])


def count_parameters(variables) -> int:
    """Returns the number of trainable parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
