"""The recipe of the weights that come with the package: the best one found for short-axis cine MR, on ACDC.

A training takes minutes on a GPU and two and a half hours on two CPU cores:

    python run.py --mode cv --config experiments/short_axis.py --config.data.root=DIR
    python run.py --config experiments/short_axis.py --config.data.folds=1 --config.data.root=DIR  with all patients
    python run.py --mode ablate --config experiments/short_axis.py:brief --config.data.root=DIR    ablation of each part
    python run.py --config experiments/short_axis.py:small --config.data.root=DIR                  20 minutes on a core

Not in the paper: a decoder before the side outputs, batch normalisation, strong augmentation, averaged weights, and
bfloat16 on GPUs. docs/accuracy.md shows what each part is worth, and which other variants were tried.
"""

from typing import Any

from experiments.common import CCE_ONLY, NO_FOA, Row, chosen, common, with_rows

BRIEF = {"segmentation.train.epochs": 12}
FULL = {"segmentation.network.width": 1.0}
SMALL = {
    "localization.train.epochs": 1,
    "localization.train.batch_size": 8,
    "localization.optimiser.average": 0.98,
    "segmentation.network.width": 0.25,
    "segmentation.train.epochs": 3,
    "segmentation.train.batch_size": 8,
    "segmentation.optimiser.average": 0.99,
}
VARIANTS: dict[str, dict[str, Any]] = {"brief": BRIEF, "full": FULL, "small": SMALL}

UNET = {
    "segmentation.network.architecture": "unet",
    "segmentation.network.decoder": "none",
}
# FOA needs a box. Whole images are on a coarser grid, but they still have 2.25 times as many pixels as a crop.
WHOLE_IMAGE = {
    "localization.enabled": False,
    "segmentation.prepare.spacing_mm": 2.5,
    "segmentation.prepare.bucket": 192,
    **NO_FOA,
}
# The rows of the ablation. All other settings are those of the recipe.
ROWS = {
    "no-localization": Row("no localization, whole image", WHOLE_IMAGE),
    "no-foa": Row("no FOA", NO_FOA),
    "no-part2": Row("no Part 2", {"segmentation.network.architecture": "net1"}),
    "no-decoder": Row("no decoder", {"segmentation.network.decoder": "none"}),
    "cce": Row("CCE only", CCE_ONLY),
    "unet": Row("U-Net, whole image", {**UNET, **WHOLE_IMAGE}),
    "unet-crop": Row("U-Net, crop and FOA", UNET),
    "i": Row("FOANet", {}),
}


def get_config(row: str = ""):
    config = common("short_axis")
    config.data.name = "acdc"
    config.data.cyclic = False
    for stage in (config.localization, config.segmentation):
        stage.network.norm = "batch"
        stage.network.dtype = "bfloat16"
        stage.prepare.neighbours = "slices"  # also in a cine, because the network was trained on slices
        stage.loss.dice_batch = True
        stage.optimiser.learning_rate = 0.002
        stage.optimiser.epsilon = 1e-8
        stage.optimiser.schedule = "cosine"
        stage.optimiser.warmup_steps = 100
        stage.optimiser.average = 0.998
        stage.train.batch_size = 16
        stage.train.examples_per_epoch = 1280  # of 1,350 to 1,700; five blocks of 16 batches need one program
        stage.train.validate_epochs = 0
        stage.augment.rotation_degrees = 45.0
        stage.augment.flip = True
        stage.augment.scale = 0.2
        stage.augment.stretch = 0.1
        stage.augment.elastic_mm = 4.0
        stage.augment.gamma = 0.4
        stage.augment.contrast = 0.2
        stage.augment.brightness = 0.2
        stage.augment.noise = 0.15
        stage.augment.bias = 0.3
        stage.augment.blur_mm = 1.0
    localization, segmentation = config.localization, config.segmentation
    localization.passes = 3
    localization.network.width = 0.125
    localization.prepare.spacing_mm = 2.5
    localization.prepare.bucket = 192
    localization.train.epochs = 12
    segmentation.network.width = 0.375
    segmentation.network.decoder = "top_down"
    segmentation.prepare.spacing_mm = 1.5
    segmentation.prepare.bucket = 128
    segmentation.prepare.foa_of = "normalised"
    segmentation.train.epochs = 48
    segmentation.train.box_jitter_px = 3
    with_rows(config, ROWS, title="What each part is worth", reference="i")
    return chosen(config, row, VARIANTS)
