"""The training loop of one network, from its studies to its checkpoints and its log.

A training can end at any moment and be resumed from its last checkpoint, with bit-identical results. Three things make
this possible: batches depend only on seed and epoch, the log is truncated to the step of the checkpoint, and the same
batches are grouped together on the device.
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
from flax.traverse_util import flatten_dict

from foanet_jax.network import NetworkSpec, count_parameters, init_network, on_this_device, random_variables
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
from foanet_jax.training.examples import TrainingStudy, require_window
from foanet_jax.training.progress import Progress
from foanet_jax.training.resuming import describe_training, require_same_training
from foanet_jax.training.runlog import RunLog, truncate_log
from foanet_jax.training.spec import NetworkSettings, TrainSpec
from foanet_jax.training.step import TrainState, init_state, make_optimiser, train_steps
from foanet_jax.training.validation import prepare_validation
from foanet_jax.training.weights import holds_networks, start_from

LOGGER = logging.getLogger(__name__)
TRAINING = "training"  # the entry of a checkpoint's description that holds everything the results depend on


def initial_variables(settings: NetworkSettings, name: str, *, seed: int, classes: Sequence[str] = ()):
    """Initialises a network's variables at random, and then with the pre-trained weights that the settings name.

    Args:
        settings: `settings.train.pretrained` is a file of VGG16's weights or of trained networks, or empty.
        name: "localization" or "segmentation".
        seed: seed of the random initialization.
        classes: names of the classes of the data by index; empty if they are not known.

    Raises:
        InputError: the file of pre-trained weights cannot be used.
    """
    variables = random_variables(jax.random.key(seed), settings.network)
    LOGGER.info("%s with %.2f million parameters", settings.network.architecture, count_parameters(variables) / 1e6)
    path = settings.train.pretrained
    if not path:
        LOGGER.warning("no pre-trained weights are used; the network starts from He initialization")
        return variables
    if holds_networks(Path(path)):
        return start_from(
            variables,
            Path(path),
            name,
            classes=classes,
            of_classes=_of_classes(settings.network),
            settings={part: dataclasses.asdict(getattr(settings, part)) for part in ("network", "prepare")},
        )
    params, report = load_pretrained(variables["params"], read_vgg16(Path(path)), path=Path(path))
    LOGGER.info("%s: %s", path, report.describe())
    return variables | {"params": params}


def _of_classes(network: NetworkSpec) -> set[str]:
    """Returns the names of the arrays whose shape depends on the number of classes."""

    def shapes(classes: int) -> dict[str, tuple[int, ...]]:
        spec = dataclasses.replace(network, classes=classes)
        variables = jax.eval_shape(lambda: init_network(jax.random.key(0), spec))
        return {name: leaf.shape for name, leaf in flatten_dict(variables, sep="/").items()}

    more = shapes(network.classes + 1)
    return {name for name, shape in shapes(network.classes).items() if shape != more[name]}


def train_network(
    name: str,
    studies: Sequence[TrainingStudy],
    validation_studies: Sequence[TrainingStudy],
    settings: NetworkSettings,
    folder: Path,
    *,
    description: dict[str, Any],
    seed: int,
    memory_bytes: int,
    resume: bool,
    tensorboard: bool = False,
    on_start: Callable[[], None] = lambda: None,
) -> bool:
    """Trains a network and writes checkpoints and `log.jsonl` to its folder.

    With several processes, each process computes its share of every batch. Only the first one reads and writes the
    folder.

    Args:
        name: name of the network, shown by the progress bar.
        studies: training studies.
        validation_studies: studies that select the best checkpoint; may be empty.
        settings: all settings of this network.
        folder: output folder. Without `resume`, a folder that has checkpoints is refused.
        description: JSON stored with each checkpoint; its entry "config" is the configuration.
        seed: seed of initialization, order and augmentation.
        memory_bytes: memory limit of a forward pass in the validation.
        resume: continue from the last checkpoint, if there is one.
        tensorboard: also write TensorBoard events.
        on_start: called by the process that writes, once it is certain that this training may write to the folder.

    Returns:
        Whether there were steps left to do.

    Raises:
        InputError: there are no studies, a crop is too small for the loss, the folder holds another training, the disk
            is full, or too many steps in a row have no finite gradients.
        Interrupted: the program received a signal to end; the state has been saved.
    """
    if not studies:
        raise InputError("no-studies", f"no studies to train the {name} network on; check data.root and the folds")
    if settings.loss.ssim and settings.loss.ssim_mode == "windowed":
        require_window(studies, settings.prepare)
    training = describe_training(name, settings, description["config"]["data"], studies, validation_studies, seed=seed)
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
    steps = count_steps(studies, spec, train.epochs)
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
                    "run-exists",
                    f"{folder}: already holds a training; continue it with --resume or choose another --workdir",
                )
        classes = description.get("classes", ())
        state = _begin(name, checkpoints, folder, settings, optimiser, training, seed=seed, classes=classes)
        if writes:
            on_start()
        state = distributed.of_first(state)
        done = int(state.step)
        if done < sum(steps):
            if writes:
                truncate_log(folder, done)
            validated = validation_studies if train.validate_epochs else ()
            validation = prepare_validation(validated, settings.prepare, memory_bytes=memory_bytes)
            sources = Sources(studies)
            share = parallel.share(train.batch_size)
            state = parallel.place(state, devices)
            log = opened.enter_context(RunLog(folder, tensorboard=tensorboard)) if writes else None
            with progress_of(total=sum(steps), initial=done, desc=name, unit="step", disable=not writes) as bar:
                stored = {**description, TRAINING: training}
                progress = Progress(
                    folder, checkpoints, log, bar, name=name, studies=studies, train=train, description=stored
                )
                for epoch, end in enumerate(itertools.accumulate(steps)):
                    if end <= done:
                        continue
                    skip = max(0, done - (end - steps[epoch]))
                    batches = epoch_batches(
                        studies, spec, epoch, sources=sources, together=steps_together(), skip=skip, share=share
                    )
                    split = ((block, parallel.split(batch, devices)) for block, batch in batches)
                    state = _train_epoch(state, split, step, epoch, end, progress)
                    validate = validates(train, epoch)
                    if not validate and not progress.due():
                        continue
                    score = None
                    if validate and validation.studies:
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
    settings: NetworkSettings,
    optimiser: optax.GradientTransformation,
    training: dict[str, Any],
    *,
    seed: int,
    classes: Sequence[str],
) -> TrainState:
    """Returns the initial state: the state of the last checkpoint if there is one, else a new state."""
    if checkpoints is None or not checkpoints.steps("last"):
        variables = initial_variables(settings, name, seed=seed, classes=classes)
        return init_state(variables, optimiser, average=settings.optimiser.average)
    # The checkpoint is verified before its description is compared, because a damaged description cannot be trusted.
    found = checkpoints.read("last", training=True)
    require_same_training(found.description[TRAINING], training, folder)
    shapes = jax.eval_shape(lambda: init_network(jax.random.key(0), settings.network))
    begin = functools.partial(init_state, optimiser=optimiser, average=settings.optimiser.average)
    LOGGER.info("%s: continues after step %d (epoch %d)", folder, found.step, found.epoch)
    return found.state(jax.eval_shape(begin, shapes))


def validates(train: TrainSpec, epoch: int) -> bool:
    """Returns whether an epoch, counted from 0, ends with a validation and a checkpoint."""
    every, number = train.validate_epochs, epoch + 1
    return number == train.epochs or (every > 0 and number % every == 0)


def steps_together() -> int:
    """Returns the number of steps in one program. Accelerators run several, so that they do not wait for the host."""
    return 1 if jax.default_backend() == "cpu" else BLOCK


def _train_epoch(
    state: TrainState,
    batches: Iterable[tuple[Block, dict[str, jax.Array]]],
    step: Callable,
    epoch: int,
    end: int,
    progress: Progress,
) -> TrainState:
    """Trains the rest of an epoch, up to step `end`.

    The metrics of a block are read only after the next block has been started, so that the device does not wait.
    """
    waiting = None
    for block, batch in batches:
        state, metrics = step(state, batch)
        if waiting is not None:
            progress.note(epoch, *waiting)
        waiting = block, metrics
        # The end of an epoch is saved with its validation. The training is saved between blocks only, so that the
        # blocks are the same after it is resumed.
        if progress.due() and progress.step + len(block.batches) < end:
            progress.note(epoch, *waiting)
            waiting = None
            progress.save(state, epoch)
    if waiting is not None:
        progress.note(epoch, *waiting)
    return state
