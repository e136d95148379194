"""The indices of the LVQuan challenge for short-axis slices: areas, dimensions, wall thicknesses and phase.

Angles are in degrees around the centroid of the cavity, clockwise from the top of the image. They are measured in mm,
so that pixels need not be square. The six sectors are defined for a heart that is seen from the apex: the right
ventricle is at 270° (on the left) and the anterior wall is on top. The sectors turn with the septum. In a mirrored
image, the anterior and the inferior wall are exchanged. No angle shows this; see `position`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from foanet_jax.image.components import greatest_component
from foanet_jax.measures.indices.labels import (
    LV_CAVITY,
    MYOCARDIUM,
    RV_CAVITY,
    index_of,
    require_mask,
    require_spacing,
)
from foanet_jax.system.errors import InputError

CANONICAL_SEPTUM = 270.0
# The sectors in the order of `rwt` in LVQuan19, with the angle at which each sector of 60° begins.
SECTORS = {"is": 210, "i": 150, "il": 90, "al": 30, "a": 330, "as": 270}
WALLS = {
    "a": "anterior",
    "as": "anteroseptal",
    "is": "inferoseptal",
    "i": "inferior",
    "il": "inferolateral",
    "al": "anterolateral",
}
# Pairs of opposite sectors, in the order of `dims` in LVQuan19.
DIMENSIONS = {"is_al": ("is", "al"), "i_a": ("i", "a"), "il_as": ("il", "as")}

NO_CAVITY = "no cavity"
NO_MYOCARDIUM = "no myocardium"
OPEN_RING = "open ring"
OFF_CENTRE = "centroid outside the cavity"
PIECES = "several components"
NO_SEPTUM = "no septum angle"

# KNOWN: the walls have their anatomical names. UNKNOWN: the anterior and the inferior wall may be exchanged.
KNOWN, UNKNOWN = "known", "unknown"

_RAYS_PER_SECTOR = 60


@dataclasses.dataclass(frozen=True)
class LvIndices:
    """The LV indices of each frame and slice. An index that cannot be measured is NaN, and `flags` gives the reason.

    Attributes:
        cavity_area_mm2, myocardium_area_mm2: (T, Z); 0 if the structure is absent.
        dimensions_mm: (T, Z, 3) in the order of DIMENSIONS.
        rwt_mm: (T, Z, 6) regional wall thicknesses in the order of SECTORS.
        phase: (T,) 1 in systole, 0 in diastole, from the area of the cavity over all slices; NaN if it is unknown.
        flags: (T, Z) str: the problems of the slice, joined by "; "; "" if there are none.
        wall_directions: KNOWN if the sectors have their anatomical names. UNKNOWN if the anterior and the inferior wall
            may be exchanged, because the position of the images in the patient or the septum is not known.
    """

    cavity_area_mm2: np.ndarray
    myocardium_area_mm2: np.ndarray
    dimensions_mm: np.ndarray
    rwt_mm: np.ndarray
    phase: np.ndarray
    flags: np.ndarray
    wall_directions: str = UNKNOWN

    def columns(self) -> dict[str, np.ndarray]:
        """Returns each index (T, Z) by its name with unit, and the phase (T,)."""
        return {
            "cavity_area_mm2": self.cavity_area_mm2,
            "myocardium_area_mm2": self.myocardium_area_mm2,
            **{f"dim_{name}_mm": self.dimensions_mm[..., k] for k, name in enumerate(DIMENSIONS)},
            **{f"rwt_{name}_mm": self.rwt_mm[..., k] for k, name in enumerate(SECTORS)},
            "phase": self.phase,
        }


def lv_indices(
    mask: np.ndarray,
    *,
    classes: Sequence[str],
    spacing_mm: Sequence[float],
    septum_degrees: float | np.ndarray,
) -> LvIndices:
    """Measures areas, dimensions, regional wall thicknesses and phase of each short-axis slice (LVQuan challenge).

    Only the largest component of the cavity and the component of the heart around it are measured. 360 rays start at
    the centroid of the cavity. The inner radius of a ray is where it last leaves the cavity, and the outer radius is
    where it last leaves the heart, both at level 0.5 of the linearly interpolated masks. A wall thickness is the mean
    of outer − inner over a sector; it is NaN if one of the rays of the sector meets no wall. A dimension is twice the
    mean inner radius over two opposite sectors.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: class names by index; they include the myocardium, and the cavity or the left ventricle.
        spacing_mm: distances between slices, rows and columns.
        septum_degrees: direction of the right ventricle; CANONICAL_SEPTUM if the images are in canonical orientation.
            One value, or (Z,) values, one for each slice, as `septum_angle` returns them.

    Raises:
        InputError: the mask, its classes, the spacing or the number of angles cannot be used.
    """
    mask = require_mask(mask, classes)
    _, row_mm, column_mm = require_spacing(spacing_mm)
    cavity_index, wall_index = index_of(classes, LV_CAVITY), index_of(classes, [MYOCARDIUM])
    frames, slices = mask.shape[:2]
    septum = np.asarray(septum_degrees, float)
    if septum.shape not in ((), (1,), (slices,)):
        raise InputError(
            "septum", f"septum angles of shape {septum.shape}; pass one, or one for each of {slices} slices"
        )
    septum = np.broadcast_to(septum, slices)
    areas = np.zeros((2, frames, slices))
    dimensions = np.full((frames, slices, len(DIMENSIONS)), np.nan)
    rwt = np.full((frames, slices, len(SECTORS)), np.nan)
    flags = np.full((frames, slices), "", dtype=object)
    for t, z in np.ndindex(frames, slices):
        cavity, heart, pieces = _parts(mask[t, z] == cavity_index, mask[t, z] == wall_index)
        wall = heart & (mask[t, z] == wall_index)
        areas[:, t, z] = np.array([cavity.sum(), wall.sum()]) * row_mm * column_mm
        found = [PIECES] if pieces else []
        if not cavity.any():
            found.append(NO_CAVITY)
        if not wall.any():
            found.append(NO_MYOCARDIUM)
        if not np.isfinite(septum[z]):
            found.append(NO_SEPTUM)
        elif cavity.any():
            inner, outer = _sector_radii(cavity, heart, (row_mm, column_mm), float(septum[z]))
            # The radii are equal where the cavity borders on the background: there, the two masks are the same.
            thickness = np.where(outer - inner > 1e-6, outer - inner, np.nan)
            if np.isnan(inner).any():
                found.append(OFF_CENTRE)
            elif wall.any() and np.isnan(thickness).any():
                found.append(OPEN_RING)
            radius = dict(zip(SECTORS, inner.mean(1), strict=True))
            dimensions[t, z] = [radius[one] + radius[other] for one, other in DIMENSIONS.values()]
            rwt[t, z] = thickness.mean(1)
        flags[t, z] = "; ".join(found)
    beat = areas[0].sum(1)
    return LvIndices(
        cavity_area_mm2=areas[0],
        myocardium_area_mm2=areas[1],
        dimensions_mm=dimensions,
        rwt_mm=rwt,
        # A frame without any cavity was not segmented. It must not count as the smallest cavity.
        phase=cardiac_phase(np.where(beat > 0, beat, np.nan)),
        flags=flags.astype(str),
    )


def septum_angle(mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]) -> np.ndarray:
    """Measures the direction from the centroid of the LV cavity to the centroid of the right ventricle.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: class names by index; they include the right ventricle, and the cavity or the left ventricle.
        spacing_mm: distances between slices, rows and columns.

    Returns:
        (Z,) directions in degrees clockwise from the top of the image, in [0, 360): for each slice, the mean over the
        frames that show both ventricles. A slice that never shows both has the mean over all other slices. All values
        are NaN if no slice shows both.

    Raises:
        InputError: the mask, its classes or the spacing cannot be used.
    """
    mask = require_mask(mask, classes)
    _, row_mm, column_mm = require_spacing(spacing_mm)
    left, right = index_of(classes, LV_CAVITY), index_of(classes, RV_CAVITY)
    frames, slices = mask.shape[:2]
    directions = np.zeros((frames, slices), complex)
    for t, z in np.ndindex(frames, slices):
        ventricles = [greatest_component(mask[t, z] == index) for index in (left, right)]
        if all(ventricle.any() for ventricle in ventricles):
            (row, column), (rv_row, rv_column) = (np.argwhere(ventricle).mean(0) for ventricle in ventricles)
            # The real axis points up and the imaginary axis right, so that the argument is clockwise from the top.
            arrow = complex((row - rv_row) * row_mm, (rv_column - column) * column_mm)
            directions[t, z] = arrow / max(abs(arrow), 1e-9)
    per_slice = directions.sum(0)
    per_slice[per_slice == 0] = directions.sum()
    return np.where(per_slice == 0, np.nan, np.rad2deg(np.angle(per_slice)) % 360)


def cardiac_phase(cavity_sizes: np.ndarray) -> np.ndarray:
    """Returns the phase of each frame: 1 in systole and 0 in diastole.

    Systole begins after the frame with the largest cavity and ends with the frame with the smallest one. The first
    frame follows the last one.

    Args:
        cavity_sizes: (T,) areas or volumes over one cycle. NaN is never the largest or the smallest size; its frame
            gets the phase of its position. If sizes are equal, the first one counts.

    Returns:
        (T,) float64; all NaN if all known sizes are equal, or none is known.

    Raises:
        InputError: there is not exactly one value for each frame.
    """
    sizes = np.asarray(cavity_sizes, float)
    if sizes.ndim != 1 or sizes.size == 0:
        raise InputError("shape", f"cavity sizes of shape {sizes.shape}; pass (T,), one a frame")
    if np.isnan(sizes).all() or np.nanmax(sizes) == np.nanmin(sizes):
        return np.full(len(sizes), np.nan)
    largest, smallest = int(np.nanargmax(sizes)), int(np.nanargmin(sizes))
    after = (np.arange(len(sizes)) - largest) % len(sizes)
    return ((after > 0) & (after <= (smallest - largest) % len(sizes))).astype(float)


def _parts(cavity: np.ndarray, wall: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns the largest component of the cavity, the component of the heart around it, and whether others exist."""
    kept = greatest_component(cavity)
    components, count = ndimage.label(cavity | wall)
    heart = components == components[kept][0] if kept.any() else greatest_component(cavity | wall)
    return kept, heart, count > 1 or not np.array_equal(kept, cavity)


