"""The built-in phantom: beating short-axis hearts. Both networks are small: under ten minutes on two CPU cores.

    python run.py
    python run.py --mode ablate --config experiments/phantom.py:quick        Table I: 11 rows on 5 folds

The method is that of experiments/lvquan19.py, with narrow networks, coarser grids and batch normalisation.
"""

from experiments.common import ROWS, chosen, common, with_rows

QUICK = {
    "data.patients": 20,
    "data.phantom.frames": 8,
    "data.phantom.size": 128,
    "segmentation.train.epochs": 6,
    "segmentation.train.examples_per_epoch": 128,
    "evaluation.overlays": 2,
}


def get_config(row: str = ""):
    config = common("phantom")
    config.data.patients = 40
    config.data.phantom.size = 256
    for stage in (config.localization, config.segmentation):
        stage.network.width = 0.125
        stage.network.norm = "batch"
        stage.optimiser.epsilon = 1e-8
        stage.optimiser.schedule = "cosine"
        stage.augment.rotation_degrees = 180.0
        stage.augment.flip = True
        stage.augment.gamma = 0.3
        stage.train.batch_size = 8
        stage.train.epochs = 8
        stage.train.examples_per_epoch = 240
    config.localization.prepare.spacing_mm = 3.0
    config.localization.prepare.bucket = 64
    config.segmentation.prepare.spacing_mm = 1.3
    config.segmentation.prepare.bucket = 96  # The crops of all hearts fit, so one program is compiled instead of four.
    config.segmentation.train.box_jitter_px = 5
    with_rows(config, ROWS, title="Table I on the phantom (paper: LVQuan19)", reference="i")
    return chosen(config, row, {"quick": QUICK})
