"""Data augmentation of a patient's volume: geometry in the image plane (Prepro.2, step 1) and intensities."""

import dataclasses

import numpy as np

LATTICE = 16  # control points per axis; the elastic deformation repeats beyond them
PIECES = 8  # linear pieces of a random intensity curve
BANDS_MM = (1.5, 3.0, 6.0, 12.0, 24.0)  # σ of the Gaussians between which the bands of spatial frequencies lie
CLASSES = 8  # classes whose intensities can be shifted, the background included
# The largest displacement of a control point with which the deformation does not fold, relative to the distance between
# control points (Choi & Lee 2000, injective cubic B-splines).
FOLDS = 0.48


@dataclasses.dataclass(frozen=True)
class AugmentSpec:
    """Ranges of the random changes during training. The default changes nothing.

    Each study gets one random draw for each epoch. A strength "from 0 to this value" has a uniform distribution, so
    weak changes are as frequent as strong ones. Intensities change in this order: classes, bias, slice_gain, motion,
    blur, bands, curve, gamma, noise. FOA and Gauss normalisation come next. Contrast and brightness come last, because
    normalisation would undo them.

    Attributes:
        rotation_degrees: rotation angle in degrees, drawn from −v to +v, where v is this value.
        flip: mirror the rows and the columns, each with probability 0.5.
        scale: relative size, drawn from 1 − v to 1 + v, where v is this value.
        stretch: stretch by exp(s) along a random direction and shrink by the same factor across it; s from 0 to this
            value. Together with the rotation this includes shear.
        elastic_mm: elastic deformation: largest displacement of the control points in mm, from 0 to this value.
        elastic_spacing_mm: distance between the control points of the elastic deformation, in mm.
        slice_shift_mm: largest shift of each slice along rows and columns in mm, from 0 to this value. It imitates
            different breath-hold positions.
        gamma: exponent of the intensities (scaled to 0–1), from exp(−v) to exp(v), where v is this value.
        noise: standard deviation of added Gaussian noise, from 0 to this value, in units of the volume's σ.
        bias: bias field (coil sensitivity): a smooth gain over the image. A limit L is drawn from 0 to this value; the
            logarithm of the gain stays between −L and +L.
        motion: motion ghosts: share of a slice's signal that goes into each of two ghosts along the rows or the
            columns, from 0 to this value.
        blur_mm: standard deviation of an in-plane Gaussian blur in mm, from 0 to this value. It imitates a lower
            resolution.
        contrast: factor applied to the network's input, from exp(−v) to exp(v), where v is this value.
        brightness: constant added to the network's input, drawn from −v to +v, where v is this value, in units of the
            input's σ.
        classes: shift of the intensities of each foreground class, drawn from −v to +v for each of them, where v is
            drawn from 0 to this value, in units of the volume's σ. It imitates other contrasts between blood and
            muscle, and blood of one ventricle that is darker because of inflow.
        slice_gain: each slice is multiplied by exp(g), with g from −v to +v, where v is drawn from 0 to this value.
        bands: gain of each band of spatial frequencies, exp(g), with g from −v to +v, where v is drawn from 0 to this
            value. It imitates the filters and sharpness of other scanners.
        curve: a random monotone curve of the intensities: logarithms of the slopes of its pieces, from −v to +v, where
            v is drawn from 0 to this value.
    """

    rotation_degrees: float = 0.0
    flip: bool = False
    scale: float = 0.0
    stretch: float = 0.0
    elastic_mm: float = 0.0
    elastic_spacing_mm: float = 24.0
    slice_shift_mm: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    bias: float = 0.0
    motion: float = 0.0
    blur_mm: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    classes: float = 0.0
    slice_gain: float = 0.0
    bands: float = 0.0
    curve: float = 0.0

    def __post_init__(self):
        if min(dataclasses.astuple(self)) < 0 or self.scale >= 1 or self.motion >= 1:
            raise ValueError(f"{self}: no range may be negative, and scale and motion must stay below 1")
        if self.elastic_mm > FOLDS * self.elastic_spacing_mm:
            raise ValueError(
                f"elastic_mm={self.elastic_mm}: control points that are {self.elastic_spacing_mm} mm apart may move by "
                f"at most {FOLDS} times that distance, or the image folds; use a larger elastic_spacing_mm"
            )


