"""ACDC: stacks of 100 patients at end diastole and end systole; right ventricle, myocardium and cavity.

    python run.py --config experiments/acdc.py --config.data.root=DIR
    python run.py --config experiments/acdc.py:small --config.data.root=DIR      for a CPU, about an hour on two cores
    python run.py --mode ablate --config experiments/acdc.py:small --config.data.root=DIR      ablation of each part

Not in the paper. A plain recipe with batch normalisation, a batch size of 8 and a cosine schedule. The best recipe for
these data is experiments/short_axis.py. Result of `small` on fold 0 (72 training and 20 test patients): DC of the right
ventricle 0.831 ± 0.120, of the myocardium 0.862 ± 0.033, of the cavity 0.923 ± 0.064; 95HD of the myocardium
3.7 ± 1.9 mm, BDC 0.372 ± 0.049.
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

WHOLE_IMAGE = {"localization.enabled": False, **NO_FOA}  # FOA needs a box.
UNET = {"segmentation.network.architecture": "unet"}
# The rows of the ablation. All other settings, also epochs, normalisation and augmentation, are those of the recipe.
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
