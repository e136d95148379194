"""Variants of the best recipe for short-axis cine MR, one row each. docs/accuracy.md shows the results.

python run.py --mode ablate --config experiments/short_axis_search.py:small --folds=0 --config.data.root=DIR
"""

from experiments import short_axis
from experiments.common import Row, chosen, with_rows

# Intensities as other scanners have them; only Net.2 knows the classes.
_INTENSITIES = {
    "curve": 0.8,
    "bands": 0.8,
    "bias": 0.6,
    "noise": 0.4,
    "blur_mm": 2.0,
    "slice_gain": 0.15,
    "motion": 0.2,
}
VARIETY = {
    **{
        f"{stage}.augment.{name}": value
        for stage in ("localization", "segmentation")
        for name, value in _INTENSITIES.items()
    },
    "segmentation.augment.classes": 0.8,
}
ROWS = {
    "delta-quarter": Row("δ a quarter of the box", {"segmentation.prepare.delta_ratio": 0.25}),
    "delta-whole": Row("δ the whole box", {"segmentation.prepare.delta_ratio": 1.0}),
    "group-norm": Row("group normalisation", {"segmentation.network.norm": "group"}),
    "one-slice": Row("no neighbouring slices", {"segmentation.prepare.neighbours": "none"}),
    "no-jitter": Row("boxes without jitter", {"segmentation.train.box_jitter_px": 0}),
    "sides": Row("side outputs supervised", {"segmentation.network.side_heads": True, "segmentation.loss.side": 0.3}),
    "variety": Row("more variety of intensities", VARIETY),
    "i": Row("FOANet", {}),
}


def get_config(row: str = ""):
    config = short_axis.get_config()
    config.name = "short_axis_search"
    with_rows(config, ROWS, title="What was tried", reference="i")
    return chosen(config, row, short_axis.VARIANTS)
