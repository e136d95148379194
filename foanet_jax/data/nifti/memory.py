"""Images of nibabel and SimpleITK in memory, as NIfTI files, so that they are read by the rules of files."""

import importlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from foanet_jax.system.errors import InputError

_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # SimpleITK has LPS+ coordinates, NIfTI has RAS+.


def is_image(source: Any) -> bool:
    """Returns whether something is an image of nibabel or of SimpleITK."""
    return isinstance(source, nib.spatialimages.SpatialImage) or _is_simpleitk(source)


def save_image(image: Any, path: Path) -> None:
    """Writes an image as an uncompressed NIfTI file with the same voxels, affine and units.

    Args:
        image: a scalar image of two to four dimensions.
        path: ends in .nii.

    Raises:
        InputError: "array" if the voxels are no real numbers, such as vectors or colours.
    """
    converted = _of_simpleitk(image) if _is_simpleitk(image) else image
    voxels = np.asanyarray(converted.dataobj)
    if voxels.dtype.kind not in "iuf":
        raise InputError("array", f"the image has voxels of the type {voxels.dtype}; pass an image of real numbers")
    header = converted.header if isinstance(converted, nib.Nifti1Image) else None
    plain = nib.Nifti1Image(voxels.astype(np.float32), converted.affine, header)
    plain.header.set_data_dtype(np.float32)
    nib.save(plain, path)


def array_of(mask: np.ndarray, image: Any) -> np.ndarray:
    """Returns a mask in the axes of the NIfTI file, (W, H, Z, T), in the shape of the image's array.

    This is the shape of nibabel's `get_fdata()`, or of SimpleITK's `GetArrayFromImage`.
    """
    if _is_simpleitk(image):
        return mask.T.reshape(image.GetSize()[::-1])
    return mask.reshape(image.shape)


def _is_simpleitk(source: Any) -> bool:
    # SimpleITK is not a requirement: whoever passes one of its images has it.
    return type(source).__module__.split(".")[0] == "SimpleITK" and hasattr(source, "GetDirection")


def _of_simpleitk(image: Any) -> nib.Nifti1Image:
    dimensions, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if components != 1:
        raise InputError("array", f"the image has {components} numbers in each voxel; pass an image of real numbers")
    voxels = importlib.import_module("SimpleITK").GetArrayFromImage(image).T
    space = min(dimensions, 3)
    direction = np.eye(3)
    direction[:space, :space] = np.reshape(image.GetDirection(), (dimensions, dimensions))[:space, :space]
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[:space], origin[:space] = image.GetSpacing()[:space], image.GetOrigin()[:space]
    affine = np.eye(4)
    affine[:3, :3] = _TO_RAS @ direction * spacing
    affine[:3, 3] = _TO_RAS @ origin
    found = nib.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    found.header.set_xyzt_units("mm")
    if dimensions == 4:
        found.header["pixdim"][4] = image.GetSpacing()[3]
    return found
