"""Settings of a network's training as typed dataclasses."""

import dataclasses

from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.step import OptimiserSpec

STAGES = ("localization", "segmentation")


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """How long and on what a network trains.

    Attributes:
        epochs: passes over the training studies (paper: 10).
        batch_size: slices a step (paper: 1), over all devices together.
        examples_per_epoch: slices drawn for an epoch; 0 takes all.
        box_jitter_px: how far each side of a training crop may move at random, px of the study.
        box_scale: how much larger a training crop may be at random, as a share of its size.
        pretrained: file of VGG16's ImageNet weights, or of networks (`--mode release`); empty: He initialisation.
        validate_epochs: epochs from one validation, and the checkpoint that goes with it, to the next; the last epoch
            has both in any case. 0: no validation, and the last checkpoint stands for the best.
        save_minutes: longest time between two checkpoints; 0: only at the ends of epochs.
        keep_last: how many of the last checkpoints are kept, beside the best.
        keep_best: how many of the best by validation Dice are kept.
        max_skipped: steps in a row that may have no finite gradients.
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
class StageSettings:
    """All settings of one of the two networks."""

    network: NetworkSpec
    prepare: PrepareSpec
    augment: AugmentSpec
    loss: LossSpec
    optimiser: OptimiserSpec
    train: TrainSpec
