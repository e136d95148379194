"""Studies of what NIfTI files hold."""

import itertools
import os
from collections.abc import Mapping

import numpy as np

from foanet_jax.data.nifti.file import NiftiVolume, read_nifti
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.orientation import SliceAxis, to_canonical
from foanet_jax.data.study import Study, validate_study
from foanet_jax.system.errors import InputError


def read_voxels(
    path: str | os.PathLike[str], *, third_axis: ThirdAxis = "slice", slice_axis: SliceAxis | None = None
) -> np.ndarray:
    """(T, Z, H, W) float32 of a NIfTI file, reoriented and sliced along an axis of the world where one is given."""
    volume = read_nifti(path, third_axis=third_axis)
    return (volume if slice_axis is None else to_canonical(volume, slice_axis)).data


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
            frame_seconds=volume.frame_seconds,
            remarks=volume.remarks,
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
