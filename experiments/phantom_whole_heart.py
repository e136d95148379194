"""The built-in whole-heart phantom: seven structures as in MM-WHS2017. Both networks are small.

    python run.py --mode ablate --config experiments/phantom_whole_heart.py       the rows of Table II on 5 folds

The method is that of experiments/mmwhs2017.py, with narrow networks, coarser grids and batch normalisation.
"""

from experiments.common import chosen, common, with_rows
from experiments.mmwhs2017 import ROWS


def get_config(row: str = ""):
    config = common("phantom_whole_heart")
    config.data.patients = 10
    config.data.cyclic = False
    config.data.validation_fraction = 0.0
    config.data.phantom.shape = (24, 96, 96)
    config.evaluation.checkpoint = "last"
    for stage in (config.localization, config.segmentation):
        stage.network.width = 0.125
        stage.network.norm = "batch"
        stage.prepare.bucket = 96
        stage.optimiser.epsilon = 1e-8
        stage.optimiser.schedule = "cosine"
        stage.augment.gamma = 0.3
        stage.train.batch_size = 8
        stage.train.epochs = 8
        stage.train.examples_per_epoch = 160
    config.localization.prepare.spacing_mm = 3.0
    config.localization.train.epochs = 3
    config.segmentation.prepare.spacing_mm = 1.8
    config.segmentation.train.box_jitter_px = 3
    with_rows(config, ROWS, title="Table II's rows on the phantom (paper: MM-WHS2017)", reference="i")
    return chosen(config, row)
