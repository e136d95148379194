"""Shifts: changes of a study as another scanner, patient or operator would cause them.

Each shift is a pure function of (study, strength, key). Geometric shifts move voxels, labels and spacing together. At
its neutral strength, a shift changes nothing. All random numbers depend only on `key` (Philox).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.study import Study

Key = tuple[int, ...]


def draws(key: Key) -> np.random.Generator:
    """Returns a random generator that depends only on the integers in `key`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


# Intensities.


def gamma(study: Study, strength: float, key: Key = ()) -> Study:
    """Raises the intensities, scaled to 0–1 over the study, to the power of `strength`."""
    low, high = float(study.voxels.min()), float(study.voxels.max())
    share = (study.voxels - low) / max(high - low, 1e-12)
    return _with_voxels(study, low + (high - low) * share**strength)


def scale(study: Study, strength: float, key: Key = ()) -> Study:
    """Multiplies the intensities by `strength`. Gauss normalisation undoes this."""
    return _with_voxels(study, strength * study.voxels)


def offset(study: Study, strength: float, key: Key = ()) -> Study:
    """Adds `strength` times the study's σ to all intensities.

    Gauss normalisation undoes this only without a focus of attention, which multiplies the original intensities.
    """
    return _with_voxels(study, study.voxels + strength * float(study.voxels.std()))


def gaussian_noise(study: Study, strength: float, key: Key = ()) -> Study:
    """Adds independent Gaussian noise of σ = `strength` times the study's own σ."""
    sigma = strength * float(study.voxels.std())
    return _with_voxels(study, study.voxels + sigma * draws(key).standard_normal(study.voxels.shape))


def rician_noise(study: Study, strength: float, key: Key = ()) -> Study:
    """Adds Rician noise, as in magnitude images (Gudbjartsson and Patz, 1995).

    Gaussian noise of σ = `strength` times the study's σ is added to the real and the imaginary part, and the magnitude
    is taken. The lowest intensity of the study counts as zero.
    """
    low, sigma = float(study.voxels.min()), strength * float(study.voxels.std())
    real, imaginary = sigma * draws(key).standard_normal((2, *study.voxels.shape))
    return _with_voxels(study, low + np.hypot(study.voxels - low + real, imaginary))


def bias_field(study: Study, strength: float, key: Key = ()) -> Study:
    """Multiplies the intensities by exp(`strength` · f); f is smooth in the image plane and within ±1.

    f is a random sum of half and whole cosine waves along rows and columns, the same for the whole study. It imitates a
    surface coil.
    """
    rows, columns = (np.pi * (np.arange(n) + 0.5) / n for n in study.voxels.shape[-2:])
    field = sum(
        weight * np.outer(np.cos(i * rows), np.cos(j * columns))
        for (i, j), weight in zip(((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)), draws(key).uniform(-1, 1, 5), strict=True)
    )
    low = float(study.voxels.min())
    return _with_voxels(study, low + (study.voxels - low) * np.exp(strength * field / np.abs(field).max()))


def blur(study: Study, strength: float, key: Key = ()) -> Study:
    """Blurs in the image plane with a Gaussian of σ = `strength` mm."""
    sigma = [0, 0, *(strength / mm for mm in study.spacing_mm[1:])]
    return _with_voxels(study, ndimage.gaussian_filter(study.voxels, sigma, mode="nearest"))


def ghost(study: Study, strength: float, key: Key = ()) -> Study:
    """Adds two ghosts: the image times `strength`/2, shifted by a quarter of the field of view to each side.

    Motion during the acquisition causes such ghosts along the phase encoding direction. `key` selects the direction.
    """
    axis = int(draws(key).integers(2, 4))
    step = study.voxels.shape[axis] // 4
    low = float(study.voxels.min())
    copies = sum(np.roll(study.voxels - low, shift, axis) for shift in (-step, step))
    return _with_voxels(study, study.voxels + strength * copies / 2)


