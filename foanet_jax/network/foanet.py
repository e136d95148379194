"""Net.1 and Net.2 of the paper (Fig. 2): the base network and its side outputs."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from foanet_jax.network.convolution import convolve
from foanet_jax.network.decoder import top_down
from foanet_jax.network.modules import ConvRelu, Grid, Linear
from foanet_jax.network.primitives import (
    bilinear_kernel,
    up_then_convolve,
    upsample,
    upsample_learned,
)
from foanet_jax.network.vgg import STRIDES, vgg16_stages


class FoaNet(nn.Module):
    """Base network (→ optional decoder) → side outputs → 1×1 convolution to one logit per class (Fig. 2).

    Each side output is an up-convolution to the input's resolution and a 3×3 convolution to `side_maps` maps, without
    activation. The 1×1 convolution `score` of the concatenated maps is linear too. Therefore its weights for a side are
    multiplied into the 3×3 kernel of that side. The function and its gradients stay the same, and the maps need not be
    computed.
    """

    classes: int
    part2: bool
    width: float
    side_maps: int
    order: str
    up: str
    side_heads: bool
    decoder: str
    conv: Callable[..., ConvRelu]

    @nn.compact
    def __call__(self, images, grid: Grid, train: bool):
        stages = vgg16_stages(images, grid, part2=self.part2, width=self.width, conv=self.conv, train=train)
        if self.decoder == "top_down":
            stages = top_down(stages, grid, name="top", conv=self.conv, train=train)
        score, score_bias = Linear(self.classes, 1, self.side_maps * len(stages), name="score")()
        score = score.reshape(len(stages), self.side_maps, self.classes)
        logits = score_bias
        linears = []
        for number, (features, stride) in enumerate(zip(stages, STRIDES, strict=True), start=1):
            kernel, bias = linear = Linear(self.side_maps, 3, features.shape[-1], name=f"side{number}")()
            if self.up == "learned" and stride > 1:
                side = self._learned_side(features, kernel, bias, grid, stride, number) @ score[number - 1]
            else:
                kernel = jnp.einsum("yxck,kl->yxcl", kernel, score[number - 1])
                side = self._fixed_side(features, kernel, bias @ score[number - 1], grid, stride)
            logits = logits + side
            linears.append(linear)
        if self.side_heads and (train or self.is_initializing()):
            self.sow("sides", "logits", self._head_logits(stages, linears))
        return logits

    def _head_logits(self, stages, linears):
        """Returns the prediction of each side output before up-sampling, a 1×1 convolution of its maps.

        As for `score`, the two convolutions are merged into one.
        """
        found = []
        for number, (features, (kernel, bias)) in enumerate(zip(stages, linears, strict=True), start=1):
            head, head_bias = Linear(self.classes, 1, self.side_maps, name=f"head{number}")()
            both = jnp.einsum("yxck,kl->yxcl", kernel, head[0, 0]).astype(features.dtype)
            found.append(convolve(features, both).astype(jnp.float32) + (bias @ head[0, 0] + head_bias))
        return tuple(found)

    def _fixed_side(self, features, kernel, bias, grid: Grid, stride: int):
        """Returns one side's part of the logits, up-sampled with the fixed bilinear kernel."""
        kernel = kernel.astype(features.dtype)
        if self.order == "up_conv":
            return up_then_convolve(features, kernel, stride=stride, extent=grid.extent).astype(jnp.float32) + bias
        low = convolve(features, kernel).astype(jnp.float32) + bias
        return upsample(grid.clear(low, stride), stride=stride)

    def _learned_side(self, features, kernel, bias, grid: Grid, stride: int, number: int):
        """Returns one side's maps, up-sampled with one learned kernel per channel that starts as a bilinear one."""
        channels = features.shape[-1] if self.order == "up_conv" else self.side_maps
        up = self.param(f"up{number}", lambda _: jnp.asarray(bilinear_kernel(stride, channels)))
        if self.order == "up_conv":
            fine = grid.clear(upsample_learned(features, up.astype(features.dtype), stride=stride), 1)
            return convolve(fine, kernel.astype(features.dtype)).astype(jnp.float32) + bias
        maps = convolve(features, kernel.astype(features.dtype)).astype(jnp.float32) + bias
        return upsample_learned(grid.clear(maps, stride), up, stride=stride)
