"""Findings about the image: how it differs from the training images, and how its contrast is unusual."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.slices import blank_planes, jumps
from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM
from foanet_jax.measures.quality.finding import REASONS, Finding

# A new patient may lie outside the training range by this factor. In five folds of ACDC, 2 of 100 patients lie beyond.
TOLERANCE = 1.25

# Position of the median between the 5th percentile (0) and the 95th percentile (1). It is at most 0.36 in the 100
# patients of ACDC, whose images are mostly dark, and at least 0.73 if bright and dark are exchanged.
MOSTLY_BRIGHT = 0.7

Range = Mapping[str, Sequence[float]]

# The measures, in words.
MEASURES = {
    "row_mm": "height of a pixel in mm",
    "column_mm": "width of a pixel in mm",
    "slice_mm": "distance between slices in mm",
    "rows": "rows of the image",
    "columns": "columns of the image",
    "contrast": "contrast of the image",
    "sharpness": "sharpness of the image",
}


def measure_image(study: Study) -> dict[str, float]:
    """Measures the grid, the contrast and the sharpness of a study; all are positive if the image has contrast.

    `contrast` is the range from the 5th to the 95th percentile of the voxels, divided by σ. `sharpness` is the 75th
    percentile of the differences between neighbouring pixels in a row, divided by the same range. Neither changes with
    the scale and offset of a scanner, which the Gauss normalisation removes as well. In a large study, only some image
    planes are measured.
    """
    slices, rows, columns = study.voxels.shape[1:]
    planes = study.voxels.reshape(-1, rows, columns)
    planes = planes[:: max(1, len(planes) // 16)]
    low, high = np.percentile(planes[:, ::2, ::2], [5, 95])
    span, sigma = float(high - low), float(planes.std())
    steps = np.abs(np.diff(planes[:, ::2], axis=-1)).ravel()
    edges = np.percentile(steps, 75)
    return {
        "row_mm": float(study.spacing_mm[1]),
        "column_mm": float(study.spacing_mm[2]),
        # A single slice has no neighbour to be distant from.
        **({"slice_mm": float(study.spacing_mm[0])} if slices > 1 else {}),
        "rows": float(rows),
        "columns": float(columns),
        "contrast": span / sigma if sigma else 0.0,
        "sharpness": float(edges) / span if span else 0.0,
    }


def training_range(studies: Iterable[Study]) -> dict[str, list[float]]:
    """Returns the smallest and the largest value of each measure, over the studies that have it."""
    found: dict[str, list[float]] = {}
    for study in studies:
        for name, value in measure_image(study).items():
            low, high = found.get(name, (value, value))
            found[name] = [min(low, value), max(high, value)]
    return found


def check_image(study: Study, trained: Range) -> list[Finding]:
    """Finds the measures that lie outside the range of the training images by more than a factor of TOLERANCE.

    Args:
        study: the study, with its voxels and spacing.
        trained: the range from `training_range`.
    """
    return [
        Finding("out-of-range", f"{MEASURES[name]}: {value:.3g}; training images: {_span(low, high)}")
        for name, value in measure_image(study).items()
        for low, high in ([trained[name]] if name in trained else [])
        if not low / TOLERANCE <= value <= high * TOLERANCE
    ]


def _span(low: float, high: float) -> str:
    """Returns a range as text; one number if both ends are the same."""
    ends = list(dict.fromkeys(f"{end:.3g}" for end in (low, high)))
    return " to ".join(ends)


def check_contrast(study: Study, mask: np.ndarray) -> list[Finding]:
    """Finds slices without contrast, abrupt changes of brightness, and blood that is not brighter than myocardium.

    Args:
        study: short-axis slices, as they were read.
        mask: (T, Z, H, W) class indices on the same grid.
    """
    blank = blank_planes(study.voxels)
    whole = blank.all(axis=0)
    message = REASONS["blank-slice"]
    findings = [Finding("blank-slice", message, None, int(z)) for z in np.flatnonzero(whole)]
    findings += [Finding("blank-slice", message, int(t), int(z)) for t, z in np.argwhere(blank & ~whole)]
    factors = jumps(study.voxels, study.spacing_mm[0])
    uneven = np.flatnonzero(factors != 1)
    if len(uneven):
        low, high = factors[uneven].min(), factors[uneven].max()
        findings.append(
            Finding(
                "uneven-brightness",
                f"the brightness of the slices is {low:.2g} to {high:.2g} times that of the middle one; the networks "
                "see each slice scaled to the same range",
            )
        )
    return findings + _dark_blood(study, mask)


def _dark_blood(study: Study, mask: np.ndarray) -> list[Finding]:
    low, middle, high = np.percentile(study.voxels[:, :, ::2, ::2], [5, 50, 95])
    share = (middle - low) / (high - low) if high > low else 0.0
    if share > MOSTLY_BRIGHT:
        return [
            Finding(
                "dark-blood",
                f"most of the image is bright: bright and dark may be exchanged, or this is not a cine (the median is "
                f"at {share:.2f} of the range of intensities; in the training cines, at most at 0.36)",
            )
        ]
    cavities = [name for name in study.classes if name in LV_CAVITY]
    if MYOCARDIUM not in study.classes or not cavities:
        return []
    muscle = study.voxels[mask == study.classes.index(MYOCARDIUM)]
    blood = study.voxels[mask == study.classes.index(cavities[0])]
    if not (muscle.size and blood.size):
        return []
    dark, bright = float(np.median(muscle)), float(np.median(blood))
    if bright > dark:
        return []
    return [
        Finding(
            "dark-blood",
            "the blood is not brighter than the myocardium: the mask is wrong, or this is not a cine (median intensity "
            f"{bright:.4g} in the blood and {dark:.4g} in the myocardium)",
        )
    ]
