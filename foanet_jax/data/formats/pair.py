"""Pairs of .hdr and .img files: NIfTI pairs and Analyze 7.5."""

import gzip
import logging
import math
import os
import zlib
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.spm2analyze import Spm2AnalyzeHeader

from foanet_jax.data.formats.description import Description, nifti_header
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
HEADERS = (".hdr", ".hdr.gz")
IMAGES = (".img", ".img.gz")
_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_OFFSET = 16 * 2**20
_OTHER_UNITS = (b"m", b"cm", b"um", b"in", b"inch")  # All other words, and no unit, mean mm.
_ANALYZE_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}


def partners(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Returns the files in the same folder with the same stem and one of these suffixes, in lower or upper case."""
    stem = next(path.name[: -len(end)] for end in (*HEADERS[::-1], *IMAGES[::-1]) if path.name.lower().endswith(end))
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return []
    return [path.parent / name for name in names if name.startswith(stem) and name[len(stem) :].lower() in suffixes]


def describe_pair(path: Path) -> Description:
    """Reads the header of a pair, given its .hdr or its .img file.

    Analyze does not store which side is left. The affine is that of nibabel and SPM: the first axis runs to the left. A
    warning says so.

    Raises:
        InputError: one of the two files is missing, or the header is neither NIfTI nor Analyze.
    """
    is_header = path.name.lower().endswith(HEADERS)
    header_path = path if is_header else _partner(path, HEADERS)
    image_path = _partner(path, IMAGES) if is_header else path
    content = _start(header_path)
    with open(image_path, "rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    kinds: dict[bytes, tuple[type[nib.Nifti1Header], Literal["<", ">"], int]] = {
        (348).to_bytes(4, "little"): (nib.Nifti1Header, "<", 348),
        (348).to_bytes(4, "big"): (nib.Nifti1Header, ">", 348),
        (540).to_bytes(4, "little"): (nib.Nifti2Header, "<", 540),
        (540).to_bytes(4, "big"): (nib.Nifti2Header, ">", 540),
    }
    if content[:4] not in kinds:
        raise InputError(
            "not-nifti", f"{header_path}: is neither NIfTI nor Analyze; pass a pair in one of these formats"
        )
    kind, order, size = kinds[content[:4]]
    if len(content) < size:
        raise InputError("truncated", f"{header_path}: {len(content)} bytes, but a header has {size}; copy it again")
    header = kind(content[:size], endianness=order, check=False)
    magic = bytes(header["magic"])
    offset = _offset(float(header["vox_offset"]), header_path)
    if magic.startswith((b"n+1", b"n+2")):
        raise InputError("not-nifti", f"{header_path}: has the header of a single NIfTI file; give it the suffix .nii")
    if magic.startswith((b"ni1", b"ni2")):
        header["magic"] = b"n+1" if size == 348 else b"n+2"
        header["vox_offset"] = size + 4
    elif size == 348:
        header = _from_analyze(content, order, header_path)
    else:
        raise InputError("not-nifti", f"{header_path}: magic {magic!r} is not that of a NIfTI pair; export it again")
    return Description(header, image_path, offset, compressed)


def _partner(path: Path, suffixes: tuple[str, ...]) -> Path:
    found = partners(path, suffixes)
    if len(found) != 1:
        said = f"there is no {suffixes[0]} file" if not found else f"there are both {found[0].name} and {found[1].name}"
        raise InputError("missing-file", f"{path}: {said}; an image in this format is one .hdr and one .img file")
    return found[0]


def _start(path: Path) -> bytes:
    """Returns the first bytes of a header, which may be compressed."""
    with open(path, "rb") as file:
        content = file.read(1024)
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(1024)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("corrupt", f"{path}: the compressed header is damaged ({error}); copy it again") from None


def _offset(value: float, path: Path) -> int:
    # The voxels of a pair start at byte 0, unless the header says otherwise.
    if not math.isfinite(value) or value != int(value) or not 0 <= value <= _LONGEST_OFFSET:
        raise InputError("header", f"{path}: voxels start at byte {value:g}; correct vox_offset")
    return int(value)


def _from_analyze(content: bytes, order: Literal["<", ">"], path: Path) -> nib.Nifti1Header:
    """Converts an Analyze header to a NIfTI header, with scale and origin as SPM stores them."""
    matrices = partners(path, (".mat",))
    if matrices:
        raise InputError(
            "affine",
            f"{path}: its orientation is in {matrices[0].name}, a file of SPM, which is not read; convert the image to "
            "NIfTI",
        )
    header = Spm2AnalyzeHeader(content[:348], endianness=order, check=False)
    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1:8]]
    while count > 2 and sizes[count - 1 : count] == [1]:
        count -= 1  # SPM writes 4 dimensions; the last one is 1.
    code = int(header["datatype"])
    if code not in _ANALYZE_TYPES:
        raise InputError("dtype", f"{path}: data type {code}; only real numbers of 8 to 64 bit can be read: convert it")
    unit = bytes(header["vox_units"]).split(b"\0")[0].strip().lower()
    if unit in _OTHER_UNITS:
        raise InputError("spacing", f"{path}: its lengths are in {unit.decode()}; convert the image to NIfTI, in mm")
    spacing = [float(side) for side in header["pixdim"][1:4]]
    if count == 2 and not (math.isfinite(spacing[2]) and spacing[2] > 0):
        spacing[2] = 1.0
    dtype = np.dtype(_ANALYZE_TYPES[code]).newbyteorder(order)
    header["pixdim"][1:4] = spacing
    with np.errstate(all="ignore"):
        try:
            affine = np.array(header.get_best_affine(), np.float64) if 2 <= count <= 4 else None
            slope, intercept = header.get_slope_inter()
        except (HeaderDataError, ValueError, OverflowError, ZeroDivisionError) as error:
            raise InputError("header", f"{path}: not a valid Analyze header ({error}); convert the image") from None
    made = nifti_header(sizes[: max(0, min(count, 7))], dtype=dtype, spacing_mm=spacing, affine=affine, path=path)
    made["scl_slope"] = 1 if slope is None else slope
    made["scl_inter"] = 0 if intercept is None else intercept
    LOGGER.warning("%s: Analyze does not store which side is left; the first axis is assumed to run to the left", path)
    return made
