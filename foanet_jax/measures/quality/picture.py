"""Measures of an image that do not depend on the scanner's scale, and what they say about a study."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.slices import blank_planes, jumps
from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM
from foanet_jax.measures.quality.finding import Finding

# The next patient may lie beyond those trained on by this factor: in five folds of ACDC 2 of 100 patients do.
TOLERANCE = 1.25

# Where the median lies between the 5th and the 95th percentile: at most 0.36 in ACDC's 100 patients, whose images are
# mostly dark; at least 0.73 where bright and dark are exchanged.
MOSTLY_BRIGHT = 0.7

Range = Mapping[str, Sequence[float]]

# What is measured, in words.
MEASURES = {
    "row_mm": "height of a pixel in mm",
    "column_mm": "width of a pixel in mm",
    "slice_mm": "distance from slice to slice in mm",
    "rows": "rows of the image",
    "columns": "columns of the image",
    "contrast": "contrast of the image",
    "sharpness": "sharpness of the image",
}


def measure_image(study: Study) -> dict[str, float]:
    """Grid and robust statistics of a study's voxels, all positive where the image has contrast.

    `contrast` is the span from the 5th to the 95th percentile over σ, `sharpness` the 75th percentile of the steps from
    pixel to pixel along the rows over the same span. Neither changes with the scanner's scale and offset, which the
    Gauss normalisation takes away as well. Of a large study some planes are measured.
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
        # The distance of a single slice to others is not known.
        **({"slice_mm": float(study.spacing_mm[0])} if slices > 1 else {}),
        "rows": float(rows),
        "columns": float(columns),
        "contrast": span / sigma if sigma else 0.0,
        "sharpness": float(edges) / span if span else 0.0,
    }


def training_range(studies: Iterable[Study]) -> dict[str, list[float]]:
    """The smallest and the greatest of each measure over the studies that have it, as JSON keeps it."""
    found: dict[str, list[float]] = {}
    for study in studies:
        for name, value in measure_image(study).items():
            low, high = found.get(name, (value, value))
            found[name] = [min(low, value), max(high, value)]
    return found


def check_image(study: Study, trained: Range) -> list[Finding]:
    """Measures of a study that lie beyond a training's range by more than TOLERANCE.

    Args:
        study: whose voxels and spacing are looked at.
        trained: as `training_range` returned it.
    """
    return [
        Finding("out-of-range", f"{MEASURES[name]}: {value:.3g}; trained on {_span(low, high)}")
        for name, value in measure_image(study).items()
        for low, high in ([trained[name]] if name in trained else [])
        if not low / TOLERANCE <= value <= high * TOLERANCE
    ]


def _span(low: float, high: float) -> str:
    """A range in words; those that are one value have one."""
    ends = list(dict.fromkeys(f"{end:.3g}" for end in (low, high)))
    return " to ".join(ends)


def check_contrast(study: Study, mask: np.ndarray) -> list[Finding]:
    """Blank slices, brightness that jumps from slice to slice, and blood that is not brighter than muscle.

    Args:
        study: of short-axis slices, as it was read.
        mask: (T, Z, H, W) class indices on its grid.
    """
    blank = blank_planes(study.voxels)
    whole = blank.all(axis=0)
    message = "the slice has no contrast, and nothing is drawn on it"
    findings = [Finding("blank-slice", message, None, int(z)) for z in np.flatnonzero(whole)]
    findings += [Finding("blank-slice", message, int(t), int(z)) for t, z in np.argwhere(blank & ~whole)]
    factors = jumps(study.voxels, study.spacing_mm[0])
    uneven = np.flatnonzero(factors != 1)
    if len(uneven):
        low, high = factors[uneven].min(), factors[uneven].max()
        findings.append(
            Finding(
                "uneven-brightness",
                f"the slices are {low:.2g} to {high:.2g} times as bright as the middle one of them; each was scaled to "
                "the same range before it was segmented",
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
                f"most of the image is bright (its median lies at {share:.2f} of its range, at most 0.36 in the cines "
                "trained on): bright and dark may be exchanged, or it is another kind of image",
            )
        ]
    cavities = [name for name in study.classes if name in LV_CAVITY]
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
            f"the blood is not brighter than the muscle (medians {bright:.4g} and {dark:.4g}): in cines it is; this is "
            "another kind of image, or the mask is wrong",
        )
    ]
