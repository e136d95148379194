"""Files that are either whole or not there."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

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
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The file's name reaches the disk with its folder; some file systems do not open folders.
    with contextlib.suppress(OSError):
        sync(path.parent)


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
