"""Files that are either whole or not there, and files that are no links."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from foanet_jax.errors import InputError


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
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The file's name reaches the disk with its folder; some file systems do not open folders.
    with contextlib.suppress(OSError):
        _sync(path.parent)


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
