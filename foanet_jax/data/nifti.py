"""NIfTI files in and out: nothing in a file is believed before it is checked."""

import contextlib
import dataclasses
import functools
import gzip
import itertools
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, cast

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.spatialimages import HeaderDataError

from foanet_jax.atomic import atomic_path
from foanet_jax.data.study import Study, validate_study
from foanet_jax.errors import InputError

DEFAULT_BUDGET_BYTES = 2 * 2**30
SPACING_RANGE_MM = (0.01, 500.0)

ThirdAxis = Literal["slice", "time"]
SliceAxis = Literal["sagittal", "coronal", "axial"]

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
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # metre, micron; every other code is read as mm
_LONGEST_EXTENSION = 16 * 2**20
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
# Which of the RAS+ axes become (column, row, slice).
_AXES_BY_SLICE_AXIS: dict[str, tuple[int, int, int]] = {
    "sagittal": (1, 2, 0),
    "coronal": (0, 2, 1),
    "axial": (0, 1, 2),
}


@dataclasses.dataclass(frozen=True)
class NiftiVolume:
    """The voxels of one NIfTI file and where they lie.

    Attributes:
        data: (T, Z, H, W) float32, finite: the file's axes in reverse order, its scaling applied.
        spacing_mm: (slice, row, column), from pixdim. Where the third axis is time, or pixdim says nothing
            of slices, the slice distance is 1.
        affine: (4, 4) float64, from (column, row, slice) to RAS+ world mm, as the file has it: ACDC's
            files have true spacing in pixdim and 1 in the affine.
        header: the nibabel header, as read.
        path: the file.
        to_source: maps a (T, Z, H, W) array on this grid to the file's own axes; None means that reversing
            the axes does it.
    """

    data: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    header: nib.Nifti1Header
    path: Path
    to_source: Callable[[np.ndarray], np.ndarray] | None = None


