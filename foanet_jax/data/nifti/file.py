"""Reads the voxels of a NIfTI file.

The file is not trusted: it may end too early, be too long, or decompress to far more bytes than its header declares.
"""

import contextlib
import dataclasses
import gzip
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np

from foanet_jax.data.formats import Description, is_other_format, opened_as_nifti
from foanet_jax.data.nifti.geometry import read_geometry
from foanet_jax.data.nifti.header import (
    ThirdAxis,
    body_offset,
    data_type,
    dimensions,
    header_size,
    read_header,
    scaling,
)
from foanet_jax.data.nifti.timing import frame_times
from foanet_jax.data.study import Grid
from foanet_jax.system.errors import InputError

DEFAULT_BUDGET_BYTES = 2 * 2**30

_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_LIMIT = 1032  # bytes that one byte of a gzip file can hold at most


@dataclasses.dataclass(frozen=True)
class NiftiVolume:
    """The voxels of one NIfTI file and their place in the world.

    Attributes:
        data: (T, Z, H, W) float32, finite. The axes of the file are reversed, and its scaling is applied.
        spacing_mm: (slice, row, column), see `geometry.read_geometry`. The slice distance is 1 if the third axis is
            time or if the header has no slice distance.
        affine: (4, 4) float64, from (column, row, slice) to RAS+ world mm, unchanged from the file. In ACDC's files,
            pixdim has the true spacing and the affine has 1.
        header: the nibabel header of the file, with `spacing_mm` as its pixdim.
        path: the file.
        to_source: maps a (T, Z, H, W) array on this grid to the file's own axes. None means that the axes only have
            to be reversed.
        frame_seconds: time from frame to frame; None if neither the header nor the .json file beside it has it.
        remarks: one sentence for each decision that the reader had to make about the header.
    """

    data: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    header: nib.Nifti1Header
    path: Path
    to_source: Callable[[np.ndarray], np.ndarray] | None = None
    frame_seconds: float | None = None
    remarks: tuple[str, ...] = ()


def read_nifti(
    path: str | os.PathLike[str],
    *,
    third_axis: ThirdAxis = "slice",
    spacing_mm: Sequence[float] | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    described: Description | None = None,
) -> NiftiVolume:
    """Reads the volume in a .nii or .nii.gz file of 2, 3 or 4 dimensions: (W, H[, Z][, T]).

    Files of other formats (`data.formats`: NRRD, MetaImage, pairs of .hdr and .img) are opened as a stream with the
    bytes of a NIfTI file that has the same image.

    Args:
        path: the file. Its first bytes show whether it is compressed.
        third_axis: the meaning of the third axis of a 3D file. The header does not distinguish (W, H, Z) from
            (W, H, T).
        spacing_mm: the true distances of slices, rows and columns, if those of the header are wrong.
        budget_bytes: the largest memory that the voxels may take as float32.
        described: the description of a file of another format, if it is not that of its header.

    Raises:
        InputError: the file is not a valid NIfTI image of real numbers. The code of the error says why.
    """
    if third_axis not in ("slice", "time"):
        raise InputError("third-axis", f"third_axis is {third_axis!r}; choose 'slice' or 'time'")
    path = Path(path)
    with _opened(path, described) as (stream, size, compressed):
        header = read_header(stream, path)
        dims = dimensions(header, path)
        dtype = data_type(header, path)
        voxels = math.prod(dims)
        if 4 * voxels > budget_bytes:
            raise InputError(
                "too-large",
                f"{path}: declares {' × '.join(map(str, dims))} voxels, {4 * voxels / 2**30:.2f} GiB as float32, "
                f"over the budget of {budget_bytes / 2**30:.2f} GiB; crop the file or raise the budget",
            )
        place = read_geometry(header, dims, third_axis, path, spacing_mm=spacing_mm)
        slope, intercept = scaling(header, path)
        offset = body_offset(header, path)
        body_bytes = voxels * dtype.itemsize
        if not compressed and size != offset + body_bytes:
            raise _size_error(path, size - offset, body_bytes)
        # This check comes before memory is allocated, so that a tiny file cannot claim gigabytes.
        if compressed and body_bytes > _DEFLATE_LIMIT * size:
            raise InputError(
                "truncated",
                f"{path}: its {size} bytes cannot hold the {body_bytes} bytes of voxels that the header declares; "
                "copy the file again",
            )
        _skip(stream, offset - header_size(header), path)
        raw = _read_body(stream, body_bytes, path)
    data = _to_float32(raw.view(dtype).reshape(place.shape), slope, intercept)
    bad = sum(int(frame.size - np.isfinite(frame).sum()) for frame in data)
    if bad:
        raise InputError(
            "non-finite", f"{path}: {bad} of {voxels} voxels are NaN or infinite as float32; export the file again"
        )
    seconds, remarks = frame_times(place.header, dims, place.shape[0], path)
    return NiftiVolume(
        data,
        place.spacing_mm,
        place.affine,
        place.header,
        path,
        frame_seconds=seconds,
        remarks=place.remarks + remarks,
    )


