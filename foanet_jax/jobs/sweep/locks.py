"""Locks on folders, so that only one process at a time works in a folder."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from foanet_jax.system.atomic import open_unlinked

LOGGER = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder for this process, and waits if another process has locked it.

    A missing folder is created. The system releases the lock when the process ends, even if it crashes.
    """
    import fcntl  # Windows does not have it; only sweeps need it.

    folder.mkdir(parents=True, exist_ok=True)
    with open_unlinked(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOGGER.info("%s: another process is working there; waiting for it", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
