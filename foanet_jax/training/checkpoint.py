"""Checkpoints: the only module that knows Orbax.

A run keeps its best and its last checkpoints of each network, in `checkpoints/STEP`. Each holds the whole training
state and a JSON description from which the network is rebuilt without any configuration file, and is sealed last
(`seal.py`). What has no seal was interrupted; what differs from its seal is damaged, and never returned.
"""

import contextlib
import dataclasses
import errno
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict

from foanet_jax.system.atomic import open_unlinked, remove_stale
from foanet_jax.system.diskspace import explaining_disk_full, require_space
from foanet_jax.system.errors import InputError
from foanet_jax.training import seal as sealing
from foanet_jax.training.seal import Damage, Seal
from foanet_jax.training.step import TrainState

LOGGER = logging.getLogger(__name__)
FOLDER = "checkpoints"
VARIABLES, TRAINING, DESCRIPTION = "variables", "training", "description"  # a checkpoint's parts
ASIDE = "damaged-"
KEPT_ASIDE = 3
TEMPORARY = "*.orbax-checkpoint-tmp*"
WAITS_S = (0.0, 0.1, 0.3, 1.0)  # before each look for temporary folders that are to go
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # Lustre without `flock`, NFS without its lock daemon
OVERHEAD_BYTES = 2**18  # of a checkpoint beyond its arrays
Which = Literal["best", "last"]
WHICH: tuple[Which, ...] = get_args(Which)
Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found to be whole.

    Attributes:
        step: updates made.
        epoch: the epoch that they end in, from 1.
        description: the JSON saved with it.
        arrays: in memory, by their names in a `TrainState`.
        folder: where it lies.
    """

    step: int
    epoch: int
    description: dict[str, Any]
    arrays: Mapping[str, np.ndarray]
    folder: Path

    def variables(self, like: Tree) -> Tree:
        """The network's variables in the tree of `like`; InputError where names, shapes or dtypes differ."""
        return self._fill({VARIABLES: like})[VARIABLES]

    def state(self, like: TrainState) -> TrainState:
        """The training state in the tree of `like`; InputError where names, shapes or dtypes differ."""
        return _as_stored(self._fill(_as_stored(like)))

    def _fill(self, like: Tree) -> Tree:
        expected = _named(like)
        for name in sorted(expected.keys() | self.arrays.keys()):
            ours, theirs = (_kind(arrays.get(name)) for arrays in (expected, self.arrays))
            if ours != theirs:
                raise InputError(
                    "other-network",
                    f"{self.folder}: array {name} is {theirs} there and {ours} here; "
                    "use the version and the configuration that it was trained with",
                )
        return jax.tree.unflatten(jax.tree.structure(like), [self.arrays[name] for name in expected])


def _as_stored(state: TrainState) -> TrainState:
    """The state with what predicts as its `variables`: an average and the variables behind it change places.

    Done twice it gives the state again.
    """
    return state if state.average is None else state.replace(variables=state.average, average=state.variables)  # type: ignore[attr-defined]


