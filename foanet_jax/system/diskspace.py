"""A full disk, told as what it is: where, how much is needed, how much is free."""

import contextlib
import errno
import os
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


def require_writable(folder: Path, option: str) -> None:
    """Checks that a folder can be written to, or made, without making it: it may never be needed.

    Args:
        folder: what an option names.
        option: its name, for the message.

    Raises:
        InputError: "output-path" where a file is in its place, "unwritable" where its place cannot be written to.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise InputError("output-path", f"{place}: a file is in the place of the folder; choose another {option}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError("unwritable", f"{place}: this folder cannot be written to; choose another {option}")


def disk_full(path: Path, needed: int = 0) -> InputError:
    """The error to raise; see `telling_disk_full`."""
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    wanted = f"{needed:,} bytes are needed, " if needed else ""
    return InputError(
        "disk-full", f"{path}: the disk is full: {wanted}{free:,} are free; make room and give the command again"
    )
