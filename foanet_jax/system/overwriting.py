"""Protection of input files: no job replaces a file that it reads."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from foanet_jax.system.errors import InputError

Identity = tuple[int, int]


def identity(path: str | os.PathLike[str]) -> Identity | None:
    """Returns device and inode number of the file at a path; None if there is no file.

    Links, hard links, relative paths and, on some file systems, names in another case have the same identity.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def identities(paths: Iterable[str | os.PathLike[str]]) -> dict[Identity, Path]:
    """Returns the files that exist, by identity."""
    found: dict[Identity, Path] = {}
    for path in paths:
        whose = identity(path)
        if whose is not None:
            found.setdefault(whose, Path(path))
    return found


def files_below(paths: Iterable[str | os.PathLike[str]], *, but: Iterable[Path] = ()) -> Iterator[Path]:
    """Yields the given files, and all files in the given folders and in their subfolders.

    Args:
        paths: files and folders.
        but: files in the folders to leave out, such as earlier results of a job that writes to the folder of its run.
            Other links to these files are not left out.
    """
    left_out = {_place(path) for path in but}
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        for parent, _, names in os.walk(path):
            yield from (file for file in (Path(parent) / name for name in names) if _place(file) not in left_out)


def _place(path: Path) -> str:
    """Returns the path of a file with the links in its folders resolved. If the file itself is a link, it stays."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def require_no_input(outputs: Iterable[Path], inputs: dict[Identity, Path], remedy: str) -> None:
    """Checks that no output would replace a file that the job reads.

    Args:
        outputs: the files that would be written.
        inputs: the files that the job reads; see `identities`.
        remedy: what the user can do, such as "choose another --output".

    Raises:
        InputError: "output-is-input" if an output is a file that the job reads.
    """
    for output in outputs:
        whose = identity(output)
        if whose is not None and whose in inputs:
            other = inputs[whose]
            same = "" if os.path.abspath(other) == os.path.abspath(output) else f" (it is {other})"
            raise InputError(
                "output-is-input", f"{output}: this is a file of the input{same} and is not replaced; {remedy}"
            )
