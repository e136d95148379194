"""Opens files of other formats as a stream of the bytes of a NIfTI file: header, then voxels."""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from foanet_jax.data.formats.description import Description, product
from foanet_jax.data.formats.metaimage import describe_metaimage
from foanet_jax.data.formats.nrrd import describe_nrrd
from foanet_jax.data.formats.pair import HEADERS, IMAGES, describe_pair, partners
from foanet_jax.system.errors import InputError

_READERS: Mapping[str, Callable[[Path], Description]] = {
    ".nrrd": describe_nrrd,
    ".nhdr": describe_nrrd,
    ".mha": describe_metaimage,
    ".mhd": describe_metaimage,
    **dict.fromkeys((*HEADERS, *IMAGES), describe_pair),
}
SUFFIXES = tuple(_READERS)
_CHUNK = 2**16
_ZLIB_OR_GZIP = 47  # zlib's code for both formats with any window size


def is_other_format(path: Path) -> bool:
    """Whether the suffix of a file is that of one of these formats."""
    return path.name.lower().endswith(SUFFIXES)


def describe(path: Path) -> Description:
    """Reads the header of a file in one of these formats.

    Raises:
        InputError: the header is not valid.
    """
    read = next(read for suffix, read in _READERS.items() if path.name.lower().endswith(suffix))
    # Lengths that are too large become infinite, and an infinite spacing is refused.
    with np.errstate(over="ignore", invalid="ignore"):
        return read(path)


def data_files(path: Path) -> list[Path]:
    """Returns the files of an image in one of these formats.

    If the header cannot be read, a file that it names is not in the list.
    """
    files = [path, *(partners(path, (*HEADERS, *IMAGES)) if path.name.lower().endswith((*HEADERS, *IMAGES)) else ())]
    try:
        return list(dict.fromkeys([*files, describe(path).data]))
    except (InputError, OSError):
        return files


@contextlib.contextmanager
def opened_as_nifti(path: Path, described: Description | None = None) -> Iterator[tuple[BinaryIO, int, bool]]:
    """Opens an image as the bytes of a NIfTI file. Yields the stream, the size on disk, and whether it is compressed.

    Only the header is read immediately. Voxels are read when the caller asks for them, and never more than it asks for.

    Args:
        path: the file.
        described: its description, if it is not that of `describe`.

    Raises:
        InputError: the header is not valid, or the file is too short for its voxels.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    described = describe(path) if described is None else described
    head = described.header.binaryblock + bytes(4)
    with open(described.data, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        offset = described.offset
        if offset is None:
            header = described.header
            sizes = header["dim"][1 : int(header["dim"][0]) + 1]
            offset = size - product(sizes) * int(header["bitpix"]) // 8
        if not 0 <= offset <= size:
            raise InputError("truncated", f"{described.data}: {size} bytes, too few for its voxels; copy it again")
        file.seek(offset)
        body = _Inflated(file) if described.compressed else file
        yield cast(BinaryIO, _Joined(head, body)), len(head) + size - offset, described.compressed


class _Joined:
    """A stream that yields given bytes first, and then the bytes of another stream."""

    def __init__(self, head: bytes, rest) -> None:
        self._head, self._rest = head, rest

    def read(self, count: int) -> bytes:
        part, self._head = self._head[:count], self._head[count:]
        return part if len(part) == count else part + self._rest.read(count - len(part))


class _Inflated:
    """Decompresses a zlib or gzip stream. It unpacks no more than the caller asks for, and verifies the checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._unpacker = file, zlib.decompressobj(_ZLIB_OR_GZIP)

    def read(self, count: int) -> bytes:
        parts: list[bytes] = []
        missing = count
        while missing > 0 and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(_CHUNK)
            part = self._unpacker.decompress(packed, missing)
            if not packed and not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        if self._unpacker.eof and (self._unpacker.unused_data or self._file.read(1)):
            raise zlib.error("more bytes after the compressed data")
        return b"".join(parts)