def inversion(study: Study, strength: float, key: Key = ()) -> Study:
    """Exchanges bright and dark if `strength` is 1."""
    if not strength:
        return study
    return _with_voxels(study, float(study.voxels.max()) + float(study.voxels.min()) - study.voxels)


def slice_gain(study: Study, strength: float, key: Key = ()) -> Study:
    """Multiplies each slice by its own random factor, log-uniform from 1/`strength` to `strength`."""
    bound = math.log(strength)
    gains = np.exp(draws(key).uniform(-bound, bound, study.voxels.shape[1]))
    return _with_voxels(study, study.voxels * gains[:, None, None])


def dark_blood(study: Study, strength: float, key: Key = (), *, pool: str) -> Study:
    """Moves the intensity of one blood pool towards that of the myocardium, as slow inflow does.

    Args:
        study: a labelled study with the classes `pool` and "myocardium".
        strength: share of the way between the means of the two classes.
        key: not used.
        pool: "cavity" or "right ventricle".

    Raises:
        ValueError: the study has no labels.
    """
    if study.labels is None:
        raise ValueError(f"{study.name}: without labels, the blood of the {pool} is not known; use a labelled study")
    blood, muscle = (study.labels == study.classes.index(name) for name in (pool, "myocardium"))
    if not (blood.any() and muscle.any()):
        return study
    step = float(study.voxels[muscle].mean() - study.voxels[blood].mean())
    # A blurred border, as that of a pixel's own width.
    soft = ndimage.gaussian_filter(blood.astype(np.float32), [0, 0, 1, 1])
    return _with_voxels(study, study.voxels + strength * step * soft)


def spectrum(study: Study, strength: float, key: Key = ()) -> Study:
    """Exchanges the amplitudes of the lowest spatial frequencies of each image for those of another image.

    The other image is a slice of the built-in phantom with the same mean and σ; the phases stay (Yang and Soatto 2020,
    FDA). What is exchanged is a square around zero frequency.

    Args:
        study: the study.
        strength: half the side of the square, as a fraction of the rows and columns.
        key: selects the phantom.
    """
    other = _phantom_slice(int(draws(key).integers(16)))
    shape = study.voxels.shape[-2:]
    zoomed = ndimage.zoom(other, np.divide(shape, other.shape), order=1)
    zoomed = (zoomed - zoomed.mean()) / zoomed.std()
    near = [np.abs(np.fft.fftfreq(n)) < strength for n in shape]
    low = near[0][:, None] & near[1][None, :]
    planes = study.voxels.reshape(-1, *shape).astype(np.float64)
    mean, sigma = planes.mean((1, 2), keepdims=True), planes.std((1, 2), keepdims=True)
    spectra = np.fft.fft2(planes)
    amplitudes = np.abs(np.fft.fft2(sigma * zoomed + mean))
    exchanged = np.where(low, amplitudes * np.exp(1j * np.angle(spectra)), spectra)
    return _with_voxels(study, np.fft.ifft2(exchanged).real.reshape(study.voxels.shape))


@functools.lru_cache(maxsize=16)
def _phantom_slice(patient: int) -> np.ndarray:
    voxels = short_axis_stack(patient, size=128, slices=5).voxels
    return voxels[0, 2].astype(np.float64)


# Geometry.


def resolution(study: Study, strength: float, key: Key = ()) -> Study:
    """Makes pixels `strength` times as large in the image plane. Each is about the mean of the area that it covers."""
    rows, columns = (max(1, round(n / strength)) for n in study.voxels.shape[-2:])
    scale = np.array(study.voxels.shape[-2:]) / (rows, columns)
    # To avoid aliasing, a blur first halves the frequencies that the coarse grid cannot represent.
    smooth = ndimage.gaussian_filter(study.voxels, [0, 0, *np.sqrt(np.maximum(scale**2 - 1, 0)) / 2.355])
    _, row_mm, column_mm = study.spacing_mm
    return _mapped(
        dataclasses.replace(study, voxels=smooth),
        np.diag(scale),
        (scale - 1) / 2,
        (rows, columns),
        spacing_mm=(study.spacing_mm[0], row_mm * float(scale[0]), column_mm * float(scale[1])),
    )


