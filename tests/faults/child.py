"""A small training in a process of its own, in which something may go wrong.

Everything is the real thing but the network, which is two convolutions: what is tried here is not the network.
"""

import dataclasses
import logging
import os
import signal
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import foanet_jax.network
from foanet_jax.data.study import Study
from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.jobs import commandline
from foanet_jax.network import NetworkSpec
from foanet_jax.system.errors import InputError
from foanet_jax.training import checkpoint, loop
from foanet_jax.training.epoch import Shelf
from foanet_jax.training.examples import TrainingStudy, localization_study
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.progress import Progress
from foanet_jax.training.spec import NetworkSettings, TrainSpec
from foanet_jax.training.step import OptimiserSpec

READY = "ready to be interrupted"
SETTINGS = NetworkSettings(
    NetworkSpec("net1", classes=2, width=1 / 16, side_maps=1, norm="batch"),
    PrepareSpec(bucket=16),
    AugmentSpec(flip=True, noise=0.1),
    LossSpec(ssim=0.0),
    OptimiserSpec(learning_rate=0.01, schedule="cosine", clip_norm=1.0),
    # A checkpoint a step.
    TrainSpec(epochs=4, batch_size=2, save_minutes=1e-9),
)


@dataclasses.dataclass(frozen=True)
class Faults:
    """What goes wrong.

    Attributes:
        together: steps that the device is given at once.
        validate_epochs: of the settings; no fault, but what they find differs.
        nan: (case, slice) pairs whose images are NaN.
        save: the how-manieth save of a process something happens in; 0: none.
        happening: there, before the seal is written: "error", or names of signals that are raised one after the other.
        process: of several, the one that it happens in.
    """

    together: int = 1
    validate_epochs: int = 1
    nan: tuple[tuple[int, int], ...] = ()
    save: int = 0
    happening: tuple[str, ...] = ()
    process: int = 0


class Small(nn.Module):
    """Stands in for FOANet, with its parameters, statistics and logits."""

    classes: int
    part2: bool
    width: float
    side_maps: int
    order: str
    up: str
    side_heads: bool
    decoder: str
    conv: object

    @nn.compact
    def __call__(self, images, grid, train: bool):
        features = self.conv(4, name="block1_conv1")(images, grid, 1, train)
        return nn.Conv(self.classes, (1, 1), name="score")(features)


def cases(count: int = 4) -> list[TrainingStudy]:
    """Studies on grids of two shapes, in which a bright square drifts over noise."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        shape = (5, 1, 24, 24 + 16 * (number % 2))
        labels = np.zeros(shape, np.uint8)
        for frame in range(5):
            labels[frame, 0, 6 + frame : 14 + frame, 5:15] = 1
        voxels = (labels + rng.normal(size=shape)).astype(np.float32)
        study = Study(f"p{number}", f"p{number}_c", voxels, (8.0, 1.5, 1.5), ("background", "heart"), labels)
        made.append(localization_study(study, cyclic=True))
    return made


def _make_faulty(faults: Faults, process: int) -> None:
    """Puts the faults in their places, in this process; of several only the first one writes what it saves."""
    foanet_jax.network.FoaNet = Small
    loop.steps_together = lambda: faults.together
    collect, write_seal, wait = Shelf.collect, checkpoint.sealing.write_seal, Progress.save

    def collect_nan(shelf, batches):
        found = collect(shelf, batches)
        bad = np.array([[example in faults.nan for example in batch] for batch in batches])
        return {**found, "images": jnp.where(bad[..., None, None, None], jnp.nan, found["images"])}

    saves = 0

    def happen():
        nonlocal saves
        saves += 1
        for what in faults.happening if saves == faults.save else ():
            if what == "error":
                raise RuntimeError("something went wrong in a save")
            signal.raise_signal(signal.Signals[what])

    def write_seal_late(folder, seal):
        happen()
        write_seal(folder, seal)

    def wait_late(progress, state, epoch, *, score=None):
        happen()
        wait(progress, state, epoch, score=score)

    Shelf.collect = collect_nan
    if process == faults.process == 0:
        checkpoint.sealing.write_seal = write_seal_late
    elif process == faults.process:
        Progress.save = wait_late


def train(folder: str, output: str, cache: str, faults: Faults, together: tuple[str, int, int] = ("", 1, 0)) -> None:
    """A training in `folder`, begun or gone on with; what it says goes to the file `output`.

    Args:
        folder: of the network.
        output: what it says goes there.
        cache: of compiled programs.
        faults: what goes wrong.
        together: as `distributed.join` takes them.
    """
    with open(output, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("foanet_jax").setLevel(logging.INFO)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    _make_faulty(faults, together[2])
    *training, validation = cases()
    spec = dataclasses.replace(SETTINGS.train, validate_epochs=faults.validate_epochs)
    try:
        with commandline.training_together(*together), commandline.ending_in_order("--resume"):
            print(READY)
            loop.train_network(
                "segmentation",
                training,
                [validation],
                dataclasses.replace(SETTINGS, train=spec),
                Path(folder),
                description={"config": {"data": {"name": "faults"}}},
                seed=1,
                memory_bytes=2**30,
                resume=True,
            )
    except InputError as error:
        print(f"error: {error.code}: {error}")
        sys.exit(2)
