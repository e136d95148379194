"""Fine-tuning of the package's weights on your own masks, such as corrected predictions (docs/correct.md).

    python run.py --mode measure --input STUDIES --masks CORRECTED --output OUT --training_set
    python run.py --config experiments/corrected.py --config.data.root=OUT/training

The recipe is that of experiments/short_axis.py. It starts from the weights in the package, with a tenth of the learning
rate and a quarter of the epochs. All patients are used for training (--config.data.folds=5 keeps test patients). These
settings were not compared with others. Not in the paper.
"""

from experiments import short_axis
from foanet_jax.training.weights import DEFAULT


def get_config(row: str = ""):
    config = short_axis.get_config(row)
    config.name = "corrected" + config.name.removeprefix("short_axis")
    config.data.name = "folder"
    config.data.folds = 1
    for stage in (config.localization, config.segmentation):
        stage.train.pretrained = str(DEFAULT)
        stage.train.epochs = max(1, stage.train.epochs // 4)
        stage.optimiser.learning_rate = 0.0002
        stage.optimiser.warmup_steps = 20
    return config
