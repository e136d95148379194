"""Convolution, with gradients in the forms that are quickest where they are computed.

GPUs and TPUs take XLA's own. On a CPU, XLA's gradient of a kernel is two to five times slower than its forward
pass, and Winograd's form is about twice as fast as either, once there are tiles enough to share a transformed
kernel; all agree to float32's rounding.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from foanet_jax.network import winograd

# Below these, transforms cost more than the products they save; measured by benchmarks/convolutions.py.
FEWEST_TILES = 64
FEWEST_CHANNELS = 32
FEWEST_CHANNELS_OF_TAPS = 128


def convolve(images, kernel, *, dilation: int = 1):
    """Zero-padded convolution, stride 1: (B, H, W, I) with kernel (h, w, I, O) gives (B, H, W, O)."""
    height, width, inputs, outputs = kernel.shape
    if height == width == 1:
        return images @ kernel[0, 0]
    if (height, width) == (3, 3) and min(inputs, outputs) >= FEWEST_CHANNELS and images.dtype == jnp.float32:
        return _convolve_3x3(images, kernel, dilation)
    return convolve_plainly(images, kernel, dilation)


def convolve_plainly(images, kernel, dilation: int = 1):
    """`convolve` by XLA's convolution, gradients as well."""
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(1, 1),
        padding="SAME",
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_3x3(images, kernel, dilation):
    plain = functools.partial(convolve_plainly, dilation=dilation)
    if not has_tiles(images, dilation):
        return plain(images, kernel)
    quick = _phased(winograd.convolve, dilation, (0,))
    return lax.platform_dependent(images, kernel, cpu=quick, default=plain)


def _forward(images, kernel, dilation):
    return _convolve_3x3(images, kernel, dilation), (images, kernel)


def _backward(dilation, residuals, gradient):
    images, kernel = residuals
    return (
        images_gradient(gradient, kernel, dilation),
        kernel_gradient(images, gradient, dilation),
    )


_convolve_3x3.defvjp(_forward, _backward)


def images_gradient(gradient, kernel, dilation: int):
    """What `convolve`'s images (B, H, W, I) get of its output's gradient (B, H, W, O): the kernel turned by 180°."""

    def plain(gradient, kernel):
        return convolve_plainly(gradient, kernel[::-1, ::-1].swapaxes(2, 3), dilation)

    if not has_tiles(gradient, dilation):
        return plain(gradient, kernel)
    return lax.platform_dependent(
        gradient, kernel, cpu=_phased(winograd.images_gradient, dilation, (0,)), default=plain
    )


def kernel_gradient(images, gradient, dilation: int):
    """What `convolve`'s kernel (3, 3, I, O) gets of its output's gradient (B, H, W, O)."""

    def plain(images, gradient):
        kernel = jnp.zeros((3, 3, images.shape[-1], gradient.shape[-1]), images.dtype)
        _, pull = jax.vjp(lambda kernel: convolve_plainly(images, kernel, dilation), kernel)
        return pull(gradient)[0]

    quick = plain
    if has_tiles(images, dilation):
        quick = _phased(winograd.kernel_gradient, dilation, (0, 1), joined=False)
    elif min(images.shape[-1], gradient.shape[-1]) >= FEWEST_CHANNELS_OF_TAPS:
        quick = functools.partial(_kernel_gradient_by_taps, dilation=dilation)
    return lax.platform_dependent(images, gradient, cpu=quick, default=plain)


def _kernel_gradient_by_taps(images, gradient, *, dilation: int):
    """Tap (y, x) of the kernel's gradient is the images, moved by the tap, times the output's gradient."""
    batch, height, width, channels = images.shape
    moved = jnp.pad(images.transpose(3, 0, 1, 2), ((0, 0), (0, 0), (dilation, dilation), (dilation, dilation)))
    taps = jnp.stack(
        [
            moved[:, :, y * dilation : y * dilation + height, x * dilation : x * dilation + width]
            for y in range(3)
            for x in range(3)
        ]
    )
    products = taps.reshape(9 * channels, -1) @ gradient.reshape(batch * height * width, -1)
    return products.reshape(3, 3, channels, -1)


def has_tiles(images, dilation: int) -> bool:
    """Whether images (B, H, W, C) have tiles enough for Winograd's form."""
    batch, height, width, _ = images.shape
    return winograd.tile_count(batch * dilation**2, -(-height // dilation), -(-width // dilation)) >= FEWEST_TILES


def _phased(function, dilation: int, on: tuple[int, ...], *, joined: bool = True):
    """A function of images with every argument of `on` taken apart into its dilation² phases, as more images.

    A dilated convolution is an undilated one of each phase, the pixels of equal row and column modulo `dilation`.
    """
    if dilation == 1:
        return function

    def split(images):
        batch, height, width, channels = images.shape
        padded = jnp.pad(images, ((0, 0), (0, -height % dilation), (0, -width % dilation), (0, 0)))
        rows, columns = -(-height // dilation), -(-width // dilation)
        phases = padded.reshape(batch, rows, dilation, columns, dilation, channels).transpose(2, 4, 0, 1, 3, 5)
        return phases.reshape(dilation**2 * batch, rows, columns, channels)

    def call(*arguments):
        batch, height, width, _ = arguments[on[0]].shape
        found = function(*(split(a) if n in on else a for n, a in enumerate(arguments)))
        if not joined:
            return found
        _, rows, columns, channels = found.shape
        images = found.reshape(dilation, dilation, batch, rows, columns, channels).transpose(2, 3, 0, 4, 1, 5)
        return images.reshape(batch, rows * dilation, columns * dilation, channels)[:, :height, :width]

    return call
