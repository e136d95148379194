"""Files that are either whole or not there, and files that are no links."""

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
    """A temporary file beside `path` that replaces it once the block ends, and is removed if the block fails.

    The temporary name starts with a dot and ends as `path` does, for libraries that go by the suffix. The
    folder is made where it is missing. What stood at `path` stays untouched until the replacement.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}{''.join(path.suffixes[-2:])}"
    # Not tempfile: its files are readable by their owner alone, and would stay so after the replacement.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # A full disk is told by a file that was open, which does not say its name.
        raise
    # The file's name reaches the disk with its folder; some file systems do not open folders.
    with contextlib.suppress(OSError):
        sync(path.parent)


def open_unlinked(path: Path, mode: str) -> TextIO:
    """Opens a text file that is written in place, such as a log; a link there is not followed to another file.

    Raises:
        InputError: a link stands in its place.
        OSError: it cannot be written to.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    try:
        return cast(TextIO, open(path, mode, encoding="utf-8", opener=opener))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError("link", f"{path}: a link to another file, which is not written to; remove the link") from None


def sync(path: Path) -> None:
    """Returns once a file's content, or a folder's names, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes the temporary files that `atomic_path` left in a folder where its process was killed."""
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
