"""The networks as pure functions: `init_network(key, spec)` and `apply_network(variables, images, spec)`.

Linen stays inside this folder; the rest of the project sees nested dictionaries of arrays.
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
        decoder: where Net.1 and Net.2 take their side outputs from. "none": from the stages of the base network (the
            paper). "top_down": from a decoder that joins each stage with the coarser ones (`network/decoder.py`).
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
                "at least 2 classes, a positive width and one side map are needed"
            )
        if self.architecture == "unet" and (self.side_heads or self.decoder != "none"):
            raise ValueError(
                f"network side_heads={self.side_heads}, decoder={self.decoder!r}: only net1 and net2 have side outputs"
            )


def on_this_device(spec: NetworkSpec) -> NetworkSpec:
    """The spec as training and prediction compute it here: CPUs, which have no arithmetic of bfloat16, take float32."""
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
    """Random variables of a network: {"params": {layer: arrays}} and, with batch norm, {"statistics": …}.

    Side heads come last and take nothing from the other layers' draws.

    He initialisation for layers with ReLU, LeCun for the linear ones, biases zero.
    """
    images = jnp.zeros((1, COARSEST, COARSEST, 3), spec.dtype)
    variables = _module(spec).init(key, images, Grid(None), False)
    return {name: dict(variables[name]) for name in ("params", "statistics") if name in variables}


def random_variables(key, spec: NetworkSpec):
    """`init_network`, compiled. It runs once: on a CPU optimising it would take a hundred times as long as it runs."""
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(init_network, static_argnames="spec", compiler_options=options)(key, spec)


def apply_network(variables, images, spec: NetworkSpec, *, extent=None, train: bool = False, axis_name=None):
    """Logits of a network for images of any shape.

    Args:
        variables: from `init_network`.
        images: (B, H, W, 3) temporal-like images.
        spec: what `variables` were made for.
        extent: (B, 2) int rows and columns that belong to each image, where images were padded to a common
            shape; what lies beyond is ignored. None: all of H × W.
        train: use the batch's statistics where the network has batch normalisation, and return new ones.
        axis_name: device axis over which those statistics are taken.

    Returns:
        (B, H, W, classes) float32 logits (beyond the extent: meaningless); with `train`, also the statistics.
    """
    logits, changed = _forward(variables, images, spec, extent, train, axis_name)
    return (logits, dict(changed.get("statistics", {}))) if train else logits


def apply_with_sides(variables, images, spec: NetworkSpec, *, extent=None, axis_name=None):
    """What `apply_network` gives in training, and the logits of the side heads.

    Returns:
        Logits; a tuple of float32 logits (B, H/s, W/s, classes) of the sides at their own strides s = 1, 2, 4, 8, 16,
        H and W up to a multiple of 16, empty without `side_heads`; the statistics.
    """
    logits, changed = _forward(variables, images, spec, extent, True, axis_name)
    (sides,) = changed.get("sides", {}).get("logits", ((),))
    return logits, sides, dict(changed.get("statistics", {}))


def _forward(variables, images, spec: NetworkSpec, extent, train: bool, axis_name):
    """Logits, and the collections that training changes."""
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
    """(B, H, W, classes) softmax probabilities; arguments as for `apply_network`."""
    return jax.nn.softmax(apply_network(variables, images, spec, extent=extent), axis=-1)


def forward_bytes(spec: NetworkSpec, shape: Sequence[int]) -> int:
    """A bound of the memory that `probabilities` takes for one slice of (rows, columns) px, beside the parameters.

    Counted in maps of full resolution: twelve of the first stage's width, the side outputs' and the logits', which do
    not shrink with the width, and for learned up-convolutions the last stages' features at full resolution. On a CPU
    there are kernels in Winograd's form, which a pass has once and of one slice are the most.
    """
    maps = 12 * 64 * spec.width + 32 + 8 * spec.classes
    if spec.up == "learned":
        maps += 3 * 512 * spec.width + 4 * spec.side_maps
    if jax.default_backend() == "cpu":
        maps += (900 if spec.decoder == "top_down" else 330) * spec.width**2
    return int(4 * maps * shape[0] * shape[1])


def count_parameters(variables) -> int:
    """Number of trained values."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
