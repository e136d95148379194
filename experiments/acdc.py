"""ACDC: end-diastolic and end-systolic stacks of 100 patients; right ventricle, myocardium, cavity.

    python run.py --config experiments/acdc.py --config.data.root=DIR
    python run.py --config experiments/acdc.py:small --config.data.root=DIR      for a CPU

Not in the paper. Batch normalisation, batches of 8 and a cosine schedule instead of the paper's recipe.
"""

from experiments.common import ROWS, common, with_row

SMALL = {
    "localization.network.width": 0.125,
    "localization.prepare.spacing_mm": 2.5,
    "localization.prepare.bucket": 64,
    "segmentation.network.width": 0.375,
    "segmentation.prepare.spacing_mm": 1.25,
    "segmentation.prepare.bucket": 64,
}


def get_config(row: str = ""):
    config = common("acdc")
    config.data.cyclic = False
    for stage in (config.localization, config.segmentation):
        stage.network.norm = "batch"
        stage.optimiser.learning_rate = 0.001
        stage.optimiser.epsilon = 1e-8
        stage.optimiser.schedule = "cosine"
        stage.train.batch_size = 8
        stage.augment.rotation_degrees = 30.0
        stage.augment.flip = True
        stage.augment.scale = 0.15
        stage.augment.gamma = 0.3
    config.localization.prepare.spacing_mm = 1.5
    config.segmentation.prepare.spacing_mm = 1.0
    config.segmentation.train.box_jitter_px = 5
    return with_row(config, row, {**ROWS, "small": SMALL})
