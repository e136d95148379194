"""Makes studies from NIfTI volumes."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from foanet_jax.data.frames import corners_off_mm, is_same_place, is_same_spacing
from foanet_jax.data.layout import has_frames_for_slices, has_oblong_pixels, is_cut_across, shown_sides
from foanet_jax.data.nifti.file import NiftiVolume, read_nifti
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.orientation import SliceAxis, to_canonical
from foanet_jax.data.patients.body import Body
from foanet_jax.data.study import Study, validate_study
from foanet_jax.system.errors import InputError

# The largest distance of a label value from a whole number. Programs that resample or scale labels leave 0.9999999.
ROUNDING = 1e-3


def read_voxels(
    path: str | os.PathLike[str],
    *,
    third_axis: ThirdAxis = "slice",
    slice_axis: SliceAxis | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> np.ndarray:
    """Returns the voxels of a NIfTI file, (T, Z, H, W) float32.

    If `slice_axis` is given, the volume is reoriented and sliced along this axis of the world. `spacing_mm` replaces
    the spacing of the header, see `read_nifti`.
    """
    volume = read_nifti(path, third_axis=third_axis, spacing_mm=spacing_mm)
    return (volume if slice_axis is None else to_canonical(volume, slice_axis)).data


def study_from_volume(
    volume: NiftiVolume,
    *,
    patient: str,
    case: str,
    classes: tuple[str, ...],
    labels: np.ndarray | None = None,
    group: str | None = None,
    body: Body | None = None,
) -> Study:
    """Returns the study on the volume's grid; `labels` is (T, Z, H, W) uint8 or None.

    Raises:
        InputError: voxels, labels and spacing are not consistent; "axis-order" if the file's axes have another order
            than (columns, rows, slices, frames).
    """
    _require_possible_axes(volume)
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
            remarks=(*volume.remarks, *(() if body is None else body.remarks)),
            body=body,
        )
    )


def _require_possible_axes(volume: NiftiVolume) -> None:
    """Raises InputError "axis-order" if the axes of slices or frames are in the place of other axes."""
    frames, slices, rows, columns = volume.data.shape
    read = f"{columns} columns, {rows} rows, {slices} slices and {frames} frames"
    expected = "expected (columns, rows, slices, frames)"
    # If a model reorients volumes, the affine sorts the axes of space, but not the axis of frames.
    is_as_stored = volume.to_source is None
    if is_as_stored and is_cut_across(volume.data.shape):
        axis = 0 if columns <= rows else 1
        raise InputError(
            "axis-order", f"{volume.path}: read as {read}, which no image has; {expected}: {_mended(volume, axis)}"
        )
    if has_frames_for_slices(volume.data):
        raise InputError(
            "axis-order",
            f"{volume.path}: read as {read}, but its third axis is time: images change less along it than along the "
            f"fourth, and the last is as the first; {expected}: write it again with np.swapaxes(data, 2, 3), with the "
            "slice distance in the third column of the affine",
        )
    if is_as_stored and has_oblong_pixels(volume.spacing_mm):
        axis = 0 if volume.spacing_mm[2] > volume.spacing_mm[1] else 1
        raise InputError(
            "axis-order",
            f"{volume.path}: voxels of {shown_sides(volume.spacing_mm)}, whose pixels are no squares: the "
            f"{('first', 'second')[axis]} axis seems to be that of slices; {expected}: {_mended(volume, axis)}; or, if "
            "only the spacing is wrong, --spacing_mm=Z,Y,X",
        )


def _mended(volume: NiftiVolume, axis: int) -> str:
    """Returns the advice how to rewrite a file whose slices are along its first or second axis."""
    sizes = volume.data.shape[::-1]
    if sizes[3] == 1:
        order = [*(other for other in range(3) if other != axis), axis, 3]
        return f"write it again with np.moveaxis(data, {axis}, 2) and affine[:, {order}]"
    # The longest axes are assumed to be columns and rows; if they come last, as in NumPy's order, rows and columns.
    first, second = sorted(sorted(range(4), key=lambda place: -sizes[place])[:2])
    planes = [second, first] if first == 2 else [first, second]
    rest = sorted({0, 1, 2, 3} - set(planes), key=lambda place: sizes[place])
    return f"write it again with np.transpose(data, {(*planes, *rest)}), with the affine of the axes in their new order"


def whole_numbers(labels: NiftiVolume) -> np.ndarray:
    """Returns the label values of a file, (T, Z, H, W) int32.

    Raises:
        InputError: "unknown-label" if a value is further than `ROUNDING` from a whole number, or is negative.
    """
    whole = np.rint(labels.data)
    wrong = (np.abs(labels.data - whole) > ROUNDING) | (whole < 0)
    if wrong.any():
        values = np.unique(labels.data[wrong])
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", …" if len(values) > 8 else "")
        raise InputError(
            "unknown-label",
            f"{labels.path}: {int(wrong.sum())} labels are not whole numbers from 0 ({shown}); export the mask without "
            "interpolation, or use the one that belongs to this image",
        )
    return whole.astype(np.int32)


def class_indices(labels: NiftiVolume, index_of: Mapping[int, int]) -> np.ndarray:
    """Converts the label values of a file to class indices, (T, Z, H, W) uint8.

    Raises:
        InputError: "unknown-label" if a value is further than `ROUNDING` from a whole number, or not in `index_of`.
    """
    values = np.unique(labels.data)
    whole = np.rint(values)
    unknown = [
        value
        for value, near in zip(values, whole, strict=True)
        if abs(value - near) > ROUNDING or int(near) not in index_of
    ]
    if unknown:
        shown = ", ".join(str(value).removesuffix(".0") for value in unknown[:8]) + (", …" if len(unknown) > 8 else "")
        raise InputError(
            "unknown-label",
            f"{labels.path}: unknown label {shown}; known are {', '.join(map(str, sorted(index_of)))}: "
            "correct the file, or use the one that belongs to this data set",
        )
    indices = np.zeros(labels.data.shape, np.uint8)
    for value, near in zip(values, whole, strict=True):
        indices[labels.data == value] = index_of[int(near)]
    return indices


def require_same_grid(image: NiftiVolume, labels: NiftiVolume) -> None:
    """Raises InputError if the labels have another shape, spacing or affine than the image.

    The corners of the two volumes may differ by a tenth of the smallest voxel side, because files round differently.
    """
    remedy = "use the labels that were drawn on this image"
    if image.data.shape != labels.data.shape:
        raise InputError(
            "shape-mismatch",
            f"{labels.path}: labels {labels.data.shape}, but {image.path} is {image.data.shape} (T, Z, H, W); {remedy}",
        )
    if not is_same_spacing(image.spacing_mm, labels.spacing_mm):
        raise InputError(
            "spacing-mismatch",
            f"{labels.path}: spacing {labels.spacing_mm} mm, but {image.path} has {image.spacing_mm}; {remedy}",
        )
    if not is_same_place(image.data.shape, image.affine, labels.affine):
        off = corners_off_mm(image.data.shape, image.affine, labels.affine)
        raise InputError(
            "affine-mismatch",
            f"{labels.path}: its affine puts a corner of the volume {off:.3g} mm away from where {image.path} "
            f"has it; {remedy}",
        )
