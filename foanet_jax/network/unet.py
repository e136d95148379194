"""The U-Net of Ronneberger et al. (2015), the last row of Table I. Zero padding keeps the size of the image."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from foanet_jax.network.decoder import conv_pair, top_down
from foanet_jax.network.modules import ConvRelu, Grid, Linear
from foanet_jax.network.primitives import max_pool
from foanet_jax.network.vgg import scaled

WIDTHS = (64, 128, 256, 512, 1024)


class UNet(nn.Module):
    """A U-Net with four levels down and up, skip connections and one logit per class."""

    classes: int
    width: float
    conv: Callable[..., ConvRelu]

    @nn.compact
    def __call__(self, images, grid: Grid, train: bool):
        widths = scaled(WIDTHS, self.width)
        pair = functools.partial(conv_pair, conv=self.conv, train=train)
        stages = []
        features = images
        for level in range(4):
            stages.append(pair(features, grid, 2**level, name=f"down{level + 1}", maps=widths[level]))
            features = max_pool(stages[-1])
        stages.append(pair(features, grid, 2**4, name="bottom", maps=widths[4]))
        features = top_down(stages, grid, name="up", conv=self.conv, train=train)[0]
        kernel, bias = Linear(self.classes, 1, widths[0], name="score")()
        return (features @ kernel[0, 0].astype(features.dtype)).astype(jnp.float32) + bias
