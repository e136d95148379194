"""MetaImage (.mha, .mhd), the format of ITK: a text header, followed by the voxels, or with a second file for them."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foanet_jax.data.formats.description import (
    LARGEST_HEADER,
    Description,
    add_field,
    data_file,
    lps_to_ras,
    needed,
    nifti_header,
    numbers,
    split_lines,
    whole_numbers,
    widened,
)
from foanet_jax.system.errors import InputError

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_TRANSFORM = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_LAST = re.compile(rb"^[ \t]*ElementDataFile[ \t]*=[^\n]*\n?", re.MULTILINE)


def describe_metaimage(path: Path) -> Description:
    """Reads the header of a MetaImage. Its axes are columns, rows, slices and frames; its coordinates are LPS+ mm.

    Raises:
        InputError: the file is not a MetaImage with one image of real numbers, or its voxels cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(LARGEST_HEADER)
    last = _LAST.search(content)
    if last is None:
        raise InputError("header", f"{path}: not a MetaImage: no line ElementDataFile; copy or export the file again")
    fields = _fields(split_lines(content[: last.end()], path), path)
    _require_plain(fields, path)
    count = whole_numbers(needed(fields, "NDims", path), 1, "NDims", path)[0]
    if not 2 <= count <= 4:
        raise InputError("dimensions", f"{path}: {count} dimensions; only 2 to 4 can be read: export one image")
    sizes = whole_numbers(needed(fields, "DimSize", path), count, "DimSize", path)
    spacing, affine = _geometry(fields, count, path)
    header = nifti_header(sizes, dtype=_dtype(fields, path), spacing_mm=spacing, affine=affine, path=path)
    compressed = _flag(fields, "CompressedData", path)
    skipped = whole_numbers(fields.get("HeaderSize", "0"), 1, "HeaderSize", path)[0]
    name = fields["ElementDataFile"]
    if re.match(r"LIST\b", name) or "%" in name:
        raise InputError("header", f"{path}: its voxels are in several files; export it as one file")
    if skipped < -1 or (compressed and skipped > 0):
        raise InputError("header", f"{path}: HeaderSize is {skipped}; expected -1, 0 or a number of bytes")
    if name.upper() == "LOCAL":
        data, behind = path, last.end()
    else:
        data, behind = data_file(name, path), 0
    return Description(header, data, None if skipped == -1 and not compressed else behind + max(0, skipped), compressed)


def _fields(lines: list[str], path: Path) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        name, sign, value = line.partition("=")
        name = name.strip()
        if not sign:
            raise InputError("header", f"{path}: the line {line[:80]!r} is not a field of MetaImage; export it again")
        add_field(fields, name, value, path)
    return fields


def _flag(fields: Mapping[str, str], name: str, path: Path, *, default: bool = False) -> bool:
    value = fields.get(name, str(default)).lower()
    if value not in ("true", "false", "1", "0"):
        raise InputError("header", f"{path}: {name} is {value[:40]!r}; expected True or False")
    return value in ("true", "1")


def _require_plain(fields: Mapping[str, str], path: Path) -> None:
    """Refuses objects that are not images, voxels written as text, several channels, and scaled values."""
    kind = fields.get("ObjectType", "Image")
    if kind.lower() != "image":
        raise InputError("header", f"{path}: ObjectType is {kind[:40]!r}; pass an image")
    if not _flag(fields, "BinaryData", path, default=True):
        raise InputError("header", f"{path}: its voxels are written as text; export it as binary data")
    channels = whole_numbers(fields.get("ElementNumberOfChannels", "1"), 1, "ElementNumberOfChannels", path)[0]
    if channels != 1:
        raise InputError("dtype", f"{path}: {channels} channels; only images of one channel can be read: convert it")
    for name, plain in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if name in fields and numbers(fields[name], 1, name, path)[0] != plain:
            raise InputError("scaling", f"{path}: {name} is {fields[name][:40]}; export it without scaling")


def _dtype(fields: Mapping[str, str], path: Path) -> np.dtype:
    name = needed(fields, "ElementType", path)
    if name not in _TYPES:
        raise InputError("dtype", f"{path}: ElementType {name[:40]!r}; only real numbers of 8 to 64 bit can be read")
    orders = [name for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB") if name in fields]
    big = {_flag(fields, order, path) for order in orders}
    if len(big) > 1:
        raise InputError("header", f"{path}: {' and '.join(orders)} contradict each other; correct one of them")
    return np.dtype(_TYPES[name]).newbyteorder(">" if True in big else "<")


def _one_of(fields: Mapping[str, str], names: tuple[str, ...], path: Path) -> str | None:
    there = [name for name in names if name in fields]
    if len(there) > 1:
        raise InputError("header", f"{path}: {' and '.join(there)} mean the same; keep one of them")
    return there[0] if there else None


def _geometry(fields: Mapping[str, str], count: int, path: Path) -> tuple[list[float], np.ndarray | None]:
    """Returns the spacing of columns, rows and slices in mm (0 if it is not given) and the affine to RAS+ mm."""
    side_of = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    if side_of not in fields:
        return [0.0, 0.0, 0.0], None
    spacing = numbers(fields[side_of], count, side_of, path)
    axes = min(3, count)
    matrix, offset = np.eye(count), np.zeros(count)
    if name := _one_of(fields, _TRANSFORM, path):
        # Each row is the direction of an axis.
        matrix = numbers(fields[name], count * count, name, path).reshape(count, count).T
    if name := _one_of(fields, _ORIGIN, path):
        offset = numbers(fields[name], count, name, path)
    if count == 4 and (matrix[3, :3].any() or matrix[:3, 3].any()):
        raise InputError("affine", f"{path}: the axis of the frames is a direction in space; export frames as time")
    with np.errstate(over="ignore", invalid="ignore"):
        directions, origin = widened(matrix[:axes, :axes] * spacing[:axes], offset[:axes])
        affine = lps_to_ras(directions, origin)
    return [float(side) for side in [*spacing[:axes], 1.0][:3]], affine
