"""Saving and reading of checkpoints. This is the only module that uses Orbax.

Functions import Orbax when they need it. The import takes half a second, and a prediction with a weights file does not
need it.

A run keeps the best and the last checkpoints of each network, in `checkpoints/STEP`. A checkpoint holds the whole
training state and a JSON description, from which the network can be rebuilt without the configuration file. A file of
checksums, the seal (`seal.py`), is written last. A checkpoint without a seal was interrupted. A checkpoint that differs
from its seal is damaged and is never returned.
"""

import contextlib
import dataclasses
import errno
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from foanet_jax.system.atomic import open_unlinked, remove_stale
from foanet_jax.system.diskspace import explaining_disk_full, require_space
from foanet_jax.system.errors import InputError
from foanet_jax.training import seal as sealing
from foanet_jax.training.seal import Damage, Seal

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

    from foanet_jax.training.step import TrainState

LOGGER = logging.getLogger(__name__)
FOLDER = "checkpoints"
VARIABLES, TRAINING, DESCRIPTION = "variables", "training", "description"  # the parts of a checkpoint
ASIDE = "damaged-"
KEPT_ASIDE = 3
TEMPORARY = "*.orbax-checkpoint-tmp*"
WAITS_S = (0.0, 0.1, 0.3, 1.0)  # waiting time before each attempt to remove temporary folders
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # Lustre without `flock`, NFS without its lock daemon
OVERHEAD_BYTES = 2**18  # size of a checkpoint in addition to its arrays
Which = Literal["best", "last"]
WHICH: tuple[Which, ...] = get_args(Which)
Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory.

    Attributes:
        step: number of steps done.
        epoch: the epoch of the last step, from 1.
        description: the JSON that was saved with it.
        arrays: the arrays by their names in a `TrainState`.
        folder: the folder of the checkpoint.
    """

    step: int
    epoch: int
    description: dict[str, Any]
    arrays: Mapping[str, np.ndarray]
    folder: Path

    def variables(self, like: Tree) -> Tree:
        """Returns the network's variables in the tree structure of `like`.

        Raises:
            InputError: names, shapes or dtypes differ.
        """
        return self._fill({VARIABLES: like})[VARIABLES]

    def state(self, like: "TrainState") -> "TrainState":
        """Returns the training state in the tree structure of `like`.

        Raises:
            InputError: names, shapes or dtypes differ.
        """
        return _as_stored(self._fill(_as_stored(like)))

    def _fill(self, like: Tree) -> Tree:
        expected = _named(like)
        for name in sorted(expected.keys() | self.arrays.keys()):
            ours, theirs = (_kind(arrays.get(name)) for arrays in (expected, self.arrays))
            if ours != theirs:
                raise InputError(
                    "other-network",
                    f"{self.folder}: array {name} is {theirs} in the checkpoint but {ours} in this network; "
                    "use the version and the configuration that the checkpoint was trained with",
                )
        return jax.tree.unflatten(jax.tree.structure(like), [self.arrays[name] for name in expected])


def _as_stored(state: "TrainState") -> "TrainState":
    """Swaps the moving average and the variables, so that `variables` are those that a prediction uses.

    Without an average, the state is unchanged. A second call returns the original state.
    """
    return state if state.average is None else state.replace(variables=state.average, average=state.variables)  # type: ignore[attr-defined]


def _named(tree) -> dict[str, Any]:
    """Returns the leaves of a tree by name, such as optimiser/0/mu/block1_conv1/kernel, in the tree's order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _kind(array) -> str:
    return "missing" if array is None else f"{array.dtype}{list(array.shape)}"


def _part(name: str) -> str:
    return VARIABLES if name.startswith(f"{VARIABLES}/") else TRAINING


