"""Phantom of a whole heart as in MM-WHS2017: four chambers, myocardium and two great arteries in a 3D volume.

World coordinates are L, P, S (left, posterior, superior) in mm, with the middle of the mitral valve as the origin. The
coordinates of the ventricles are u from base to apex, v towards the right ventricle, and w downwards.
"""

import numpy as np
from scipy import ndimage

from foanet_jax.data.phantom import shared as phantom
from foanet_jax.data.study import WHOLE_HEART_CLASSES, Study

MYOCARDIUM, LEFT_ATRIUM, LEFT_VENTRICLE, RIGHT_ATRIUM, RIGHT_VENTRICLE, AORTA, PULMONARY_ARTERY = range(1, 8)

# The mean long axis of the left ventricle, and the middle of the heart relative to the mitral valve (mm).
_AXIS = np.array([0.66, -0.585, -0.478])
_TO_RIGHT = np.array([-0.62, -0.78, 0.10])
_MIDDLE = np.array([-2.0, -8.0, 12.0])


def whole_heart_study(
    patient: int,
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (48, 128, 128),
    spacing_mm: tuple[float, float, float] | None = None,
    noise: float | None = None,
) -> Study:
    """Draws a 3D volume of axial slices through a whole heart at rest, as the MR volumes of MM-WHS2017.

    Args:
        patient: number of the patient, 0 or more; the anatomy depends on `patient` and `seed` only.
        seed: seed of the whole population.
        shape: (Z, H, W), slices from feet to head, rows towards the back, columns towards the left.
        spacing_mm: (slice, row, column); None: drawn from 0.9–1.6 mm between slices and 0.78–1.2 mm in the plane, and
            coarser if the grid would not hold the heart's 125 × 150 × 150 mm. With a finer spacing, only a part of the
            heart is in the volume.
        noise: σ of the Rician noise as a fraction of the brightness of blood; None: drawn from 0.03–0.09.

    Returns:
        Voxels (1, Z, H, W), labels of WHOLE_HEART_CLASSES.

    Raises:
        ValueError: an argument is out of range.
    """
    phantom.require_noise(noise)
    rng = phantom.random_stream("view", patient, seed)
    if len(shape) != 3 or min(shape) < 8:
        raise ValueError(f"shape={shape}; pass (Z, H, W), each 8 or more")
    slice_mm, plane_mm, level = rng.uniform(0.9, 1.6), rng.uniform(0.78, 1.2), rng.uniform(0.03, 0.09)
    if spacing_mm is None:
        plane_mm = max(plane_mm, 150 / min(shape[1:]))
        spacing_mm = (float(max(slice_mm, 125 / shape[0])), float(plane_mm), float(plane_mm))
    if len(spacing_mm) != 3:
        raise ValueError(f"spacing_mm={spacing_mm}; pass (slice, row, column)")
    for word, value in zip(("slice", "row", "column"), spacing_mm, strict=True):
        phantom.require_positive(**{f"spacing_mm_{word}": value})
    grid = _Grid(rng, shape, spacing_mm)
    labels = np.zeros(shape, np.uint8)
    image, chest = _draw_body(grid, patient, seed)
    _draw_heart(grid, image, labels, chest, patient, seed)

    noisy = phantom.random_stream("noise", patient, seed)
    smooth = noisy.uniform(0.35, 0.6)
    image = ndimage.gaussian_filter(image, smooth, truncate=3)
    image *= phantom.coil_field(
        noisy, [c / 100 for c in grid.points(slice(None))], (0.2, -0.7, 0.0), noisy.uniform(0.1, 0.45)
    )
    voxels = phantom.rician(noisy, image, level if noise is None else noise)
    voxels *= np.float32(np.exp(noisy.uniform(np.log(150), np.log(900))))
    name = f"phantom{patient:03d}"
    return Study(
        patient=name,
        case=name,
        voxels=voxels[None],
        labels=labels[None],
        spacing_mm=spacing_mm,
        classes=WHOLE_HEART_CLASSES,
        affine=grid.affine,
    )


