"""What is odd about a prediction, where, and the verdict that follows."""

import dataclasses
from collections import Counter
from collections.abc import Iterable

# Why a study is looked at again, by code.
REASONS = {
    "no-contrast": "the image has no contrast",
    "empty-mask": "nothing was segmented",
    "not-localized": "no heart was localized",
    "box-at-border": "the heart touches the border of the image",
    "class-absent": "a structure is nowhere",
    "class-gap": "a structure is missing in a slice between slices that have it",
    "fragmented": "a wall or cavity is in pieces",
    "open-myocardium": "the myocardium does not enclose the cavity",
    "hole": "the heart has a hole",
    "implausible-volume": "a volume, mass or ejection fraction that no patient has",
    "implausible-wall": "a wall that is thinner or thicker than patients' are",
    "jump": "a frame that jumps against its neighbours",
    "blank-slice": "a slice has no contrast, and nothing is drawn on it",
    "uneven-brightness": "the brightness jumps from slice to slice",
    "dark-blood": "the blood is not brighter than the muscle",
    "out-of-range": "the image is unlike those of the training",
    "low-confidence": "the expected Dice is low",
}
# Nothing in the mask can be used.
REJECTED = ("no-contrast", "empty-mask", "not-localized", "class-absent", "dark-blood")
MANY_REASONS = 3
MANY_PLACES = 0.1  # of the slices drawn: fewer with a reason of a slice's own are no reason to reject the others
LOW_DICE = 0.7  # Below it, a segmentation is bad.

GOOD, CHECK, REJECT = VERDICTS = ("good", "check", "reject")


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something odd about a study's prediction.

    Attributes:
        code: of REASONS.
        message: a sentence with the numbers.
        frame, slice_: where, from 0; None where it concerns the whole study, or the whole frame.
    """

    code: str
    message: str
    frame: int | None = None
    slice_: int | None = None

    @property
    def place(self) -> str:
        """ "frame 3, slice 2", counted from 1 as on pictures; "" where it is the whole study."""
        places = (("frame", self.frame), ("slice", self.slice_))
        return ", ".join(f"{name} {at + 1}" for name, at in places if at is not None)

    def __str__(self) -> str:
        return f"{self.message} ({self.place})" if self.place else self.message


def verdict(findings: Iterable[Finding], drawn: int = 1) -> str:
    """ "good" without findings; "reject" for a reason of REJECTED or MANY_REASONS that weigh; else "check".

    A reason weighs where it is of the whole study or of whole frames, or of MANY_PLACES of its slices.

    Args:
        findings: of a study.
        drawn: slices of all its frames on which anything was drawn.
    """
    found = list(findings)
    reasons = {finding.code for finding in found}
    places = {(finding.code, finding.frame, finding.slice_) for finding in found}
    number = Counter(code for code, _, slice_ in places if slice_ is not None)
    weighing = [code for code in reasons if code not in number or number[code] >= MANY_PLACES * drawn]
    if reasons & set(REJECTED) or len(weighing) >= MANY_REASONS:
        return REJECT
    return CHECK if reasons else GOOD


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts."""
    return max(verdicts, key=VERDICTS.index)


def summed_up(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Code, sentence and place of what is odd: one for all findings of a code that have a place.

    A study over time may have hundreds; a reader wants to know which slices to look at.
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
    """ "slice 3: frames 1–4, 7; slice 4: frame 2"."""
    frames: dict[int | None, list[int]] = {}
    for finding in findings:
        frames.setdefault(finding.slice_, []).extend([] if finding.frame is None else [finding.frame])
    told = []
    for slice_, within in sorted(frames.items(), key=lambda item: -1 if item[0] is None else item[0]):
        parts = [] if slice_ is None else [f"slice {slice_ + 1}"]
        told.append(": ".join(parts + ([_counted("frame", within)] if within else [])))
    return "; ".join(told)


def _counted(name: str, numbers: Iterable[int]) -> str:
    """ "frames 1–4, 7" of numbers from 0."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(str(first + 1) if first == last else f"{first + 1}–{last + 1}" for first, last in runs)
    return f"{name}{'s' if len(runs) > 1 or runs[0][0] != runs[0][1] else ''} {text}"


def first_of_each(findings: Iterable[Finding]) -> dict[str, tuple[Finding, int]]:
    """The first finding of each code, and how many there are."""
    found: dict[str, tuple[Finding, int]] = {}
    for finding in findings:
        first, number = found.get(finding.code, (finding, 0))
        found[finding.code] = first, number + 1
    return found
