"""The geometry of a beating heart: the anatomy of a patient, and the contours of a slice over time.

All contours are star-shaped about the centre of the left ventricle. They are radii r(τ, t) in mm, where τ is the angle
from the middle of the septum, so that areas are exact integrals. Sizes were chosen by hand to meet the definitions of
ACDC's groups (Bernard et al. 2018).
"""

import dataclasses

import numpy as np

from foanet_jax.data.phantom import shared as phantom

GROUPS = ("NOR", "DCM", "HCM", "MINF", "RV")
ANGLES = 1440
TAU = np.arange(ANGLES) * (2 * np.pi / ANGLES)

# Ranges of the end-diastolic cavity radius (mm), the mean wall thickness (mm), the ejection fraction and the depth of
# the right ventricle (mm). Definitions of ACDC: DCM has EF < 40 % and a large cavity; HCM has a wall above 15 mm; MINF
# has EF < 40 % with thin akinetic segments; RV has a large right ventricle and a normal left ventricle.
_ANATOMY = {
    "NOR": ((20.5, 26), (6.0, 9.0), (0.52, 0.68), (18, 27)),
    "DCM": ((30, 37), (5.5, 8.5), (0.12, 0.34), (18, 30)),
    "HCM": ((18.5, 24), (9.5, 13.0), (0.58, 0.76), (15, 23)),
    "MINF": ((24, 31), (6.5, 9.5), (0.22, 0.40), (16, 26)),
    "RV": ((19.5, 25), (6.0, 9.0), (0.48, 0.64), (32, 42)),
}


@dataclasses.dataclass(frozen=True)
class Heart:
    """The heart of one patient at end diastole, and its motion. Tables over τ have the shape (ANGLES,).

    Attributes:
        group: clinical group, as in ACDC.
        length, apex_wall: length of the cavity along the long axis, and thickness of the wall at the apex, mm.
        shortening, squeeze: relative decrease of length and of radius at end systole.
        systole: time of end systole as a fraction of the cycle.
        mid_depth: distance from the base to the slice of the cine, mm.
        rv_depth, rv_half, rv_squeeze: depth (mm), half angle (rad) and relative decrease at end systole of the right
            ventricle.
        septum: angle of the middle of the septum in body coordinates, rad.
        drift: (2,) displacement of the centre by contraction, mm.
        endo, wall: largest radius of the cavity and wall thickness, mm.
        motion, timing: regional factor of the squeeze, and exponent of its time course.
        trabeculae, rv_trabeculae: height of the trabeculae as fractions of the radius and of `rv_depth`.
        fat: thickness of the epicardial fat, mm.
        papillary: (τ, distance from the centre, size) of each papillary muscle; the last two as fractions of the
            cavity's radius.
    """

    group: str
    length: float
    apex_wall: float
    shortening: float
    squeeze: float
    systole: float
    mid_depth: float
    rv_depth: float
    rv_half: float
    rv_squeeze: float
    septum: float
    drift: np.ndarray
    endo: np.ndarray
    wall: np.ndarray
    motion: np.ndarray
    timing: np.ndarray
    trabeculae: np.ndarray
    rv_trabeculae: np.ndarray
    fat: np.ndarray
    papillary: tuple[tuple[float, float, float], ...]


@dataclasses.dataclass(frozen=True)
class Contours:
    """The contours of the heart in one slice, for each frame.

    Attributes:
        endo, epi, rv: radii in mm, (T, ANGLES); the right ventricle lies between epi and rv.
        contraction: (T,) from 0 at end diastole to 1 at end systole.
        scale: (T,) size of the cavity relative to its largest section, 0 beyond the apex.
        above: (T,) whether the slice lies above the base.
        slope: decrease of the cavity's radius per mm towards the apex.
    """

    endo: np.ndarray
    epi: np.ndarray
    rv: np.ndarray
    contraction: np.ndarray
    scale: np.ndarray
    above: np.ndarray
    slope: float


