"""2D convolution with fast gradients on CPUs.

GPUs and TPUs use XLA's convolution and gradients. On a CPU, XLA's gradient with respect to the kernel takes two to
twelve times as long as the forward pass. There, Winograd convolution is faster if enough tiles share one transformed
kernel. For the forward pass and for the gradient with respect to the images, it also needs enough channels; it is then
about twice as fast as XLA. All algorithms agree up to float32 rounding.
"""

import functools

import jax
import jax.numpy as jnp
from jax import export, lax

from foanet_jax.network import winograd

# Measured by benchmarks/convolutions.py.
FEWEST_TILES = 64  # with fewer tiles, transforming the kernel costs more than Winograd convolution saves
FEWEST_CHANNELS = 32  # lower limit for Winograd, except for the kernel gradient, which needs fewer channels
MANY_CHANNELS = 128  # from this number on, a matrix product of patches is faster than XLA's convolution
FEW_CHANNELS = 4  # up to this number, a matrix product of patches is the fastest gradient


def convolve(images, kernel, *, dilation: int = 1):
    """Convolves images with a kernel, with zero padding and stride 1.

    Args:
        images: (B, H, W, I).
        kernel: (h, w, I, O).
        dilation: distance of the kernel's taps, px.

    Returns:
        (B, H, W, O).
    """
    height, width = kernel.shape[:2]
    if height == width == 1:
        return images @ kernel[0, 0]
    if (height, width) == (3, 3) and images.dtype == jnp.float32:
        return _convolve_3x3(images, kernel, dilation)
    if dilation > 1 and not any(map(export.is_symbolic_dim, images.shape)):
        # XLA computes the gradients of a dilated convolution slowly. Undilated convolutions of its phases are faster.
        return _phased(convolve_plainly, dilation, (0,))(images, kernel)
    return convolve_plainly(images, kernel, dilation)


def convolve_plainly(images, kernel, dilation: int = 1):
    """Computes `convolve` and its gradients with XLA's convolution."""
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
    quick = plain = functools.partial(convolve_plainly, dilation=dilation)
    if takes_winograd(images, kernel.shape[3], dilation):
        quick = _phased(winograd.convolve, dilation, (0,))
    elif min(kernel.shape[2:]) >= MANY_CHANNELS:
        quick = functools.partial(_by_patches, dilation=dilation)
    return lax.platform_dependent(images, kernel, cpu=quick, default=plain)


def _forward(images, kernel, dilation):
    return _convolve_3x3(images, kernel, dilation), (images, kernel)


def _backward(dilation, residuals, gradient):
    images, kernel = residuals
    return images_gradient(gradient, kernel, dilation), kernel_gradient(images, gradient, dilation)


_convolve_3x3.defvjp(_forward, _backward)


def images_gradient(gradient, kernel, dilation: int):
    """Computes the gradient of `convolve` with respect to its images: a convolution with the kernel rotated by 180°.

    Args:
        gradient: (B, H, W, O) gradient with respect to the output.
        kernel: (3, 3, I, O).
        dilation: as for `convolve`.

    Returns:
        (B, H, W, I).
    """

    def turned(kernel):
        return kernel[::-1, ::-1].swapaxes(2, 3)

    def plain(gradient, kernel):
        return convolve_plainly(gradient, turned(kernel), dilation)

    inputs, outputs = kernel.shape[2:]
    quick = plain
    if takes_winograd(gradient, inputs, dilation):
        quick = _phased(winograd.images_gradient, dilation, (0,))
    elif min(inputs, outputs) >= MANY_CHANNELS:
        quick = functools.partial(_images_gradient_by_patches, dilation=dilation)
    elif outputs <= FEW_CHANNELS:

        def quick(gradient, kernel):
            return _by_patches(gradient, turned(kernel), dilation=dilation)

    return lax.platform_dependent(gradient, kernel, cpu=quick, default=plain)


