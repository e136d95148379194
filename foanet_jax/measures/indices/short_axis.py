"""The LVQuan challenge's indices of short-axis slices: areas, dimensions, wall thicknesses and phase.

Angles are in degrees clockwise from the image's top around the cavity's centroid, in mm, so that pixels need not be
square. The six sectors are those of a heart with its right ventricle at 270° (on the left, anterior on top, as
slices are seen from the apex); they turn with the septum. A mirrored image has anterior and inferior wall exchanged,
which no angle can show; see `position`.
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
# LVQuan19's order of `rwt`, and the angle at which each sector of 60° begins.
SECTORS = {"is": 210, "i": 150, "il": 90, "al": 30, "a": 330, "as": 270}
# LVQuan19's order of `dims`: pairs of opposite sectors.
DIMENSIONS = {"is_al": ("is", "al"), "i_a": ("i", "a"), "il_as": ("il", "as")}

NO_CAVITY = "no cavity"
NO_MYOCARDIUM = "no myocardium"
OPEN_RING = "open ring"
OFF_CENTRE = "centroid outside the cavity"
PIECES = "several components"
NO_SEPTUM = "no septum angle"

# Whether the walls have their anatomical names, or anterior and inferior may be exchanged.
KNOWN, UNKNOWN = "known", "unknown"

_RAYS_PER_SECTOR = 60


@dataclasses.dataclass(frozen=True)
class LvIndices:
    """The LV indices of each frame and slice; what cannot be measured is NaN, and `flags` says why.

    Attributes:
        cavity_area_mm2, myocardium_area_mm2: (T, Z), 0 where there is none.
        dimensions_mm: (T, Z, 3) in the order of DIMENSIONS.
        rwt_mm: (T, Z, 6) regional wall thicknesses in the order of SECTORS.
        phase: (T,) 1 in systole, 0 in diastole, from the cavity's area over all slices; NaN where unknown.
        flags: (T, Z) str, "" or what is wrong, joined by "; ".
        wall_directions: KNOWN if the sectors have their anatomical names; UNKNOWN if anterior and inferior may be
            exchanged, because the position of the images in the patient or the septum is not known.
    """

    cavity_area_mm2: np.ndarray
    myocardium_area_mm2: np.ndarray
    dimensions_mm: np.ndarray
    rwt_mm: np.ndarray
    phase: np.ndarray
    flags: np.ndarray
    wall_directions: str = UNKNOWN

    def columns(self) -> dict[str, np.ndarray]:
        """Each index by its name with its unit, (T, Z), and the phase, (T,)."""
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
    """Areas, dimensions, regional wall thicknesses and phase of each short-axis slice (LVQuan challenge).

    Measured are the greatest component of the cavity and the heart's component around it. On each of 360 rays from
    the cavity's centroid the inner and the outer radius are where the ray last leaves the cavity and the heart, at
    level 0.5 of the linearly interpolated masks. A wall thickness is the mean of outer − inner over a sector, NaN
    where one of its rays meets no wall; a dimension is twice the mean inner radius over two opposite sectors.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, with myocardium, and cavity or left ventricle.
        spacing_mm: of slices, rows and columns.
        septum_degrees: direction of the right ventricle, CANONICAL_SEPTUM where the images are in canonical
            orientation; (Z,) for each slice, as from `septum_angle`.

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
            # Equal where cavity borders on background: the two masks are the same there.
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
        # A frame without any cavity was not segmented; it is not the smallest.
        phase=cardiac_phase(np.where(beat > 0, beat, np.nan)),
        flags=flags.astype(str),
    )


def septum_angle(mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]) -> np.ndarray:
    """Direction of the right ventricle's centroid from the LV cavity's, degrees clockwise from the image's top.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, with right ventricle, and cavity or left ventricle.
        spacing_mm: of slices, rows and columns.

    Returns:
        (Z,) mean direction over the frames that show both, in [0, 360); slices that never do have the mean over
        all others, and all are NaN where no slice does.

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
            # The real axis points up and the imaginary one right, so that the argument runs clockwise from the top.
            arrow = complex((row - rv_row) * row_mm, (rv_column - column) * column_mm)
            directions[t, z] = arrow / max(abs(arrow), 1e-9)
    per_slice = directions.sum(0)
    per_slice[per_slice == 0] = directions.sum()
    return np.where(per_slice == 0, np.nan, np.rad2deg(np.angle(per_slice)) % 360)


def cardiac_phase(cavity_sizes: np.ndarray) -> np.ndarray:
    """1 (systole) on the frames after the largest cavity up to the smallest, cyclic, and 0 (diastole) elsewhere.

    Args:
        cavity_sizes: (T,) areas or volumes over one cycle. NaN is neither largest nor smallest, its frame gets the
            phase of its place; of equal sizes, the first counts.

    Returns:
        (T,) float64; all NaN where fewer than two sizes differ.

    Raises:
        InputError: not one value a frame.
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
    """The greatest component of the cavity, the heart's component that holds it, and whether there were others."""
    kept = greatest_component(cavity)
    components, count = ndimage.label(cavity | wall)
    heart = components == components[kept][0] if kept.any() else greatest_component(cavity | wall)
    return kept, heart, count > 1 or not np.array_equal(kept, cavity)


def _sector_radii(
    cavity: np.ndarray, heart: np.ndarray, spacing_mm: tuple[float, float], septum_degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    """(6, rays) inner and outer radii in mm, sectors in the order of SECTORS; NaN where a ray meets nothing."""
    turn = septum_degrees - CANONICAL_SEPTUM
    within = (np.arange(_RAYS_PER_SECTOR) + 0.5) * (60 / _RAYS_PER_SECTOR)
    angles = np.deg2rad(np.array(list(SECTORS.values()))[:, None] + within + turn)
    centre = np.argwhere(cavity).mean(0)
    return _radii(cavity, centre, spacing_mm, angles), _radii(heart, centre, spacing_mm, angles)


def _radii(part: np.ndarray, centre: np.ndarray, spacing_mm: tuple[float, float], angles: np.ndarray) -> np.ndarray:
    """Where rays from a centre (row, column) last leave a mask, in mm, for angles in radians; NaN where never in it."""
    row_mm, column_mm = spacing_mm
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    far = [max(centre[axis] - at[0], at[-1] - centre[axis]) + 1 for axis, at in enumerate((rows, columns))]
    step = min(row_mm, column_mm) / 4
    steps = np.arange(0, np.hypot(far[0] * row_mm, far[1] * column_mm) + 2 * step, step)
    down, right = -np.cos(angles)[..., None] * steps / row_mm, np.sin(angles)[..., None] * steps / column_mm
    # Outside the image lies background, which `grid-constant` interpolates towards.
    values = ndimage.map_coordinates(
        part.astype(np.float64), [centre[0] + down, centre[1] + right], order=1, mode="grid-constant"
    )
    last = len(steps) - 1 - (values[..., ::-1] >= 0.5).argmax(-1)
    met = (values >= 0.5).any(-1)
    last = np.where(met, last, 0)
    here, beyond = (np.take_along_axis(values, at[..., None], -1)[..., 0] for at in (last, last + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(met, step * (last + (here - 0.5) / (here - beyond)), np.nan)
