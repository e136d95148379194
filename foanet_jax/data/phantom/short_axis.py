"""Phantoms of a beating heart in short-axis slices, with known areas: a cine as in LVQuan19 and a stack as in ACDC."""

import dataclasses

import numpy as np
from scipy import ndimage

from foanet_jax.data.phantom import shared as phantom
from foanet_jax.data.phantom.short_axis_heart import ANGLES, Contours, Heart, contraction, draw_heart, slice_contours
from foanet_jax.data.phantom.short_axis_scene import draw_scene
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, Study


@dataclasses.dataclass(frozen=True)
class ShortAxisGeometry:
    """The exact geometry of a short-axis cine, computed from its contours and not from its pixels.

    Attributes:
        cavity_area_mm2: (T,) ½∮r²dθ of the endocardium, with papillary muscles and trabeculae.
        myocardium_area_mm2: (T,) area between epicardium and endocardium.
        largest_frame: frame of the largest cavity (end diastole), always 0.
        smallest_frame: frame of the smallest cavity (end systole).
        septum_deg: direction from the cavity to the middle of the septum, degrees clockwise from the top.
        group: clinical group of the heart, as in ACDC.
    """

    cavity_area_mm2: np.ndarray
    myocardium_area_mm2: np.ndarray
    largest_frame: int
    smallest_frame: int
    septum_deg: float
    group: str


