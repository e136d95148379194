"""Several processes that train one network together, on one machine or on many; of a single one nothing is asked.

All of them do the same things in the same order. Where one has died, is stopped or does not answer, the others end.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from foanet_jax.system.errors import InputError

START_S = 300  # for the last process to come
HEARTBEAT_S = 30  # a process that is silent for so long counts as dead, and JAX ends the others
SHUTDOWN_S = 20  # for the last process to go
PATIENCE_S = 10  # of waiting for the others, after which it is told
# How many processes launchers say that they have started, each where JAX finds the rest for itself.
COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
LOST = ("Gloo", "NCCL", "oordinationService", "oordination service")  # in the errors of what waited for another process
Tree = TypeVar("Tree")


def join(coordinator: str = "", processes: int = 0, process: int | None = None) -> None:
    """Joins the processes that train together, once all of them have come; to be called before JAX is used.

    Args:
        coordinator: host and port of the first process, at which the others find it; empty: SLURM, MPI or Kubernetes
            says it, where one of them has started several processes.
        processes: how many; 1: this one alone, whatever has started it.
        process: which one this is, from 0.

    Raises:
        InputError: these do not fit together, or the others cannot be found. Where they do not come, JAX itself ends
            the process.
    """
    if processes == 1:
        return
    told = bool(coordinator or processes or process is not None)
    if told and not (coordinator and process is not None and 0 <= process < processes):
        raise InputError(
            "arguments",
            f"--coordinator={coordinator} --processes={processes} --process={process}: give each of the processes the "
            "same host and port, their number, and its own from 0; or none of these, where a launcher says them",
        )
    if not (told or _launched()):
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # `interruption` answers signals.
    known = {"coordinator_address": coordinator, "num_processes": processes, "process_id": process}
    where = known if coordinator else {"cluster_detection_method": _method()}
    try:
        with _waiting(f"waiting for the other processes to start; without them this one ends after {START_S} s"):
            jax.distributed.initialize(
                **where,
                initialization_timeout=START_S,
                heartbeat_timeout_seconds=HEARTBEAT_S,
                shutdown_timeout_seconds=SHUTDOWN_S,
            )
    except (RuntimeError, ValueError) as error:
        what = str(error).strip().splitlines()[0]
        raise InputError(
            "no-cluster", f"the processes did not come together ({what}); see docs/clusters.md, or use --processes=1"
        ) from error


def _launched() -> bool:
    """Whether a launcher has started several processes."""
    if "JOB_COMPLETION_INDEX" in os.environ and importlib.util.find_spec("kubernetes"):
        return True
    return any(os.environ.get(name, "1") not in ("", "0", "1") for name in COUNTS)


def _method() -> str | None:
    """By which of JAX's ways the others are found; None: it knows by itself."""
    if {"SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri", "JOB_COMPLETION_INDEX"} & set(os.environ):
        return None
    if importlib.util.find_spec("mpi4py"):
        return "mpi4py"
    raise InputError(
        "no-cluster",
        "MPI has started several processes, but mpi4py, which tells where, is not installed; install it, or use "
        "--coordinator, --processes and --process, or --processes=1 to train alone",
    )


def joined() -> bool:
    """Whether there are others, who wait for this process."""
    return jax.distributed.is_initialized()


def part() -> None:
    """Leaves the others, once all are here; from then on this process is on its own."""
    anywhere(False)  # waits for as long as it takes, other than JAX
    jax.distributed.shutdown()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def mine(count: int) -> range:
    """Which of some things are left to this process, where each is to be done by one of them."""
    return range(jax.process_index(), count, jax.process_count()) if joined() else range(count)


def gathered(array: np.ndarray) -> np.ndarray:
    """(processes, …): the array of every process, which are of one shape and dtype."""
    if not joined():
        return array[None]
    content = np.frombuffer(array.tobytes(), np.uint8)  # JAX would round float64.
    with _waiting(_other_is_late()):
        found = multihost_utils.process_allgather(content)
    return np.asarray(found).view(array.dtype).reshape(-1, *array.shape)


def anywhere(flag: bool) -> bool:
    """Whether the flag is true in any process."""
    return bool(gathered(np.array(flag)).any())


def of_first(tree: Tree) -> Tree:
    """The first process's arrays, to the last bit, instead of this one's, which are of the same shapes and dtypes."""
    if not joined():
        return tree
    own = jax.tree.map(np.asarray, jax.device_get(tree))
    with _waiting(_other_is_late()):
        found = multihost_utils.broadcast_one_to_all(
            jax.tree.map(lambda array: np.frombuffer(array.tobytes(), np.uint8), own)
        )
    return jax.tree.map(lambda array, bytes_: np.asarray(bytes_).view(array.dtype).reshape(array.shape), own, found)


def require_alike(described: Mapping[str, Any]) -> None:
    """Checks that all processes are about to do the same thing.

    Raises:
        InputError: in all of them, where one is not.
    """
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).digest()
    found = gathered(np.frombuffer(digest, np.uint8))
    others = np.flatnonzero((found != found[0]).any(axis=1))
    if len(others):
        raise InputError(
            "processes-differ",
            f"process {others[0]} was given other settings or other studies than process 0; start all of them with the "
            "same options and the same files",
        )


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    of_jax = isinstance(error, RuntimeError | ValueError) and not isinstance(error, InputError)
    return joined() and of_jax and any(word in str(error) for word in LOST)


@contextlib.contextmanager
def _waiting(message: str) -> Iterator[None]:
    """A block that waits for the others, and says so where it takes long."""
    timer = threading.Timer(PATIENCE_S, sys.stderr.write, [f"\n{message}\n"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _other_is_late() -> str:
    return (
        f"process {jax.process_index()} has waited {PATIENCE_S} s for another one; one that was killed or stopped "
        f"ends all after {HEARTBEAT_S} s of silence"
    )