class _Grid:
    """The positions of a volume's voxels in L, P, S; the volume is slightly oblique and off centre."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]):
        self.shape, self.spacing = shape, np.asarray(spacing_mm)
        turn = phantom.rotation(rng, 5)
        # The rows of `steps` are the steps along L, P, S from one slice, row and column to the next.
        self.steps = (turn @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0.0]])).T * self.spacing[:, None]
        field = np.asarray(shape) * self.spacing
        shift = rng.uniform(-1, 1, 3) * np.minimum(np.maximum(field - (110, 130, 135), 0) / 2, (18, 30, 30))
        self.centre = (np.asarray(shape) - 1) / 2 + shift / self.spacing
        self.edge = float(np.cbrt(self.spacing.prod()))
        world = np.array([-20.0, -10.0, 0.0]) + rng.normal(0, 8, 3)
        flip = np.array([-1.0, -1.0, 1.0])
        directions = (self.steps / self.spacing[:, None])[::-1].T * flip[:, None]
        spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
        self.affine = phantom.affine_from(directions, spacing, tuple(self.centre[::-1]), world)

    def points(self, where: slice | tuple[slice, slice, slice]) -> list[np.ndarray]:
        """Returns the coordinates L, P and S in mm of the voxels of a box, each (Z, H, W) float32."""
        box = where if isinstance(where, tuple) else (where,) * 3
        axes = [(np.arange(n)[b] - c).astype(np.float32) for n, b, c in zip(self.shape, box, self.centre, strict=True)]
        z, y, x = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
        s = self.steps.astype(np.float32)
        return [(z * s[0, k] + y * s[1, k] + np.float32(_MIDDLE[k])) + x * s[2, k] for k in range(3)]

    def box(self, centre: np.ndarray, radius: float) -> tuple[slice, slice, slice]:
        """Returns the box of voxels that contains a ball (mm). Its slices are empty if the ball is outside."""
        index = self.centre + np.linalg.solve(self.steps.T, centre - _MIDDLE)
        low = np.clip(np.floor(index - radius / self.spacing), 0, self.shape).astype(int)
        high = np.clip(np.ceil(index + radius / self.spacing) + 1, 0, self.shape).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))  # type: ignore[return-value]


def _ellipsoid(coordinates: list[np.ndarray], half_axes: tuple[float, float, float]) -> np.ndarray:
    """Computes the first-order signed distance (mm, positive inside) to an ellipsoid about the origin."""
    scaled = [c / np.float32(h) for c, h in zip(coordinates, half_axes, strict=True)]
    square = sum(c * c for c in scaled)
    slope = 2 * np.sqrt(sum((c / np.float32(h)) ** 2 for c, h in zip(scaled, half_axes, strict=True))) + np.float32(
        1e-6
    )
    return np.minimum((1 - square) / slope, np.float32(min(half_axes)))


def _tube(points: list[np.ndarray], path: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Computes the signed distance (mm, positive inside) to a tube with flat ends, a polyline (N, 3) of radius (N,)."""
    best = np.full(points[0].shape, -np.inf, np.float32)
    for start, end, first, last in zip(path[:-1], path[1:], radius[:-1], radius[1:], strict=True):
        step = end - start
        offset = [p - np.float32(s) for p, s in zip(points, start, strict=True)]
        along = sum(o * np.float32(d) for o, d in zip(offset, step / (step @ step), strict=True))
        along = np.clip(along, 0, 1)
        away = np.sqrt(sum((o - along * np.float32(d)) ** 2 for o, d in zip(offset, step, strict=True)))
        np.maximum(best, np.float32(first) + along * np.float32(last - first) - away, out=best)
    # Cuts the ends flat; otherwise the tube would end in a hemisphere.
    for here, there in ((path[0], path[1]), (path[-1], path[-2])):
        inward = (there - here) / np.linalg.norm(there - here)
        depth = sum((p - np.float32(h)) * np.float32(d) for p, h, d in zip(points, here, inward, strict=True))
        near = sum((p - np.float32(h)) ** 2 for p, h in zip(points, here, strict=True)) < (1.6 * radius.max()) ** 2
        best = np.where(near, np.minimum(best, depth), best)
    return best


