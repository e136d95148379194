"""ACDC: end-diastolic and end-systolic stacks of 100 patients; right ventricle, myocardium, cavity.

    python run.py --config experiments/acdc.py --config.data.root=DIR
    python run.py --config experiments/acdc.py:small --config.data.root=DIR      for a CPU, about an hour on two cores
    python run.py --mode ablate --config experiments/acdc.py:small --config.data.root=DIR      each part left out

Not in the paper. A plain recipe: batch normalisation, batches of 8 and a cosine schedule; the best one for these data
is experiments/short_axis.py. Seen with `small`, fold 0, 72 patients to train on and 20 to test on: DC of the right
ventricle 0.831 ± 0.120, myocardium 0.862 ± 0.033, cavity 0.923 ± 0.064; myocardium's 95HD 3.7 ± 1.9 mm, BDC
0.372 ± 0.049.
"""

from experiments.common import CCE_ONLY, NO_FOA, Row, chosen, common, with_rows

SMALL = {
    "localization.network.width": 0.125,
    "localization.prepare.spacing_mm": 2.5,
    "localization.prepare.bucket": 64,
    "localization.train.epochs": 6,
    "segmentation.network.width": 0.375,
    "segmentation.prepare.spacing_mm": 1.25,
    "segmentation.prepare.bucket": 64,
    "segmentation.train.epochs": 12,
}

WHOLE_IMAGE = {"localization.enabled": False, **NO_FOA}  # Without a box there is nothing to focus on.
UNET = {"segmentation.network.architecture": "unet"}
# What each part is worth: all else, the epochs, normalisation and augmentation too, is as the recipe has it.
ROWS = {
    "no-localization": Row("no localization", WHOLE_IMAGE),
    "no-foa": Row("no FOA", NO_FOA),
    "no-part2": Row("no Part 2", {"segmentation.network.architecture": "net1"}),
    "cce": Row("CCE only", CCE_ONLY),
    "unet": Row("U-Net, whole image", {**UNET, **WHOLE_IMAGE}),
    "unet-crop": Row("U-Net, crop and FOA", UNET),
    "i": Row("FOANet", {}),
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
    with_rows(config, ROWS, title="What each part is worth", reference="i")
    return chosen(config, row, {"small": SMALL})
