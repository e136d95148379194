"""Training of one network by several processes, on one machine or on many.

All processes call the same functions in the same order. If one process dies, is stopped or does not answer, the others
end. With a single process, the functions of this module do nothing.
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

START_S = 300  # time limit for all processes to start
HEARTBEAT_S = 30  # a process that is silent for this long counts as dead, and JAX ends the others
SHUTDOWN_S = 20  # time limit for all processes to shut down
PATIENCE_S = 10  # a process that waits longer than this for the others prints a message
# Environment variables in which launchers store the number of processes. JAX finds the other settings itself.
COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
# Words in the errors that JAX raises when another process is lost.
LOST = ("Gloo", "NCCL", "oordinationService", "oordination service")
Tree = TypeVar("Tree")


def join(coordinator: str = "", processes: int = 0, process: int | None = None) -> None:
    """Connects this process with the others that train together, and waits until all have started.

    Call it before JAX is used. If the others do not start within START_S seconds, JAX ends this process.

    Args:
        coordinator: "host:port" of the first process, to which the others connect. Empty: SLURM, MPI or Kubernetes
            provides it, if one of them has started several processes.
        processes: number of processes; 1: this process trains alone, even if a launcher has started several.
        process: index of this process, from 0.

    Raises:
        InputError: the arguments contradict each other, or the other processes cannot be found.
    """
    if processes == 1:
        return
    explicit = bool(coordinator or processes or process is not None)
    if explicit and not (coordinator and process is not None and 0 <= process < processes):
        raise InputError(
            "arguments",
            f"--coordinator={coordinator} --processes={processes} --process={process}: give every process the same "
            "host:port and the number of processes, and each its own index from 0; or give none of the three options "
            "if SLURM, MPI or Kubernetes has started the processes",
        )
    if not (explicit or _launched()):
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # `interruption` handles signals.
    known = {"coordinator_address": coordinator, "num_processes": processes, "process_id": process}
    where = known if coordinator else {"cluster_detection_method": _method()}
    try:
        with _waiting(f"waiting for the other processes to start; this process gives up after {START_S} s"):
            jax.distributed.initialize(
                **where,
                initialization_timeout=START_S,
                heartbeat_timeout_seconds=HEARTBEAT_S,
                shutdown_timeout_seconds=SHUTDOWN_S,
            )
    except (RuntimeError, ValueError) as error:
        what = str(error).strip().splitlines()[0]
        raise InputError(
            "no-cluster",
            f"the processes could not connect to each other ({what}); see docs/clusters.md, or use --processes=1",
        ) from error


def _launched() -> bool:
    """Returns whether a launcher has started several processes."""
    if "JOB_COMPLETION_INDEX" in os.environ and importlib.util.find_spec("kubernetes"):
        return True
    return any(os.environ.get(name, "1") not in ("", "0", "1") for name in COUNTS)


def _method() -> str | None:
    """Returns JAX's `cluster_detection_method`; None: JAX detects the launcher itself."""
    if {"SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri", "JOB_COMPLETION_INDEX"} & set(os.environ):
        return None
    if importlib.util.find_spec("mpi4py"):
        return "mpi4py"
    raise InputError(
        "no-cluster",
        "MPI has started several processes, but mpi4py is not installed, which is needed to find them; install it, or "
        "use --coordinator, --processes and --process, or use --processes=1 to train in one process",
    )


def joined() -> bool:
    """Returns whether this process is connected with other processes, which wait for it."""
    return jax.distributed.is_initialized()


def part() -> None:
    """Waits until all processes have called this function, then disconnects this process from the others."""
    anywhere(False)  # This waits without a time limit, unlike JAX's shutdown.
    jax.distributed.shutdown()


def is_first() -> bool:
    """Returns whether this is the first process, the only one that writes files."""
    return jax.process_index() == 0


def mine(count: int) -> range:
    """Returns the indices of the work items that this process handles, from 0 to count − 1.

    Each item is handled by exactly one process.
    """
    return range(jax.process_index(), count, jax.process_count()) if joined() else range(count)


def gathered(array: np.ndarray) -> np.ndarray:
    """Returns the arrays of all processes as (processes, …). They must have the same shape and dtype."""
    if not joined():
        return array[None]
    content = np.frombuffer(array.tobytes(), np.uint8)  # The array is sent as bytes, because JAX would round float64.
    with _waiting(_other_is_late()):
        found = multihost_utils.process_allgather(content)
    return np.asarray(found).view(array.dtype).reshape(-1, *array.shape)


def anywhere(flag: bool) -> bool:
    """Returns whether the flag is true in any process."""
    return bool(gathered(np.array(flag)).any())


def of_first(tree: Tree) -> Tree:
    """Returns the arrays of the first process, bit-identical in every process.

    Args:
        tree: the arrays of this process, with the same shapes and dtypes as in the first process.
    """
    if not joined():
        return tree
    own = jax.tree.map(np.asarray, jax.device_get(tree))
    with _waiting(_other_is_late()):
        found = multihost_utils.broadcast_one_to_all(
            jax.tree.map(lambda array: np.frombuffer(array.tobytes(), np.uint8), own)
        )
    return jax.tree.map(lambda array, bytes_: np.asarray(bytes_).view(array.dtype).reshape(array.shape), own, found)


def require_alike(described: Mapping[str, Any]) -> None:
    """Checks that all processes have the same settings and studies.

    Args:
        described: the values that must be equal in all processes, in types that JSON can hold.

    Raises:
        InputError: a process has other values. All processes raise it.
    """
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).digest()
    found = gathered(np.frombuffer(digest, np.uint8))
    others = np.flatnonzero((found != found[0]).any(axis=1))
    if len(others):
        raise InputError(
            "processes-differ",
            f"the settings or studies of process {others[0]} differ from those of process 0; start all processes "
            "with the same options and the same files",
        )


def is_lost(error: BaseException) -> bool:
    """Returns whether an error means that another process has been lost."""
    of_jax = isinstance(error, RuntimeError | ValueError) and not isinstance(error, InputError)
    return joined() and of_jax and any(word in str(error) for word in LOST)


@contextlib.contextmanager
def _waiting(message: str) -> Iterator[None]:
    """Prints a message if the block, which waits for other processes, takes longer than PATIENCE_S."""
    timer = threading.Timer(PATIENCE_S, sys.stderr.write, [f"\n{message}\n"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _other_is_late() -> str:
    return (
        f"process {jax.process_index()} has waited {PATIENCE_S} s for another process; if that one was killed or "
        f"stopped, all processes end after {HEARTBEAT_S} s"
    )
