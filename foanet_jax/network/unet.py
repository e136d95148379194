"""The U-Net of Ronneberger et al. (2015), last row of Table I, zero-padded so that it keeps the input's size."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from foanet_jax.network.decoder import top_down
from foanet_jax.network.modules import ConvRelu, Grid, Linear
from foanet_jax.network.primitives import max_pool
from foanet_jax.network.vgg import scaled

WIDTHS = (64, 128, 256, 512, 1024)


class UNet(nn.Module):
    """Four levels down and up with skip connections; one logit a class."""

    classes: int
    width: float
    conv: Callable[..., ConvRelu]

    @nn.compact
    def __call__(self, images, grid: Grid, train: bool):
        widths = scaled(WIDTHS, self.width)

        def pair(name, features, level):
            for number in (1, 2):
                conv = self.conv(widths[level], name=f"{name}_conv{number}")
                features = conv(features, grid, 2**level, train)
            return features

        skips = []
        features = images
        for level in range(4):
            features = pair(f"down{level + 1}", features, level)
            skips.append(features)
            features = max_pool(features)
        stages = [*skips, pair("bottom", features, 4)]
        features = top_down(stages, grid, name="up", conv=self.conv, train=train)[0]
        kernel, bias = Linear(self.classes, 1, widths[0], name="score")()
        return (features @ kernel[0, 0].astype(features.dtype)).astype(jnp.float32) + bias