def kernel_gradient(images, gradient, dilation: int):
    """Computes the gradient of `convolve` with respect to its kernel.

    Args:
        images: (B, H, W, I).
        gradient: (B, H, W, O) gradient with respect to the output.
        dilation: as for `convolve`.

    Returns:
        (3, 3, I, O).
    """
    inputs, outputs = images.shape[-1], gradient.shape[-1]

    def plain(images, gradient):
        kernel = jnp.zeros((3, 3, inputs, outputs), images.dtype)
        _, pull = jax.vjp(lambda kernel: convolve_plainly(images, kernel, dilation), kernel)
        return pull(gradient)[0]

    def by_patches(images, gradient):
        products = jnp.einsum("bhwk,bhwo->ko", _patches(images, dilation), gradient)
        return products.reshape(3, 3, inputs, outputs)

    def by_patches_of_gradient(images, gradient):
        # Shifting the gradient by a tap equals shifting the images by the opposite tap.
        products = jnp.einsum("bhwi,bhwk->ik", images, _patches(gradient, dilation))
        return products.reshape(inputs, 3, 3, outputs)[:, ::-1, ::-1].transpose(1, 2, 0, 3)

    quick = plain
    if inputs <= FEW_CHANNELS:
        quick = by_patches
    elif outputs <= FEW_CHANNELS:
        quick = by_patches_of_gradient
    elif has_tiles(images, dilation):
        quick = _phased(winograd.kernel_gradient, dilation, (0, 1), joined=False)
    elif min(inputs, outputs) >= MANY_CHANNELS:
        quick = by_patches
    return lax.platform_dependent(images, gradient, cpu=quick, default=plain)


def _window(tap: int, size: int, dilation: int) -> slice:
    return slice(tap * dilation, tap * dilation + size)


def _patches(images, dilation: int):
    """Returns (B, H, W, 9·C): for each pixel the values under the nine taps of a 3×3 kernel, in row-major order."""
    _, height, width, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0)))
    seen = [padded[:, _window(y, height, dilation), _window(x, width, dilation)] for y in range(3) for x in range(3)]
    return jnp.concatenate(seen, axis=-1)


def _by_patches(images, kernel, *, dilation: int):
    """Computes `convolve` as one matrix product of patches."""
    return _patches(images, dilation) @ kernel.reshape(-1, kernel.shape[-1])


def _images_gradient_by_patches(gradient, kernel, *, dilation: int):
    """Computes the gradients of all patches as one matrix product and adds them at the patches' pixels."""
    batch, height, width, _ = gradient.shape
    inputs = kernel.shape[2]
    patches = jnp.einsum("bhwo,ko->bhwk", gradient, kernel.reshape(9 * inputs, -1))
    padded = jnp.zeros((batch, height + 2 * dilation, width + 2 * dilation, inputs), gradient.dtype)
    for tap in range(9):
        window = (slice(None), _window(tap // 3, height, dilation), _window(tap % 3, width, dilation))
        padded = padded.at[window].add(patches[..., tap * inputs : (tap + 1) * inputs])
    return padded[:, dilation : dilation + height, dilation : dilation + width]


def takes_winograd(images, channels: int, dilation: int) -> bool:
    """Returns whether Winograd is the fastest way to convolve images (B, H, W, C) to `channels` feature maps."""
    return has_tiles(images, dilation) and min(images.shape[-1], channels) >= FEWEST_CHANNELS


def has_tiles(images, dilation: int) -> bool:
    """Returns whether images (B, H, W, C) have enough tiles for Winograd convolution.

    For symbolic shapes, which exported networks have, the number of tiles is unknown, and the answer is False.
    """
    if any(map(export.is_symbolic_dim, images.shape)):
        return False
    batch, height, width, _ = images.shape
    tiles = winograd.tile_count(batch * dilation**2, -(-height // dilation), -(-width // dilation))
    return tiles >= FEWEST_TILES


def _phased(function, dilation: int, on: tuple[int, ...], *, joined: bool = True):
    """Makes a dilated convolution, or its gradient, from an undilated one.

    A phase of an image consists of the pixels whose row and column are equal modulo `dilation`. A dilated convolution
    is an undilated convolution of each of the dilation² phases.

    Args:
        function: the undilated function.
        dilation: distance of the kernel's taps, px.
        on: positions of the arguments that are images. Their phases become additional images of the batch.
        joined: whether the result consists of images. If so, their phases are joined again.
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
