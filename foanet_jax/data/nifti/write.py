"""Writes NIfTI files: masks on the grid of their source file, and volumes made in memory."""

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np

from foanet_jax.data.nifti.header import header_size
from foanet_jax.data.study import Study
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError


def write_mask(mask: np.ndarray, study: Study, path: str | os.PathLike[str]) -> None:
    """Writes a mask as uint8, with the shape, axis order and world coordinates of the study's file.

    The header is that of the source, except for data type, scaling and display range. For a study made in memory, the
    header is made from the affine and the spacing. The file is written atomically.

    Args:
        mask: (T, Z, H, W) uint8, the shape of `study.voxels`.
        study: the study that was segmented.
        path: ends in .nii or .nii.gz.

    Raises:
        InputError: the mask does not fit the study, or the path has another suffix.
    """
    if mask.dtype != np.uint8 or mask.shape != study.voxels.shape:
        raise InputError(
            "shape-mismatch",
            f"{study.name}: a mask of {mask.dtype} {mask.shape} for voxels {study.voxels.shape}; "
            "pass uint8 of the voxels' shape (T, Z, H, W)",
        )
    if not isinstance(study.header, nib.Nifti1Header):
        write_nifti(
            mask, affine=study.affine, spacing_mm=study.spacing_mm, path=path, frame_seconds=study.frame_seconds
        )
        return
    header = study.header.copy()
    file_array = in_file(mask, study)
    ndim = int(header["dim"][0])
    shape = tuple(int(size) for size in header["dim"][1 : ndim + 1])
    # Axes of length 1 may be missing. All other axes must agree, because reshaping would scramble the mask otherwise.
    if [size for size in file_array.shape if size > 1] != [size for size in shape if size > 1]:
        raise InputError(
            "shape-mismatch",
            f"{study.name}: a mask of {file_array.shape} in the file's axes, but the file has {shape}; "
            "write the mask of the whole study",
        )
    _write(file_array.reshape(shape), header, path)


def in_file(mask: np.ndarray, study: Study) -> np.ndarray:
    """Returns a mask (T, Z, H, W) in the axes of the study's file; axes of length 1 may be added."""
    return mask.transpose(3, 2, 1, 0) if study.to_source is None else study.to_source(mask)


def write_image(study: Study, path: str | os.PathLike[str]) -> None:
    """Writes a study's voxels as NIfTI on its own grid: as int16 if it holds every value, else as float32.

    Args:
        study: the study.
        path: ends in .nii or .nii.gz.

    Raises:
        InputError: the path has another suffix.
    """
    voxels = study.voxels
    limits = np.iinfo(np.int16)
    is_whole = limits.min <= voxels.min() and voxels.max() <= limits.max and bool((voxels == np.rint(voxels)).all())
    write_nifti(
        voxels.astype(np.int16) if is_whole else voxels,
        affine=study.affine,
        spacing_mm=study.spacing_mm,
        path=path,
        frame_seconds=study.frame_seconds,
    )


def write_nifti(
    data: np.ndarray,
    *,
    affine: np.ndarray,
    spacing_mm: tuple[float, float, float],
    path: str | os.PathLike[str],
    frame_seconds: float | None = None,
) -> None:
    """Writes (T, Z, H, W) voxels of float32, int16 or uint8 as (W, H, Z) or, with frames, (W, H, Z, T) in mm.

    The affine is written as sform. It is also written as qform if its axes are orthogonal and have the lengths of the
    spacing, so that every viewer shows the same place in the world.

    Args:
        data: the voxels.
        affine: (4, 4), from (column, row, slice) to RAS+ mm.
        spacing_mm: of slices, rows and columns.
        path: ends in .nii or .nii.gz.
        frame_seconds: time from frame to frame, if it is known.

    Raises:
        InputError: the path does not end in .nii or .nii.gz.
    """
    file_array = data.transpose(3, 2, 1, 0)
    if data.shape[0] == 1:
        file_array = file_array[..., 0]
    header = nib.Nifti1Header()
    header.set_data_shape(file_array.shape)
    header.set_sform(affine, code=2)
    header.set_qform(affine, code=2)
    as_quaternion = np.allclose(header.get_qform(), affine, rtol=0, atol=1e-4 * max(1.0, np.abs(affine).max()))
    # This comes after the affine, because `set_qform` writes the lengths of its columns into pixdim.
    header["pixdim"][1:5] = (*reversed(spacing_mm), 1 if frame_seconds is None else frame_seconds)
    if not (as_quaternion and np.allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing_mm[::-1], rtol=1e-4)):
        header.set_qform(None, code=0)
    # An unknown time has no unit.
    header.set_xyzt_units("mm", "unknown" if frame_seconds is None and data.shape[0] > 1 else "sec")
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
    header["vox_offset"] = header_size(header) + 4
    # The four bytes after the header say that no extension follows.
    content = header.binaryblock + bytes(4)
    body = np.asarray(file_array, file_array.dtype.newbyteorder(header.endianness)).T
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if path.suffix == ".gz":
            # The stream has no name and no time, so that equal masks make equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as stream:
                stream.write(content)
                for part in body:
                    stream.write(part.tobytes())
        else:
            file.write(content)
            for part in body:
                file.write(part.tobytes())