@dataclasses.dataclass(frozen=True)
class _View:
    """Position of the heart in the image: `centre` (column, row) in px, and rotation `turn` of the body in rad."""

    size: int
    pixel_mm: float
    centre: tuple[float, float]
    turn: float

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the body coordinates x, y in mm of each pixel, (size, size) float32, with the heart at the origin."""
        columns = ((np.arange(self.size) - self.centre[0]) * self.pixel_mm).astype(np.float32)[None, :]
        rows = ((np.arange(self.size) - self.centre[1]) * self.pixel_mm).astype(np.float32)[:, None]
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        return c * columns - s * rows, s * columns + c * rows


def short_axis_study(
    patient: int,
    *,
    seed: int = 0,
    size: int = 256,
    frames: int = 20,
    spacing_mm: float | None = None,
    noise: float | None = None,
) -> Study:
    """Draws a mid-ventricular short-axis cine of one heart cycle, frame 0 at end diastole, as in LVQuan19.

    Args:
        patient: number of the patient, 0 or more; the heart depends on `patient` and `seed` only.
        seed: seed of the whole population.
        size: rows and columns, px.
        frames: frames of the cycle, 20 in LVQuan19.
        spacing_mm: in-plane spacing; None: drawn for a field of view of 262–400 mm within LVQuan19's 0.68–1.56 mm, and
            coarser for images below 103 px, which would not hold a heart otherwise.
        noise: σ of the Rician noise as a fraction of the brightness of blood; None: drawn from 0.015–0.055.

    Returns:
        Voxels (frames, 1, size, size), labels of LV_CLASSES and the heart's group.

    Raises:
        ValueError: an argument is out of range, or the heart does not fit into the image.
    """
    heart = draw_heart(patient, seed)
    times = _times(frames)
    contours = slice_contours(heart, heart.mid_depth, times)
    view, noise = _draw_view(patient, seed, size, spacing_mm, noise, float(contours.epi.max()))
    voxels, labels = _render(heart, view, patient, seed, np.array([heart.mid_depth]), times, 8.0, noise)
    # ACDC order (right ventricle, myocardium, cavity) to LV order (myocardium, cavity).
    labels = np.array([0, 0, 1, 2], np.uint8)[labels]
    spacing = (8.0, view.pixel_mm, view.pixel_mm)
    return _study(patient, seed, view, voxels, labels, spacing, LV_CLASSES, heart.group)


def short_axis_geometry(patient: int, *, seed: int = 0, frames: int = 20) -> ShortAxisGeometry:
    """Returns the exact geometry of the heart of `short_axis_study`; it does not depend on image size and spacing."""
    heart = draw_heart(patient, seed)
    contours = slice_contours(heart, heart.mid_depth, _times(frames))
    cavity = np.pi * (contours.endo**2).mean(1)
    myocardium = np.pi * (contours.epi**2).mean(1) - cavity
    turn = _draw_turn(phantom.random_stream("view", patient, seed))
    return ShortAxisGeometry(
        cavity_area_mm2=cavity,
        myocardium_area_mm2=myocardium,
        largest_frame=int(cavity.argmax()),
        smallest_frame=int(cavity.argmin()),
        septum_deg=float(np.rad2deg(heart.septum - turn + np.pi / 2) % 360),
        group=heart.group,
    )


def short_axis_stack(
    patient: int,
    *,
    seed: int = 0,
    slices: int | None = None,
    frames: int = 1,
    size: int = 256,
    spacing_mm: float | None = None,
    noise: float | None = None,
) -> Study:
    """Draws a stack of short-axis slices from base to apex, as in ACDC.

    Args:
        patient, seed, size, spacing_mm, noise: as in `short_axis_study`.
        slices: number of slices, 8–10 mm apart; None: as many as cover the heart from above the base to beyond the
            apex.
        frames: frames of the cycle; 1: end diastole only.

    Returns:
        Voxels (frames, slices, size, size), labels of ACDC_CLASSES, group as in ACDC.

    Raises:
        ValueError: an argument is out of range, or the heart does not fit into the image.
    """
    heart = draw_heart(patient, seed)
    times = _times(frames)
    rng = phantom.random_stream("view", patient, seed, 1)
    gap = float(rng.uniform(8, 10))
    first = float(rng.uniform(-0.6, 0.4)) * gap
    if slices is None:
        slices = int(np.ceil((heart.length + heart.apex_wall - first) / gap)) + 1
    if slices < 1:
        raise ValueError(f"slices={slices}; pass 1 or more, or None to cover the heart")
    depths = first + gap * np.arange(slices)
    widest = slice_contours(heart, 0.15 * heart.length, times)
    view, noise = _draw_view(patient, seed, size, spacing_mm, noise, float(np.maximum(widest.rv, widest.epi).max()))
    voxels, labels = _render(heart, view, patient, seed, depths, times, gap, noise)
    spacing = (gap, view.pixel_mm, view.pixel_mm)
    return _study(patient, seed, view, voxels, labels, spacing, ACDC_CLASSES, heart.group)


def _times(frames: int) -> np.ndarray:
    if frames < 1:
        raise ValueError(f"frames={frames}; pass 1 (end diastole) or more")
    return np.arange(frames) / frames


def _draw_turn(rng: np.random.Generator) -> float:
    """Draws the rotation of the body in the image, in rad; LVQuan19 has no standard orientation."""
    quarter = int(rng.choice(4, p=(0.67, 0.11, 0.11, 0.11)))
    return float(np.deg2rad(90 * quarter + rng.uniform(-22, 22)))


def _draw_view(
    patient: int, seed: int, size: int, spacing_mm: float | None, noise: float | None, reach: float
) -> tuple[_View, float]:
    """Draws the view and the noise level; `reach` is the largest radius of the heart in mm, which must fit."""
    phantom.require_positive(size=size)
    phantom.require_noise(noise)
    rng = phantom.random_stream("view", patient, seed)
    turn = _draw_turn(rng)
    field, wish, level = rng.uniform(262, 400), rng.uniform(-1, 1, 2), rng.uniform(0.015, 0.055)
    if spacing_mm is None:
        spacing_mm = max(float(np.clip(field / size, 0.68, 1.56)), 160 / size)
    phantom.require_positive(spacing_mm=spacing_mm)
    room = size * spacing_mm / 2 - reach - 5 - spacing_mm
    if room < 0:
        raise ValueError(
            f"size={size} at spacing_mm={spacing_mm:g} holds {size * spacing_mm:.0f} mm, the heart needs "
            f"{size * spacing_mm - 2 * room:.0f} mm; pass a larger size or spacing"
        )
    offset = wish * min(room, 0.2 * size * spacing_mm)
    column, row = (size - 1) / 2 + offset / spacing_mm
    return _View(size, spacing_mm, (float(column), float(row)), turn), level if noise is None else noise


def _study(
    patient: int,
    seed: int,
    view: _View,
    voxels: np.ndarray,
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    classes: tuple[str, ...],
    group: str,
) -> Study:
    rng = phantom.random_stream("view", patient, seed, 2)
    # The long axis points from the base to the left, forwards and down. The image is seen from the apex, so that the
    # lateral wall is on the right.
    axis = phantom.rotation(rng, 6) @ np.array([-0.65, 0.55, -0.52])
    axis /= np.linalg.norm(axis)
    down = np.array([0.0, 0.0, -1.0])
    down -= (down @ axis) * axis
    down /= np.linalg.norm(down)
    right = np.cross(axis, down)
    c, s = np.cos(view.turn), np.sin(view.turn)
    directions = np.stack([c * right + s * down, -s * right + c * down, axis], 1)
    heart_at = np.array([-30.0, 20.0, -10.0]) + rng.normal(0, 8, 3)
    affine = phantom.affine_from(directions, spacing, (*view.centre, 0), heart_at)
    name = f"phantom{patient:03d}"
    return Study(
        patient=name,
        case=name,
        voxels=voxels,
        labels=labels,
        spacing_mm=spacing,
        classes=classes,
        affine=affine,
        group=group,
    )


def _render(
    heart: Heart,
    view: _View,
    patient: int,
    seed: int,
    depths: np.ndarray,
    times: np.ndarray,
    thickness: float,
    noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws voxels (T, Z, H, W) with noise, and labels of ACDC_CLASSES."""
    rng = phantom.random_stream("noise", patient, seed)
    x, y = view.grid()
    tissue = _draw_tissue(phantom.random_stream("scene", patient, seed))
    field = phantom.coil_field(rng, (x / 100, y / 100), (-0.9, -0.3), rng.uniform(0.15, 0.5))
    if rng.random() < 0.5:
        # Banding artefacts of bSSFP far from the heart, outside the shimmed region. They are not centred on the heart,
        # so that a network cannot use them to find it.
        dx, dy = x - np.float32(rng.uniform(-35, 35)), y - np.float32(rng.uniform(-35, 35))
        stretch = np.float32(rng.uniform(0.05, 1.0))
        phase = np.pi * (stretch * dx * dx + dy * dy) / np.float32(rng.uniform(115, 170) ** 2)
        field *= 1 - np.float32(0.85) * np.exp(-((np.sin(phase) / np.float32(0.35)) ** 2)) * (phase > 0.5 * np.pi)
    blur, gain, pedestal = rng.uniform(0.35, 0.7), np.exp(rng.uniform(np.log(90), np.log(500))), rng.uniform(0, 0.02)
    walk = _heart_path(heart, patient, seed, times)
    shape = (len(times), len(depths), view.size, view.size)
    voxels, labels = np.empty(shape, np.float32), np.zeros(shape, np.uint8)
    for z, depth in enumerate(depths):
        scene = draw_scene(x, y, view.pixel_mm, tissue, patient, seed, float(depth - heart.mid_depth), z)
        contours = slice_contours(heart, float(depth), times)
        frames = np.repeat(scene[None], len(times), 0)
        _beat(frames, labels[:, z], heart, contours, walk, x, y, view.pixel_mm, thickness, tissue, (patient, seed, z))
        frames = ndimage.gaussian_filter(frames, (0, blur, blur), truncate=3)
        frames *= field
        frames += np.float32(pedestal)
        voxels[:, z] = phantom.rician(rng, frames, noise)
    voxels *= np.float32(gain)
    return voxels, labels