def rotation(study: Study, strength: float, key: Key = ()) -> Study:
    """Rotates by `strength` degrees, counter-clockwise on a screen, around the centre of the image.

    Quarter turns move pixels without interpolation. Other angles keep the grid and interpolate. The corners are filled
    with the values of the border.
    """
    quarters, rest = divmod(strength, 90)
    if rest == 0:
        turned = _everywhere(study, lambda array: np.rot90(array, int(quarters), axes=(2, 3)))
        return _transposed_spacing(turned) if quarters % 2 else turned
    cosine, sine = math.cos(math.radians(strength)), math.sin(math.radians(strength))
    # Maps an output pixel to its input pixel, in mm and then in pixels.
    spacing = np.array(study.spacing_mm[1:])
    matrix = np.array([[cosine, sine], [-sine, cosine]]) * spacing / spacing[:, None]
    shape = study.voxels.shape[-2:]
    centre = (np.array(shape) - 1) / 2
    return _mapped(study, matrix, centre - matrix @ centre, shape)


def flip(study: Study, strength: float, key: Key = ()) -> Study:
    """Mirrors the image: 1 exchanges left and right, 2 top and bottom, 3 both; 0 changes nothing."""
    axes = tuple(axis for bit, axis in ((1, 3), (2, 2)) if int(strength) & bit)
    return _everywhere(study, lambda array: np.flip(array, axes))


def transposition(study: Study, strength: float, key: Key = ()) -> Study:
    """Swaps rows and columns if `strength` is 1."""
    if not strength:
        return study
    return _transposed_spacing(_everywhere(study, lambda array: array.swapaxes(2, 3)))


def slice_order(study: Study, strength: float, key: Key = ()) -> Study:
    """Reverses the order of the slices if `strength` is 1."""
    return _everywhere(study, lambda array: array[:, ::-1]) if strength else study


def field_of_view(study: Study, strength: float, key: Key = ()) -> Study:
    """Changes the numbers of rows and columns by the factor `strength`: crops below 1, pads with zeros above 1."""
    target = [max(1, round(n * strength)) for n in study.voxels.shape[-2:]]

    def windowed(array: np.ndarray) -> np.ndarray:
        for axis, wanted in zip((2, 3), target, strict=True):
            there = array.shape[axis]
            start = (there - wanted) // 2
            if wanted <= there:
                array = np.take(array, range(start, start + wanted), axis)
            else:
                pads = [(0, 0)] * 4
                pads[axis] = (-start, wanted - there + start)
                array = np.pad(array, pads)
        return array

    return _everywhere(study, windowed)


def heart_size(study: Study, strength: float, key: Key = ()) -> Study:
    """Multiplies all three spacings by `strength`, which makes the patient smaller or larger with the same pixels."""
    slice_mm, row_mm, column_mm = study.spacing_mm
    return dataclasses.replace(study, spacing_mm=(strength * slice_mm, strength * row_mm, strength * column_mm))


def slice_gap(study: Study, strength: float, key: Key = ()) -> Study:
    """Keeps every `strength`-th slice and multiplies the slice distance accordingly."""
    step = int(strength)
    slice_mm, row_mm, column_mm = study.spacing_mm
    kept = _everywhere(study, lambda array: array[:, ::step])
    return dataclasses.replace(kept, spacing_mm=(step * slice_mm, row_mm, column_mm))


def single_slice(study: Study, strength: float, key: Key = ()) -> Study:
    """Keeps only the middle slice if `strength` is 1, so that it has no neighbours."""
    middle = study.voxels.shape[1] // 2
    return _everywhere(study, lambda array: array[:, middle : middle + 1]) if strength else study


