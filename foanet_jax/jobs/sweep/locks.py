"""Folders in which one process works at a time."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from foanet_jax.system.atomic import open_unlinked

LOGGER = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made where there is none, for this process alone; waits while another has it.

    The system takes the lock back from a process that ends, however it ends.
    """
    import fcntl  # which Windows has not; all but sweeps works without

    folder.mkdir(parents=True, exist_ok=True)
    with open_unlinked(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOGGER.info("%s: another process is at work there; waiting for it", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