def _heart_path(heart: Heart, patient: int, seed: int, times: np.ndarray) -> np.ndarray:
    """Draws the displacement of the centre in mm, (T, 2): drift with contraction, slow breathing, triggering jitter."""
    rng = phantom.random_stream("motion", patient, seed)
    state = contraction(times, heart.systole)[:, None]
    phase = rng.uniform(0, 2 * np.pi, 2)
    breath = rng.uniform(0, 0.8, 2) * (np.sin(2 * np.pi * times[:, None] + phase) - np.sin(phase))
    return state * heart.drift + breath + rng.normal(0, 0.15, (len(times), 2))


def _draw_tissue(rng: np.random.Generator) -> dict[str, float]:
    """Draws the brightness of each tissue relative to blood; from medians over ACDC's labels and by eye."""
    myocardium = rng.uniform(0.30, 0.55)
    return {
        "blood": 1.0,
        "rv blood": rng.uniform(0.75, 1.0),
        "myocardium": myocardium,
        "muscle": myocardium * rng.uniform(0.6, 0.95),
        "liver": myocardium * rng.uniform(0.8, 1.25),
        "spleen": myocardium * rng.uniform(0.8, 1.5),
        "fat": rng.uniform(0.65, 1.15),
        "lung": rng.uniform(0.03, 0.09),
        "inflow": rng.uniform(0.05, 0.14),
    }


