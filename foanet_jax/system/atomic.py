"""Atomic writing of files, and opening of files without following symbolic links."""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from foanet_jax.system.errors import InputError

TEMPORARY = re.compile(r"\.[0-9a-f]{16}(\..*)?")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary file in the folder of `path`. It replaces `path` when the block ends without an error.

    If the block fails, the temporary file is removed and the old file at `path` stays as it was. The temporary name
    starts with a dot. It has the suffixes of `path`, because some libraries choose the format by the suffix. A missing
    parent folder is created.

    Args:
        path: the file to write.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}{''.join(path.suffixes[-2:])}"
    # `tempfile` is not used, because only the owner can read its files, also after the replacement.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # An error while writing to an open file, such as a full disk, has no file name.
        raise
    # The new name is on the disk only after the folder is synchronised. Some file systems cannot open folders.
    with contextlib.suppress(OSError):
        sync(path.parent)


def open_unlinked(path: Path, mode: str) -> TextIO:
    """Opens a text file for writing in place, such as a log, and refuses a symbolic link.

    Args:
        path: the file.
        mode: as for `open`, text modes only.

    Raises:
        InputError: `path` is a symbolic link.
        OSError: the file cannot be opened or written.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    try:
        return cast(TextIO, open(path, mode, encoding="utf-8", opener=opener))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError("link", f"{path}: is a link to another file and is not written to; remove the link") from None


def sync(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes the temporary files of `atomic_path` that a killed process left in a folder."""
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
