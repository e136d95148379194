"""The time from frame to frame of a NIfTI file: from its header, or from the .json that dcm2niix writes beside it."""

import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from foanet_jax.data.study import believable_beat

NO_HEARTBEAT = (
    "the header's time from frame to frame makes no heartbeat of 250 to 2,500 ms, so the times of frames are not known"
)
NO_UNIT = "the header's time from frame to frame has no unit, so the times of frames are not known"
FROM_SIDECAR = "the time from frame to frame is that of the .json file beside the image"
SIDECAR_REFUSED = "the .json file beside the image cannot be used, so no frame times were taken from it"

_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}  # every other code is no time
_SECOND = 8
_PLACEHOLDERS = (0.0, 1.0)  # what is written where nobody knows
_LARGEST_JSON = 2**20
_UNEVEN = 0.2  # relative
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")


def sidecar(path: Path) -> Path:
    """The .json file of an image: `p1.json` of `p1.nii.gz`."""
    ending = next((ending for ending in _SUFFIXES if path.name.lower().endswith(ending)), path.suffix)
    return path.with_name(path.name[: len(path.name) - len(ending)] + ".json")


def frame_times(
    header: nib.Nifti1Header, dims: tuple[int, ...], frames: int, path: Path
) -> tuple[float | None, tuple[str, ...]]:
    """The time from frame to frame in s, None where nobody tells it, and remarks about that.

    A step counts only if `frames` of them are a heartbeat: dcm2niix writes the repetition time of the sequence, a few
    ms, in the place of the step. Then the file beside the image may tell the times.

    Args:
        header: of the file. If the step is that of the file beside it, it is written there.
        dims: the sizes of the image's axes. A third axis of frames has no time in the header: what stands there may be
            a distance.
        frames: how many there are.
        path: the file.
    """
    if frames < 2:
        return None, ()
    unit = _SECONDS_PER_UNIT.get(int(header["xyzt_units"]) & 56)
    step = float(header["pixdim"][4]) if len(dims) == 4 else 0.0
    if unit is not None and believable_beat(step * unit, frames):
        return step * unit, ()
    seconds, refused = _sidecar_seconds(sidecar(path), frames)
    if seconds is not None:
        if len(dims) == 4:
            header["xyzt_units"] = int(header["xyzt_units"]) & ~56 | _SECOND
            header["pixdim"][4] = seconds
        return seconds, (FROM_SIDECAR,)
    remarks: tuple[str, ...] = (SIDECAR_REFUSED,) if refused else ()
    if math.isfinite(step) and step not in _PLACEHOLDERS:
        remarks += (NO_UNIT if unit is None else NO_HEARTBEAT,)
    return None, remarks


def _sidecar_seconds(path: Path, frames: int) -> tuple[float | None, bool]:
    """The step that a file of dcm2niix tells, and whether there is a file that cannot be used.

    FrameTimesStart has the start of each frame in s. TriggerDelayTime of a cine is the time from the first trigger
    delay to the last in ms.
    """
    try:
        if not path.is_file():
            return None, False
        told = _read(path)
        starts, range_ms = told.get("FrameTimesStart"), told.get("TriggerDelayTime")
        if starts is not None:
            return _even_step(starts, frames), False
        if range_ms is not None:
            seconds = _number(range_ms) / 1000 / (frames - 1)
            return (seconds if believable_beat(seconds, frames) else None), False
    except (OSError, ValueError, OverflowError, RecursionError):
        return None, True
    return None, False


def _read(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = file.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise ValueError("too long")
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    return float(value)


def _even_step(starts: Any, frames: int) -> float | None:
    """The mean step of the frames' times in s; None where the steps are uneven or make no heartbeat.

    Raises:
        ValueError: these are not so many numbers.
    """
    if not isinstance(starts, list) or len(starts) != frames:
        raise ValueError("not one time for each frame")
    steps = np.diff([_number(value) for value in starts])
    seconds = float(steps.mean())
    if not believable_beat(seconds, frames) or (np.abs(steps - seconds) > _UNEVEN * seconds).any():
        return None
    return seconds