def _beat(
    frames: np.ndarray,
    labels: np.ndarray,
    heart: Heart,
    contours: Contours,
    walk: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    pixel_mm: float,
    thickness: float,
    tissue: dict[str, float],
    key: tuple[int, int, int],
) -> None:
    """Draws the moving heart over the scene in place, (T, H, W), and writes its labels of ACDC_CLASSES."""
    patient, seed, z = key
    rng = phantom.random_stream("motion", patient, seed, 1, z)
    outline = np.maximum(contours.epi, contours.rv + 2.5 * (contours.rv > contours.epi))
    above = contours.above
    if above.any():
        # Above the base lie the left atrium and the outflow tract, which have thin walls and no labels.
        outline[above] = np.maximum(outline[above], 0.85 * heart.endo + 2)
    if outline.max() < 1:
        return
    fat = outline + np.where(outline > 0, heart.fat * np.clip(outline / 30, 0.2, 1), 0)
    reach = float(fat.max()) + float(np.abs(walk).max()) + 2 * pixel_mm
    near = x * x + y * y < reach * reach
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not len(rows):
        return
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    dx = x[box][None] - walk[:, 0, None, None].astype(np.float32)
    dy = y[box][None] - walk[:, 1, None, None].astype(np.float32)
    rho = np.hypot(dx, dy)
    tau = np.arctan2(dy, dx)
    tau -= np.float32(heart.septum)
    tau *= np.float32(ANGLES / (2 * np.pi))
    bins = np.rint(tau, out=tau).astype(np.int32) % ANGLES
    bins += (np.arange(len(frames), dtype=np.int32) * ANGLES)[:, None, None]

    def radius(table: np.ndarray) -> np.ndarray:
        full = np.broadcast_to(table, contours.endo.shape).astype(np.float32)
        return np.take(full.ravel(), bins)

    image = frames[:, box[0], box[1]]
    # In a thick slice, the edge of a tapering wall is blurred.
    soft = float(np.hypot(pixel_mm, contours.slope * thickness * 0.5))
    edge = radius(outline)
    phantom.paint(image, phantom.coverage(radius(fat) - rho, pixel_mm), tissue["fat"])
    # In bSSFP, water and fat in one voxel cancel each other, which gives a dark rim.
    rim = np.exp(-(((rho - edge) / np.float32(0.75 * pixel_mm)) ** 2))
    phantom.paint(image, phantom.coverage(edge - rho, pixel_mm), tissue["myocardium"])
    image *= 1 - np.float32(0.45) * rim

    flow = _flow(rng, dx, dy, len(frames), tissue["inflow"])
    rv = radius(contours.rv)
    rough = heart.rv_trabeculae * np.maximum(contours.rv - contours.epi, 0) * 0.6
    phantom.paint(image, phantom.coverage(rv - radius(rough) - rho, 2 * soft), tissue["rv blood"] * flow)
    if above.any():
        chamber = np.where(above[:, None], 0.85 * heart.endo, 0)
        phantom.paint(image, phantom.coverage(radius(chamber + 2) - rho, soft), tissue["myocardium"])
        phantom.paint(image, phantom.coverage(radius(chamber) - rho, soft), 0.95 * flow)
    epi, endo = radius(contours.epi), radius(contours.endo)
    phantom.paint(image, phantom.coverage(epi - rho, soft), tissue["myocardium"])
    hollow = np.where(above, 1, np.clip(contours.scale, 0, 1))[:, None]
    squeezed = 1 + 0.8 * contours.contraction[:, None]
    blood = contours.endo * (1 - np.clip(heart.trabeculae * squeezed / np.maximum(hollow, 0.5), 0, 0.45))
    phantom.paint(image, phantom.coverage(radius(blood) - rho, 1.8 * soft) * (epi > 0), tissue["blood"] * flow)
    mean = contours.endo.mean(1)
    for tau_papillary, along, wide in heart.papillary:
        angle = tau_papillary + heart.septum
        # In systole, the papillary muscles move towards the centre and fill the cavity.
        place = mean * along
        px, py = place * np.cos(angle), place * np.sin(angle)
        size = np.where(mean > 3, wide * heart.endo.mean() * (0.55 + 0.45 * hollow[:, 0]), 0).clip(0, 0.42 * mean)
        away = np.hypot(dx - px[:, None, None].astype(np.float32), dy - py[:, None, None].astype(np.float32))
        cover = phantom.coverage(size[:, None, None].astype(np.float32) - away, 1.3 * soft)
        phantom.paint(image, cover * (0.85 * (rho < endo)), tissue["myocardium"])
    part = labels[:, box[0], box[1]]
    part[rho < rv] = 1
    part[rho < epi] = 2
    part[rho < endo] = 3


def _flow(rng: np.random.Generator, dx: np.ndarray, dy: np.ndarray, frames: int, depth: float) -> np.ndarray:
    """Draws the brightness of flowing blood, about 1, (T, H, W): waves that drift once or twice per cycle."""
    times = np.arange(frames, dtype=np.float32)[:, None, None] / frames
    total = np.ones_like(dx)
    for cycles in (1, -1, 2):
        kx, ky = rng.normal(0, 0.11, 2).astype(np.float32)
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        total += np.float32(depth) * np.cos(kx * dx + ky * dy + np.float32(2 * np.pi * cycles) * times + phase)
    return total
