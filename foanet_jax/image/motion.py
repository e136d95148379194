"""Motion between the frames of a cine, and probability maps averaged along the motion.

The motion is found by Thirion's demons (1998), from coarse to fine, slice by slice. Motion through the plane is
not seen.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

FEWEST_FRAMES = 5  # With fewer frames, the neighbours are too far away in time.
REACH = 2  # frames on each side that are averaged
SIGMA = 1 / 12  # of the Gaussian weight, as a share of the beat
FACTORS = (4, 2)  # how much the images are reduced, from coarse to fine
ITERATIONS = 10  # for each of them
SMOOTHING_PX = 1.5  # σ that smooths the displacement, px of the reduced image
STEADINESS = 0.009  # keeps the displacement at rest where the image is flat, in squared units of the image's σ
LEAST_PROBABILITY = 1e-4  # so that one frame that is certain does not outvote the others


def closes(frames: np.ndarray) -> bool:
    """Returns whether a cine covers the whole beat: its last frame differs from the first as neighbours do elsewhere.

    Args:
        frames: (T, ...) images.
    """
    steps = [float(np.abs(after - before).mean()) for before, after in zip(frames, np.roll(frames, -1, 0), strict=True)]
    return steps[-1] <= max(steps[:-1], default=0)


def frames_around(frames: int, *, cyclic: bool) -> np.ndarray:
    """Returns the frames (t − REACH, …, t, …, t + REACH) of each frame t; t itself takes the place of a missing one.

    Args:
        frames: T.
        cyclic: whether the last frame precedes the first one.

    Returns:
        (T, 2·REACH + 1) indices.
    """
    own = np.arange(frames)[:, None]
    around = own + np.arange(-REACH, REACH + 1)
    if cyclic:
        return around % frames
    return np.where((around < 0) | (around >= frames), own, around)


def weights(frames: int) -> np.ndarray:
    """Returns the weights of `frames_around`, (2·REACH + 1,) float32 with sum 1: a Gaussian in time.

    Args:
        frames: T. A beat of more frames is averaged over more of them.
    """
    values = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / (SIGMA * frames)) ** 2)
    return (values / values.sum()).astype(np.float32)


@jax.jit
def displacement(fixed, moving):
    """Finds for each pixel of an image where it is in another image.

    Args:
        fixed, moving: (N, H, W) images of like intensities; H and W are multiples of the largest of FACTORS.

    Returns:
        (N, H/f, W/f, 2) displacement of rows and columns, px of the reduced image, where f is the last of FACTORS.
    """
    found = None
    for place, factor in enumerate(FACTORS):
        still, moved = _reduced(fixed, factor), _reduced(moving, factor)
        gradient = _gradient(still)
        start = jnp.zeros((*still.shape, 2)) if found is None else _enlarged(found, FACTORS[place - 1] // factor)
        found = jax.lax.fori_loop(0, ITERATIONS, functools.partial(_demons, still, moved, gradient), start)
    return found


def _demons(still, moved, gradient, _, found):
    """Takes one step of the demons, with the mean gradient of both images, and smooths the displacement."""
    there = warped(moved, found)
    missing = still - there
    slope = (gradient + _gradient(there)) / 2
    step = missing / (jnp.sum(slope**2, -1) + missing**2 + STEADINESS)
    return _smoothed(found + step[..., None] * slope)


def warped(images, shift, extent=None):
    """Resamples each image linearly at its own displaced pixels. Outside the image the border pixel is repeated.

    Args:
        images: (N, H, W) or (N, H, W, C).
        shift: (N, H, W, 2) displacement of rows and columns, px.
        extent: rows and columns that belong to the images; None: all.

    Returns:
        The images at pixel + shift, of the same shape.
    """
    count, height, width = images.shape[:3]
    rows, columns = (height, width) if extent is None else extent
    row = jnp.clip(jnp.arange(height, dtype=jnp.float32)[:, None] + shift[..., 0], 0, rows - 1)
    column = jnp.clip(jnp.arange(width, dtype=jnp.float32) + shift[..., 1], 0, columns - 1)
    top, left = jnp.clip(jnp.floor(row), 0, height - 2), jnp.clip(jnp.floor(column), 0, width - 2)
    down, right = (row - top).reshape(count, -1, 1), (column - left).reshape(count, -1, 1)
    corner = (top * width + left).astype(jnp.int32).reshape(count, -1, 1)
    pixels = images.reshape(count, height * width, -1)

    def at(offset: int):
        return jnp.take_along_axis(pixels, corner + offset, 1)

    upper = (1 - right) * at(0) + right * at(1)
    lower = (1 - right) * at(width) + right * at(width + 1)
    return ((1 - down) * upper + down * lower).reshape(images.shape)


@jax.jit
def along_motion(maps, forward, backward, present, share, extent):
    """Averages the logarithms of probability maps over neighbouring frames, each moved to where the heart is.

    The mean of logarithms moves an outline to the mean of its places, and a frame counts more where it is certain.

    Args:
        maps: 2·REACH + 1 maps (N, H, W, C), from frame t − REACH to t + REACH.
        forward: REACH results of `displacement`, from each of the frames t, t + 1, … to the next one.
        backward: REACH of them, from each of the frames t, t − 1, … to the one before.
        present: (2·REACH + 1, N) whether there is such a frame; in its place `maps` have frame t itself.
        share: (2·REACH + 1,) weights with sum 1.
        extent: rows and columns of the grid that belong to the images.

    Returns:
        (N, H, W, C) probabilities.
    """
    total = share[REACH] * _logarithm(maps[REACH])
    for steps, side in ((forward, 1), (backward, -1)):
        found = jnp.zeros_like(steps[0])
        for number in range(1, REACH + 1):
            place = REACH + side * number
            found = found + warped(steps[number - 1], found)
            shift = _enlarged(found, FACTORS[-1]) * present[place][:, None, None, None]
            total += share[place] * _logarithm(warped(maps[place], shift, extent))
    return jax.nn.softmax(total, axis=-1)


def _logarithm(maps):
    return jnp.log(jnp.maximum(maps, LEAST_PROBABILITY))


def _reduced(images, factor: int):
    """Returns the means of squares of `factor` px."""
    count, height, width = images.shape
    return images.reshape(count, height // factor, factor, width // factor, factor).mean((2, 4))


def _enlarged(shift, factor: int):
    """Resamples a displacement (N, H, W, 2) to a grid that is `factor` times finer, in px of that grid."""
    count, height, width, _ = shift.shape
    return factor * jax.image.resize(shift, (count, factor * height, factor * width, 2), "linear")


def _gradient(images):
    return jnp.stack(jnp.gradient(images, axis=(1, 2)), -1)


def _smoothed(shift):
    """Smooths a displacement (N, H, W, 2) with a Gaussian; border pixels are repeated."""
    reach = int(np.ceil(2 * SMOOTHING_PX))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTHING_PX) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (1, 2):
        around = [(reach, reach) if place == axis else (0, 0) for place in range(4)]
        padded = jnp.pad(shift, around, "edge")
        size = shift.shape[axis]
        shift = sum(tap * jax.lax.slice_in_dim(padded, n, n + size, axis=axis) for n, tap in enumerate(taps))
    return shift
