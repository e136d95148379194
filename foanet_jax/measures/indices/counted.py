"""Which slices counted and which were left out, as text for people and as data for programs."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from foanet_jax.measures.indices.counting import ALL, CHOSEN, LEFT, OPEN, RIGHT, SliceCount

COUNTS, LEFT_OUT = "counts", "left out"
_RULES = {
    "scmr": "the slices that count were found by the rule of the SCMR",
    ALL: "all slices count",
    CHOSEN: "the slices that count were chosen by the user",
}


def moments_of(frames: int, ed: int | None, es: int | None) -> dict[str, int]:
    """Returns the frames whose slices are told: end diastole and end systole, or the only frame.

    Args:
        frames: the number of frames.
        ed, es: the frames of end diastole and end systole; None if they are not known.
    """
    if frames == 1:
        return {"frame": 0}
    return {name: frame for name, frame in (("ed", ed), ("es", es)) if frame is not None}


def mark_of(count: SliceCount, frame: int, slice_: int) -> str:
    """Returns COUNTS or LEFT_OUT for a slice in which a ventricle was drawn, else "".

    The left ventricle decides, if it was drawn; else the right one.
    """
    for counts, reasons in zip(count.counts, count.reasons, strict=True):
        if counts[frame, slice_] or reasons[frame, slice_]:
            return COUNTS if counts[frame, slice_] else LEFT_OUT
    return ""


def left_out_flags(count: SliceCount | None, frame: int, slice_: int) -> list[str]:
    """Returns for a slice which ventricles were left out, and why, as flags of a table."""
    if count is None:
        return []
    return [
        f"{name} left out: {reasons[frame, slice_]}"
        for name, reasons in zip((LEFT, RIGHT), count.reasons, strict=True)
        if reasons[frame, slice_]
    ]


def describe_count(count: SliceCount, moments: Mapping[str, int]) -> dict[str, Any]:
    """Returns for JSON which slices count at some moments and which are left out; all numbers are counted from 0.

    Args:
        count: which slices count.
        moments: frames by name, from `moments_of`.
    """
    bases = {True: "first slice", False: "last slice", None: "unknown"}
    return {
        "rule": count.rule,
        "base": bases[count.base_first],
        **({"remark": count.remark} if count.remark else {}),
        "images_left_out": {
            name: int((reasons != "").sum()) for name, reasons in zip((LEFT, RIGHT), count.reasons, strict=True)
        },
        **{name: _at(count, frame) for name, frame in moments.items()},
    }


def sentences_of(count: SliceCount, moments: Mapping[str, int]) -> list[str]:
    """Returns one sentence or more for each moment: which slices count, and why others do not.

    Frames and slices are counted from 1, as on the pages.

    Args:
        count: which slices count.
        moments: frames by name, from `moments_of`.
    """
    told = []
    for name, frame in moments.items():
        when = {"ed": f"End diastole (frame {frame + 1}): ", "es": f"End systole (frame {frame + 1}): "}.get(name, "")
        counting = _counting(count, frame)
        told.append(f"{when}{counting}" if when else f"{counting[0].upper()}{counting[1:]}")
        for side, whose in enumerate((LEFT, RIGHT)):
            told += _reasons(count, frame, side, whose)
    return ([f"{count.remark[0].upper()}{count.remark[1:]}."] if count.remark else []) + told


def rule_of(count: SliceCount) -> str:
    """Returns the rule in words."""
    return _RULES[count.rule]


def numbers_of(slices: Iterable[int]) -> str:
    """Returns slices from 0 as text from 1, such as "slice 3" or "slices 1–4, 7"."""
    runs: list[list[int]] = []
    for number in sorted(slices):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(str(first + 1) if first == last else f"{first + 1}–{last + 1}" for first, last in runs)
    return f"slice{'s' if len(runs) > 1 or (runs and runs[0][0] != runs[0][1]) else ''} {text}"


def _at(count: SliceCount, frame: int) -> dict[str, Any]:
    left_out = []
    for side, slice_ in np.argwhere(count.reasons[:, frame] != "").tolist():
        reason, share = count.reasons[side, frame, slice_], count.shares[frame, slice_]
        shared = {"share": round(float(share), 3)} if side == 0 and np.isfinite(share) else {}
        left_out.append({"slice": slice_, "structure": (LEFT, RIGHT)[side], "reason": reason, **shared})
    counted = {
        name: np.flatnonzero(of_side[frame]).tolist() for name, of_side in zip((LEFT, RIGHT), count.counts, strict=True)
    }
    return {"frame": frame, "counted": counted, "left_out": left_out}


def _counting(count: SliceCount, frame: int) -> str:
    left, right = (np.flatnonzero(of_side[frame]).tolist() for of_side in count.counts)
    if not left and not right:
        return "no slice counts."
    if left == right or not right:
        return f"{_verb(left)}."
    if not left:
        return f"{_verb(right)} for the right ventricle."
    return f"{_verb(left)} for the left ventricle, and {numbers_of(right)} for the right one."


def _verb(slices: list[int]) -> str:
    return f"{numbers_of(slices)} count{'s' if len(slices) == 1 else ''}"


def _reasons(count: SliceCount, frame: int, side: int, whose: str) -> list[str]:
    by_reason: dict[str, list[int]] = {}
    for slice_ in np.flatnonzero(count.reasons[side, frame] != "").tolist():
        by_reason.setdefault(str(count.reasons[side, frame, slice_]), []).append(slice_)
    told = []
    for reason, slices in by_reason.items():
        shares = ", ".join(f"{count.shares[frame, slice_]:.0%}" for slice_ in slices) if reason == OPEN else ""
        told.append(f"The {whose} in {numbers_of(slices)} does not count: {reason}{f' ({shares})' if shares else ''}.")
    return told
