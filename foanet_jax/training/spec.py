"""Settings of a network's training as typed dataclasses."""

import dataclasses

from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.step import OptimiserSpec

NETWORKS = ("localization", "segmentation")


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """How long and on which data a network trains.

    Attributes:
        epochs: number of passes over the training studies (paper: 10).
        batch_size: number of slices in each step (paper: 1), over all devices together.
        examples_per_epoch: number of slices drawn for each epoch. 0: all of them.
        box_jitter_px: largest random shift of each side of a training crop, in px of the study.
        box_scale: largest random enlargement of a training crop, as a share of its size.
        pretrained: file with ImageNet weights of VGG16, or a weights file written by `--mode release`. Empty:
            training starts from random weights (He initialization).
        validate_epochs: number of epochs between two validations; each validation saves a checkpoint. The last epoch
            always ends with both. 0: no validation, and the last checkpoint counts as the best.
        save_minutes: longest time between two checkpoints, in minutes. 0: save only at the end of an epoch.
        keep_last: number of most recent checkpoints to keep, in addition to the best.
        keep_best: number of checkpoints with the best validation Dice to keep.
        max_skipped: number of steps in a row that may be skipped because of gradients that are not finite. After that,
            training stops with an error.
    """

    epochs: int = 10
    batch_size: int = 1
    examples_per_epoch: int = 0
    box_jitter_px: int = 0
    box_scale: float = 0.0
    pretrained: str = ""
    validate_epochs: int = 1
    save_minutes: float = 10.0
    keep_last: int = 1
    keep_best: int = 1
    max_skipped: int = 10

    def __post_init__(self):
        if self.save_minutes < 0 or min(self.keep_last, self.keep_best, self.max_skipped) < 1:
            raise ValueError(
                f"{self}: keep_last, keep_best and max_skipped must be at least 1, and save_minutes not negative"
            )
        if (
            min(self.epochs, self.batch_size) < 1
            or min(self.examples_per_epoch, self.box_jitter_px, self.box_scale, self.validate_epochs) < 0
        ):
            raise ValueError(f"{self}: epochs and batch_size must be at least 1, the others not negative")


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """All settings of one of the two networks."""

    network: NetworkSpec
    prepare: PrepareSpec
    augment: AugmentSpec
    loss: LossSpec
    optimiser: OptimiserSpec
    train: TrainSpec