def read_nifti(
    path: str | os.PathLike[str],
    *,
    third_axis: ThirdAxis = "slice",
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> NiftiVolume:
    """The volume in a .nii or .nii.gz file of 2, 3 or 4 dimensions: (W, H[, Z][, T]).

    Args:
        path: the file; whether it is compressed is read from its first bytes.
        third_axis: what the third axis of a 3D file is; the header cannot tell (W, H, Z) from (W, H, T).
        budget_bytes: the most that the voxels may take as float32.

    Raises:
        InputError: for every file that is not a sound NIfTI image of real numbers, with a code that says why.
    """
    if third_axis not in ("slice", "time"):
        raise InputError("third-axis", f"third_axis is {third_axis!r}; choose 'slice' or 'time'")
    path = Path(path)
    with _opened(path) as (stream, plain_size):
        header = _read_header(stream, path)
        dims = _dimensions(header, path)
        dtype = _dtype(header, path)
        voxels = math.prod(dims)
        if 4 * voxels > budget_bytes:
            raise InputError(
                "too-large",
                f"{path}: declares {' × '.join(map(str, dims))} voxels, {4 * voxels / 2**30:.2f} GiB as float32, "
                f"over the budget of {budget_bytes / 2**30:.2f} GiB; crop the file or raise the budget",
            )
        shape, spacing_mm, affine = _geometry(header, dims, third_axis, path)
        slope, intercept = _scaling(header, path)
        offset = _body_offset(header, path)
        body_bytes = voxels * dtype.itemsize
        if plain_size is not None and plain_size != offset + body_bytes:
            raise _size_error(path, plain_size - offset, body_bytes)
        _skip(stream, offset - _header_size(header), path)
        raw = _read_body(stream, body_bytes, path)
    data = _to_float32(raw.view(dtype).reshape(shape), slope, intercept)
    bad = sum(int(frame.size - np.isfinite(frame).sum()) for frame in data)
    if bad:
        raise InputError(
            "non-finite", f"{path}: {bad} of {voxels} voxels are NaN or infinite as float32; export the file again"
        )
    return NiftiVolume(data, spacing_mm, affine, header, path)


def to_canonical(volume: NiftiVolume, slice_axis: SliceAxis) -> NiftiVolume:
    """The volume with its axes closest to RAS+, sliced along one axis of the world.

    Columns and rows run towards (right, anterior) of axial slices, (right, superior) of coronal ones and
    (anterior, superior) of sagittal ones. No voxel changes value: axes are only swapped and reversed, and
    `to_source` of the result undoes it.

    Raises:
        InputError: for an unknown slice axis.
    """
    if slice_axis not in _AXES_BY_SLICE_AXIS:
        raise InputError("slice-axis", f"slice_axis is {slice_axis!r}; choose one of {', '.join(_AXES_BY_SLICE_AXIS)}")
    # A volume that was reoriented before starts again from its file's axes.
    if volume.to_source is not None:
        raise InputError("reoriented", f"{volume.path}: already reoriented; start from what read_nifti gives")
    file_shape = volume.data.shape[:0:-1]
    to_ras = orientations.io_orientation(volume.affine)
    axes = _AXES_BY_SLICE_AXIS[slice_axis]

    ras = orientations.apply_orientation(volume.data.transpose(3, 2, 1, 0), to_ras)
    data = np.ascontiguousarray(ras.transpose(*axes, 3).transpose(3, 2, 1, 0))
    affine = volume.affine @ orientations.inv_ornt_aff(to_ras, file_shape)
    affine = affine[:, [*axes, 3]]
    ras_spacing = [0.0, 0.0, 0.0]
    for file_axis, spacing in enumerate(reversed(volume.spacing_mm)):
        ras_spacing[int(to_ras[file_axis, 0])] = spacing
    column, row, slice_ = (ras_spacing[axis] for axis in axes)
    return dataclasses.replace(
        volume,
        data=data,
        spacing_mm=(slice_, row, column),
        affine=affine,
        to_source=functools.partial(_undo_canonical, to_ras, axes),
    )


def _undo_canonical(to_ras: np.ndarray, axes: tuple[int, int, int], array: np.ndarray) -> np.ndarray:
    """(T, Z, H, W) on the canonical grid → (column, row, slice, frame) of the file."""
    ras = array.transpose(3, 2, 1, 0).transpose(*np.argsort(axes), 3)
    identity = np.array([[0, 1], [1, 1], [2, 1]])
    return orientations.apply_orientation(ras, orientations.ornt_transform(identity, to_ras))


def study_from_volume(
    volume: NiftiVolume,
    *,
    patient: str,
    case: str,
    classes: tuple[str, ...],
    labels: np.ndarray | None = None,
    group: str | None = None,
) -> Study:
    """The study on the volume's grid; `labels` is (T, Z, H, W) uint8 or None.

    Raises:
        InputError: where voxels, labels and spacing do not hold together.
    """
    return validate_study(
        Study(
            patient=patient,
            case=case,
            voxels=volume.data,
            spacing_mm=volume.spacing_mm,
            classes=classes,
            labels=labels,
            affine=volume.affine,
            group=group,
            source=volume.path,
            to_source=volume.to_source,
            header=volume.header,
        )
    )


def class_indices(labels: NiftiVolume, index_of: Mapping[int, int]) -> np.ndarray:
    """(T, Z, H, W) uint8 class indices of a file of label values.

    Raises:
        InputError: "unknown-label" where a value is no integer, negative, or not in `index_of`.
    """
    values = np.unique(labels.data)
    unknown = [float(value) for value in values if not value.is_integer() or int(value) not in index_of]
    if unknown:
        shown = ", ".join(f"{value:g}" for value in unknown[:8]) + (", …" if len(unknown) > 8 else "")
        raise InputError(
            "unknown-label",
            f"{labels.path}: unknown label {shown}; known are {', '.join(map(str, sorted(index_of)))}: "
            "correct the file, or use the one that belongs to this data set",
        )
    indices = np.zeros(labels.data.shape, np.uint8)
    for value in values:
        indices[labels.data == value] = index_of[int(value)]
    return indices


def require_same_grid(image: NiftiVolume, labels: NiftiVolume) -> None:
    """Raises InputError where labels do not lie on the image's voxels: shape, spacing or affine differ.

    A corner of the volume may be off by a tenth of the smallest voxel side: files round differently.
    """
    remedy = "use the labels that were drawn on this image"
    if image.data.shape != labels.data.shape:
        raise InputError(
            "shape-mismatch",
            f"{labels.path}: labels {labels.data.shape}, but {image.path} is {image.data.shape} (T, Z, H, W); {remedy}",
        )
    if not np.allclose(image.spacing_mm, labels.spacing_mm, rtol=1e-3, atol=0):
        raise InputError(
            "spacing-mismatch",
            f"{labels.path}: spacing {labels.spacing_mm} mm, but {image.path} has {image.spacing_mm}; {remedy}",
        )
    last = np.array(image.data.shape[:0:-1]) - 1
    corners = np.array([[*(last * corner), 1] for corner in itertools.product((0, 1), repeat=3)])
    off = np.linalg.norm(corners @ (image.affine - labels.affine).T, axis=1).max()
    smallest = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    if off > 0.1 * smallest:
        raise InputError(
            "affine-mismatch",
            f"{labels.path}: its affine puts a corner of the volume {off:.3g} mm away from where {image.path} "
            f"has it; {remedy}",
        )


def write_mask(mask: np.ndarray, study: Study, path: str | os.PathLike[str]) -> None:
    """Writes a mask on the study's grid as uint8 in the shape, axis order and world of the study's file.

    The header is the source's own but for data type, scaling and display range; a study made in memory gets
    one from its affine and spacing. The file is written whole or not at all.

    Args:
        mask: (T, Z, H, W) uint8, the shape of `study.voxels`.
        study: where the mask belongs.
        path: ends in .nii or .nii.gz.

    Raises:
        InputError: the mask does not fit the study, or the path's suffix is another.
    """
    if mask.dtype != np.uint8 or mask.shape != study.voxels.shape:
        raise InputError(
            "shape-mismatch",
            f"{study.name}: a mask of {mask.dtype} {mask.shape} for voxels {study.voxels.shape}; "
            "pass uint8 of the voxels' shape (T, Z, H, W)",
        )
    if not isinstance(study.header, nib.Nifti1Header):
        write_nifti(mask, affine=study.affine, spacing_mm=study.spacing_mm, path=path)
        return
    header = study.header.copy()
    file_array = mask.transpose(3, 2, 1, 0) if study.to_source is None else study.to_source(mask)
    ndim = int(header["dim"][0])
    shape = tuple(int(size) for size in header["dim"][1 : ndim + 1])
    # Axes of length 1 may be there or not; all others have to agree, or reshaping would scramble the mask.
    if [size for size in file_array.shape if size > 1] != [size for size in shape if size > 1]:
        raise InputError(
            "shape-mismatch",
            f"{study.name}: a mask of {file_array.shape} in the file's axes, but the file has {shape}; "
            "write the mask of the whole study",
        )
    _write(file_array.reshape(shape), header, path)


def write_nifti(
    data: np.ndarray,
    *,
    affine: np.ndarray,
    spacing_mm: tuple[float, float, float],
    path: str | os.PathLike[str],
) -> None:
    """Writes (T, Z, H, W) voxels of float32, int16 or uint8 as (W, H, Z) or, with frames, (W, H, Z, T) in mm.

    Raises:
        InputError: the path does not end in .nii or .nii.gz.
    """
    file_array = data.transpose(3, 2, 1, 0)
    if data.shape[0] == 1:
        file_array = file_array[..., 0]
    header = nib.Nifti1Header()
    header.set_data_shape(file_array.shape)
    header["pixdim"][1:5] = (*reversed(spacing_mm), 1)
    header.set_sform(affine, code=2)
    header.set_xyzt_units("mm", "sec")
    _write(file_array, header, path)


def _write(file_array: np.ndarray, header: nib.Nifti1Header, path: str | os.PathLike[str]) -> None:
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError("suffix", f"{path}: NIfTI files end in .nii or .nii.gz; choose one of them")
    if path.is_dir():
        raise InputError("output-path", f"{path}: a folder is in the place of the file; choose another name")
    header.set_data_dtype(file_array.dtype)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"], header["cal_max"] = 0, 0
    header["vox_offset"] = _header_size(header) + 4
    # The four bytes after the header say that no extension follows.
    content = header.binaryblock + bytes(4)
    body = np.asarray(file_array, file_array.dtype.newbyteorder(header.endianness)).T
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if path.suffix == ".gz":
            # No name and no time in the stream: equal masks make equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as stream:
                stream.write(content)
                for part in body:
                    stream.write(part.tobytes())
        else:
            file.write(content)
            for part in body:
                file.write(part.tobytes())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file's uncompressed bytes, and how many there are where that is known before reading."""
    try:
        if not path.exists():
            raise InputError("missing-file", f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError("not-a-file", f"{path}: a folder or device, not a file; pass a .nii or .nii.gz file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise InputError("empty-file", f"{path}: empty; copy or export the file again")
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not compressed:
                yield file, size
                return
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield cast(BinaryIO, stream), None
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


def _read_header(stream: BinaryIO, path: Path) -> nib.Nifti1Header:
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


def _header_size(header: nib.Nifti1Header) -> int:
    return int(header["sizeof_hdr"])


def _dimensions(header: nib.Nifti1Header, path: Path) -> tuple[int, ...]:
    """The sizes of the file's 2 to 4 axes; further axes have to be of length 1."""
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


def _dtype(header: nib.Nifti1Header, path: Path) -> np.dtype:
    code = int(header["datatype"])
    if code not in _DTYPES:
        name = _REFUSED_DTYPES.get(code, "unknown")
        raise InputError(
            "dtype",
            f"{path}: data type {code} ({name}); only real numbers of 8 to 64 bit can be read: convert the file",
        )
    return np.dtype(_DTYPES[code]).newbyteorder(header.endianness)


def _geometry(
    header: nib.Nifti1Header, dims: tuple[int, ...], third_axis: ThirdAxis, path: Path
) -> tuple[tuple[int, int, int, int], tuple[float, float, float], np.ndarray]:
    """The shape (T, Z, H, W), spacing (slice, row, column) in mm and affine in mm."""
    width, height, third, fourth = (*dims, 1, 1)[:4]
    is_cine = third_axis == "time" and fourth == 1 and len(dims) >= 3
    shape = (third, 1, height, width) if is_cine else (fourth, third, height, width)

    # The low three bits are the unit of length, the next three that of time.
    mm = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    pixdim = [float(size) * mm for size in header["pixdim"][1:4]]
    has_slices = len(dims) >= 3 and not is_cine
    if not has_slices and not (math.isfinite(pixdim[2]) and pixdim[2] > 0):
        pixdim[2] = 1.0
    low, high = SPACING_RANGE_MM
    bad = [size for size in pixdim[: 3 if has_slices else 2] if not low <= size <= high]
    if bad:
        raise InputError(
            "spacing",
            f"{path}: voxels of {tuple(f'{size:g}' for size in pixdim)} mm (column, row, slice); each side must be "
            f"from {low:g} to {high:g} mm: correct pixdim in the header",
        )
    slice_mm = 1.0 if is_cine or not low <= pixdim[2] <= high else pixdim[2]
    spacing_mm = (slice_mm, pixdim[1], pixdim[0])
    return shape, spacing_mm, _affine(header, shape, spacing_mm, mm, path)


def _affine(
    header: nib.Nifti1Header,
    shape: tuple[int, int, int, int],
    spacing_mm: tuple[float, float, float],
    mm: float,
    path: Path,
) -> np.ndarray:
    usable = header.copy()
    # nibabel refuses what the standard lets pass: a handedness of 0 means 1, and a 2D file needs no third side.
    if float(usable["pixdim"][0]) not in (-1.0, 1.0):
        usable["pixdim"][0] = 1
    usable["pixdim"][1:4] = [spacing / mm for spacing in reversed(spacing_mm)]
    with np.errstate(all="ignore"):
        try:
            affine = np.array(usable.get_best_affine(), np.float64)
        except (HeaderDataError, ValueError) as error:
            raise InputError("affine", f"{path}: no affine from its header ({error}); correct the header") from None
        affine[:3] *= mm
        if shape[1] == 1 and not affine[:3, 2].any():
            normal = np.cross(affine[:3, 0], affine[:3, 1])
            affine[:3, 2] = normal / np.linalg.norm(normal)
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        sound = np.isfinite(affine).all() and (sides > 0).all()
        # Of unit columns: independent of spacing.
        sound = sound and abs(np.linalg.det(affine[:3, :3] / sides)) > 1e-4
    if not sound:
        rows = np.array2string(affine[:3], precision=4, separator=", ").replace("\n", "")
        raise InputError("affine", f"{path}: the affine {rows} is singular or not finite; correct the header")
    return affine


def _scaling(header: nib.Nifti1Header, path: Path) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    # A slope of 0 means no scaling; NaN is what some writers put in its place.
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise InputError(
            "scaling", f"{path}: voxels are scaled by {slope:g} · v + {intercept:g}; correct scl_inter in the header"
        )
    return slope, intercept


def _body_offset(header: nib.Nifti1Header, path: Path) -> int:
    least = _header_size(header) + 4
    offset = float(header["vox_offset"])
    if offset == 0:
        return least
    if not math.isfinite(offset) or offset != int(offset) or not least <= offset <= least + _LONGEST_EXTENSION:
        raise InputError("header", f"{path}: voxels start at byte {offset:g}; expected {least}: correct vox_offset")
    return int(offset)


def _skip(stream: BinaryIO, count: int, path: Path) -> None:
    if len(stream.read(count)) < count:
        raise InputError("truncated", f"{path}: ends within the header's extensions; copy the file again")


def _read_body(stream: BinaryIO, count: int, path: Path) -> np.ndarray:
    """Exactly `count` bytes, after which the stream has to end: reading on checks gzip's CRC."""
    raw = np.empty(count, np.uint8)
    view = memoryview(raw)
    filled = 0
    while filled < count:
        chunk = stream.read(min(_CHUNK, count - filled))
        if not chunk:
            raise _size_error(path, filled, count)
        view[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    if stream.read(1):
        raise _size_error(path, None, count)
    return raw


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
    """Slice by slice, so that the float64 in between stays small."""
    data = np.empty(raw.shape, np.float32)
    # Values beyond float32 become infinite here, and are refused with the other infinite ones.
    with np.errstate(over="ignore", invalid="ignore"):
        for index in np.ndindex(raw.shape[:2]):
            part = raw[index]
            data[index] = part if (slope, intercept) == (1.0, 0.0) else part.astype(np.float64) * slope + intercept
    return data