def breath_holds(study: Study, strength: float, key: Key = ()) -> Study:
    """Moves each slice in its plane by whole pixels, σ = `strength` mm along rows and columns, the same in all frames.

    The empty side of a moved image is filled with the values of its border.
    """
    slices = study.voxels.shape[1]
    moves = strength * draws(key).standard_normal((slices, 2)) / np.array(study.spacing_mm[1:])
    moves = np.round(moves).astype(int)

    def moved(array: np.ndarray, mode: str) -> np.ndarray:
        parts = [ndimage.shift(array[:, z], (0, *moves[z]), order=0, mode=mode) for z in range(slices)]
        return np.stack(parts, axis=1)

    labels = None if study.labels is None else moved(study.labels, "constant")
    return dataclasses.replace(study, voxels=moved(study.voxels, "nearest"), labels=labels)


@dataclasses.dataclass(frozen=True)
class Shift:
    """One shift and its strengths.

    Attributes:
        name: short name.
        title: title of its panel, with the unit of the strength.
        apply: the function of (study, strength, key) that returns the shifted study.
        strengths: strengths in increasing order, without the neutral one.
        neutral: the strength that changes nothing.
        steps: labels of the strengths, if they are not amounts.
        own_grid: whether the prediction is scored on the study's own grid instead of the shifted one.
        pool: the class whose blood is changed, for shifts that need a labelled study with this class.
    """

    name: str
    title: str
    apply: Callable[[Study, float, Key], Study]
    strengths: Sequence[float]
    neutral: float = 0.0
    steps: Sequence[str] = ()
    own_grid: bool = False
    pool: str | None = None

    def step(self, strength: float) -> str:
        """Returns the label of a strength."""
        return self.steps[self.strengths.index(strength)] if self.steps else f"{strength:g}"


def _darkened(name: str, title: str, pool: str) -> Shift:
    return Shift(name, title, functools.partial(dark_blood, pool=pool), (0.25, 0.5, 0.75), pool=pool)


SHIFTS = (
    Shift("gamma", "gamma", gamma, (0.5, 0.67, 0.8, 1.25, 1.5, 2.0), neutral=1.0),
    Shift("scale", "intensity scale", scale, (0.01, 0.1, 10.0, 100.0), neutral=1.0),
    Shift("offset", "intensity offset, σ of the image's", offset, (-2.0, -0.5, 0.5, 2.0)),
    Shift("gaussian", "Gaussian noise, σ of the image's", gaussian_noise, (0.1, 0.25, 0.5, 1.0)),
    Shift("rician", "Rician noise, σ of the image's", rician_noise, (0.1, 0.25, 0.5, 1.0)),
    Shift("bias", "bias field, exponent", bias_field, (0.25, 0.5, 1.0)),
    Shift("blur", "blur, σ in mm", blur, (1.0, 2.0, 3.0)),
    Shift("ghost", "motion ghost, share", ghost, (0.1, 0.25, 0.5)),
    Shift("resolution", "pixel side, factor", resolution, (1.5, 2.0, 3.0), neutral=1.0, own_grid=True),
    Shift("rotation", "rotation, degrees", rotation, (15.0, 30.0, 45.0, 90.0, 135.0, 180.0, 270.0)),
    Shift("flip", "mirrored", flip, (1.0, 2.0, 3.0), steps=("left–right", "up–down", "both")),
    Shift("transposed", "rows and columns swapped", transposition, (1.0,), steps=("swapped",)),
    Shift("reversed", "order of slices", slice_order, (1.0,), steps=("reversed",)),
    Shift("fov", "field of view, factor", field_of_view, (0.6, 0.75, 0.9, 1.25, 1.5), neutral=1.0),
    Shift("size", "spacing in the header, factor", heart_size, (0.8, 0.9, 1.1, 1.2), neutral=1.0),
    Shift("gap", "every n-th slice", slice_gap, (2.0, 3.0), neutral=1.0),
    Shift("single", "the middle slice alone", single_slice, (1.0,), steps=("alone",)),
    Shift("breath", "slices misaligned, σ in mm", breath_holds, (2.0, 4.0, 8.0)),
    Shift("gain", "gain of each slice, factor", slice_gain, (1.25, 1.5, 2.0), neutral=1.0),
    _darkened("dark-rv", "blood of the right ventricle darker, share", "right ventricle"),
    _darkened("dark-lv", "blood of the left ventricle darker, share", "cavity"),
    Shift("spectrum", "amplitudes exchanged, share of frequencies", spectrum, (0.02, 0.04, 0.08)),
)

