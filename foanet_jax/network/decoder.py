"""The way back from the coarsest stage to the finest: the U-Net's, and of Net.1 and Net.2 by option.

The paper takes side outputs from the stages, and they are linear: a pixel's class is a sum of what each stage says on
its own, and coarse knowledge of the heart cannot choose among fine edges. Taken from here, it can.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from foanet_jax.network.modules import ConvRelu, Grid, UpConv2
from foanet_jax.network.vgg import STRIDES


def top_down(stages: Sequence, grid: Grid, *, name: str, conv: Callable[..., ConvRelu], train: bool):
    """Every stage's features once those of the coarser ones have been joined to them, as the U-Net joins them.

    From the coarsest stage on: a learned 2×2 up-convolution to the next finer stage's width, concatenation, and two
    3×3 convolutions of that width (Ronneberger et al. 2015, Sec. 2). To be called inside a module, whose layers they
    become.

    Args:
        stages: five arrays (B, H/s, W/s, maps) for s = 1, 2, 4, 8, 16.
        grid: which pixels belong to the images.
        name: of the layers; of "top" they are `top1` … `top4`, `top1_conv1` …
        conv: makes them.
        train: see `network.apply_network`.

    Returns:
        As many arrays of the same shapes; the coarsest is as it was.
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
    """Two 3×3 convolutions to `maps` maps, the U-Net's step at each level: the layers NAME_conv1 and NAME_conv2."""
    for number in (1, 2):
        features = conv(maps, name=f"{name}_conv{number}")(features, grid, stride, train)
    return features
