"""Decoder from the coarsest stage to the finest: part of the U-Net, and optional in Net.1 and Net.2.

In the paper, side outputs are linear functions of the encoder's stages. The logits of a pixel are then a sum over
stages, and coarse features cannot select among fine edges. If the side outputs come from this decoder, they can.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from foanet_jax.network.modules import ConvRelu, Grid, UpConv2
from foanet_jax.network.vgg import STRIDES


def top_down(stages: Sequence, grid: Grid, *, name: str, conv: Callable[..., ConvRelu], train: bool):
    """Combines the features of each stage with those of all coarser stages (Ronneberger et al. 2015, Sec. 2).

    It starts from the coarsest stage. Each step applies a learned 2×2 up-convolution to the width of the next finer
    stage, concatenates the result with that stage, and applies two 3×3 convolutions of that width. Call it inside a
    Linen module; the layers become part of that module.

    Args:
        stages: five arrays (B, H/s, W/s, maps) for s = 1, 2, 4, 8, 16.
        grid: which pixels belong to the images.
        name: prefix of the layers' names; "top" gives `top1` … `top4`, `top1_conv1` …
        conv: makes the convolutional layers.
        train: see `network.apply_network`.

    Returns:
        Five arrays of the same shapes; the coarsest is unchanged.
    """
    features = stages[-1]
    joined = [features]
    for number in range(len(stages) - 1, 0, -1):
        finer, stride = stages[number - 1], STRIDES[number - 1]
        maps = finer.shape[-1]
        fine = grid.clear(UpConv2(maps, name=f"{name}{number}")(features), stride)
        features = jnp.concatenate([finer, fine], axis=-1)
        features = conv_pair(features, grid, stride, name=f"{name}{number}", maps=maps, conv=conv, train=train)
        joined.insert(0, features)
    return joined


def conv_pair(features, grid: Grid, stride: int, *, name: str, maps: int, conv: Callable[..., ConvRelu], train: bool):
    """Applies two 3×3 convolutions to `maps` feature maps, the U-Net's block: layers NAME_conv1 and NAME_conv2."""
    for number in (1, 2):
        features = conv(maps, name=f"{name}_conv{number}")(features, grid, stride, train)
    return features
