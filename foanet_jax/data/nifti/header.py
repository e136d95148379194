"""Reads the header of a NIfTI file. Every field is checked before it is used."""

import math
from pathlib import Path
from typing import BinaryIO, Literal

import nibabel as nib
import numpy as np

from foanet_jax.system.errors import InputError

SPACING_RANGE_MM = (0.01, 500.0)

ThirdAxis = Literal["slice", "time"]

_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_REFUSED_DTYPES = {
    1: "1-bit",
    32: "complex64",
    128: "RGB",
    1536: "float128",
    1792: "complex128",
    2048: "complex256",
    2304: "RGBA",
}
_LONGEST_EXTENSION = 16 * 2**20


def read_header(stream: BinaryIO, path: Path) -> nib.Nifti1Header:
    """Reads the header at the start of an uncompressed stream, and checks its size and magic.

    Raises:
        InputError: "not-nifti" or "truncated".
    """
    block = stream.read(348)
    kinds: dict[bytes, tuple[type[nib.Nifti1Header], str, int]] = {
        (348).to_bytes(4, "little"): (nib.Nifti1Header, "<", 348),
        (348).to_bytes(4, "big"): (nib.Nifti1Header, ">", 348),
        (540).to_bytes(4, "little"): (nib.Nifti2Header, "<", 540),
        (540).to_bytes(4, "big"): (nib.Nifti2Header, ">", 540),
    }
    if block[:4] not in kinds:
        raise InputError(
            "not-nifti", f"{path}: does not start as NIfTI does (first bytes {block[:4].hex()}); pass a NIfTI file"
        )
    kind, endianness, size = kinds[block[:4]]
    block += stream.read(size - len(block))
    if len(block) < size:
        raise InputError("truncated", f"{path}: {len(block)} bytes, less than a header of {size}; copy the file again")
    header = kind(block, endianness=endianness, check=False)
    magic = bytes(header["magic"])
    if magic.startswith((b"ni1", b"ni2")):
        raise InputError("not-nifti", f"{path}: half of an .hdr/.img pair (magic {magic!r}); convert it to one .nii")
    if magic != (b"n+1\0" if size == 348 else b"n+2\0"):
        raise InputError("not-nifti", f"{path}: magic {magic!r} is not NIfTI's n+1 or n+2; pass a NIfTI file")
    return header


def header_size(header: nib.Nifti1Header) -> int:
    """Returns the size of the header in bytes: 348 for NIfTI-1, 540 for NIfTI-2."""
    return int(header["sizeof_hdr"])


def dimensions(header: nib.Nifti1Header, path: Path) -> tuple[int, ...]:
    """Returns the sizes of the file's 2 to 4 axes. Further axes must have length 1."""
    ndim = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1:]]
    if not 2 <= ndim <= 7 or any(size > 1 for size in sizes[4:ndim]):
        raise InputError(
            "dimensions",
            f"{path}: {ndim} dimensions {tuple(sizes[: max(0, min(ndim, 7))])}; "
            "2, 3 or 4 can be read: export one image to a file",
        )
    if any(size < 1 for size in sizes[:ndim]):
        raise InputError("dimensions", f"{path}: dimensions {tuple(sizes[:ndim])}; all must be 1 or more: export again")
    return tuple(sizes[: min(ndim, 4)])


def data_type(header: nib.Nifti1Header, path: Path) -> np.dtype:
    """Returns the data type of the stored voxels, with its byte order."""
    code = int(header["datatype"])
    if code not in _DTYPES:
        name = _REFUSED_DTYPES.get(code, "unknown")
        raise InputError(
            "dtype",
            f"{path}: data type {code} ({name}); only real numbers of 8 to 64 bit can be read: convert the file",
        )
    return np.dtype(_DTYPES[code]).newbyteorder(header.endianness)


def scaling(header: nib.Nifti1Header, path: Path) -> tuple[float, float]:
    """Returns the slope and the intercept by which stored values are scaled; (1, 0) if they are not scaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    # A slope of 0 means no scaling. Some programs write NaN instead.
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise InputError(
            "scaling", f"{path}: voxels are scaled by {slope:g} · v + {intercept:g}; correct scl_inter in the header"
        )
    return slope, intercept


def body_offset(header: nib.Nifti1Header, path: Path) -> int:
    """Returns the offset of the voxels in the uncompressed file, in bytes."""
    least = header_size(header) + 4
    offset = float(header["vox_offset"])
    if offset == 0:
        return least
    if not math.isfinite(offset) or offset != int(offset) or not least <= offset <= least + _LONGEST_EXTENSION:
        raise InputError("header", f"{path}: voxels start at byte {offset:g}; expected {least}: correct vox_offset")
    return int(offset)
