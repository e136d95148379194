"""NRRD (.nrrd, .nhdr): a text header, followed by the voxels, or with a second file for them."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
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

_INTEGERS = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
}
_TYPES = {name: kind for kind, names in _INTEGERS.items() for name in names.split(", ")}
_TYPES |= {"float": "f4", "double": "f8"}
# The signs that turn the coordinates of a space into LPS+.
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_WITH_TIME = {
    f"{name}{ending}": signs for name, signs in _SPACES.items() for ending in (("-time",) if "-" in name else ("t",))
}
_PLACES = ("domain", "space", "???", "none", "")
_FRAMES = ("list", "time", "domain", "???", "none", "")
_UNITS = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "")
_SEGMENT = re.compile(r"Segment(\d{1,4})_(Name|LabelValue|Layer):=(.*)")
_MAGIC = re.compile(r"NRRD000[1-6]")
MOST_LAYERS = 16


@dataclasses.dataclass(frozen=True)
class Segment:
    """A segment of 3D Slicer: its name, the value of its voxels, and the layer of labels in which it lies, from 0."""

    name: str
    value: int
    layer: int


def describe_nrrd(path: Path) -> Description:
    """Reads the header of a NRRD file.

    The axes are columns, rows, slices and frames, the fastest first and the frames last. The space is LPS, RAS or LAS.
    If the file names no space, it is LPS, as in ITK.

    Raises:
        InputError: the file is not a NRRD file with one image of real numbers, or its voxels cannot be read.
    """
    lines, behind = _header(path)
    return _describe(_fields(lines, path), path, behind=behind)


def describe_layers(path: Path) -> tuple[Description, int, list[Segment]]:
    """Reads the header of a segmentation of 3D Slicer (.seg.nrrd), which may have several layers of labels.

    Returns:
        The description of a volume in which the layers of a voxel stand side by side, in the width of this voxel; the
        number of layers; and the segments.

    Raises:
        InputError: as `describe_nrrd`; or the segments are not valid.
    """
    lines, behind = _header(path)
    fields = _fields(lines, path)
    words = fields.get("kinds", "").lower().split()
    layers = 1
    if words[:1] == ["list"] and len(words) == 4:
        sizes = whole_numbers(needed(fields, "sizes", path), 4, "sizes", path)
        layers = sizes[0]
        if not 1 <= layers <= MOST_LAYERS:
            raise InputError("dimensions", f"{path}: {layers} layers of labels; at most {MOST_LAYERS} can be read")
        steps = re.findall(r"\([^()]*\)|[^\s()]+", needed(fields, "spacedirections", path))
        if len(steps) != 4:
            raise InputError("header", f"{path}: space directions has {len(steps)} axes, not 4; export the file again")
        side = numbers(steps[1].strip("()").replace(",", " "), 3, "space directions", path) / layers
        fields |= {
            "dimension": "3",
            "sizes": f"{layers * sizes[1]} {sizes[2]} {sizes[3]}",
            "kinds": " ".join(words[1:]),
            "spacedirections": " ".join([f"({','.join(map(repr, side.tolist()))})", *steps[2:]]),
        }
        for name in ("spacings", "units", "thicknesses", "centers", "centerings"):
            fields.pop(name, None)
    return _describe(fields, path, behind=behind), layers, _segments(lines, path)


def _segments(lines: Sequence[str], path: Path) -> list[Segment]:
    """Returns the segments that 3D Slicer describes by key/value pairs such as `Segment0_LabelValue:=1`."""
    told: dict[int, dict[str, str]] = {}
    for line in lines[1:]:
        match = _SEGMENT.fullmatch(line.strip())
        if match:
            told.setdefault(int(match[1]), {})[match[2]] = match[3].strip()
    segments = []
    for number, values in sorted(told.items()):
        value, layer = (
            whole_numbers(values.get(key, default), 1, f"Segment{number}_{key}", path)[0]
            for key, default in (("LabelValue", "1"), ("Layer", str(number)))
        )
        segments.append(Segment(values.get("Name", "").strip() or f"segment {number + 1}", value, layer))
    return segments


def _header(path: Path) -> tuple[list[str], int | None]:
    """Returns the lines of the header, and the byte behind it; None if the file ends with its header."""
    with open(path, "rb") as file:
        content = file.read(LARGEST_HEADER)
    if not content.startswith(b"NRRD"):
        raise InputError("header", f"{path}: does not start with NRRD; pass a NRRD file")
    end = re.search(rb"\r?\n\r?\n", content)
    if end is None and len(content) >= LARGEST_HEADER:
        raise InputError("header", f"{path}: the header has more than {LARGEST_HEADER} bytes; export the file again")
    return split_lines(content[: end.start()] if end else content, path), end.end() if end else None


def _describe(fields: dict[str, str], path: Path, *, behind: int | None) -> Description:
    dimension = whole_numbers(needed(fields, "dimension", path), 1, "dimension", path)[0]
    if not 2 <= dimension <= 4:
        raise InputError("dimensions", f"{path}: {dimension} dimensions; only 2 to 4 can be read: export one image")
    sizes = whole_numbers(needed(fields, "sizes", path), dimension, "sizes", path)
    steps, spacing, origin = _grid(fields, dimension, path)
    place_axes = 2 if dimension == 2 else 3
    if dimension > 2 and steps is not None and steps[2] is None:
        # According to the header, the third axis is not a direction in space: it is time.
        place_axes = 2
    _require_kinds(fields, dimension, place_axes, path)
    affine = None
    if steps is not None:
        directions = np.stack([step for step in steps[:place_axes] if step is not None], axis=1)
        affine = _affine(directions, origin, fields, path)
        spacing = _told_spacing(fields, [float(side) for side in np.linalg.norm(directions, axis=0)], dimension)
    if place_axes == 2:
        sizes = [*sizes[:2], 1, *sizes[2:]] if dimension > 2 else sizes
        spacing = [*spacing[:2], 1.0]
    if dimension == 4 and place_axes == 2:
        raise InputError("dimensions", f"{path}: two axes are not directions in space; export one image to a file")
    header = nifti_header(sizes, dtype=_dtype(fields, path), spacing_mm=spacing[:3], affine=affine, path=path)
    return _located(fields, header, path, behind=behind)


def _fields(lines: Sequence[str], path: Path) -> dict[str, str]:
    """Returns the fields by name in lower case, without comments and the key/value pairs of users."""
    if not _MAGIC.fullmatch(lines[0].strip()):
        raise InputError("header", f"{path}: starts with {lines[0][:20]!r}, not NRRD0001 to NRRD0006; export it again")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise InputError("header", f"{path}: the line {line[:80]!r} is not a field of NRRD; export the file again")
        if value.startswith("="):
            continue
        name = re.sub(r"[ _]", "", name.strip().lower())
        add_field(fields, name, value, path)
    return fields


def _dtype(fields: Mapping[str, str], path: Path) -> np.dtype:
    name = " ".join(needed(fields, "type", path).lower().split())
    if name not in _TYPES:
        raise InputError("dtype", f"{path}: type {name[:40]!r}; only numbers of 8 to 64 bit can be read: convert it")
    dtype = np.dtype(_TYPES[name])
    if dtype.itemsize == 1:
        return dtype
    endian = needed(fields, "endian", path).lower()
    if endian not in ("little", "big"):
        raise InputError("header", f"{path}: endian is {endian[:40]!r}; expected little or big: export it again")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _grid(
    fields: Mapping[str, str], dimension: int, path: Path
) -> tuple[list[np.ndarray | None] | None, list[float], np.ndarray | None]:
    """Returns the step along each axis (None if it is not a direction in space), the spacing in mm, and the origin."""
    for name in ("units", "spaceunits"):
        units = re.findall(r'"([^"]*)"', fields.get(name, ""))[:3]
        if name == "units" and len(units) == 3 and dimension > 2 and "spacedirections" in fields:
            units = []  # The units of the space are used instead.
        if any(unit.lower() not in _UNITS for unit in units):
            raise InputError("spacing", f"{path}: {name} is {fields[name][:80]!r}; only mm can be read: convert it")
    if "spacedirections" in fields:
        return _steps(fields, dimension, path)
    words = fields.get("spacings", "").split()
    if len(words) != dimension:
        return None, [0.0, 0.0, 0.0], None
    try:
        spacing = [float(word) for word in words]
    except ValueError:
        raise InputError("header", f"{path}: spacings is {fields['spacings'][:80]!r}; expected numbers") from None
    spacing = [side if np.isfinite(side) else 0.0 for side in spacing[:3]]
    sides = min(3, dimension)
    if any(side <= 0 for side in spacing[:sides]):
        return None, [*spacing, 0.0][:3], None
    steps: list[np.ndarray | None] = [step * side for step, side in zip(np.eye(sides), spacing, strict=False)]
    return [*steps, *[None] * (dimension - sides)], [*spacing, 1.0][:3], np.zeros(sides)


def _told_spacing(fields: Mapping[str, str], sides: list[float], dimension: int) -> list[float]:
    """Returns the field `spacings` if the file also has directions, so that the two can be compared; else `sides`."""
    words = fields.get("spacings", "").split()
    if "spacedirections" not in fields or len(words) != dimension:
        return sides
    try:
        told = [float(word) for word in words]
    except ValueError:
        return sides
    # NaN means that the length of the direction is used.
    return [mine if np.isfinite(mine) and mine > 0 else side for mine, side in zip(told, sides, strict=False)]


def _steps(
    fields: Mapping[str, str], dimension: int, path: Path
) -> tuple[list[np.ndarray | None], list[float], np.ndarray | None]:
    text = fields["spacedirections"]
    words = re.findall(r"\([^()]*\)|[^\s()]+", text)
    wrong = InputError(
        "header", f"{path}: space directions is {text[:80]!r}; expected a vector or none for each axis: export it again"
    )
    if len(words) != dimension:
        raise wrong
    named = fields.get("space", "").lower()
    space = 4 if named in _WITH_TIME else 3
    if "spacedimension" in fields:
        space = whole_numbers(fields["spacedimension"], 1, "space dimension", path)[0]
    if not 2 <= space <= 4:
        raise InputError(
            "dimensions", f"{path}: the space has {space} dimensions; only 2 to 4 can be read: export again"
        )
    steps: list[np.ndarray | None] = []
    for word in words:
        if word.lower() == "none":
            steps.append(None)
        elif word.startswith("("):
            steps.append(numbers(word[1:-1].replace(",", " "), space, "space directions", path))
        else:
            raise wrong
    if any(step is None for step in steps[:2]):
        raise InputError(
            "dimensions",
            f"{path}: the first axis is not a direction in space: frames or colours are stored for each voxel; export "
            "it with the frames as the last axis, or as a 4D NIfTI file",
        )
    origin = np.zeros(space)
    if "spaceorigin" in fields:
        origin = numbers(fields["spaceorigin"].strip("() \t").replace(",", " "), space, "space origin", path)
    if space == 4:
        # The fourth direction is time. It must be separate from the directions in space.
        if dimension < 4 or any(step is None or step[3] != 0 for step in steps[:3]):
            raise InputError("affine", f"{path}: an axis is a direction in space and in time; export one image")
        if steps[3] is not None and steps[3][:3].any():
            raise InputError("affine", f"{path}: the axis of the frames is a direction in space; export frames as time")
        return [step[:3] for step in steps[:3] if step is not None] + [None], [0.0, 0.0, 0.0], origin[:3]
    if dimension == 4 and steps[3] is not None:
        raise InputError("dimensions", f"{path}: four axes are directions in space; export one image to a file")
    return steps, [0.0, 0.0, 0.0], origin


def _require_kinds(fields: Mapping[str, str], dimension: int, place_axes: int, path: Path) -> None:
    """Refuses axes of colours, vectors and tensors, and frames that are stored for each voxel."""
    kinds = fields.get("kinds", "").lower().split() or [""] * dimension
    if len(kinds) != dimension or any(
        kind not in (_PLACES if axis < place_axes else _FRAMES) for axis, kind in enumerate(kinds)
    ):
        raise InputError(
            "dimensions",
            f"{path}: kinds is {fields.get('kinds', '')[:80]!r}; expected directions in space, followed by frames: "
            "export one image of one channel, with the frames as the last axis",
        )


def _affine(directions: np.ndarray, origin: np.ndarray | None, fields: Mapping[str, str], path: Path) -> np.ndarray:
    """Returns the affine to RAS+ mm, (4, 4). A plane without slices gets a normal."""
    space = fields.get("space", "").lower()
    known = _SPACES | _WITH_TIME
    if space not in known and space:
        raise InputError(
            "affine", f"{path}: the space is {space[:60]!r}; LPS, RAS and LAS can be read: convert the file to NIfTI"
        )
    assert origin is not None
    if directions.shape == (3, 2):
        normal = np.cross(directions[:, 0], directions[:, 1])
        length = float(np.linalg.norm(normal))
        directions = np.column_stack([directions, normal / length if length > 0 else normal])
    directions, origin = widened(directions, origin)
    signs = np.array(known.get(space, (1, 1, 1)), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return lps_to_ras(signs[:, None] * directions, signs * origin)


def _located(fields: Mapping[str, str], header, path: Path, *, behind: int | None) -> Description:
    """Finds the position of the voxels, and whether they are compressed."""
    encoding = needed(fields, "encoding", path).lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(
            "header", f"{path}: encoding {encoding[:40]!r}; raw and gzip can be read: export the file with one of them"
        )
    compressed = encoding != "raw"
    skipped = whole_numbers(fields.get("byteskip", "0"), 1, "byte skip", path)[0]
    if fields.get("lineskip", "0") != "0" or skipped < -1 or (compressed and skipped != 0):
        raise InputError("header", f"{path}: line skip or byte skip is set, which is not supported; export it again")
    name = fields.get("datafile", "")
    if name:
        if re.match(r"LIST\b", name) or "%" in name:
            raise InputError("header", f"{path}: its voxels are in several files; export it as one file")
        return Description(header, data_file(name, path), None if skipped == -1 else skipped, compressed)
    if behind is None:
        raise InputError("truncated", f"{path}: ends within its header; copy the file again")
    return Description(header, path, None if skipped == -1 else behind + skipped, compressed)
