"""What is odd about a prediction, where, and the verdict that follows."""

import dataclasses
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
    "out-of-range": "the image is unlike those of the training",
    "low-confidence": "the expected Dice is low",
}
# Nothing in the mask can be used.
REJECTED = ("no-contrast", "empty-mask", "not-localized", "class-absent")
MANY_REASONS = 3
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
        """ "frame 3, slice 2", counted from 1 as on all pictures; "" where it is the whole study."""
        places = (("frame", self.frame), ("slice", self.slice_))
        return ", ".join(f"{name} {at + 1}" for name, at in places if at is not None)

    def __str__(self) -> str:
        return f"{self.message} ({self.place})" if self.place else self.message


def verdict(findings: Iterable[Finding]) -> str:
    """ "good" without findings; "reject" for a reason of REJECTED or MANY_REASONS different ones; else "check"."""
    reasons = {finding.code for finding in findings}
    if reasons & set(REJECTED) or len(reasons) >= MANY_REASONS:
        return REJECT
    return CHECK if reasons else GOOD


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts."""
    return max(verdicts, key=VERDICTS.index)


def first_of_each(findings: Iterable[Finding]) -> dict[str, tuple[Finding, int]]:
    """The first finding of each code, and how many there are."""
    found: dict[str, tuple[Finding, int]] = {}
    for finding in findings:
        first, number = found.get(finding.code, (finding, 0))
        found[finding.code] = first, number + 1
    return found
