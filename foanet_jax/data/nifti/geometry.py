"""The geometry of a NIfTI file: its shape, spacing and affine, which must be consistent."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from foanet_jax.data.formats import is_other_format
from foanet_jax.data.layout import require_possible_field, shown_sides
from foanet_jax.data.nifti.header import SPACING_RANGE_MM, ThirdAxis
from foanet_jax.system.errors import InputError

GIVEN = "the spacing was given with the command, not read from the header"
SHEARED = (
    "the slices are shifted against each other, so the slice distance is measured at a right angle to the slices, not "
    "along the third axis"
)
UNIT_AFFINE = "the affine has sides of 1 mm, so the spacing is that of pixdim"

_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # metre, micron; all other codes are read as mm
_UNIT_NAMES = {1: "metres", 3: "micrometres"}
_ROUNDING = 1e-4  # relative; up to this difference, pixdim is the same spacing as the affine's, with less rounding
_CONTRADICTION = 0.01  # relative
# The largest cosine of the angle between rows and columns. Above it, pixels are no rectangles, and no length or area in
# the plane is that of the spacing.
_MOST_SHEAR = 0.01
# Plausible spacings. Only a pixdim in these ranges is preferred to an affine with sides of 1 mm.
_IN_PLANE_MM = (0.3, 4.0)
_SLICE_MM = (0.3, 20.0)
_REMEDY = (
    "give the true distances of slices, rows and columns with --spacing_mm=Z,Y,X (predict, measure, check, evaluate), "
    "in Python with spacing_mm=(Z, Y, X)"
)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Shape, spacing and affine of the voxels.

    Attributes:
        shape: (T, Z, H, W).
        spacing_mm: (slice, row, column). The slice distance is perpendicular to the slices, so that the product is the
            volume of a voxel, also if the affine is sheared. It is 1 if the third axis is time or if the header has no
            slice distance.
        affine: (4, 4), from (column, row, slice) to RAS+ mm.
        header: the file's header, with `spacing_mm` as its pixdim.
        remarks: one sentence for each decision about a header that is unclear.
    """

    shape: tuple[int, int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    header: nib.Nifti1Header
    remarks: tuple[str, ...] = ()


def read_geometry(
    header: nib.Nifti1Header,
    dims: tuple[int, ...],
    third_axis: ThirdAxis,
    path: Path,
    *,
    spacing_mm: Sequence[float] | None = None,
) -> Geometry:
    """Reads the geometry from a header.

    The spacing is taken from the sform if its code is set, else from pixdim, which the qform uses too. If the sform has
    sides of 1 mm and pixdim is plausible, as in ACDC, the sform is a placeholder, and the spacing is that of pixdim. If
    the third column of the sform is not perpendicular to the slices, the slice distance is the perpendicular one;
    pixdim may give this distance or the length of the column.

    Args:
        header: of the file.
        dims: the sizes of its 2 to 4 axes.
        third_axis: the meaning of the third axis of a 3D file.
        path: the file, for messages.
        spacing_mm: the true distances of slices, rows and columns, which replace those of the header. The directions
            of the affine do not change.

    Raises:
        InputError: "spacing" if a side of a voxel or of the image is impossible; "affine" if the affine is singular, or
            if its rows and columns are not at right angles; "spacing-contradicts" if sform and pixdim differ by more
            than 1 %.
    """
    width, height, third, fourth = (*dims, 1, 1)[:4]
    is_cine = third_axis == "time" and fourth == 1 and len(dims) >= 3
    shape = (third, 1, height, width) if is_cine else (fourth, third, height, width)
    has_slices = len(dims) >= 3 and not is_cine

    # The low three bits are the unit of length.
    unit = int(header["xyzt_units"]) & 7
    mm = _MM_PER_UNIT.get(unit, 1.0)
    header = header.copy()
    remarks: tuple[str, ...] = ()
    if spacing_mm is not None:
        remarks = (GIVEN,)
        _impose(header, given_spacing(spacing_mm), mm)
    told = _pixdim_mm(header, mm, has_slices=has_slices, unit=_UNIT_NAMES.get(unit), path=path)
    if is_cine:
        told = (1.0, *told[1:])
    affine = _affine(header, shape, told, mm, path)
    used: tuple[float, float, float] = told
    if int(header["sform_code"]) > 0:
        # A single slice has no slice distance.
        axes = 3 if has_slices and third > 1 else 2
        used, reasons = _settle(header, told, affine[:3, :3], axes, path)
        remarks += reasons
        if used != told:
            header["pixdim"][1 : axes + 1] = [side / mm for side in used[::-1][:axes]]
            # The header rounds the numbers. The rounded ones are used, so that a mask has exactly the same spacing.
            column, row, slice_ = (*(float(side) * mm for side in header["pixdim"][1 : axes + 1]), *told[::-1][axes:])
            used = (slice_, row, column)
    require_possible_field(
        shape, used, name=str(path), remedy=f"correct pixdim or its unit in the header, or {_REMEDY}"
    )
    return Geometry(shape, used, affine, header, remarks)


def sides_of(axes: np.ndarray) -> np.ndarray:
    """Returns the distances between columns, rows and slices of a grid, in mm.

    Args:
        axes: (3, 3), the steps to the next column, row and slice as columns, in mm. Columns and rows must be at right
            angles.

    Returns:
        (3,): the lengths of the first two steps, and the part of the third that is perpendicular to both. The product
        of the three is the volume of a voxel, the determinant of `axes`, also for a sheared grid.
    """
    column, row, step = np.asarray(axes, np.float64).T
    normal = np.cross(column, row)
    # For zero and infinite steps, which the caller refuses, the result is NaN.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distance = abs(step @ normal) / np.linalg.norm(normal)
    return np.array([np.linalg.norm(column), np.linalg.norm(row), distance])


def require_right_angles(axes: np.ndarray, path: Path) -> None:
    """Raises InputError "affine" if rows and columns are not at right angles, to within 1 % (0.6°).

    Args:
        axes: see `sides_of`.
        path: the file, for the message.
    """
    column, row = axes[:, 0] / np.linalg.norm(axes[:, 0]), axes[:, 1] / np.linalg.norm(axes[:, 1])
    if abs(column @ row) > _MOST_SHEAR:
        angle = math.degrees(math.acos(max(-1.0, min(1.0, float(column @ row)))))
        raise InputError(
            "affine",
            f"{path}: the affine is sheared in the plane of the slices: rows and columns are at {angle:.1f}°, so "
            "pixels are no rectangles; resample the image to a grid with right angles, or correct the affine",
        )


def given_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Checks a spacing that the user gives: distances of slices, rows and columns in mm.

    Raises:
        InputError: "spacing" if these are not three numbers of plausible size.
    """
    low, high = SPACING_RANGE_MM
    try:
        values = tuple(float(value) for value in spacing_mm)
    except (TypeError, ValueError):
        values = ()
    # NaN fails every comparison.
    if len(values) != 3 or not all(low <= value <= high for value in values):
        raise InputError(
            "spacing",
            f"spacing_mm is {spacing_mm!r}; give the distances of slices, rows and columns in mm, three real numbers "
            f"such as 8, 1.25, 1.25; all three must be positive, from {low:g} to {high:g}",
        )
    return values  # type: ignore[return-value]


def _pixdim_mm(
    header: nib.Nifti1Header, mm: float, *, has_slices: bool, unit: str | None, path: Path
) -> tuple[float, float, float]:
    """Returns the spacing of pixdim in mm, (slice, row, column); the slice distance is 1 if there are no slices."""
    pixdim = [float(size) * mm for size in header["pixdim"][1:4]]
    if not has_slices and not (math.isfinite(pixdim[2]) and pixdim[2] > 0):
        pixdim[2] = 1.0
    low, high = SPACING_RANGE_MM
    if not all(low <= size <= high for size in pixdim[: 3 if has_slices else 2]):
        said = f" (its unit is {unit})" if unit else ""
        raise InputError(
            "spacing",
            f"{path}: voxels of {shown_sides(pixdim[::-1])}{said}; each side must be from {low:g} to {high:g} mm: "
            f"correct pixdim{' or the unit' if unit else ''} in the header, or {_REMEDY}",
        )
    slice_mm = pixdim[2] if has_slices or low <= pixdim[2] <= high else 1.0
    return (slice_mm, pixdim[1], pixdim[0])


def _settle(
    header: nib.Nifti1Header, told: tuple[float, float, float], steps: np.ndarray, axes: int, path: Path
) -> tuple[tuple[float, float, float], tuple[str, ...]]:
    """Returns the spacing of a file with a sform, and remarks about the decisions that were needed.

    Args:
        header: of the file.
        told: the spacing of pixdim in mm, (slice, row, column).
        steps: (3, 3), the sform's columns in mm: column, row, slice.
        axes: the number of these that are compared, from the first.
        path: the file.
    """
    pixdim, sides, lengths = np.array(told[::-1]), sides_of(steps), np.linalg.norm(steps, axis=0)
    is_sheared = axes == 3 and lengths[2] / sides[2] - 1 > _ROUNDING
    remarks = (SHEARED,) if is_sheared else ()
    off = _off(sides, pixdim)[:axes]
    if (off <= _ROUNDING).all():
        return told, remarks
    # Programs differ in what they write into pixdim: the distance of the slices, or the length of the column.
    if (off <= _CONTRADICTION).all() or (is_sheared and (_off(lengths, pixdim) <= _CONTRADICTION).all()):
        column, row, slice_ = (*sides[:axes], *pixdim[axes:])
        return (float(slice_), float(row), float(column)), remarks
    has_qform = int(header["qform_code"]) > 0
    is_unit = not is_sheared and np.allclose(sides[:axes], 1, rtol=0, atol=1e-3)
    if is_unit and not has_qform and _is_plausible(told, axes):
        return told, (UNIT_AFFINE,)
    first, second = ("pixdim and qform have" if has_qform else "pixdim has"), "sform"
    if is_other_format(path):
        first, second = "its spacing has", "matrix of directions"
    raise InputError(
        "spacing-contradicts",
        f"{path}: the header contradicts itself: {first} voxels of {shown_sides(told)}, the {second} of "
        f"{shown_sides(tuple(sides[::-1]))}"
        + (f", with slices {lengths[2]:.5g} mm apart along its third column" if is_sheared else "")
        + f"; correct the header, or {_REMEDY}",
    )


def _off(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the relative differences of positive values."""
    return np.maximum(first, second) / np.minimum(first, second) - 1


def _is_plausible(spacing_mm: tuple[float, float, float], axes: int) -> bool:
    slice_mm, *in_plane = spacing_mm
    low, high = _SLICE_MM
    return all(_IN_PLANE_MM[0] <= side <= _IN_PLANE_MM[1] for side in in_plane) and (
        axes < 3 or low <= slice_mm <= high
    )


def _impose(header: nib.Nifti1Header, spacing_mm: tuple[float, float, float], mm: float) -> None:
    """Writes a spacing into a header: into pixdim, which the qform uses too, and into the columns of the sform.

    The third column is scaled so that the slices have the distance, measured at a right angle to them.
    """
    sides = [side / mm for side in reversed(spacing_mm)]
    header["pixdim"][1:4] = sides
    if int(header["sform_code"]) <= 0:
        return
    rows = np.array([header[name] for name in ("srow_x", "srow_y", "srow_z")], np.float64)
    if not np.isfinite(rows).all():
        return  # `_affine` raises the error.
    stored = sides_of(rows[:, :3])
    usable = np.isfinite(stored) & (stored > 0)  # The third column of a single image may be 0.
    rows[:, :3] *= np.divide(sides, stored, out=np.ones(3), where=usable)
    header["srow_x"], header["srow_y"], header["srow_z"] = rows


def _affine(
    header: nib.Nifti1Header,
    shape: tuple[int, int, int, int],
    spacing_mm: tuple[float, float, float],
    mm: float,
    path: Path,
) -> np.ndarray:
    usable = header.copy()
    # nibabel refuses two headers that the standard allows: a handedness of 0, which means 1, and a 2D file without a
    # third side.
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
        # The determinant of unit columns does not depend on the spacing.
        sound = sound and abs(np.linalg.det(affine[:3, :3] / sides)) > 1e-4
    if not sound:
        rows = np.array2string(affine[:3], precision=4, separator=", ").replace("\n", "")
        raise InputError("affine", f"{path}: the affine {rows} is singular or not finite; correct the header")
    require_right_angles(affine[:3, :3], path)
    return affine