def _named(tree) -> dict[str, Any]:
    """The leaves of a tree by name, such as optimiser/0/mu/block1_conv1/kernel, in the tree's order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _kind(array) -> str:
    return "missing" if array is None else f"{array.dtype}{list(array.shape)}"


def _part(name: str) -> str:
    return VARIABLES if name.startswith(f"{VARIABLES}/") else TRAINING


class Checkpoints:
    """The checkpoints of one network's training; to be opened with `open_checkpoints`."""

    def __init__(self, path: Path, orbax: ocp.Checkpointer, *, write: bool, keep_last: int, keep_best: int):
        self._path, self._orbax, self._write = path, orbax, write
        self._keep_last, self._keep_best = keep_last, keep_best
        self._seals: dict[int, Seal | Damage] = {}
        for folder in sorted(path.iterdir()) if path.is_dir() else ():
            if folder.name.isdigit() and folder.is_dir():
                self._find(folder)

    def _find(self, folder: Path) -> None:
        try:
            found: Seal | Damage | None = sealing.read_seal(folder)
        except Damage as damage:
            found = damage
        if found is not None:
            self._seals[int(folder.name)] = found
        elif self._write:
            LOGGER.warning("%s: a checkpoint that was never finished; removed", folder)
            shutil.rmtree(folder)
        else:
            LOGGER.warning("%s: a checkpoint that was never finished; ignored", folder)

    def steps(self, which: Which) -> list[int]:
        """The steps that checkpoints were sealed at, damaged ones too.

        Args:
            which: "last": the last one first; "best": the highest score first, the later of two that are equal, then
                those without a score.
        """
        return sorted(self._seals, key=lambda step: (self._score(step) if which == "best" else 0.0, step), reverse=True)

    def _score(self, step: int) -> float:
        """The score of a step, −∞ without one."""
        seal = self._seals[step]
        return seal.score if isinstance(seal, Seal) and seal.score is not None else -np.inf

    def save(self, state: TrainState, description: dict[str, Any], *, epoch: int, score: float | None) -> None:
        """Writes and seals a checkpoint of the state's step, then removes those that are kept no longer.

        Args:
            state: of the training.
            description: JSON to be stored with it.
            epoch: that the step lies in, from 1.
            score: of the validation; without one it counts only as the last checkpoint.

        Raises:
            InputError: there is no room for it, or a number of the state is not finite; nothing is left behind.
        """
        arrays = {name: np.asarray(leaf) for name, leaf in _named(_as_stored(jax.device_get(state))).items()}
        step = int(arrays["step"])
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise InputError("diverged", f"{self._path}: step {step}: {name} is not finite; nothing is saved")
        needed = sum(array.nbytes for array in arrays.values()) + OVERHEAD_BYTES
        folder = self._path / str(step)
        with explaining_disk_full(folder, needed):
            require_space(self._path, needed)
            try:
                self._orbax.save(folder, args=_to_save(arrays, description))
                seal = Seal(
                    step=step,
                    epoch=epoch,
                    score=score,
                    description=sealing.digest_json(description),
                    arrays={name: sealing.describe_array(array) for name, array in arrays.items()},
                    files=sealing.digest_files(folder),
                )
                sealing.write_seal(folder, seal)
            except BaseException:
                _remove_temporary(self._path)
                shutil.rmtree(folder, ignore_errors=True)
                raise
        self._seals[step] = seal
        scored = [step for step in self.steps("best") if self._score(step) > -np.inf]
        for old in set(self._seals) - {*self.steps("last")[: self._keep_last], *scored[: self._keep_best]}:
            self._remove(old)

    def _remove(self, step: int) -> None:
        # Without its seal it is a checkpoint no more, wherever the removal may be interrupted.
        (self._path / str(step) / sealing.NAME).unlink(missing_ok=True)
        shutil.rmtree(self._path / str(step))
        del self._seals[step]

    def read(self, which: Which, *, training: bool = False) -> Checkpoint:
        """The best or the last checkpoint that is whole; those that are damaged are told, and in a training set aside.

        Args:
            which: see `steps`.
            training: with the optimiser's state; else only what a prediction needs is read, and checked.

        Raises:
            InputError: there is none.
        """
        return self._first_whole(which, (VARIABLES, TRAINING) if training else (VARIABLES,))

    def description(self, which: Which) -> dict[str, Any]:
        """The JSON description of the best or the last checkpoint; no array is read."""
        return self._first_whole(which, ()).description

    def _first_whole(self, which: Which, parts: tuple[str, ...]) -> Checkpoint:
        damaged: dict[int, Damage] = {}
        for step in self.steps(which):
            try:
                found = self._load(step, parts)
            except Damage as damage:
                LOGGER.warning("damaged checkpoint: %s", damage)
                damaged[step] = damage
            else:
                if self._write:
                    for other in damaged:
                        self._set_aside(other)
                return found
        if not damaged:
            raise InputError("missing-checkpoint", f"{self._path}: no finished checkpoint; let the training run on")
        raise InputError(
            "damaged-checkpoint",
            f"{self._path}: every checkpoint is damaged ({next(iter(damaged.values()))}); "
            "bring it back from a copy, or remove the folder and train again",
        )

    def _load(self, step: int, parts: tuple[str, ...]) -> Checkpoint:
        """A checkpoint whose every byte was compared with its seal; raises Damage."""
        seal, folder = self._seals[step], self._path / str(step)
        if isinstance(seal, Damage):
            raise seal
        # Before Orbax sees them: what it does with damaged files is not ours to know.
        sealing.verify_files(folder, seal, (*parts, DESCRIPTION))
        items = {part: ocp.args.StandardRestore() for part in parts}
        try:
            restored = self._orbax.restore(folder, args=ocp.args.Composite(**items, description=ocp.args.JsonRestore()))
            arrays = {
                name: np.asarray(leaf) for part in parts for name, leaf in flatten_dict(restored[part], sep="/").items()
            }
        except Exception as error:
            raise Damage(f"{folder}: cannot be restored ({error})") from error
        sealing.verify_arrays(arrays, {name: of for name, of in seal.arrays.items() if _part(name) in parts}, folder)
        if sealing.digest_json(restored[DESCRIPTION]) != seal.description:
            raise Damage(f"{folder / DESCRIPTION}: its content has changed")
        return Checkpoint(seal.step, seal.epoch, restored[DESCRIPTION], arrays, folder)

    def _set_aside(self, step: int) -> None:
        place = self._path / f"{ASIDE}{step}"
        shutil.rmtree(place, ignore_errors=True)
        (self._path / str(step)).rename(place)
        del self._seals[step]
        LOGGER.warning("%s: the damaged checkpoint of step %d, set aside", place, step)
        aside = sorted(self._path.glob(f"{ASIDE}*"), key=lambda path: path.stat().st_ctime_ns)
        for old in aside[:-KEPT_ASIDE]:
            shutil.rmtree(old)


