"""Reorients volumes so that their axes are closest to RAS+, and maps results back to the axes of the file."""

import dataclasses
import functools
from typing import Literal

import numpy as np
from nibabel import orientations

from foanet_jax.data.nifti.file import NiftiVolume
from foanet_jax.data.nifti.geometry import SHEARED, require_right_angles, sides_of
from foanet_jax.system.errors import InputError

SliceAxis = Literal["sagittal", "coronal", "axial"]

# Which of the RAS+ axes become (column, row, slice).
_AXES_BY_SLICE_AXIS: dict[str, tuple[int, int, int]] = {
    "sagittal": (1, 2, 0),
    "coronal": (0, 2, 1),
    "axial": (0, 1, 2),
}


def to_canonical(volume: NiftiVolume, slice_axis: SliceAxis) -> NiftiVolume:
    """Returns the volume with its axes closest to RAS+, sliced along one axis of the world.

    Columns and rows run towards (right, anterior) in axial slices, (right, superior) in coronal slices and
    (anterior, superior) in sagittal slices. Axes are only swapped and reversed; no voxel changes its value.
    `to_source` of the result maps an array back to the axes of the file.

    Raises:
        InputError: the slice axis is unknown, or the volume was reoriented before; "affine" if the affine is sheared,
            and rows and columns of the new slices are not at right angles.
    """
    if slice_axis not in _AXES_BY_SLICE_AXIS:
        raise InputError("slice-axis", f"slice_axis is {slice_axis!r}; choose one of {', '.join(_AXES_BY_SLICE_AXIS)}")
    # `to_source` of the result starts from the axes of the file, so it would lose an earlier reorientation.
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
    if SHEARED in volume.remarks:
        # A grid is sheared in some planes and not in others.
        require_right_angles(affine[:3, :3], volume.path)
        column, row, slice_ = map(float, sides_of(affine[:3, :3]))
    return dataclasses.replace(
        volume,
        data=data,
        spacing_mm=(slice_, row, column),
        affine=affine,
        to_source=functools.partial(_undo_canonical, to_ras, axes),
    )


def _undo_canonical(to_ras: np.ndarray, axes: tuple[int, int, int], array: np.ndarray) -> np.ndarray:
    """Maps an array (T, Z, H, W) on the canonical grid to the axes of the file, (column, row, slice, frame)."""
    ras = array.transpose(3, 2, 1, 0).transpose(*np.argsort(axes), 3)
    identity = np.array([[0, 1], [1, 1], [2, 1]])
    return orientations.apply_orientation(ras, orientations.ornt_transform(identity, to_ras))