NO_CHANGE = AugmentSpec()


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """One random draw of all changes. A change that is None is left out of the compiled program.

    Attributes:
        linear: (2, 2) linear map in mm about the crop's centre.
        gamma: exponent of the intensities.
        noise: standard deviation of the noise, in units of the volume's σ.
        noise_seed: seed of the noise.
        lattice: (2, LATTICE, LATTICE) displacements of the control points along rows and columns, mm.
        lattice_mm: distance between the control points.
        shifts: (Z, 2) shifts of the slices along rows and columns, mm.
        bias: (5,) coefficients of u, v, u², uv, v² in the logarithm of the gain; u and v run from −1 to 1.
        ghosts: (Z,) share of each slice's signal that the ghosts take.
        ghost_step: distances of the ghosts from the image along rows and columns, as fractions of the image's rows and
            columns; one of the two is 0.
        blur_mm: standard deviation of the Gaussian blur.
        tone: factor and offset of the network's input.
        classes: (CLASSES,) shifts of the classes' intensities, in units of the volume's σ; the background's is 0.
        slice_gains: (Z,) factors of the slices.
        bands: (5,) factors of the bands of spatial frequencies, from the finest to the coarsest (`BANDS_MM`).
        curve: (PIECES,) slopes of the intensity curve.
    """

    linear: np.ndarray
    gamma: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0
    lattice: np.ndarray | None = None
    lattice_mm: float = 1.0
    shifts: np.ndarray | None = None
    bias: np.ndarray | None = None
    ghosts: np.ndarray | None = None
    ghost_step: tuple[float, float] = (0.0, 0.0)
    blur_mm: float | None = None
    tone: tuple[float, float] | None = None
    classes: np.ndarray | None = None
    slice_gains: np.ndarray | None = None
    bands: np.ndarray | None = None
    curve: np.ndarray | None = None


NO_AUGMENTATION = Augmentation(np.eye(2))


def draw_augmentation(key: tuple[int, ...], spec: AugmentSpec, *, slices: int = 1) -> Augmentation:
    """Draws the random changes of one study.

    Args:
        key: integers that determine the draw, together with `slices`.
        spec: ranges of the changes.
        slices: Z, the number of slices of the study.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    angle, rows, columns, size, gamma, noise = generator.random(6)
    linear = _rotation(np.deg2rad(spec.rotation_degrees * (2 * angle - 1)))
    linear = linear / (1 + spec.scale * (2 * size - 1))
    if spec.flip:
        linear = linear @ np.diag([1 if rows < 0.5 else -1, 1 if columns < 0.5 else -1])
    noise_seed = int(generator.integers(2**31))
    # All numbers are drawn, also those that are not used, and new draws are added only at the end. A field of the spec
    # therefore never influences the other changes.
    direction, stretch, elastic, shift, bias, blur, contrast, brightness, distance, along = generator.random(10)
    displacements = generator.uniform(-1, 1, (2, LATTICE, LATTICE))
    gain = generator.uniform(-1, 1, 5)
    shifts, ghosts = np.split(generator.uniform(-1, 1, (slices, 3)), [2], axis=1)
    strengths = generator.random(4)
    contrasts, bands, slopes, gains = (
        strength * generator.uniform(-1, 1, count)
        for strength, count in zip(strengths, (CLASSES, len(BANDS_MM), PIECES, slices), strict=True)
    )
    contrasts[0] = 0
    if spec.stretch:
        turn, length = _rotation(np.pi * direction), np.exp(spec.stretch * stretch)
        linear = linear @ turn @ np.diag([1 / length, length]) @ turn.T
    distance = 0.1 + 0.4 * distance
    tone = np.exp(spec.contrast * (2 * contrast - 1)), spec.brightness * (2 * brightness - 1)
    return Augmentation(
        linear,
        gamma=float(np.exp(spec.gamma * (2 * gamma - 1))),
        noise=float(spec.noise * noise),
        noise_seed=noise_seed,
        lattice=spec.elastic_mm * elastic * displacements if spec.elastic_mm else None,
        lattice_mm=spec.elastic_spacing_mm,
        shifts=spec.slice_shift_mm * shift * shifts if spec.slice_shift_mm else None,
        # Divided by the sum of the coefficients, so that the log-amplitude stays within its limit everywhere.
        bias=spec.bias * bias * gain / np.abs(gain).sum() if spec.bias else None,
        ghosts=spec.motion * np.abs(ghosts[:, 0]) if spec.motion else None,
        ghost_step=(distance, 0.0) if along < 0.5 else (0.0, distance),
        blur_mm=float(spec.blur_mm * blur) if spec.blur_mm else None,
        tone=(float(tone[0]), float(tone[1])) if spec.contrast or spec.brightness else None,
        classes=spec.classes * contrasts if spec.classes else None,
        slice_gains=np.exp(spec.slice_gain * gains) if spec.slice_gain else None,
        bands=np.exp(spec.bands * bands) if spec.bands else None,
        curve=np.exp(spec.curve * slopes) if spec.curve else None,
    )


def _rotation(theta: float) -> np.ndarray:
    return np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])


def about_centre(linear: np.ndarray, centre: tuple[float, float], spacing: tuple[float, float]) -> np.ndarray:
    """Converts a linear map in mm about a centre pixel into a (2, 3) map of pixel coordinates.

    Args:
        linear: (2, 2) map.
        centre: (row, column) of the fixed point, in px.
        spacing: (row, column) spacing of the grid in mm.
    """
    scale = np.diag(spacing)
    in_pixels = np.linalg.inv(scale) @ linear @ scale
    shift = np.asarray(centre) - in_pixels @ np.asarray(centre)
    return np.concatenate([in_pixels, shift[:, None]], axis=1)
