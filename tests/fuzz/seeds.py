"""What is damaged: small sound files, the numbers in them, and how they are packed."""

import dataclasses
import gzip
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutations import Field


@dataclasses.dataclass(frozen=True)
class Packing:
    """How a file is taken apart into what its compression covers, and put together again."""

    unpack: Callable[[bytes], list[bytes]]
    pack: Callable[[Sequence[bytes]], bytes]


@dataclasses.dataclass(frozen=True)
class Target:
    """A file of a seed that may be damaged.

    Attributes:
        name: its path inside the seed's folder.
        fields: the numbers in its bytes, or in its first unpacked part where it is packed.
        packing: None where the bytes are what they mean.
        checksummed: whether damage to the packed bytes must never change what is read.
        text: whether it is a text.
    """

    name: str
    fields: Sequence[Field] = ()
    packing: Packing | None = None
    checksummed: bool = False
    text: bool = False


@dataclasses.dataclass(frozen=True)
class Seed:
    """A sound folder and the real reader of it.

    Attributes:
        files: contents by path inside the folder.
        targets: the files that may be damaged.
        read: reads the folder; gives studies, arrays or folds, or raises InputError.
        check: raises AssertionError where something that was read does not hold together.
    """

    files: Mapping[str, bytes]
    targets: Sequence[Target]
    read: Callable[[Path], Any]
    check: Callable[[Any, Path], None]


def some(*shape: int, high: int = 200) -> np.ndarray:
    """Whole numbers from 0 to below `high`, always the same ones of a shape."""
    return np.random.default_rng(sum(shape)).integers(0, high, shape)


def words(content: bytes, *, step: int, letters: str, order: str = "<") -> list[Field]:
    """A number at every `step` bytes, for formats whose fields stand at no fixed place."""
    return [
        Field(offset, letter, order)
        for letter in letters
        for offset in range(0, len(content) - struct.calcsize(letter) + 1, step)
    ]


def gunzip(content: bytes) -> bytes | None:
    """What a gzip file holds where its checksums are right, else None."""
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        return None


def _gunzip(content: bytes) -> list[bytes]:
    return [gzip.decompress(content)]


def _gzip(parts: Sequence[bytes]) -> bytes:
    return gzip.compress(b"".join(parts), compresslevel=1, mtime=0)


GZIP = Packing(_gunzip, _gzip)


def _open_mat(content: bytes) -> list[bytes]:
    """The contents of each compressed element, the longest first, and the file's header at the end."""
    parts, at = [], 128
    while at < len(content):
        kind, size = struct.unpack_from("<II", content, at)
        assert kind == 15
        parts.append(zlib.decompress(content[at + 8 : at + 8 + size]))
        at += 8 + size
    return [*sorted(parts, key=len, reverse=True), content[:128]]


def _close_mat(parts: Sequence[bytes]) -> bytes:
    packed = [zlib.compress(part, 1) for part in parts[:-1]]
    return parts[-1] + b"".join(struct.pack("<II", 15, len(part)) + part for part in packed)


MAT = Packing(_open_mat, _close_mat)
