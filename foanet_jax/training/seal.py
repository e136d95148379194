"""What a checkpoint says of itself, written last: digests of its arrays, of its description and of its files.

A folder with a seal that is whole was written to its end. What is read from it is compared with the seal.
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
    """A checkpoint is not what was saved; the message names the file or the array."""


@dataclasses.dataclass(frozen=True)
class Seal:
    """What was saved.

    Attributes:
        step: updates made.
        epoch: the epoch that they end in, from 1.
        score: of the validation; None where there was none.
        description: sha256 of the description's canonical JSON.
        arrays: sha256, shape and dtype by name, from the arrays in memory.
        files: sha256 by path inside the folder, of what was read back from the disk.
        version: of this format.
    """

    step: int
    epoch: int
    score: float | None
    description: str
    arrays: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, str]
    version: int = VERSION


def digest_json(value: Any) -> str:
    """sha256 of a value's JSON with sorted names and no blanks."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_array(array: np.ndarray) -> dict[str, Any]:
    """sha256 of an array's values in row-major order, its shape and dtype."""
    values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return {"sha256": hashlib.sha256(values.data).hexdigest(), "shape": list(array.shape), "dtype": str(array.dtype)}


def digest_files(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder by its path there; all of them have reached the disk by then."""
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
    """Writes a seal whole or not at all, with a digest of its own content."""
    content = dataclasses.asdict(seal)
    with atomic_path(folder / NAME) as temporary:
        temporary.write_text(json.dumps({**content, "seal": digest_json(content)}, indent=1) + "\n", encoding="utf-8")


def read_seal(folder: Path) -> Seal | None:
    """A folder's seal, None where it has none.

    Raises:
        Damage: it is not what was written, or belongs to another folder.
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
        raise Damage(f"{path}: of step {content['step']}, format {content['version']}; not of this folder")
    return Seal(**content)


def verify_files(folder: Path, seal: Seal, parts: Collection[str]) -> None:
    """Checks the files of some of a checkpoint's parts, and those beside the parts.

    Raises:
        Damage: one is missing, unreadable or changed.
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
    """Checks names, shapes, dtypes and values of arrays that were read.

    Raises:
        Damage: naming the first that differs.
    """
    for name in sorted(arrays.keys() | expected.keys()):
        found = describe_array(arrays[name]) if name in arrays else None
        if found is None or found != expected.get(name):
            raise Damage(f"{folder}: array {name} is not the one that was saved")
