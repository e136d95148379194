"""Functions for both the short-axis and the whole-heart phantom: random streams, soft edges, coils, noise, orientation.

Lengths are in mm. In two-dimensional body coordinates, x points to the right and y down; angles run from x to y.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

STREAMS = ("anatomy", "view", "scene", "motion", "noise")


def random_stream(name: str, patient: int, seed: int, *more: int) -> np.random.Generator:
    """Returns an independent random generator for one purpose and one patient.

    Args:
        name: the purpose, one of STREAMS.
        patient, seed, more: further integers that determine the stream.

    Raises:
        ValueError: `patient` or `seed` is negative or not an integer.
    """
    for word, value in (("patient", patient), ("seed", seed)):
        if int(value) != value or value < 0:
            raise ValueError(f"{word}={value!r}; pass an integer of 0 or more")
    return np.random.default_rng([STREAMS.index(name), int(seed), int(patient), *more])


def require_positive(**values: float) -> None:
    """Raises ValueError if an argument is not a finite number above 0; the message names the first one."""
    for word, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{word}={value!r}; pass a number above 0")


def require_noise(noise: float | None) -> None:
    """Raises ValueError if the noise level, a fraction of the brightness of blood, is negative."""
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise={noise!r}; pass 0 or more (σ as a fraction of blood's brightness), or None to draw it")


def coverage(inside_mm: np.ndarray, width_mm: float) -> np.ndarray:
    """Computes the covered fraction of each voxel, in [0, 1].

    Args:
        inside_mm: signed distance of the voxels' centres to the edge, mm, positive inside.
        width_mm: width over which the edge is blurred.
    """
    soft = inside_mm * np.float32(1 / width_mm)
    soft += np.float32(0.5)
    return np.clip(soft, 0, 1, out=soft)


def paint(image: np.ndarray, cover: np.ndarray, value: np.ndarray | float) -> None:
    """Draws a tissue over the image in place: image ← image + cover·(value − image)."""
    image += cover * (value - image)


def ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    """Computes the first-order signed distance (mm, positive inside) to an ellipse at the origin.

    Args:
        x, y: coordinates, mm.
        a, b: semi-axes along x and y, mm.
    """
    u, v = x / np.float32(a), y / np.float32(b)
    slope = 2 * np.sqrt((u / a) ** 2 + (v / b) ** 2) + np.float32(1e-6)
    return np.minimum((1 - u * u - v * v) / slope, np.float32(min(a, b)))


def ripple(rng: np.random.Generator, angles: np.ndarray, orders: Sequence[int], amplitude: float) -> np.ndarray:
    """Draws a smooth random periodic function of the angle: Σ (amplitude/√k)·N(0,1)·cos(kθ + φ) over the orders k."""
    total = np.zeros_like(angles)
    for k in orders:
        height, phase = float(amplitude / np.sqrt(k) * rng.standard_normal()), float(rng.uniform(0, 2 * np.pi))
        total += height * np.cos(k * angles + phase)
    return total


def blob(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator, a: float, b: float, roughness: float = 0.06
) -> np.ndarray:
    """Computes the signed distance (mm, positive inside) to a random organ outline, a deformed ellipse.

    Args:
        x, y: coordinates about the organ's centre, mm.
        rng: random generator.
        a, b: semi-axes of the ellipse, mm.
        roughness: amplitude of the deformation, as a fraction of the smaller semi-axis.
    """
    theta = np.arctan2(y, x)
    return ellipse(x, y, a, b) + min(a, b) * ripple(rng, theta, (2, 3, 4, 5), roughness)


def texture(rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: float | Sequence[float]) -> np.ndarray:
    """Draws a smooth random texture, float32 with mean 0 and standard deviation 1.

    Args:
        rng: random generator.
        shape: shape of the texture.
        sigma_voxels: standard deviation of the smoothing, in voxels, for all axes or for each axis.
    """
    grain = np.broadcast_to(np.asarray(sigma_voxels, float), (len(shape),))
    # For a coarse texture, a small field is drawn and enlarged, so that the time does not depend on the smoothing.
    factors = np.maximum(grain / 1.5, 1)
    small = tuple(int(np.ceil(n / f)) + 3 for n, f in zip(shape, factors, strict=True))
    field = ndimage.gaussian_filter(rng.standard_normal(small, dtype=np.float32), grain / factors, truncate=2.5)
    if max(factors) > 1:
        matrix = 1 / factors
        field = ndimage.affine_transform(field, matrix, offset=1, output_shape=shape, order=1)
    else:
        field = field[tuple(slice(n) for n in shape)]
    return ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)


def coil_field(
    rng: np.random.Generator, axes: Sequence[np.ndarray], towards: Sequence[float], depth: float
) -> np.ndarray:
    """Draws a smooth multiplicative coil sensitivity, about 1 at the origin and larger towards the chest wall.

    Args:
        rng: random generator.
        axes: broadcastable coordinates in units of about 100 mm.
        towards: direction of the surface coil, one number per axis.
        depth: increase of the log-brightness per 100 mm; estimated by eye as 0.3–0.9 for surface coils in cardiac MR.
    """
    log_field = sum(
        np.float32(depth * d + rng.normal(0, 0.15)) * axis for axis, d in zip(axes, towards, strict=True)
    ) + sum(np.float32(rng.normal(0, 0.10)) * axis * axis for axis in axes)
    return np.exp(np.clip(log_field, -1.2, 0.7))


def rician(rng: np.random.Generator, signal: np.ndarray, sigma: float) -> np.ndarray:
    """Adds Rician noise: returns the magnitude of the signal with complex Gaussian noise of σ = `sigma`."""
    real = signal + np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary, out=real)


def rotation(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """Draws a random (3, 3) rotation matrix with Gaussian angles of the given standard deviation in degrees."""
    turn = np.eye(3)
    for first, second, angle in ((0, 1, rng.normal()), (0, 2, rng.normal()), (1, 2, rng.normal())):
        step, angle = np.eye(3), np.deg2rad(degrees) * angle
        step[[first, second], [first, second]] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    return turn


def affine_from(
    directions: np.ndarray,
    spacing_mm: tuple[float, float, float],
    voxel: Sequence[float],
    world_mm: np.ndarray,
) -> np.ndarray:
    """Returns the (4, 4) affine from (column, row, slice) to RAS+ mm that maps a given voxel to a given position.

    Args:
        directions: (3, 3), RAS+ unit vectors of the column, row and slice axes as columns.
        spacing_mm: (slice, row, column), as in Study.
        voxel: (column, row, slice) index of the voxel.
        world_mm: RAS+ position of the voxel, mm.
    """
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing_mm[::-1])
    affine[:3, 3] = np.asarray(world_mm) - affine[:3, :3] @ np.asarray(voxel, float)
    return affine