def _to_save(arrays: Mapping[str, np.ndarray], description: dict[str, Any]) -> ocp.args.Composite:
    trees = {
        part: unflatten_dict({name: array for name, array in arrays.items() if _part(name) == part}, sep="/")
        for part in (VARIABLES, TRAINING)
    }
    items = {part: ocp.args.StandardSave(tree) for part, tree in trees.items()}
    return ocp.args.Composite(**items, description=ocp.args.JsonSave(description))


def _remove_temporary(path: Path) -> None:
    # Where one of Orbax's writers has failed others may still be writing: a folder can outlive its removal.
    for seconds in WAITS_S:
        time.sleep(seconds)
        left = list(path.glob(TEMPORARY))
        if not left:
            break
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
    remove_stale(path)


@contextlib.contextmanager
def open_checkpoints(folder: Path, *, write: bool, keep_last: int = 1, keep_best: int = 1) -> Iterator[Checkpoints]:
    """The checkpoints below a network's folder.

    Args:
        folder: of the network.
        write: for a training: what interrupted ones left behind is removed. Else nothing is changed.
        keep_last: how many of the last checkpoints are kept.
        keep_best: how many of the best are kept, of those with a score.

    Raises:
        InputError: reading was asked for and there are none, or another training is at work there.
    """
    path = (folder / FOLDER).absolute()
    if not write and not path.is_dir():
        what = f"{path}: no checkpoints" if folder.parent.is_dir() else f"{folder.parent}: no such folder"
        raise InputError(
            "missing-checkpoint",
            f"{what}; --checkpoint (or --workdir) must name the folder of a run that trained",
        )
    with contextlib.ExitStack() as stack:
        if write:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_alone(path))
            _remove_temporary(path)
            remove_stale(folder)
        orbax = stack.enter_context(contextlib.closing(_checkpointer()))
        yield Checkpoints(path, orbax, write=write, keep_last=keep_last, keep_best=keep_best)


def _checkpointer() -> ocp.Checkpointer:
    """Orbax for this process alone: of several that train together it would wait for the others."""
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """A folder of checkpoints for this process alone; the system takes the lock back from a process that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open_unlinked(path / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "in-use", f"{path}: another training is at work there; wait for it, or choose another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            LOGGER.warning("%s: no locks on this file system (%s); let one training at a time work there", path, error)
        yield