class Checkpoints:
    """The checkpoints of one network; open them with `open_checkpoints`."""

    def __init__(self, path: Path, orbax: "ocp.Checkpointer", *, write: bool, keep_last: int, keep_best: int):
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
            LOGGER.warning("%s: incomplete checkpoint of an interrupted save; it is removed", folder)
            shutil.rmtree(folder)
        else:
            LOGGER.warning("%s: incomplete checkpoint of an interrupted save; it is ignored", folder)

    def steps(self, which: Which) -> list[int]:
        """Returns the steps of all complete checkpoints, including damaged ones.

        Args:
            which: the order. "last": the latest checkpoint first. "best": the highest score first. Among equal scores,
                the latest is first. Checkpoints without a score come last.
        """
        return sorted(self._seals, key=lambda step: (self._score(step) if which == "best" else 0.0, step), reverse=True)

    def _score(self, step: int) -> float:
        """Returns the score of a step; −∞ if it has no score."""
        seal = self._seals[step]
        return seal.score if isinstance(seal, Seal) and seal.score is not None else -np.inf

    def save(self, state: "TrainState", description: dict[str, Any], *, epoch: int, score: float | None) -> None:
        """Writes a checkpoint and its seal, then removes checkpoints that need not be kept any longer.

        Args:
            state: the training state.
            description: JSON to store with it.
            epoch: the epoch of the state's step, from 1.
            score: mean validation Dice. Without a score, the checkpoint is kept only while it is one of the last ones.

        Raises:
            InputError: the disk is full, or a value of the state is not finite. No partial checkpoint is left.
        """
        arrays = {name: np.asarray(leaf) for name, leaf in _named(_as_stored(jax.device_get(state))).items()}
        step = int(arrays["step"])
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise InputError(
                    "diverged",
                    f"{self._path}: step {step}: {name} is not finite, and no checkpoint is saved; train "
                    "again with a lower optimiser.learning_rate, or with optimiser.clip_norm",
                )
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
        # The seal is removed first. If the removal is interrupted, the rest then does not count as a checkpoint.
        (self._path / str(step) / sealing.NAME).unlink(missing_ok=True)
        shutil.rmtree(self._path / str(step))
        del self._seals[step]

    def read(self, which: Which, *, training: bool = False) -> Checkpoint:
        """Reads and verifies the best or the last checkpoint that is not damaged.

        Damaged checkpoints are reported by warnings. During a training, they are renamed.

        Args:
            which: see `steps`.
            training: also read the state of the optimiser. Otherwise, only the parts for a prediction are read and
                verified.

        Raises:
            InputError: there is no checkpoint, or all of them are damaged.
        """
        return self._first_whole(which, (VARIABLES, TRAINING) if training else (VARIABLES,))

    def description(self, which: Which) -> dict[str, Any]:
        """Reads the JSON description of the best or the last checkpoint, without its arrays."""
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
            raise InputError(
                "missing-checkpoint",
                f"{self._path}: there is no finished checkpoint yet; wait until the training has saved one",
            )
        raise InputError(
            "damaged-checkpoint",
            f"{self._path}: every checkpoint is damaged ({next(iter(damaged.values()))}); "
            "restore the folder from a backup, or remove it and train again",
        )

    def _load(self, step: int, parts: tuple[str, ...]) -> Checkpoint:
        """Reads a checkpoint and compares all of it with its seal; raises Damage."""
        seal, folder = self._seals[step], self._path / str(step)
        if isinstance(seal, Damage):
            raise seal
        # The files are verified before Orbax reads them, because its behaviour with damaged files is undefined.
        sealing.verify_files(folder, seal, (*parts, DESCRIPTION))
        import orbax.checkpoint as ocp

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
        LOGGER.warning("%s: the damaged checkpoint of step %d was moved here", place, step)
        aside = sorted(self._path.glob(f"{ASIDE}*"), key=lambda path: path.stat().st_ctime_ns)
        for old in aside[:-KEPT_ASIDE]:
            shutil.rmtree(old)


def _to_save(arrays: Mapping[str, np.ndarray], description: dict[str, Any]) -> "ocp.args.Composite":
    import orbax.checkpoint as ocp

    trees = {
        part: unflatten_dict({name: array for name, array in arrays.items() if _part(name) == part}, sep="/")
        for part in (VARIABLES, TRAINING)
    }
    items = {part: ocp.args.StandardSave(tree) for part, tree in trees.items()}
    return ocp.args.Composite(**items, description=ocp.args.JsonSave(description))


def _remove_temporary(path: Path) -> None:
    # If one of Orbax's writer threads has failed, others may still write, so that a removed folder can come back.
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
    """Opens the checkpoints in a network's folder.

    Args:
        folder: folder of the network.
        write: for a training: lock the folder and remove incomplete checkpoints. Otherwise, nothing is changed.
        keep_last: number of the last checkpoints to keep.
        keep_best: number of checkpoints with the best scores to keep.

    Raises:
        InputError: there are no checkpoints to read, or another training uses the folder.
    """
    path = (folder / FOLDER).absolute()
    if not write and not path.is_dir():
        what = f"{path}: no checkpoints" if folder.parent.is_dir() else f"{folder.parent}: no such folder"
        raise InputError(
            "missing-checkpoint",
            f"{what}; --checkpoint (or --workdir) must name the folder of a finished or interrupted training",
        )
    with contextlib.ExitStack() as stack:
        if write:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_alone(path))
            _remove_temporary(path)
            remove_stale(folder)
        orbax = stack.enter_context(contextlib.closing(_checkpointer()))
        yield Checkpoints(path, orbax, write=write, keep_last=keep_last, keep_best=keep_best)


def _checkpointer() -> "ocp.Checkpointer":
    """Returns an Orbax checkpointer for this process only; by default it would wait for the other processes."""
    import orbax.checkpoint as ocp

    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Locks a folder of checkpoints for this process; the system releases the lock when the process ends."""
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
                "in-use", f"{path}: another training is running there; wait for it, or choose another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            LOGGER.warning(
                "%s: this file system has no file locks (%s); never run two trainings in this folder at once",
                path,
                error,
            )
        yield
