"""Clear errors for a full disk: which path, how much space is needed, how much is free."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from foanet_jax.system.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("No space left on device", "Disk quota exceeded")  # in errors of libraries that do not raise OSError


def is_full(error: BaseException) -> bool:
    """Returns whether an error means that the disk or the user's disk quota is full."""
    return (isinstance(error, OSError) and error.errno in FULL) or any(words in str(error) for words in WORDS)


@contextlib.contextmanager
def explaining_disk_full(path: Path, needed: int = 0) -> Iterator[None]:
    """Turns each error of a full disk in the block into an InputError that names the path.

    Args:
        path: the file that is written, or its folder.
        needed: number of bytes to write; 0 if unknown.

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
    """Raises InputError if fewer than `needed` bytes are free on the disk of `folder`."""
    if shutil.disk_usage(folder).free < needed:
        raise disk_full(folder, needed)


def require_writable(folder: Path, option: str) -> None:
    """Checks that a folder can be created or written to. The folder is not created, because it may never be needed.

    Args:
        folder: the value of a command-line option.
        option: name of the option, for the message.

    Raises:
        InputError: "output-path" if there is a file in its place; "unwritable" if its place cannot be written to.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise InputError("output-path", f"{place}: a file is in the place of the folder; choose another {option}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError("unwritable", f"{place}: this folder cannot be written to; choose another {option}")


def disk_full(path: Path, needed: int = 0) -> InputError:
    """Returns the error to raise for a full disk. The arguments are those of `explaining_disk_full`."""
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    wanted = f"{needed:,} bytes are needed, " if needed else ""
    return InputError(
        "disk-full", f"{path}: the disk is full: {wanted}{free:,} are free; free some space and run the command again"
    )
