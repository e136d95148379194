"""The time from frame to frame of a NIfTI file.

The header or the .json file that dcm2niix writes beside the image has it.
"""

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

_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}  # all other codes are no units of time
_SECOND = 8
_PLACEHOLDERS = (0.0, 1.0)  # the values that programs write if the time is unknown
_LARGEST_JSON = 2**20
_UNEVEN = 0.2  # relative
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")


def sidecar(path: Path) -> Path:
    """Returns the path of the .json file of an image: `p1.json` for `p1.nii.gz`."""
    ending = next((ending for ending in _SUFFIXES if path.name.lower().endswith(ending)), path.suffix)
    return path.with_name(path.name[: len(path.name) - len(ending)] + ".json")


def frame_times(
    header: nib.Nifti1Header, dims: tuple[int, ...], frames: int, path: Path
) -> tuple[float | None, tuple[str, ...]]:
    """Returns the time from frame to frame in s, None if it is unknown, and remarks about it.

    The header's time step is used only if `frames` steps are as long as a heartbeat. dcm2niix writes the repetition
    time of the sequence, a few ms, instead of the step. In this case the .json file may have the times.

    Args:
        header: of the file. A step from the .json file is written into it.
        dims: the sizes of the image's axes. If the third axis is that of frames, the header's value for it is not used,
            because it may be a distance.
        frames: the number of frames.
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
    """Returns the time step from a .json file of dcm2niix, and whether the file exists but cannot be used.

    FrameTimesStart has the start of each frame in s. For a cine, TriggerDelayTime is the difference between the last
    and the first trigger delay in ms.
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
    """Returns the mean step between the frames' times in s; None if the steps are uneven or make no heartbeat.

    Raises:
        ValueError: `starts` is not a list of `frames` numbers.
    """
    if not isinstance(starts, list) or len(starts) != frames:
        raise ValueError("not one time for each frame")
    steps = np.diff([_number(value) for value in starts])
    seconds = float(steps.mean())
    if not believable_beat(seconds, frames) or (np.abs(steps - seconds) > _UNEVEN * seconds).any():
        return None
    return seconds
