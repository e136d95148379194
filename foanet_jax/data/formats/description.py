"""Describes a file in another format by a NIfTI header and the position of its voxels."""

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from foanet_jax.system.errors import InputError

LARGEST_HEADER = 2**18  # bytes of text
_LONGEST_AXIS = 2**15 - 1  # of NIfTI-1, in which masks are written
_LARGEST_MM = 1e9
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_MM = 2  # NIfTI's code for millimetres


@dataclasses.dataclass(frozen=True)
class Description:
    """An image file whose header was read, but not its voxels.

    Attributes:
        header: the header of a NIfTI file with the same image.
        data: the file with the voxels; it may be the file of the header.
        offset: the byte at which the voxels start; None: the voxels are at the end of the file.
        compressed: whether the bytes from there on are compressed, by zlib or gzip.
    """

    header: nib.Nifti1Header
    data: Path
    offset: int | None
    compressed: bool


def nifti_header(
    sizes: Sequence[int],
    *,
    dtype: np.dtype,
    spacing_mm: Sequence[float],
    affine: np.ndarray | None,
    path: Path,
) -> nib.Nifti1Header:
    """Makes the header of a NIfTI file in mm.

    Args:
        sizes: number of voxels along 2 to 4 axes: columns, rows, slices, frames.
        dtype: data type of the stored voxels, with its byte order.
        spacing_mm: spacing of columns, rows and slices; 0 if the file does not give it.
        affine: (4, 4), from (column, row, slice) to RAS+ mm; None if the file does not give it.
        path: the file, for messages.

    Raises:
        InputError: "dimensions" if the sizes are not those of an image.
    """
    if not 2 <= len(sizes) <= 4 or not all(1 <= size <= _LONGEST_AXIS for size in sizes):
        shown = " × ".join(f"{size}" if abs(size) < 10**9 else "…" for size in sizes[:8])
        raise InputError(
            "dimensions",
            f"{path}: {len(sizes)} dimensions ({shown}); only 2 to 4 dimensions of 1 to {_LONGEST_AXIS} voxels can be "
            "read: export one image to a file",
        )
    header = nib.Nifti1Header(endianness=">" if dtype.byteorder == ">" else "<")
    header["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
    header.set_data_dtype(dtype)
    header["pixdim"][:] = 1
    header["xyzt_units"] = _MM
    # If a number is too large for the 32 bits of NIfTI, the spacing is refused too.
    if affine is not None and np.isfinite(affine).all() and np.abs(affine).max() < _LARGEST_MM:
        header.set_sform(affine, code=1)
        if _is_orthogonal(affine):
            header.set_qform(affine, code=1)
    # This comes after the affine, which also writes pixdim.
    with np.errstate(over="ignore"):
        header["pixdim"][1:4] = spacing_mm
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header


def _is_orthogonal(affine: np.ndarray) -> bool:
    """Whether the axes are at right angles, as the quaternion of NIfTI requires."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        return False
    axes = affine[:3, :3] / sides
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))


def lps_to_ras(directions: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Returns the affine to RAS+ mm for directions in LPS+ mm, which the formats of ITK use.

    Args:
        directions: (3, 3), the step along each axis as a column.
        origin: (3,), the position of the first voxel.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions, origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def widened(directions: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns directions and origin in three dimensions. A plane (two dimensions) gets a normal of 1 mm."""
    if len(origin) == 3:
        return directions, origin
    wide = np.eye(3)
    wide[:2, :2] = directions
    return wide, np.array([*origin, 0.0])


def split_lines(content: bytes, path: Path) -> list[str]:
    """Splits a text header into lines.

    Raises:
        InputError: "header" if it is not text.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise InputError("header", f"{path}: the header is not text; export the file again")
    return [line.rstrip("\r") for line in text.split("\n")]


def add_field(fields: dict[str, str], name: str, value: str, path: Path) -> None:
    """Adds a field of a header, without spaces around its value.

    Raises:
        InputError: "header" if the header has this field twice.
    """
    if name in fields:
        raise InputError("header", f"{path}: {name[:40]!r} appears twice in the header; delete the wrong one")
    fields[name] = value.strip()


def needed(fields: Mapping[str, str], name: str, path: Path) -> str:
    """Returns the value of a field.

    Raises:
        InputError: "header" if the header does not have this field.
    """
    if name not in fields:
        raise InputError("header", f"{path}: no {name!r} in the header; export the file again")
    return fields[name]


def numbers(text: str, count: int, what: str, path: Path) -> np.ndarray:
    """Reads exactly `count` finite numbers from a text.

    Raises:
        InputError: "header" if the text is something else.
    """
    try:
        values = np.array([float(word) for word in text.split()], np.float64)
    except ValueError:
        values = np.array([])
    if len(values) != count or not np.isfinite(values).all():
        raise InputError("header", f"{path}: {what} is {text[:80]!r}; expected {count} numbers: correct the header")
    return values


def whole_numbers(text: str, count: int, what: str, path: Path) -> list[int]:
    """Reads exactly `count` whole numbers of at most 18 digits from a text; see `numbers`."""
    words = text.split()
    if len(words) != count or not all(_WHOLE.fullmatch(word) for word in words):
        raise InputError(
            "header", f"{path}: {what} is {text[:80]!r}; expected {count} whole numbers: correct the header"
        )
    return [int(word) for word in words]


def data_file(name: str, path: Path) -> Path:
    """Returns the file with the voxels, which the header names. It must be in the folder of the header or below.

    Raises:
        InputError: "header" if the file is outside this folder; "missing-file" if there is no such file;
            "not-a-file" if it is not a file.
    """
    name = name.strip()
    data = path.parent / name
    folder = os.path.realpath(path.parent)
    if not name or "\0" in name or os.path.isabs(name) or ".." in Path(name).parts or "\\" in name or len(name) > 1024:
        raise InputError(
            "header", f"{path}: its voxels are in {name[:80]!r}; only a file in the same folder is read: put it there"
        )
    if os.path.commonpath([folder, os.path.realpath(data)]) != folder:
        raise InputError(
            "header", f"{path}: its voxels are in {name[:80]!r}, a link out of the folder; put the file itself there"
        )
    try:
        found, is_file = data.exists(), data.is_file()
    except OSError:  # such as a name that is too long
        found = is_file = False
    if not found:
        raise InputError("missing-file", f"{path}: its voxels are in {name[:80]!r}, which is missing; copy it too")
    if not is_file:
        raise InputError("not-a-file", f"{data}: a folder or device, not voxels of {path.name}; copy the file again")
    return data


def product(sizes: Sequence[int]) -> int:
    """Returns the number of voxels."""
    return math.prod(int(size) for size in sizes)
