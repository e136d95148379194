"""Layers that the networks have in common, as Linen modules."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from foanet_jax.network.convolution import convolve
from foanet_jax.network.primitives import extent_at, extent_mask

HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
LECUN = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
VARIANCE_FLOOR = 1e-5
MOMENTUM = 0.9
GROUPS = 8  # groups in group normalisation; if 8 does not divide the number of channels, their greatest common divisor


class Grid:
    """Knows which pixels belong to the images, and which are padding, at each stride of a forward pass.

    Attributes:
        extent: (B, 2) rows and columns of each image, or None if the images fill the grid and need no mask.
    """

    def __init__(self, extent):
        self.extent = extent

    def mask(self, features, stride: int):
        """Returns the (B, H, W, 1) mask of the pixels that are not padding; None if there is no padding."""
        if self.extent is None:
            return None
        _, height, width, _ = features.shape
        return extent_mask(extent_at(self.extent, stride), height, width)

    def clear(self, features, stride: int):
        """Sets the padding of a feature map to zero."""
        mask = self.mask(features, stride)
        return features if mask is None else jnp.where(mask, features, 0)


class ConvRelu(nn.Module):
    """Convolution, optional normalisation, ReLU; the padding stays zero.

    Normalisation uses the convolution's bias as its offset and adds one `scale` per channel. "batch" computes mean and
    variance over the batch; outside training, its running statistics are merged into kernel and bias, at no extra cost.
    "group" computes them over groups of channels of each image (Wu & He 2018), "instance" over each channel of each
    image.
    """

    features: int
    size: int = 3
    dilation: int = 1
    norm: str = "none"
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, grid: Grid, stride: int, train: bool):
        shape = (self.size, self.size, images.shape[-1], self.features)
        kernel = self.param("kernel", HE, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.norm != "none":
            scale = self.param("scale", nn.initializers.ones, (self.features,))
        if self.norm in ("group", "instance"):
            products = convolve(images, kernel.astype(self.dtype), dilation=self.dilation)
            mean, variance = self._image_moments(products, grid.mask(products, stride))
            return grid.clear(self._normalised(products, mean, variance, scale, bias), stride)
        if self.norm == "batch":
            mean = self.variable("statistics", "mean", jnp.zeros, (self.features,))
            variance = self.variable("statistics", "variance", jnp.ones, (self.features,))
            if train:
                products = convolve(images, kernel.astype(self.dtype), dilation=self.dilation)
                batch_mean, batch_variance = self._moments(products, grid.mask(products, stride))
                if not self.is_initializing():
                    mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * batch_mean
                    variance.value = MOMENTUM * variance.value + (1 - MOMENTUM) * batch_variance
                return grid.clear(self._normalised(products, batch_mean, batch_variance, scale, bias), stride)
            gain = scale * lax.rsqrt(variance.value + VARIANCE_FLOOR)
            kernel, bias = kernel * gain, bias - mean.value * gain
        products = convolve(images, kernel.astype(self.dtype), dilation=self.dilation)
        return grid.clear(nn.relu(products + bias.astype(self.dtype)), stride)

    def _normalised(self, products, mean, variance, scale, bias):
        gain = scale * lax.rsqrt(variance + VARIANCE_FLOOR)
        shift = bias - mean * gain
        return nn.relu(products * gain.astype(self.dtype) + shift.astype(self.dtype))

    def _image_moments(self, products, mask):
        """Returns mean and variance (B, 1, 1, C) of each channel's group, per image, without the padding."""
        products = products.astype(jnp.float32)
        batch, height, width, channels = products.shape
        groups = channels if self.norm == "instance" else math.gcd(channels, GROUPS)
        pixels = height * width if mask is None else mask.sum((1, 2, 3), dtype=jnp.float32)[:, None, None]
        count = jnp.float32(pixels) * (channels // groups)

        def mean_inside(values):
            values = values if mask is None else jnp.where(mask, values, 0)
            return values.sum((1, 2)).reshape(batch, groups, -1).sum(axis=-1, keepdims=True) / count

        def each_channel(values):
            # `jnp.repeat` is avoided: its gradient is a scatter, which GPUs sum in random order.
            return jnp.broadcast_to(values, (batch, groups, channels // groups)).reshape(batch, 1, 1, channels)

        mean = each_channel(mean_inside(products))
        return mean, each_channel(mean_inside(jnp.square(products - mean)))

    def _moments(self, products, mask):
        """Returns mean and variance per channel over the batch of all devices, without the padding."""
        products = products.astype(jnp.float32)
        if mask is None:
            count = jnp.float32(products.shape[0] * products.shape[1] * products.shape[2])
        else:
            count = mask.sum(dtype=jnp.float32)
            products = jnp.where(mask, products, 0)
        total, squares = products.sum((0, 1, 2)), jnp.square(products).sum((0, 1, 2))
        if self.axis_name is not None:
            total, squares, count = lax.psum((total, squares, count), self.axis_name)
        mean = total / count
        return mean, jnp.maximum(squares / count - jnp.square(mean), 0)


class Linear(nn.Module):
    """Returns the kernel and bias of a convolution without activation; the caller applies them."""

    features: int
    size: int
    inputs: int

    @nn.compact
    def __call__(self):
        kernel = self.param("kernel", LECUN, (self.size, self.size, self.inputs, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))


class UpConv2(nn.Module):
    """Learned 2×2 up-convolution with stride 2: (B, h, w, I) to (B, 2h, 2w, features)."""

    features: int

    @nn.compact
    def __call__(self, images):
        inputs = images.shape[-1]
        kernel = self.param("kernel", HE, (2, 2, inputs, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        fine = jnp.einsum("bijc,yxcf->biyjxf", images, kernel.astype(images.dtype))
        batch, height, _, width, _, _ = fine.shape
        return fine.reshape(batch, 2 * height, 2 * width, self.features) + bias.astype(images.dtype)
