"""What an image is like, in numbers that no scanner's scale changes, beside what was trained on."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.measures.quality.finding import Finding

# The next patient may lie beyond those trained on by this factor: in five folds of ACDC 2 of 100 patients do.
TOLERANCE = 1.25

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
