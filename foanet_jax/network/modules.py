"""The layers shared by the networks, as Linen modules."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from foanet_jax.network.convolution import convolve
from foanet_jax.network.primitives import extent_at, extent_mask

HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
LECUN = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
VARIANCE_FLOOR = 1e-5
MOMENTUM = 0.9


class Grid:
    """The pixel grid of one forward pass: which pixels at each stride belong to the images.

    Holds (B, 2) `extent`, or None where the images fill the grid and nothing needs masking.
    """

    def __init__(self, extent):
        self.extent = extent

    def mask(self, features, stride: int):
        """(B, H, W, 1) membership of a feature map's pixels, or None where all belong."""
        if self.extent is None:
            return None
        _, height, width, _ = features.shape
        return extent_mask(extent_at(self.extent, stride), height, width)

    def clear(self, features, stride: int):
        """The feature map with zeros beyond the images."""
        mask = self.mask(features, stride)
        return features if mask is None else jnp.where(mask, features, 0)


class ConvRelu(nn.Module):
    """Convolution, optional batch normalisation, ReLU, zeros beyond the images.

    Batch normalisation keeps the convolution's bias as its offset and adds one `scale` a channel. With
    `train` false its running statistics fold into kernel and bias, so that it costs nothing.
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
        if self.norm == "batch":
            scale = self.param("scale", nn.initializers.ones, (self.features,))
            mean = self.variable("statistics", "mean", jnp.zeros, (self.features,))
            variance = self.variable("statistics", "variance", jnp.ones, (self.features,))
            if train:
                products = convolve(images, kernel.astype(self.dtype), dilation=self.dilation)
                batch_mean, batch_variance = self._moments(products, grid.mask(products, stride))
                if not self.is_initializing():
                    mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * batch_mean
                    variance.value = MOMENTUM * variance.value + (1 - MOMENTUM) * batch_variance
                gain = scale * lax.rsqrt(batch_variance + VARIANCE_FLOOR)
                shift = bias - batch_mean * gain
                return grid.clear(nn.relu(products * gain.astype(self.dtype) + shift.astype(self.dtype)), stride)
            gain = scale * lax.rsqrt(variance.value + VARIANCE_FLOOR)
            kernel, bias = kernel * gain, bias - mean.value * gain
        products = convolve(images, kernel.astype(self.dtype), dilation=self.dilation)
        return grid.clear(nn.relu(products + bias.astype(self.dtype)), stride)

    def _moments(self, products, mask):
        """Mean and variance per channel over the images' own pixels, over all devices."""
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
    """The kernel and bias of a convolution without activation; what to do with them is the caller's."""

    features: int
    size: int
    inputs: int

    @nn.compact
    def __call__(self):
        kernel = self.param("kernel", LECUN, (self.size, self.size, self.inputs, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))
