"""The seal of a checkpoint: a file with checksums of its arrays, its description and its files, written last.

A checkpoint with an intact seal is complete. What is read from it is compared with the checksums.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.system.atomic import atomic_path, sync

NAME = "seal.json"
VERSION = 1


class Damage(Exception):
    """The error for a checkpoint that has changed since it was saved. The message names the file or the array."""


@dataclasses.dataclass(frozen=True)
class Seal:
    """Checksums of a saved checkpoint.

    Attributes:
        step: number of steps done.
        epoch: the epoch of the last step, from 1.
        score: mean validation Dice; None if there was no validation.
        description: SHA-256 of the description's canonical JSON.
        arrays: SHA-256, shape and dtype of each array by name, computed from the arrays in memory.
        files: SHA-256 of each file by its path inside the folder, computed from the files after they were read back
            from the disk.
        version: version of this format.
    """

    step: int
    epoch: int
    score: float | None
    description: str
    arrays: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, str]
    version: int = VERSION


def digest_json(value: Any) -> str:
    """Returns the SHA-256 of a value's JSON with sorted names and without spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_array(array: np.ndarray) -> dict[str, Any]:
    """Returns an array's shape, dtype and the SHA-256 of its values in row-major order."""
    values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return {"sha256": hashlib.sha256(values.data).hexdigest(), "shape": list(array.shape), "dtype": str(array.dtype)}


def digest_files(folder: Path) -> dict[str, str]:
    """Writes all files below a folder to the disk and returns their SHA-256 by path relative to the folder."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        sync(path)
        if path.is_file():
            digests[path.relative_to(folder).as_posix()] = _digest_file(path)
    sync(folder)
    return digests


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_seal(folder: Path, seal: Seal) -> None:
    """Writes a seal atomically, with a checksum of its own content."""
    content = dataclasses.asdict(seal)
    with atomic_path(folder / NAME) as temporary:
        temporary.write_text(json.dumps({**content, "seal": digest_json(content)}, indent=1) + "\n", encoding="utf-8")


def read_seal(folder: Path) -> Seal | None:
    """Reads the seal of a checkpoint's folder; None if there is none.

    Raises:
        Damage: the seal has changed, or belongs to another folder.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_bytes())
        whole = content.pop("seal") == digest_json(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damage(f"{path}: cannot be read ({error.strerror})") from None
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        whole = False
    if not whole:
        raise Damage(f"{path}: its content has changed")
    if content["version"] != VERSION or str(content["step"]) != folder.name:
        raise Damage(
            f"{path}: has step {content['step']} and format {content['version']}, which do not fit this folder"
        )
    return Seal(**content)


def verify_files(folder: Path, seal: Seal, parts: Collection[str]) -> None:
    """Compares files of a checkpoint with the seal: the files of some parts, and the files outside all parts.

    Args:
        folder: the folder of the checkpoint.
        seal: the seal of the checkpoint.
        parts: names of the parts to check.

    Raises:
        Damage: a file is missing, unreadable or changed.
    """
    for name, expected in seal.files.items():
        part, inside, _ = name.partition("/")
        if inside and part not in parts:
            continue
        try:
            found = _digest_file(folder / name)
        except OSError as error:
            raise Damage(f"{folder / name}: cannot be read ({error.strerror})") from None
        if found != expected:
            raise Damage(f"{folder / name}: its content has changed")


def verify_arrays(arrays: Mapping[str, np.ndarray], expected: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Compares names, shapes, dtypes and values of arrays with the seal.

    Args:
        arrays: the arrays that were read.
        expected: the entries of the seal.
        folder: the checkpoint's folder, for the message.

    Raises:
        Damage: an array differs; the message names the first one.
    """
    for name in sorted(arrays.keys() | expected.keys()):
        found = describe_array(arrays[name]) if name in arrays else None
        if found is None or found != expected.get(name):
            raise Damage(f"{folder}: array {name} is not the one that was saved")