def _bezier(*corners: np.ndarray, pieces: int = 9) -> np.ndarray:
    """Returns points (pieces + 1, 3) on a quadratic Bézier curve with three control points."""
    t = np.linspace(0, 1, pieces + 1)[:, None]
    return (1 - t) ** 2 * corners[0] + 2 * t * (1 - t) * corners[1] + t**2 * corners[2]


def _draw_heart(grid: _Grid, image: np.ndarray, labels: np.ndarray, chest: np.ndarray, patient: int, seed: int) -> None:
    """Draws the heart into image and labels in place; `chest` is the signed distance to the chest wall, mm."""
    rng = phantom.random_stream("anatomy", patient, seed)
    turn = phantom.rotation(rng, 7)
    a = turn @ _AXIS / np.linalg.norm(_AXIS)
    r = turn @ _TO_RIGHT
    r -= (r @ a) * a
    r /= np.linalg.norm(r)
    q = np.cross(a, r)
    size = rng.uniform(0.88, 1.12)
    # 3D scans are acquired in mid-diastole, when the heart is at rest and the cavities are almost at their largest.
    radius, length, wall = size * rng.uniform(21, 27), size * rng.uniform(74, 88), rng.uniform(7.5, 11.5)
    myocardium, blood, right = rng.uniform(0.32, 0.6), 1.0, rng.uniform(0.75, 1.0)
    twist = rng.normal(0, 0.06, 3)
    outer = radius + wall

    def place(u: float, v: float, w: float) -> np.ndarray:
        return u * a + v * r + w * q

    def own(points: list[np.ndarray], origin: np.ndarray) -> list[np.ndarray]:
        shifted = [p - np.float32(o) for p, o in zip(points, origin, strict=True)]
        return [sum(s * np.float32(d) for s, d in zip(shifted, axis, strict=True)) for axis in (a, r, q)]  # type: ignore[misc]

    def fill(box: tuple[slice, ...], inside: np.ndarray, value: float, label: int, wall_mm: float = 0.0) -> None:
        part, mask = image[box], labels[box]
        if wall_mm:
            phantom.paint(part, phantom.coverage(inside + np.float32(wall_mm), grid.edge), 0.9 * myocardium)
            mask[inside > -wall_mm] = 0
        phantom.paint(part, phantom.coverage(inside, grid.edge), np.float32(value) * (1 + np.float32(0.07) * flow[box]))
        mask[inside > 0] = label

    def chamber(centre: np.ndarray, axes: tuple[float, float, float], value: float, label: int, wall_mm: float) -> None:
        box = grid.box(centre, max(axes) * 1.2 + wall_mm + 2)
        local = own(grid.points(box), centre)
        swell = np.arctan2(local[2], local[1])
        rough = np.float32(0.06 * min(axes)) * np.cos(2 * swell + np.float32(rng.uniform(0, 6))) + 1.2 * flow[box]
        fill(box, _ellipsoid(local, axes) + rough, value, label, wall_mm)

    def vessel(path: np.ndarray, width: np.ndarray, value: float, label: int, wall_mm: float) -> None:
        middle = path.mean(0)
        box = grid.box(middle, float(np.linalg.norm(path - middle, axis=1).max() + width.max() + wall_mm + 2))
        fill(box, _tube(grid.points(box), path, width), value, label, wall_mm)

    flow = phantom.texture(rng, grid.shape, tuple(7 / grid.spacing))
    up, left, back = np.array([0, 0, 1.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    sac = grid.box(place(20, 15, 0), 110)
    around = own(grid.points(sac), place(14, 14, 0))
    lump = phantom.texture(rng, around[0].shape, tuple(16 / grid.spacing))
    fat = _ellipsoid(around, (length + 3, outer + 24, outer + 8)) + 3.5 * lump
    phantom.paint(
        image[sac], phantom.coverage(np.minimum(fat, chest[sac]), grid.edge), rng.uniform(0.3, 0.9) * (1 + 0.08 * lump)
    )

    # Veins are drawn first, because chambers and arteries are drawn over them. Veins are labelled as background.
    ra = place(-20 * size, outer + rng.uniform(10, 16), rng.uniform(2, 10))
    # It extends beyond the base, so that the mitral valve is as wide as the opening of the ventricle.
    la = place(-rng.uniform(15, 19) * size, -rng.uniform(2, 8), -rng.uniform(0, 6))
    for target, end in (
        (ra, ra + 90 * up + rng.normal(0, 5, 3)),
        (ra, ra - 80 * up + 12 * back),
        (la, la + 60 * left + 25 * back + 12 * up),
        (la, la + 55 * left + 32 * back - 15 * up),
        (la, la - 65 * left + 25 * back + 8 * up),
        (la, la - 60 * left + 32 * back - 18 * up),
    ):
        wide = rng.uniform(8, 11) if target is ra else rng.uniform(4.5, 7)
        vessel(np.stack([target, end]), np.full(2, wide), 0.95 * right, 0, 1.5)
    chamber(
        ra,
        (size * rng.uniform(21, 26), size * rng.uniform(19, 25), size * rng.uniform(23, 29)),
        right,
        RIGHT_ATRIUM,
        2.0,
    )
    chamber(
        la,
        (-(la @ a) + rng.uniform(5, 9), size * rng.uniform(22, 28), size * rng.uniform(23, 28)),
        blood,
        LEFT_ATRIUM,
        2.0,
    )

    box = grid.box(place(0.4 * length, outer, 0), length + 15)
    local = own(grid.points(box), place(0, outer - 4, 0))
    deep, tall = size * rng.uniform(21, 29), size * rng.uniform(31, 38)
    fill(
        box,
        np.minimum(_ellipsoid(local, (0.86 * length, deep, tall)) + 1.5 * flow[box], local[0] + 5),
        right,
        RIGHT_VENTRICLE,
        3.0,
    )

    # The outflow tract belongs to the right ventricle up to the pulmonary valve, where the pulmonary trunk begins.
    valve = place(-2, outer + 4, -tall * 0.85)
    vessel(
        _bezier(place(16, outer + 6, -12), place(8, outer + 7, -20), valve),
        np.full(10, 12.5 * size),
        right,
        RIGHT_VENTRICLE,
        2.0,
    )
    width = size * rng.uniform(11, 13.5)
    trunk = _bezier(valve, valve + 30 * up + 6 * back, valve + 36 * up + 54 * back + 8 * left)
    fork, branch = trunk[-2], np.linspace(0.75 * width, 0.6 * width, 10)
    for bend, end in (
        (6 * left + 12 * back, 34 * left + 26 * back),
        (14 * back - 20 * left, 18 * back - 50 * left - 6 * up),
    ):
        vessel(_bezier(fork, fork + bend, fork + end), branch, 0.95 * right, PULMONARY_ARTERY, 1.8)
    vessel(trunk, np.linspace(width, 0.85 * width, 10), 0.95 * right, PULMONARY_ARTERY, 1.8)
    root = place(1, 0.48 * radius, -0.36 * radius)
    width = size * rng.uniform(13.5, 16.5)
    rise = rng.uniform(58, 74)
    ascent = _bezier(root, root + 0.5 * rise * up - 22 * left - 6 * back, root + rise * up - 12 * left + 10 * back)
    vessel(ascent, np.linspace(width, 0.95 * width, 10), 0.97 * blood, AORTA, 1.8)

    box = grid.box(place(0.5 * length, 0, 0), 0.5 * length + outer + 6)
    local = own(grid.points(box), place(0, 0, 0))
    angle = np.arctan2(local[2], local[1])
    rough = np.float32(radius) * sum(np.float32(t) * np.cos(k * angle) for k, t in zip((1, 2, 3), twist, strict=True))
    cavity = _ellipsoid(local, (length, radius, radius)) + rough
    shell = _ellipsoid(local, (length + 0.75 * wall, outer, outer)) + rough
    fill(box, np.minimum(shell, local[0]), myocardium, MYOCARDIUM)
    teeth = 1.5 + np.float32(1.5) * phantom.texture(rng, cavity.shape, tuple(2.5 / grid.spacing))
    part, mask = image[box], labels[box]
    inside = np.minimum(cavity, local[0])
    phantom.paint(
        part,
        phantom.coverage(np.minimum(inside, cavity - np.maximum(teeth, 0)), grid.edge),
        blood * (1 + np.float32(0.07) * flow[box]),
    )
    mask[inside > 0] = LEFT_VENTRICLE
    for side in (-1, 1):
        start, end = (
            place(0.78 * length, -0.25 * radius, side * 0.4 * radius),
            place(0.42 * length, -0.45 * radius, side * 0.5 * radius),
        )
        cord = phantom.coverage(_tube(grid.points(box), np.stack([start, end]), np.array([4.5, 3.0])), grid.edge)
        phantom.paint(part, cord * (inside > 0), myocardium)


def _draw_body(grid: _Grid, patient: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the chest without the heart, (Z, H, W) float32, and its signed distance to the chest wall, mm."""
    rng = phantom.random_stream("scene", patient, seed)
    x, y, z = grid.points(slice(None))
    grain = phantom.texture(rng, grid.shape, tuple(1.8 / grid.spacing))
    cloud = phantom.texture(rng, grid.shape, tuple(12 / grid.spacing))
    image = np.full(grid.shape, 0.01, np.float32)
    muscle, fat, liver = rng.uniform(0.2, 0.38), rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.6)

    def fill(inside: np.ndarray, value: np.ndarray | float) -> None:
        phantom.paint(image, phantom.coverage(inside, grid.edge), value)

    def disc(cx: float, cy: float, a: float, b: float) -> np.ndarray:
        return phantom.ellipse(x - np.float32(cx), y - np.float32(cy), a, b)

    # The heart touches the front wall to the left of the midline; the spine lies behind it.
    mid_x, mid_y, wide, deep = rng.uniform(-28, -14), rng.uniform(14, 26), rng.uniform(125, 150), rng.uniform(86, 98)
    chest = disc(mid_x, mid_y, wide, deep) + 2 * cloud
    fill(chest + np.float32(rng.uniform(18, 34)), fat * (1 + 0.06 * cloud))
    fill(chest + np.float32(rng.uniform(9, 15)), muscle * (1 + 0.15 * grain))
    fill(chest, rng.uniform(0.03, 0.09) * (1 + 0.3 * cloud))
    image += (chest > 8) * np.clip(grain - 2.2, 0, 1) * np.float32(0.8)
    spine_x, spine_y = mid_x + rng.uniform(-4, 4), mid_y + deep - rng.uniform(14, 22)
    mediastinum = disc(mid_x + 12, mid_y + 10, rng.uniform(30, 42), rng.uniform(84, 95)) + 3 * cloud
    fill(np.minimum(mediastinum, chest), 0.75 * fat + 0.12 * cloud)
    fill(disc(spine_x, spine_y, 19, 16), np.clip(rng.uniform(0.25, 0.5) + 0.06 * grain, 0, 1))
    fill(disc(spine_x, spine_y + 22, 9, 7), 0.9)
    fill(disc(spine_x + 27, spine_y - 8, 13, 13), muscle)
    fill(disc(spine_x + 27, spine_y - 8, 11, 11), 0.95 + 0.04 * grain)
    fill(disc(spine_x + 8, spine_y - 24, 7, 5), muscle)
    fill(disc(mid_x + 2, mid_y - deep - 2, 16, 6), 0.5 * fat)

    dome = np.float32(rng.uniform(-58, -44)) + 22 * np.exp(
        -(((x - np.float32(mid_x - 55)) / 50) ** 2 + ((y - 25) / 60) ** 2)
    )
    below = np.minimum(dome - z, chest)
    fill(below + 2.5, muscle)
    fill(
        below,
        np.where(x < mid_x + 45 + 6 * cloud, liver * (1 + 0.06 * grain), 0.6 * fat + 0.2 * cloud).astype(np.float32),
    )
    stomach = [x - np.float32(mid_x + rng.uniform(70, 85)), y - np.float32(5), z - np.float32(-75)]
    pouch = np.minimum(_ellipsoid(stomach, (28, 32, 30)) + 2 * cloud, below)
    fill(pouch, 0.9 * muscle)
    fill(pouch - 4, rng.uniform(0.1, 0.9) + 0.08 * cloud)
    return np.maximum(image, 0, out=image), chest
