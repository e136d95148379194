"""What must never be written onto: the files that a job reads."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from foanet_jax.system.errors import InputError

Identity = tuple[int, int]


def identity(path: str | os.PathLike[str]) -> Identity | None:
    """The device and number of the file that a path leads to; None where there is none.

    Links, hard links, relative paths and names in other letter case lead to the same identity.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def identities(paths: Iterable[str | os.PathLike[str]]) -> dict[Identity, Path]:
    """The files that are there, by identity."""
    found: dict[Identity, Path] = {}
    for path in paths:
        whose = identity(path)
        if whose is not None:
            found.setdefault(whose, Path(path))
    return found


def files_below(paths: Iterable[str | os.PathLike[str]], *, but: Iterable[Path] = ()) -> Iterator[Path]:
    """Files as they are, and all files in folders and below.

    Args:
        paths: files and folders.
        but: files that are left out where a folder holds them, such as the earlier results of a job that writes into
            the folder of its run. Other links to them in the folder are not left out.
    """
    left_out = {_place(path) for path in but}
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        for parent, _, names in os.walk(path):
            yield from (file for file in (Path(parent) / name for name in names) if _place(file) not in left_out)


def _place(path: Path) -> str:
    """The name of a file, links in its folders resolved but not the file's own."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def require_no_input(outputs: Iterable[Path], inputs: dict[Identity, Path], remedy: str) -> None:
    """Checks that no output would replace a file that the job reads.

    Args:
        outputs: the files that would be written.
        inputs: the files that are read; see `identities`.
        remedy: what the user can do, such as "choose another --output".

    Raises:
        InputError: "output-is-input" where one would.
    """
    for output in outputs:
        whose = identity(output)
        if whose is not None and whose in inputs:
            other = inputs[whose]
            same = "" if os.path.abspath(other) == os.path.abspath(output) else f" (it is {other})"
            raise InputError(
                "output-is-input", f"{output}: a file of the input{same}, and none of them is replaced; {remedy}"
            )
