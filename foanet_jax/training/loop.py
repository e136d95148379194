"""The training of one network, from its cases to its checkpoints and log.

It can end at any moment, and goes on from its last checkpoint to the same bits: batches are a function of seed and
epoch, the log is cut back to the checkpoint's step, and a device is given the same batches at once.
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import optax

from foanet_jax.network import count_parameters, init_network, on_this_device, random_variables
from foanet_jax.network.pretrained import load_pretrained, read_vgg16
from foanet_jax.pipeline import Network
from foanet_jax.system import distributed, interruption
from foanet_jax.system.devices import everywhere
from foanet_jax.system.errors import InputError
from foanet_jax.system.memory import release_freed_memory
from foanet_jax.system.progress import progress as progress_of
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import Checkpoints, open_checkpoints
from foanet_jax.training.epoch import BLOCK, Block, EpochSpec, Sources, count_steps, epoch_batches
from foanet_jax.training.examples import Case, require_window
from foanet_jax.training.progress import Progress
from foanet_jax.training.resuming import describe_training, require_same_training
from foanet_jax.training.runlog import RunLog, truncate_log
from foanet_jax.training.spec import StageSettings, TrainSpec
from foanet_jax.training.step import TrainState, init_state, make_optimiser, train_steps
from foanet_jax.training.validation import prepare_validation
from foanet_jax.training.weights import holds_networks, start_from

LOGGER = logging.getLogger(__name__)
TRAINING = "training"  # of a description: what the numbers depend on


def initial_variables(settings: StageSettings, stage: str, *, seed: int):
    """Random variables, with those of the file that the settings name: VGG16's kernels, or a network trained before."""
    variables = random_variables(jax.random.key(seed), settings.network)
    LOGGER.info("%s with %.2f million parameters", settings.network.architecture, count_parameters(variables) / 1e6)
    path = settings.train.pretrained
    if not path:
        LOGGER.warning("no pretrained weights: He initialisation")
        return variables
    if holds_networks(Path(path)):
        return start_from(variables, Path(path), stage)
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
    begun: Callable[[], None] = lambda: None,
) -> bool:
    """Trains a network and leaves checkpoints and `log.jsonl` in its folder.

    Several processes do so together, each on its share of every batch; the first one alone reads and writes there.

    Args:
        name: what the progress bar calls it.
        cases: what to train on.
        validation_cases: what the best checkpoint is chosen by; may be empty.
        settings: all about this network.
        folder: where to write; a folder with checkpoints is refused unless `resume`.
        description: JSON stored with each checkpoint, the configuration as `config` in it.
        seed: of initialisation, order and augmentation.
        memory_bytes: for a forward pass of the validation.
        resume: go on from the last checkpoint, where there is one.
        tensorboard: write TensorBoard events as well.
        begun: called by the process that writes, once it is known that this training may write there.

    Returns:
        Whether there were steps left to take.

    Raises:
        InputError: no cases, a crop too small for the loss, a folder that holds another training, a full disk, or
            gradients that are not finite time after time.
        Interrupted: the program was told to end, and what is done is saved.
    """
    if not cases:
        raise InputError("no-studies", f"no studies to train the {name} network on; check data.root and the folds")
    if settings.loss.ssim and settings.loss.ssim_mode == "windowed":
        require_window(cases, settings.prepare)
    training = describe_training(name, settings, description["config"]["data"], cases, validation_cases, seed=seed)
    settings = dataclasses.replace(settings, network=on_this_device(settings.network))
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
    distributed.require_alike(training)
    writes = distributed.is_first()
    with interruption.deferred(), contextlib.ExitStack() as opened:
        checkpoints = None
        if writes:
            kept = {"keep_last": train.keep_last, "keep_best": train.keep_best}
            checkpoints = opened.enter_context(open_checkpoints(folder, write=True, **kept))
            if checkpoints.steps("last") and not resume:
                raise InputError(
                    "run-exists", f"{folder}: holds a training already; go on with --resume or choose another --workdir"
                )
        state = _begin(name, checkpoints, folder, settings, optimiser, training, seed=seed)
        if writes:
            begun()
        state = distributed.of_first(state)
        done = int(state.step)
        if done < sum(steps):
            if writes:
                truncate_log(folder, done)
            looked_at = validation_cases if train.validate_epochs else ()
            validation = prepare_validation(looked_at, settings.prepare, memory_bytes=memory_bytes)
            sources = Sources(cases)
            share = parallel.share(train.batch_size)
            state = parallel.place(state, devices)
            log = opened.enter_context(RunLog(folder, tensorboard=tensorboard)) if writes else None
            with progress_of(total=sum(steps), initial=done, desc=name, unit="step", disable=not writes) as bar:
                stored = {**description, TRAINING: training}
                progress = Progress(
                    folder, checkpoints, log, bar, name=name, cases=cases, train=train, description=stored
                )
                for epoch, end in enumerate(itertools.accumulate(steps)):
                    if end <= done:
                        continue
                    skip = max(0, done - (end - steps[epoch]))
                    batches = epoch_batches(
                        cases, spec, epoch, sources=sources, together=steps_together(), skip=skip, share=share
                    )
                    split = ((block, parallel.split(batch, devices)) for block, batch in batches)
                    state = _train_epoch(state, split, step, epoch, end, progress)
                    looks = validates(train, epoch)
                    if not looks and not progress.due():
                        continue
                    score = None
                    if looks and validation.cases:
                        network = Network(settings.network, settings.prepare, everywhere(state.evaluated))
                        score = validation.score(network)
                        progress.note_validation(epoch, score)
                    progress.save(state, epoch, score=score)
                    release_freed_memory()
    return done < sum(steps)


