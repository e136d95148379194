"""Body surface area, and the indices of the ventricles that are divided by it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal, get_args

from foanet_jax.data.patients.body import HEART_RATE_RANGE, Body
from foanet_jax.data.study import believable_beat
from foanet_jax.measures.indices.ventricle import VentricleIndices
from foanet_jax.system.errors import InputError

Formula = Literal["mosteller", "dubois"]
FORMULAS: tuple[Formula, ...] = get_args(Formula)
FRAMES = "time of the frames"

# The index of each volume and mass, by the column that is divided by the body surface.
INDEXED: Mapping[str, str] = {
    **{f"{side}_{what}_ml": f"{side}_{what}i_ml_m2" for side in ("lv", "rv") for what in ("edv", "esv", "sv")},
    "lv_mass_g": "lv_mass_index_g_m2",
}


@dataclasses.dataclass(frozen=True)
class Pulse:
    """A heart rate in beats per minute, and its source as text."""

    bpm: float
    source: str


def body_surface_m2(height_cm: float, weight_kg: float, *, formula: Formula = "mosteller") -> float:
    """Returns the body surface area in m².

    "mosteller": √(height · weight / 3600) (Mosteller, N Engl J Med 317:1098, 1987). "dubois": 0.007184 · height^0.725 ·
    weight^0.425 (Du Bois and Du Bois, Arch Intern Med 17:863–871, 1916). Heights in cm, weights in kg.

    Raises:
        InputError: "bsa" if there is no such formula.
    """
    if formula == "mosteller":
        return math.sqrt(height_cm * weight_kg / 3600)
    if formula == "dubois":
        return 0.007184 * height_cm**0.725 * weight_kg**0.425
    raise InputError("bsa", f"the formula is {formula!r}; choose {' or '.join(FORMULAS)}")


def surface_of(body: Body, *, formula: Formula = "mosteller") -> float:
    """Returns the body surface area of a body in m²; NaN if height or weight is not known."""
    if body.height_cm is None or body.weight_kg is None:
        return math.nan
    return body_surface_m2(body.height_cm, body.weight_kg, formula=formula)


def pulse_of(body: Body, *, frames: int, frame_seconds: float | None) -> Pulse | None:
    """Returns the heart rate; None if it is not known.

    It is the one that the body has (of the table of patients, or of the header: HeartRate, or else NominalInterval), or
    else that of a cine whose frames cover one beat.

    Args:
        body: the body.
        frames: number of frames.
        frame_seconds: time from frame to frame in s; None if it is not known.
    """
    if body.heart_rate_bpm is not None:
        return Pulse(body.heart_rate_bpm, body.heart_rate_source)
    if frames < 2 or frame_seconds is None or not believable_beat(frame_seconds, frames):
        return None
    bpm = 60 / (frames * frame_seconds)
    low, high = HEART_RATE_RANGE
    return Pulse(bpm, FRAMES) if low <= bpm <= high else None


def indexed(ventricles: VentricleIndices, *, surface_m2: float, pulse: Pulse | None) -> dict[str, float]:
    """Returns volumes and mass divided by the body surface, and cardiac output and index; NaN if they are not known.

    Args:
        ventricles: the volumes and the mass.
        surface_m2: body surface area in m²; NaN if it is not known.
        pulse: the heart rate; None if it is not known.
    """
    columns = ventricles.columns()
    output = math.nan if pulse is None else columns["lv_sv_ml"] * pulse.bpm / 1000
    return {
        **{name: columns[column] / surface_m2 for column, name in INDEXED.items()},
        "cardiac_output_l_min": output,
        "cardiac_index_l_min_m2": output / surface_m2,
    }