def read_grid(
    path: str | os.PathLike[str], *, third_axis: ThirdAxis = "slice", spacing_mm: Sequence[float] | None = None
) -> Grid:
    """Returns the shape and the spacing of the volume that `read_nifti` would read. Only the header is read.

    Raises:
        InputError: as `read_nifti`, for the errors that the header shows.
    """
    path = Path(path)
    with _opened(path) as (stream, _, _):
        header = read_header(stream, path)
        place = read_geometry(header, dimensions(header, path), third_axis, path, spacing_mm=spacing_mm)
    return Grid(place.shape, place.spacing_mm)


@contextlib.contextmanager
def _opened(path: Path, described: Description | None = None) -> Iterator[tuple[BinaryIO, int, bool]]:
    """Yields the file's uncompressed bytes, its size on disk, and whether it is compressed."""
    try:
        if not path.exists():
            raise InputError("missing-file", f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError("not-a-file", f"{path}: a folder or device, not a file; pass a .nii or .nii.gz file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise InputError("empty-file", f"{path}: empty; copy or export the file again")
            if is_other_format(path):
                with opened_as_nifti(path, described) as opened:
                    yield opened
                return
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not compressed:
                yield file, size, False
                return
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield cast(BinaryIO, stream), size, True
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            "corrupt", f"{path}: the compressed data are damaged ({error}); copy or download the file again"
        ) from None
    except EOFError:
        raise InputError(
            "truncated", f"{path}: the compressed data end too early; copy or download the file again"
        ) from None
    except OSError as error:
        raise InputError(
            "unreadable", f"{path}: cannot be read ({error.strerror or error}); check its permissions and the disk"
        ) from None


def _skip(stream: BinaryIO, count: int, path: Path) -> None:
    if len(stream.read(count)) < count:
        raise InputError("truncated", f"{path}: ends within the header's extensions; copy the file again")


def _read_body(stream: BinaryIO, count: int, path: Path) -> np.ndarray:
    """Reads exactly `count` bytes. The stream must end after them; reading to the end also checks gzip's CRC."""
    # The buffer grows with the bytes that exist, so that a false size in the header allocates no memory.
    raw = bytearray()
    while len(raw) < count:
        chunk = stream.read(min(_CHUNK, count - len(raw)))
        if not chunk:
            raise _size_error(path, len(raw), count)
        raw += chunk
    if stream.read(1):
        raise _size_error(path, None, count)
    return np.frombuffer(raw, np.uint8)


def _size_error(path: Path, found: int | None, declared: int) -> InputError:
    if found is not None and found < declared:
        return InputError(
            "truncated",
            f"{path}: {max(0, found)} bytes of voxels where the header declares {declared}; copy the file again",
        )
    return InputError(
        "size-mismatch",
        f"{path}: {'more' if found is None else found} bytes of voxels where the header declares {declared}; "
        "export the file again",
    )


def _to_float32(raw: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Converts and scales slice by slice, so that the temporary float64 array stays small."""
    data = np.empty(raw.shape, np.float32)
    # Values outside the range of float32 become infinite here. The caller refuses all infinite values.
    with np.errstate(over="ignore", invalid="ignore"):
        for index in np.ndindex(raw.shape[:2]):
            part = raw[index]
            data[index] = part if (slope, intercept) == (1.0, 0.0) else part.astype(np.float64) * slope + intercept
    return data
