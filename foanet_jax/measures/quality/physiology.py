"""Findings that contradict physiology: what the ventricles and the myocardium of one heartbeat cannot do.

Without shunt and valvular regurgitation, both ventricles eject the same volume. They contract together. Myocardium is
nearly incompressible. The limits come from the experts' contours of ACDC's 100 patients; see docs/indices.md. Valvular
disease and shunts do make stroke volumes differ.
"""

from collections.abc import Iterator

import numpy as np

from foanet_jax.measures.indices.labels import MYOCARDIUM, RV_CAVITY
from foanet_jax.measures.indices.ventricle import VentricleIndices
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.plausible import FRAMES_OF_A_BEAT

# RV stroke volume divided by LV stroke volume. In ACDC's ground truth, 5 of 100 patients lie below and 4 above.
STROKE_RATIO = (0.45, 2.0)
# The largest volume of the myocardium divided by the smallest. In ACDC's ground truth, from end diastole to end
# systole, 5 of 100 patients lie above. Experts draw the myocardium 15 % larger at end systole than at end diastole.
MYOCARDIUM_RATIO = 1.36
# Frames between the smallest volumes of the two ventricles, as a share of the heartbeat.
OUT_OF_STEP = 0.15
# The RV's volume at LV end systole, above its minimum, as a share of its stroke: what less is, is no other moment.
OUT_OF_STEP_STROKE = 0.1


def check_beat(ventricles: VentricleIndices) -> list[Finding]:
    """Finds what contradicts physiology in the volumes of one heartbeat, of all frames or of end diastole and systole.

    Volumes that were not measured (NaN) are left out.
    """
    return [*_stroke_volumes(ventricles), *_out_of_step(ventricles), *_myocardium(ventricles.myocardium_ml)]


def _stroke_volumes(ventricles: VentricleIndices) -> Iterator[Finding]:
    left, right = ventricles.left.sv_ml, ventricles.right.sv_ml
    if not (np.isfinite(left) and np.isfinite(right) and left > 0):
        return
    low, high = STROKE_RATIO
    ratio = right / left
    if low <= ratio <= high:
        return
    yield Finding(
        "stroke-volumes",
        f"the right ventricle ejects {right:.0f} ml and the left {left:.0f} ml, a ratio of {ratio:.2f}; of healthy "
        f"valves it is near 1, and in 91 of 100 patients {low:g} to {high:g}",
        class_name=RV_CAVITY[0],
        value=float(ratio),
        limit=low if ratio < low else high,
    )


def _out_of_step(ventricles: VentricleIndices) -> Iterator[Finding]:
    right = ventricles.right.volumes_ml
    frames = len(right)
    if frames < FRAMES_OF_A_BEAT or ventricles.es is None or not np.isfinite(right).any():
        return
    smallest = int(np.nanargmin(right))
    apart = abs(smallest - ventricles.es)
    apart = min(apart, frames - apart)  # The last frame is followed by the first.
    limit = OUT_OF_STEP * frames
    above = right[ventricles.es] - right[smallest]
    if apart <= limit or not above > OUT_OF_STEP_STROKE * np.nanmax(right - right[smallest]):
        return
    yield Finding(
        "out-of-step",
        f"the right ventricle is smallest in frame {smallest + 1}, {apart} frames from end systole of the left one; "
        f"more than {limit:.1f} of {frames} frames",
        frame=ventricles.es,
        class_name=RV_CAVITY[0],
        value=float(apart),
        limit=limit,
    )


def _myocardium(volumes_ml: np.ndarray) -> Iterator[Finding]:
    known = np.asarray(volumes_ml, float)
    known = known[np.isfinite(known) & (known > 0)]
    if len(known) < 2:
        return
    low, high = float(known.min()), float(known.max())
    if high <= MYOCARDIUM_RATIO * low:
        return
    yield Finding(
        "myocardium-varies",
        f"the myocardium has {low:.0f} to {high:.0f} ml over the heartbeat, a ratio of {high / low:.2f}; more than "
        f"{MYOCARDIUM_RATIO:g}",
        class_name=MYOCARDIUM,
        value=high / low,
        limit=MYOCARDIUM_RATIO,
    )
