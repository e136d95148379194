"""A full disk, told as what it is: where, how much is needed, how much is free."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from foanet_jax.system.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("No space left on device", "Disk quota exceeded")  # of libraries that raise errors of their own


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or a user's share of it, is full."""
    return (isinstance(error, OSError) and error.errno in FULL) or any(words in str(error) for words in WORDS)


@contextlib.contextmanager
def telling_disk_full(path: Path, needed: int = 0) -> Iterator[None]:
    """Turns every error of a full disk into one that names the place.

    Args:
        path: what is written, or its folder.
        needed: bytes, where they are known.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_full(error):
            raise disk_full(path, needed) from error
        raise


def require_space(folder: Path, needed: int) -> None:
    """Raises InputError where less than `needed` bytes are free on a folder's disk."""
    if shutil.disk_usage(folder).free < needed:
        raise disk_full(folder, needed)


def disk_full(path: Path, needed: int = 0) -> InputError:
    """The error to raise; see `telling_disk_full`."""
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    wanted = f"{needed:,} bytes are needed, " if needed else ""
    return InputError(
        "disk-full", f"{path}: the disk is full: {wanted}{free:,} are free; make room and give the command again"
    )