def _begin(
    name: str,
    checkpoints: Checkpoints | None,
    folder: Path,
    settings: StageSettings,
    optimiser: optax.GradientTransformation,
    training: dict[str, Any],
    *,
    seed: int,
) -> TrainState:
    """The state to go on from: the last checkpoint's, where there is one."""
    if checkpoints is None or not checkpoints.steps("last"):
        variables = initial_variables(settings, name, seed=seed)
        return init_state(variables, optimiser, average=settings.optimiser.average)
    # Read before it is compared: what a damaged checkpoint says is not to be believed.
    found = checkpoints.read("last", training=True)
    require_same_training(found.description[TRAINING], training, folder)
    shapes = jax.eval_shape(lambda: init_network(jax.random.key(0), settings.network))
    begin = functools.partial(init_state, optimiser=optimiser, average=settings.optimiser.average)
    LOGGER.info("%s: goes on after step %d (epoch %d)", folder, found.step, found.epoch)
    return found.state(jax.eval_shape(begin, shapes))


def validates(train: TrainSpec, epoch: int) -> bool:
    """Whether an epoch, counted from 0, ends in a validation and a checkpoint whatever the time."""
    every, number = train.validate_epochs, epoch + 1
    return number == train.epochs or (every > 0 and number % every == 0)


def steps_together() -> int:
    """Steps that the device is given at once: an accelerator would wait for the host between small ones."""
    return 1 if jax.default_backend() == "cpu" else BLOCK


def _train_epoch(
    state: TrainState,
    batches: Iterable[tuple[Block, dict[str, jax.Array]]],
    step: Callable,
    epoch: int,
    end: int,
    progress: Progress,
) -> TrainState:
    """The rest of an epoch, up to step `end`; the numbers of some steps are read while the next ones run."""
    waiting = None
    for block, batch in batches:
        state, metrics = step(state, batch)
        if waiting is not None:
            progress.note(epoch, *waiting)
        waiting = block, metrics
        # The end of an epoch is saved with its validation. Blocks are whole here, so that they are the same ones when
        # the training goes on.
        if progress.due() and progress.step + len(block.batches) < end:
            progress.note(epoch, *waiting)
            waiting = None
            progress.save(state, epoch)
    if waiting is not None:
        progress.note(epoch, *waiting)
    return state
