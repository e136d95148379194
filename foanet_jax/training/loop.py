"""The training of one network, from its cases to its checkpoints, log and learning curves."""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from foanet_jax.drawing import draw_learning_curves
from foanet_jax.errors import InputError
from foanet_jax.image.prepare import Prepared
from foanet_jax.image.stack import neighbours
from foanet_jax.memory import release_freed_memory
from foanet_jax.metrics import dice
from foanet_jax.network import count_parameters, init_network
from foanet_jax.network.pretrained import load_pretrained, read_vgg16
from foanet_jax.pipeline import Network, likeliest, probability_maps, slices_together
from foanet_jax.settings import StageSettings
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import open_checkpoints
from foanet_jax.training.epoch import BLOCK, EpochSpec, Sources, count_steps, epoch_batches
from foanet_jax.training.examples import Case, prepare_case, require_window
from foanet_jax.training.runlog import RunLog, read_log, truncate_log
from foanet_jax.training.step import TrainState, init_state, make_optimiser, train_steps

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation studies of one network, prepared once, and what a forward pass on them may take."""

    cases: Sequence[Case]
    prepared: Sequence[Prepared]
    memory_bytes: int

    def score(self, network: Network) -> float:
        """Mean Dice over studies and foreground classes, each study one volume on its network's grid."""
        values = []
        for case, prepared in zip(self.cases, self.prepared, strict=True):
            along = network.prepare.neighbours
            triples = neighbours(*case.labels.shape[:2], cyclic=case.cyclic, along=along)
            together = slices_together([network], prepared.images.shape[1:], len(triples), self.memory_bytes)
            maps = probability_maps(network, prepared, triples, together=together)
            rows, columns = prepared.extent
            predicted = likeliest(maps)[:, :rows, :columns]
            truth = np.asarray(prepared.labels)[:, :rows, :columns]
            values += [dice(predicted == c, truth == c) for c in range(1, case.classes)]
        return float(np.mean(values))


def initial_variables(settings: StageSettings, *, seed: int):
    """Random variables, with VGG16's kernels where the settings name a file of them."""
    variables = jax.jit(init_network, static_argnames="spec")(jax.random.key(seed), settings.network)
    LOGGER.info("%s with %.2f million parameters", settings.network.architecture, count_parameters(variables) / 1e6)
    path = settings.train.pretrained
    if not path:
        LOGGER.warning("no pretrained weights: He initialisation")
        return variables
    params, report = load_pretrained(variables["params"], read_vgg16(Path(path)), path=Path(path))
    LOGGER.info("%s: %s", path, report.describe())
    return variables | {"params": params}


def train_network(
    name: str,
    cases: Sequence[Case],
    validation_cases: Sequence[Case],
    settings: StageSettings,
    folder: Path,
    *,
    description: dict[str, Any],
    seed: int,
    memory_bytes: int,
    resume: bool,
    tensorboard: bool = False,
) -> None:
    """Trains a network and leaves checkpoints, `log.jsonl` and `curves.png` in its folder.

    Args:
        name: what the progress bar calls it.
        cases: what to train on.
        validation_cases: what the best checkpoint is chosen by; may be empty.
        settings: all about this network.
        folder: where to write; a folder with checkpoints is refused unless `resume`.
        description: JSON stored with each checkpoint.
        seed: of initialisation, order and augmentation.
        memory_bytes: for a forward pass of the validation.
        resume: go on from the last checkpoint, where there is one.
        tensorboard: write TensorBoard events as well.

    Raises:
        InputError: no cases, a crop too small for the loss, or a folder that holds another training.
    """
    if not cases:
        raise InputError("no-studies", f"no studies to train the {name} network on; check data.root and the folds")
    if settings.loss.ssim and settings.loss.ssim_mode == "windowed":
        require_window(cases, settings.prepare)
    train = settings.train
    spec = EpochSpec(
        prepare=settings.prepare,
        augment=settings.augment,
        batch_size=train.batch_size,
        limit=train.examples_per_epoch,
        jitter_px=train.box_jitter_px,
        box_scale=train.box_scale,
        seed=seed,
    )
    steps = count_steps(cases, spec, train.epochs)
    devices = parallel.device_count(train.batch_size)
    optimiser = make_optimiser(settings.optimiser, sum(steps))
    step = parallel.parallelise(
        functools.partial(
            train_steps,
            network=settings.network,
            loss=settings.loss,
            optimiser=optimiser,
            average=settings.optimiser.average,
            axis_name=parallel.AXIS,
        ),
        devices,
    )
    with open_checkpoints(folder, write=True) as checkpoints:
        if checkpoints.last_epoch is not None and not resume:
            raise InputError(
                "run-exists", f"{folder}: holds a training already; go on with --resume or choose another --workdir"
            )
        variables = initial_variables(settings, seed=seed)
        state = parallel.place(init_state(variables, optimiser, average=settings.optimiser.average), devices)
        first = checkpoints.last_epoch or 0
        if first:
            state = checkpoints.restore_state(first, state)
            LOGGER.info("%s: resumed after epoch %d of %d", folder, first, train.epochs)
        truncate_log(folder, first)
        prepared = [prepare_case(case, settings.prepare) for case in validation_cases]
        validation = Validation(validation_cases, prepared, memory_bytes)
        sources = Sources(cases)
        score = None
        with (
            RunLog(folder, tensorboard=tensorboard) as log,
            tqdm(total=sum(steps), initial=sum(steps[:first]), desc=name, unit="step", mininterval=1) as bar,
        ):
            for epoch in range(first, train.epochs):
                start = time.monotonic()
                batches = epoch_batches(cases, spec, epoch, sources=sources, together=steps_together())
                split = (parallel.split(batch, devices) for batch in batches)
                state = _train_epoch(state, split, step, epoch, log, bar)
                if validation.cases:
                    score = validation.score(
                        Network(settings.network, settings.prepare, jax.device_get(state.evaluated))
                    )
                    log.write({"kind": "validation", "step": int(state.step), "epoch": epoch, "dice": score})
                    bar.set_description(f"{name}, validation Dice {score:.3f}", refresh=False)
                log.write_seconds(epoch, time.monotonic() - start)
                log.flush()
                checkpoints.save(epoch + 1, state, description, score=score)
                release_freed_memory()
    draw_learning_curves(read_log(folder), folder / "curves.png")


def steps_together() -> int:
    """Steps that the device is given at once: an accelerator would wait for the host between small ones."""
    return 1 if jax.default_backend() == "cpu" else BLOCK


def _train_epoch(
    state: TrainState, batches: Iterable, step: Callable, epoch: int, log: RunLog, bar: tqdm
) -> TrainState:
    """One pass over an epoch's batches; the numbers of some steps are read while the next ones run."""
    done = int(state.step)
    waiting = None

    def note(metrics) -> None:
        nonlocal done
        columns = {name: values.tolist() for name, values in jax.device_get(metrics).items()}
        for numbers in (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)):
            done += 1
            log.write({"kind": "train", "step": done, "epoch": epoch, **numbers})
            bar.set_postfix(loss=f"{numbers['loss']:.3f}", refresh=False)
            bar.update()

    for batch in batches:
        state, metrics = step(state, batch)
        if waiting is not None:
            note(waiting)
        waiting = metrics
    if waiting is not None:
        note(waiting)
    return state