# The confidence is calibrated with the original studies and with these changes, which range from slight to unusable.
# Their number is odd: studies at end diastole and end systole alternate, and both must get every change.
DEGRADATIONS: tuple[tuple[Callable[[Study, float, Key], Study], float], ...] = (
    (gaussian_noise, 0.5),
    (inversion, 1.0),
    (blur, 3.0),
    (rician_noise, 1.0),
    (ghost, 1.0),
    (gamma, 3.0),
    (gaussian_noise, 0.75),
    (blur, 5.0),
    (gamma, 0.4),
    (heart_size, 0.7),
    (gaussian_noise, 1.0),
)


def degraded(study: Study, number: int, count: int) -> list[Study]:
    """Returns `count` degraded copies of a study. Successive studies take successive entries of DEGRADATIONS.

    Args:
        study: the study.
        number: the number of studies before this one; it is also part of the random key.
        count: the number of copies, at most the length of DEGRADATIONS.
    """
    chosen = [DEGRADATIONS[(number * count + place) % len(DEGRADATIONS)] for place in range(count)]
    return [change(study, strength, (number, place)) for place, (change, strength) in enumerate(chosen)]


def _with_voxels(study: Study, voxels: np.ndarray) -> Study:
    return dataclasses.replace(study, voxels=voxels.astype(np.float32))


def _everywhere(study: Study, change: Callable[[np.ndarray], np.ndarray]) -> Study:
    """Applies the same change to voxels and labels."""
    labels = None if study.labels is None else np.ascontiguousarray(change(study.labels))
    return dataclasses.replace(study, voxels=np.ascontiguousarray(change(study.voxels)), labels=labels)


def _transposed_spacing(study: Study) -> Study:
    slice_mm, row_mm, column_mm = study.spacing_mm
    return dataclasses.replace(study, spacing_mm=(slice_mm, column_mm, row_mm))


def _mapped(
    study: Study,
    matrix: np.ndarray,
    offset: np.ndarray,
    shape: Sequence[int],
    *,
    spacing_mm: tuple[float, float, float] | None = None,
) -> Study:
    """Samples every plane at matrix · (row, column) + offset; images linearly, labels by their linear one-hot maps."""
    labels = None
    if study.labels is not None:
        labels = _relabelled(study.labels, matrix, offset, shape, len(study.classes))
    voxels = _sampled(study.voxels, matrix, offset, shape, mode="nearest")
    return dataclasses.replace(study, voxels=voxels, labels=labels, spacing_mm=spacing_mm or study.spacing_mm)


def restored(mask: np.ndarray, study: Study) -> np.ndarray:
    """Resamples a mask (T, Z, h, w) from a grid with other pixels to the study's own grid."""
    shape = study.voxels.shape[-2:]
    scale = np.array(shape) / mask.shape[-2:]
    return _relabelled(mask, np.diag(1 / scale), (1 / scale - 1) / 2, shape, len(study.classes), mode="nearest")


def _relabelled(
    labels: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    shape: Sequence[int],
    classes: int,
    *,
    mode: str = "constant",
) -> np.ndarray:
    """Samples labels (T, Z, H, W) at matrix · (row, column) + offset.

    Each pixel gets the class with the largest weight. With the mode "constant", pixels outside become background.
    """
    maps = [
        _sampled((labels == index).astype(np.float32), matrix, offset, shape, mode=mode, beyond=float(index == 0))
        for index in range(classes)
    ]
    return np.argmax(maps, axis=0).astype(np.uint8)


def _sampled(
    array: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: Sequence[int], *, mode: str, beyond: float = 0.0
) -> np.ndarray:
    planes = array.reshape(-1, *array.shape[-2:])
    read = [
        ndimage.affine_transform(plane, matrix, offset, tuple(shape), order=1, mode=mode, cval=beyond)
        for plane in planes
    ]
    return np.stack(read).reshape(*array.shape[:2], *shape)
