"""What a header of another format says, as a NIfTI header and the place of the voxels."""

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
        header: the header of the NIfTI file that would hold the same image in one piece.
        data: the file with the voxels, which may be the header's own.
        offset: its byte at which the voxels start; None: they are the end of the file.
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
    """The header of a NIfTI file in mm.

    Args:
        sizes: voxels along 2 to 4 axes: columns, rows, slices, frames.
        dtype: of the stored voxels, byte order included.
        spacing_mm: of columns, rows and slices; 0 where the file does not tell it.
        affine: (4, 4), from (column, row, slice) to RAS+ mm; None where the file does not tell it.
        path: the file, for messages.

    Raises:
        InputError: "dimensions" where the sizes cannot be those of an image.
    """
    if not 2 <= len(sizes) <= 4 or not all(1 <= size <= _LONGEST_AXIS for size in sizes):
        shown = " × ".join(f"{size}" if abs(size) < 10**9 else "…" for size in sizes[:8])
        raise InputError(
            "dimensions",
            f"{path}: {len(sizes)} dimensions ({shown}); 2, 3 or 4 of 1 to {_LONGEST_AXIS} voxels can be read: "
            "export one image to a file",
        )
    header = nib.Nifti1Header(endianness=">" if dtype.byteorder == ">" else "<")
    header["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
    header.set_data_dtype(dtype)
    header["pixdim"][:] = 1
    header["xyzt_units"] = _MM
    # What does not fit into NIfTI's 32 bits has a spacing that is refused, too.
    if affine is not None and np.isfinite(affine).all() and np.abs(affine).max() < _LARGEST_MM:
        header.set_sform(affine, code=1)
        if _is_orthogonal(affine):
            header.set_qform(affine, code=1)
    # After the affine, which writes its own sides of a voxel there.
    with np.errstate(over="ignore"):
        header["pixdim"][1:4] = spacing_mm
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header


def _is_orthogonal(affine: np.ndarray) -> bool:
    """Whether the axes stand at right angles, as NIfTI's quaternion wants them."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        return False
    axes = affine[:3, :3] / sides
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))


def lps_to_ras(directions: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The affine to RAS+ mm of axes that the file has in LPS+ mm, as ITK's formats do.

    Args:
        directions: (3, 3), the step along each axis as a column.
        origin: (3,), where the first voxel lies.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions, origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def widened(directions: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps and origin in three dimensions, of two or three: a plane gets a normal of 1 mm."""
    if len(origin) == 3:
        return directions, origin
    wide = np.eye(3)
    wide[:2, :2] = directions
    return wide, np.array([*origin, 0.0])


def split_lines(content: bytes, path: Path) -> list[str]:
    """The lines of a header of text.

    Raises:
        InputError: "header" where it is none.
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
    """The value of a field.

    Raises:
        InputError: "header" if the header does not have this field.
    """
    if name not in fields:
        raise InputError("header", f"{path}: no {name!r} in the header; export the file again")
    return fields[name]


def numbers(text: str, count: int, what: str, path: Path) -> np.ndarray:
    """So many finite numbers.

    Raises:
        InputError: "header" where the text is something else.
    """
    try:
        values = np.array([float(word) for word in text.split()], np.float64)
    except ValueError:
        values = np.array([])
    if len(values) != count or not np.isfinite(values).all():
        raise InputError("header", f"{path}: {what} is {text[:80]!r}; expected {count} numbers: correct the header")
    return values


def whole_numbers(text: str, count: int, what: str, path: Path) -> list[int]:
    """So many whole numbers of at most 18 digits; see `numbers`."""
    words = text.split()
    if len(words) != count or not all(_WHOLE.fullmatch(word) for word in words):
        raise InputError(
            "header", f"{path}: {what} is {text[:80]!r}; expected {count} whole numbers: correct the header"
        )
    return [int(word) for word in words]


def data_file(name: str, path: Path) -> Path:
    """The file that a header names for its voxels: one in the header's own folder or below.

    Raises:
        InputError: "header" where the name leads elsewhere, "missing-file" where there is none.
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
        raise InputError("missing-file", f"{path}: its voxels are in {name[:80]!r}, which is not there; copy it too")
    if not is_file:
        raise InputError("not-a-file", f"{data}: a folder or device, not voxels of {path.name}; copy the file again")
    return data


def product(sizes: Sequence[int]) -> int:
    """The number of voxels."""
    return math.prod(int(size) for size in sizes)
