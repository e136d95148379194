"""The images of a study that are in doubt, with what is doubted."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from foanet_jax.measures.quality.finding import Finding
from foanet_jax.pages.study_page.result import StudyResult


class Doubt(NamedTuple):
    """An image, all slices of a frame, or all frames of a slice, with everything that was found there.

    Attributes:
        frame, slice_: where, counted from 0. None for all frames, or all slices.
        messages: what was found, each once.
    """

    frame: int | None
    slice_: int | None
    messages: tuple[str, ...]

    def place(self, shape: tuple[int, ...]) -> str:
        """Returns the place as text, such as "Slice 3, frame 7", counted from 1.

        Args:
            shape: that of the study. The only frame or slice of a study is not named, unless nothing else is.
        """
        parts = [
            f"{name} {at + 1}"
            for name, at, count in (("slice", self.slice_, shape[1]), ("frame", self.frame, shape[0]))
            if at is not None and (count > 1 or None in (self.frame, self.slice_))
        ]
        return ", ".join(parts).capitalize() or "Image"


def doubts(findings: Iterable[Finding]) -> list[Doubt]:
    """Returns the findings that have a place, by slice and frame. Those of the whole study are left out."""
    found: dict[tuple[int, int], dict[str, None]] = {}
    for finding in findings:
        # All slices come before the first slice, and all frames before the first frame.
        place = (-1 if finding.slice_ is None else finding.slice_, -1 if finding.frame is None else finding.frame)
        if place != (-1, -1):
            found.setdefault(place, {})[finding.message] = None
    return [
        Doubt(None if frame < 0 else frame, None if slice_ < 0 else slice_, tuple(messages))
        for (slice_, frame), messages in sorted(found.items())
    ]


def doubted(result: StudyResult) -> np.ndarray:
    """Returns the images in doubt, (T, Z) bool."""
    images = np.zeros(result.mask.shape[:2], bool)
    for doubt in doubts(result.findings):
        frame = slice(None) if doubt.frame is None else doubt.frame
        images[frame, slice(None) if doubt.slice_ is None else doubt.slice_] = True
    return images
