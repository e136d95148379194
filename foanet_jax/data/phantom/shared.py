"""What the short-axis and whole-heart phantoms share: random streams, soft edges, coils, noise and orientation.

Lengths are in mm. Two-dimensional body coordinates are x to the right and y down, angles run from x to y.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

STREAMS = ("anatomy", "view", "scene", "motion", "noise")


def random_stream(name: str, patient: int, seed: int, *more: int) -> np.random.Generator:
    """An independent generator for one purpose of one patient, so that no draw shifts another's.

    Raises:
        ValueError: where a number is negative or no integer.
    """
    for word, value in (("patient", patient), ("seed", seed)):
        if int(value) != value or value < 0:
            raise ValueError(f"{word}={value!r}; pass an integer of 0 or more")
    return np.random.default_rng([STREAMS.index(name), int(seed), int(patient), *more])


def require_positive(**values: float) -> None:
    """Raises ValueError naming the first argument that is not a finite number above 0."""
    for word, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{word}={value!r}; pass a number above 0")


def require_noise(noise: float | None) -> None:
    """Raises ValueError where the noise level, a fraction of blood's brightness, is negative."""
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise={noise!r}; pass 0 or more (σ as a fraction of blood's brightness), or None to draw it")


def coverage(inside_mm: np.ndarray, width_mm: float) -> np.ndarray:
    """The covered fraction of each voxel, [0, 1], from its signed distance (mm, > 0 inside) to a straight edge."""
    soft = inside_mm * np.float32(1 / width_mm)
    soft += np.float32(0.5)
    return np.clip(soft, 0, 1, out=soft)


def paint(image: np.ndarray, cover: np.ndarray, value: np.ndarray | float) -> None:
    """Composes a tissue over the image in place: image ← image + cover·(value − image)."""
    image += cover * (value - image)


def ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    """First-order signed distance (mm, > 0 inside) to the ellipse of half-axes a, b (mm) about the origin."""
    u, v = x / np.float32(a), y / np.float32(b)
    slope = 2 * np.sqrt((u / a) ** 2 + (v / b) ** 2) + np.float32(1e-6)
    return np.minimum((1 - u * u - v * v) / slope, np.float32(min(a, b)))


def ripple(rng: np.random.Generator, angles: np.ndarray, orders: Sequence[int], amplitude: float) -> np.ndarray:
    """A smooth random periodic function of the angle: Σ (amplitude/√k)·N(0,1)·cos(kθ + φ) over the orders k."""
    total = np.zeros_like(angles)
    for k in orders:
        height, phase = float(amplitude / np.sqrt(k) * rng.standard_normal()), float(rng.uniform(0, 2 * np.pi))
        total += height * np.cos(k * angles + phase)
    return total


def blob(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator, a: float, b: float, roughness: float = 0.06
) -> np.ndarray:
    """Signed distance (mm, > 0 inside) to a random organ outline: a wobbled ellipse of half-axes a, b (mm)."""
    theta = np.arctan2(y, x)
    return ellipse(x, y, a, b) + min(a, b) * ripple(rng, theta, (2, 3, 4, 5), roughness)


def texture(rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: float | Sequence[float]) -> np.ndarray:
    """Smooth random texture (float32, mean 0, standard deviation 1) with the given grain in voxels."""
    grain = np.broadcast_to(np.asarray(sigma_voxels, float), (len(shape),))
    # A coarse field that is zoomed costs the same for any grain.
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
    """A smooth multiplicative coil sensitivity, about 1 at the origin and brighter towards the chest wall.

    Args:
        axes: broadcastable coordinates in units of about 100 mm.
        towards: direction of the surface coil, one number an axis.
        depth: log-brightness gained per 100 mm; 0.3–0.9 in surface-coil cardiac MR by eye.
    """
    log_field = sum(
        np.float32(depth * d + rng.normal(0, 0.15)) * axis for axis, d in zip(axes, towards, strict=True)
    ) + sum(np.float32(rng.normal(0, 0.10)) * axis * axis for axis in axes)
    return np.exp(np.clip(log_field, -1.2, 0.7))


def rician(rng: np.random.Generator, signal: np.ndarray, sigma: float) -> np.ndarray:
    """The magnitude of the signal with complex Gaussian noise of standard deviation sigma; float32, ≥ 0."""
    real = signal + np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary, out=real)


def rotation(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """A random (3, 3) rotation of Gaussian angles, each of the given standard deviation in degrees."""
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
    """The (4, 4) affine from (column, row, slice) to RAS+ mm that puts one voxel at one world point.

    Args:
        directions: (3, 3), unit RAS+ vectors of the column, row and slice axes as columns.
        spacing_mm: (slice, row, column), as in Study.
        voxel: (column, row, slice) index.
        world_mm: its RAS+ position.
    """
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing_mm[::-1])
    affine[:3, 3] = np.asarray(world_mm) - affine[:3, :3] @ np.asarray(voxel, float)
    return affine