def _sector_radii(
    cavity: np.ndarray, heart: np.ndarray, spacing_mm: tuple[float, float], septum_degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (6, rays) inner and outer radii in mm, sectors in the order of SECTORS; NaN if a ray meets nothing."""
    turn = septum_degrees - CANONICAL_SEPTUM
    within = (np.arange(_RAYS_PER_SECTOR) + 0.5) * (60 / _RAYS_PER_SECTOR)
    angles = np.deg2rad(np.array(list(SECTORS.values()))[:, None] + within + turn)
    centre = np.argwhere(cavity).mean(0)
    return _radii(cavity, centre, spacing_mm, angles), _radii(heart, centre, spacing_mm, angles)


def _radii(part: np.ndarray, centre: np.ndarray, spacing_mm: tuple[float, float], angles: np.ndarray) -> np.ndarray:
    """Returns the distances at which rays from a centre last leave a mask.

    Args:
        part: (H, W) mask.
        centre: (row, column) from which the rays start.
        spacing_mm: distances between rows and columns.
        angles: of the rays, in radians.

    Returns:
        Distances in mm, in the shape of `angles`; NaN for a ray that never meets the mask.
    """
    row_mm, column_mm = spacing_mm
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    far = [max(centre[axis] - at[0], at[-1] - centre[axis]) + 1 for axis, at in enumerate((rows, columns))]
    step = min(row_mm, column_mm) / 4
    steps = np.arange(0, np.hypot(far[0] * row_mm, far[1] * column_mm) + 2 * step, step)
    down, right = -np.cos(angles)[..., None] * steps / row_mm, np.sin(angles)[..., None] * steps / column_mm
    # Everything outside the image is background: `grid-constant` interpolates towards 0 there.
    values = ndimage.map_coordinates(
        part.astype(np.float64), [centre[0] + down, centre[1] + right], order=1, mode="grid-constant"
    )
    last = len(steps) - 1 - (values[..., ::-1] >= 0.5).argmax(-1)
    met = (values >= 0.5).any(-1)
    last = np.where(met, last, 0)
    here, beyond = (np.take_along_axis(values, at[..., None], -1)[..., 0] for at in (last, last + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(met, step * (last + (here - 0.5) / (here - beyond)), np.nan)
