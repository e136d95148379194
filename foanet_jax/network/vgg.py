"""The base network of Fig. 2: VGG16's five stages with Part 1 (Net.1) or Part 2 (Net.2)."""

from collections.abc import Callable

import jax.numpy as jnp

from foanet_jax.network.modules import ConvRelu, Grid
from foanet_jax.network.primitives import max_pool

WIDTHS = (64, 128, 256, 512, 512)
STRIDES = (1, 2, 4, 8, 16)


def scaled(widths: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Multiplies numbers of feature maps by the fraction `width`. Each result is at least 1."""
    return tuple(max(1, round(full * width)) for full in widths)


def vgg16_stages(images, grid: Grid, *, part2: bool, width: float, conv: Callable[..., ConvRelu], train: bool):
    """Computes the features of VGG16's five stages, each before its pooling. There are no fully connected layers.

    Stages 3 to 5 end in Part 1 or Part 2. Part 1 is one 3×3 convolution. Part 2 consists of three successive
    convolutions with dilation 2, whose outputs are concatenated (Sec. II-C), and a 1×1 projection back to the stage's
    width. Call it inside a Linen module; the layers `block1_conv1` … become part of that module.

    Args:
        images: (B, H, W, 3), H and W multiples of 16, zero in the padding.
        grid: which pixels belong to the images.
        part2: Part 2 (Net.2) instead of Part 1 (Net.1).
        width: fraction of VGG16's numbers of feature maps.
        conv: makes the convolutional layers.
        train: see `network.apply_network`.

    Returns:
        Five arrays (B, H/s, W/s, maps) for s = 1, 2, 4, 8, 16.
    """
    stages = []
    features = images
    for stage, (maps, stride) in enumerate(zip(scaled(WIDTHS, width), STRIDES, strict=True), start=1):
        if stage > 1:
            features = max_pool(features)

        def layer(name, inputs, maps=maps, stride=stride, stage=stage, **options):
            return conv(maps, name=f"block{stage}_{name}", **options)(inputs, grid, stride, train)

        features = layer("conv2", layer("conv1", features))
        if stage > 2 and part2:
            first = layer("conv3", features, dilation=2)
            second = layer("dilated2", first, dilation=2)
            third = layer("dilated3", second, dilation=2)
            features = layer("project", jnp.concatenate([first, second, third], axis=-1), size=1)
        elif stage > 2:
            features = layer("conv3", features)
        stages.append(features)
    return stages