def _bump(tau: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Returns a smooth periodic peak of height 1 at the angle `centre`; `width` is in rad."""
    return np.exp((np.cos(tau - centre) - 1) / width**2)


def draw_heart(patient: int, seed: int) -> Heart:
    """Draws the heart of a patient; it depends on `patient` and `seed` only."""
    rng = phantom.random_stream("anatomy", patient, seed)
    group = GROUPS[int(rng.integers(len(GROUPS)))]
    radii, walls, ejections, rv_depths = _ANATOMY[group]
    body = rng.uniform(0.92, 1.08)
    radius, wall = body * rng.uniform(*radii), rng.uniform(*walls)
    ejection, shortening = rng.uniform(*ejections), rng.uniform(0.08, 0.17)
    # Volume ∝ area × length: the part of the ejection fraction that shortening does not give is a loss of area.
    shortening *= ejection / 0.6
    squeeze = 1 - np.sqrt((1 - ejection) / (1 - shortening))

    endo = radius * (1 + np.clip(phantom.ripple(rng, TAU, (2, 3, 4), 0.035), -0.12, 0.12))
    thickness = wall * (1 + np.clip(phantom.ripple(rng, TAU, (1, 2, 3), 0.09), -0.25, 0.3))
    motion = 1 + np.clip(phantom.ripple(rng, TAU, (1, 2), 0.14), -0.3, 0.3)
    timing = np.exp(np.clip(phantom.ripple(rng, TAU, (1, 2), 0.12), -0.3, 0.3))
    if group == "HCM":
        thickness *= 1 + rng.uniform(0.35, 0.8) * _bump(TAU, rng.normal(0, 0.5), 0.8)
    elif group == "MINF":
        scar = _bump(TAU, rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.9))
        thickness *= 1 - rng.uniform(0.25, 0.45) * scar
        motion *= 1 - rng.uniform(0.8, 1.1) * scar
    elif group == "RV":
        endo *= 1 - rng.uniform(0.06, 0.16) * _bump(TAU, 0, 0.6)
    elif group == "DCM":
        motion *= 1 + np.clip(phantom.ripple(rng, TAU, (1,), 0.2), -0.4, 0.4)
    thickness = np.maximum(thickness, 4.2)
    motion /= max(motion.mean(), 0.3)

    half = np.deg2rad(rng.uniform(58, 80) + (12 if group == "RV" else 0))
    rough = np.abs(phantom.ripple(rng, TAU, range(4, 20), 0.10 * rng.uniform(0.4, 1.2)))
    # The endocardium is smooth at the septum, but not at the lateral wall.
    rough *= 0.35 + 0.65 * (1 - _bump(TAU, 0, 0.9))
    side = rng.uniform(-0.25, 0.25)
    papillary = [
        (np.pi + side + sign * rng.uniform(0.6, 1.05), rng.uniform(0.58, 0.82), rng.uniform(0.10, 0.21))
        for sign in (-1, 1)
    ]
    # Split heads and thick trabeculae.
    for _ in range(int(rng.integers(0, 4))):
        papillary.append((np.pi + side + rng.uniform(-1.3, 1.3), rng.uniform(0.6, 0.9), rng.uniform(0.05, 0.11)))
    fat = rng.uniform(0.4, 2.2) * (1 + np.clip(phantom.ripple(rng, TAU, (1, 2, 3), 0.5), -0.9, 2))
    fat += rng.uniform(1, 6) * (_bump(TAU, half, 0.3) + _bump(TAU, -half, 0.3)) + rng.uniform(0, 6) * _bump(TAU, 0, 0.9)
    length = radius * rng.uniform(1.5, 1.9) + 42
    return Heart(
        group=group,
        length=length,
        apex_wall=0.6 * wall,
        shortening=shortening,
        squeeze=squeeze,
        systole=rng.uniform(0.35, 0.45),
        mid_depth=rng.uniform(0.4, 0.55) * length,
        rv_depth=body * rng.uniform(*rv_depths),
        rv_half=half,
        rv_squeeze=rng.uniform(0.08, 0.2) if group == "RV" else rng.uniform(0.2, 0.45),
        septum=np.pi + rng.normal(0, np.deg2rad(18)),
        drift=rng.normal(0, 1.5, 2),
        endo=endo,
        wall=thickness,
        motion=motion,
        timing=timing,
        trabeculae=np.clip(rough, 0, 0.2),
        rv_trabeculae=np.clip(np.abs(phantom.ripple(rng, TAU, range(4, 24), 0.16)), 0, 0.35),
        fat=fat,
        papillary=tuple(papillary),
    )


def contraction(times: np.ndarray, systole: float) -> np.ndarray:
    """Computes the contraction over the cycle: half a cosine up, then early filling, diastasis and atrial contraction.

    Args:
        times: fractions of the cycle.
        systole: time of end systole as a fraction of the cycle.
    """
    late = np.clip((times - systole) / (1 - systole), 0, 1)

    def step(u: np.ndarray) -> np.ndarray:
        u = np.clip(u, 0, 1)
        return u * u * (3 - 2 * u)

    filling = 0.74 * step(late / 0.55) + 0.04 * late + 0.22 * step((late - 0.62) / 0.38)
    return np.where(times < systole, 0.5 * (1 - np.cos(np.pi * times / systole)), 1 - filling)


def slice_contours(heart: Heart, depth: float, times: np.ndarray) -> Contours:
    """Computes the contours of a slice.

    Args:
        heart: the heart.
        depth: distance of the slice from the end-diastolic base towards the apex, mm.
        times: fractions of the cycle.
    """
    state = contraction(times, heart.systole)[:, None]
    length = heart.length * (1 - heart.shortening * state)
    # The base moves towards the fixed apex. At end systole, a fixed slice therefore shows tissue nearer to the base.
    below = (depth - heart.shortening * state * heart.length) / length

    def taper(u: np.ndarray) -> np.ndarray:
        return np.where(u < 0, 0.0, np.sqrt(np.clip(1 - np.clip(u, 0, 1) ** 2.4, 0, 1)))

    inner = taper(below)
    outer = taper(below * heart.length / (heart.length + heart.apex_wall))
    local = state**heart.timing
    endo_rest = heart.endo * inner
    endo = endo_rest * np.clip(1 - heart.squeeze * heart.motion * local, 0.25, 1.2)
    # The volume of the myocardium is constant: when it shortens, its area in the slice grows.
    tissue = ((heart.endo + heart.wall) * outer) ** 2 - endo_rest**2
    epi = np.sqrt(endo**2 + np.maximum(tissue, 0) / (1 - heart.shortening * state))

    offset = (TAU + np.pi) % (2 * np.pi) - np.pi
    crescent = np.clip(np.cos(offset * (np.pi / 2) / heart.rv_half), 0, 1) * (np.abs(offset) < heart.rv_half)
    rv_taper = np.where(below < -0.12, 0.0, np.sqrt(np.clip(1 - np.clip(below / 0.88, 0, 1) ** 2, 0, 1)))
    reach = heart.rv_depth * rv_taper * (1 - heart.rv_squeeze * state)
    # Above the base of the left ventricle, the crescent surrounds the outflow tract, which has about the cavity's size.
    core = np.where(below < 0, 0.8 * heart.endo, epi)
    rv = np.where(crescent * rv_taper > 0, core + reach * crescent**0.6, 0.0)
    near = 0.5 / heart.length
    slope = float(heart.endo.mean() * abs(taper(below[:1] + near) - taper(np.maximum(below[:1] - near, 0)))[0, 0])
    return Contours(endo, epi, rv, state[:, 0], inner[:, 0], below[:, 0] < 0, min(slope, 1.5))
