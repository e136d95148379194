"""Findings: what is wrong or unusual about a prediction, and where it is."""

import dataclasses
from collections.abc import Iterable

# Each finding in general words, by code.
REASONS = {
    "no-contrast": "the image has no contrast",
    "empty-mask": "nothing was segmented",
    "not-localized": "no heart was localized",
    "box-at-border": "the heart touches the border of the image",
    "class-absent": "a structure is missing in the whole study",
    "not-drawn": "a structure is not drawn, so that its indices are not known",
    "exchanged-classes": "the label values seem to have another order than the classes",
    "class-gap": "a structure is missing between slices that have it",
    "class-vanishes": "a structure is missing in a frame between frames that have it",
    "fragmented": "the myocardium or the cavity is in pieces",
    "open-myocardium": "the myocardium does not enclose the cavity",
    "hole": "the heart has a hole",
    "implausible-volume": "a volume, mass or ejection fraction is outside the plausible range",
    "implausible-wall": "the wall is thinner or thicker than is plausible",
    "jump": "the size changes abruptly in one frame",
    "stroke-volumes": "the two ventricles eject different volumes",
    "out-of-step": "the right ventricle is smallest at another moment than the left",
    "myocardium-varies": "the volume of the myocardium changes over the heartbeat",
    "blank-slice": "the slice has no contrast; nothing is segmented on it",
    "uneven-brightness": "the brightness changes abruptly from slice to slice",
    "dark-blood": "the blood is not brighter than the myocardium",
    "out-of-range": "the image is unlike the training images",
    "incomplete-input": "slices or frames are missing",
    "not-short-axis": "the images do not seem to be short-axis slices",
    "frames-differ": "the frames of the patient lie on different grids",
    "low-confidence": "the expected Dice is low",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something wrong or unusual about the prediction for a study.

    Attributes:
        code: one of the keys of REASONS.
        message: what was found, with the numbers.
        frame, slice_: where, counted from 0. None for all frames, or all slices.
        class_name: the class that is wrong; None: no single class.
        value, limit: what was measured, and the limit that it exceeds or falls below; None if the finding has no
            number, or if its limit is a range, which the message names.

    Raises:
        ValueError: the code is not in REASONS.
    """

    code: str
    message: str
    frame: int | None = None
    slice_: int | None = None
    class_name: str | None = None
    value: float | None = None
    limit: float | None = None

    def __post_init__(self):
        if self.code not in REASONS:
            raise ValueError(f"the finding {self.code!r} has no reason; add it to REASONS in {__name__}")

    @property
    def place(self) -> str:
        """Where it is, such as "frame 3, slice 2", counted from 1 as on the pictures; "" for the whole study."""
        places = (("frame", self.frame), ("slice", self.slice_))
        return ", ".join(f"{name} {at + 1}" for name, at in places if at is not None)

    def __str__(self) -> str:
        return f"{self.message} ({self.place})" if self.place else self.message


def summed_up(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Returns code, message and place for each code: the findings of a code that have a place become one line.

    A cine may have hundreds of findings. The reader wants to know which slices to look at.
    """
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    told = []
    for code, of_code in by_code.items():
        if len(of_code) == 1 or not all(finding.place for finding in of_code):
            told += [(code, finding.message, finding.place) for finding in of_code]
            continue
        messages = {finding.message for finding in of_code}
        told.append((code, messages.pop() if len(messages) == 1 else REASONS[code], _places(of_code)))
    return told


def _places(findings: Iterable[Finding]) -> str:
    """Returns the places as text, such as "slice 3: frames 1–4, 7; slice 4: frame 2"."""
    frames: dict[int | None, list[int]] = {}
    for finding in findings:
        frames.setdefault(finding.slice_, []).extend([] if finding.frame is None else [finding.frame])
    told = []
    for slice_, within in sorted(frames.items(), key=lambda item: -1 if item[0] is None else item[0]):
        parts = [] if slice_ is None else [f"slice {slice_ + 1}"]
        told.append(": ".join(parts + ([_counted("frame", within)] if within else [])))
    return "; ".join(told)


def _counted(name: str, numbers: Iterable[int]) -> str:
    """Returns numbers from 0 as text from 1, such as "frames 1–4, 7"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(str(first + 1) if first == last else f"{first + 1}–{last + 1}" for first, last in runs)
    return f"{name}{'s' if len(runs) > 1 or runs[0][0] != runs[0][1] else ''} {text}"


def first_of_each(findings: Iterable[Finding]) -> dict[str, tuple[Finding, int]]:
    """Returns, by code, the first finding and the number of findings."""
    found: dict[str, tuple[Finding, int]] = {}
    for finding in findings:
        first, number = found.get(finding.code, (finding, 0))
        found[finding.code] = first, number + 1
    return found
