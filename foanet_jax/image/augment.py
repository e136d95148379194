"""Random rotations, flips and scalings of a patient's volume in the image plane (Prepro.2, step 1)."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class AugmentSpec:
    """Ranges of the random changes; the default changes nothing.

    Attributes:
        rotation_degrees: rotation drawn from ± this.
        flip: mirror rows and columns, each with probability one half.
        scale: relative size drawn from 1 ± this.
        gamma: intensity exponent drawn from exp(± this), on intensities scaled to 0–1.
        noise: standard deviation of added Gaussian noise drawn from 0 to this, in units of the volume's σ.
    """

    rotation_degrees: float = 0.0
    flip: bool = False
    scale: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0

    def __post_init__(self):
        if min(self.rotation_degrees, self.scale, self.gamma, self.noise) < 0 or self.scale >= 1:
            raise ValueError(f"{self}: no range may be negative, and scale must stay below 1")


NO_CHANGE = AugmentSpec()


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """One draw: a (2, 2) linear map about the crop's centre, an exponent, a noise level and its seed."""

    linear: np.ndarray
    gamma: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0


NO_AUGMENTATION = Augmentation(np.eye(2))


def draw_augmentation(key: tuple[int, ...], spec: AugmentSpec) -> Augmentation:
    """A random change for one study, a function of the integers in `key` alone."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    angle, rows, columns, size, gamma, noise = generator.random(6)
    theta = np.deg2rad(spec.rotation_degrees * (2 * angle - 1))
    linear = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    linear = linear / (1 + spec.scale * (2 * size - 1))
    if spec.flip:
        linear = linear @ np.diag([1 if rows < 0.5 else -1, 1 if columns < 0.5 else -1])
    return Augmentation(
        linear,
        gamma=float(np.exp(spec.gamma * (2 * gamma - 1))),
        noise=float(spec.noise * noise),
        noise_seed=int(generator.integers(2**31)),
    )


def about_centre(linear: np.ndarray, centre: tuple[float, float], spacing: tuple[float, float]) -> np.ndarray:
    """(2, 3) pixel map of a linear map in mm about a centre pixel, on a grid of (row, column) `spacing` mm."""
    scale = np.diag(spacing)
    in_pixels = np.linalg.inv(scale) @ linear @ scale
    shift = np.asarray(centre) - in_pixels @ np.asarray(centre)
    return np.concatenate([in_pixels, shift[:, None]], axis=1)
