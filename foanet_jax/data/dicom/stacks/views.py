"""Recognises what a stack of images shows, and finds the short-axis cines of a patient."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.dicom.stacks.grid import places_of
from foanet_jax.data.long_axis import FARTHEST_DEGREES, TO_APEX_LPS, degrees_between

SHORT_AXIS = "short-axis cine"
FEWEST_SLICES = 5
FEWEST_FRAMES = 5
_NEAR_DEGREES = 45.0  # from the usual long axis; a series is taken for a short axis without being asked for
_PERPENDICULAR_DEGREES = 30.0  # the largest deviation from a right angle
_LONGEST_BEAT_MS = 2500.0
_SHORTEST_INVERSION_MS = 50.0
# Words of ImageType after the first two.
_OF_PHASE = {"p", "phase", "velocity", "flow", "pca", "phase contrast m", "phase map", "velocity map"}
_OF_MAPS = {"t1", "t2", "t2_star", "r2", "r2_star", "ecv"}
# Patterns for the descriptions of series. They confirm other tags; for still images, there may be no other evidence.
_MAP = r"\bt[12]\*?[ _-]?map|\becv\b|molli"
_LOCALIZER = r"locali[sz]er|scout|survey"
_LATE = r"\blge\b|late.?(gad|enh)|delayed.?enh|psir|viab"


@dataclasses.dataclass(frozen=True)
class View:
    """What a stack seems to show.

    Attributes:
        slices: number of places of its images.
        frames: the most frequent number of images at a place.
        beat: whether the frames can be those of one heartbeat.
        normal: (3,) normal of its planes, a unit vector in LPS+.
        content: a text such as "late enhancement"; "" if the images can be those of a cine.
    """

    slices: int
    frames: int
    beat: bool
    normal: np.ndarray
    content: str

    @property
    def is_cine(self) -> bool:
        """Whether the frames show a beat of the heart."""
        return not self.content and self.frames >= FEWEST_FRAMES and self.beat

    @property
    def degrees(self) -> float:
        """The angle between the normal and the long axis of most hearts, in degrees."""
        return degrees_between(self.normal, TO_APEX_LPS)


def view_of(stack: Sequence[DicomImage]) -> View:
    """Finds what a stack shows from its headers. It must have at least one image."""
    places = places_of(stack)
    frames = Counter(len(place) for place in places).most_common(1)[0][0]
    normal = stack[0].normal / np.linalg.norm(stack[0].normal)
    beat = 2 * sum(_is_of_one_beat(place) for place in places) > len(places)
    return View(len(places), frames, beat, normal, _content(stack[0], frames))


def short_axis_cines(views: Sequence[View]) -> list[int]:
    """Returns the indices of the short-axis cines among the views of one patient.

    A short-axis cine has five slices or more, and its normal is within 45° of the long axis of most hearts. If the
    patient has cines of three slices or fewer, its planes are perpendicular to those of at least one of them. If there
    is no such cine, the heart may have an unusual position. A cine of five slices or more is then accepted if it is
    perpendicular to at least half of the cines of three slices or fewer, and these have two directions.
    """
    stacks = [number for number, view in enumerate(views) if view.is_cine and view.slices >= FEWEST_SLICES]
    others = [view.normal for view in views if view.is_cine and view.slices <= 3]
    crossing = {number: [normal for normal in others if _crosses(views[number].normal, normal)] for number in stacks}
    usual = [n for n in stacks if views[n].degrees <= _NEAR_DEGREES and (crossing[n] or not others)]
    if usual:
        return usual
    return [
        number
        for number, normals in crossing.items()
        if 2 * len(normals) >= len(others) and any(degrees_between(normals[0], normal) >= 30 for normal in normals[1:])
    ]


def seems(view: View, *, short_axis: bool, turned: bool) -> tuple[str, str]:
    """Returns what a view seems to show, and the reason why it is not a short-axis cine; "" if it is one.

    Args:
        view: the view of a stack.
        short_axis: whether it is a short-axis cine.
        turned: whether its series has other stacks that are turned against it, as in localizers.
    """
    frames, slices = _plural(view.frames, "frame"), _plural(view.slices, "slice")
    if short_axis:
        return SHORT_AXIS, ""
    if view.content:
        return view.content, f"{slices}, {frames}"
    if view.frames > 1 and not view.beat:
        return "series over several heartbeats", f"{slices}, {frames}"
    if not view.is_cine:
        what = "localizer" if turned else "single images" if view.slices < FEWEST_SLICES else "stack of one moment"
        return what, f"{slices}, {frames}: a cine has {FEWEST_FRAMES} frames or more"
    plane = f"its planes are {90 - abs(90 - view.degrees):.0f}° from the usual short axis"
    if view.degrees > FARTHEST_DEGREES:
        return ("long-axis cine" if view.slices < FEWEST_SLICES else "cine in another plane"), f"{slices}; {plane}"
    if view.slices < FEWEST_SLICES:
        return "cine of a few slices", f"{slices}: a stack has {FEWEST_SLICES} or more"
    return "cine in another plane", f"{plane}, and not perpendicular to the long-axis cines"


def not_short_axis(view: View) -> str:
    """Returns a sentence that says why a stack cannot be a short-axis stack; "" if there is no reason."""
    if view.content:
        return f"the images seem to be of another kind ({view.content})"
    if view.degrees > FARTHEST_DEGREES:
        return f"the planes are turned by {view.degrees:.0f}° against the usual short axis"
    return ""


def turned_in_series(stacks: Sequence[Sequence[DicomImage]]) -> set[int]:
    """Returns the indices of the stacks whose series has another stack that is turned by more than 30°."""
    by_series: dict[str, list[int]] = {}
    for number, stack in enumerate(stacks):
        by_series.setdefault(stack[0].series, []).append(number)
    return {
        one
        for numbers in by_series.values()
        for one in numbers
        if any(degrees_between(stacks[one][0].normal, stacks[other][0].normal) > 30 for other in numbers)
    }


def by_patient(stacks: Iterable[Sequence[DicomImage]]) -> Mapping[tuple[str, str], list[int]]:
    """Returns the indices of the stacks of each patient."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for number, stack in enumerate(stacks):
        numbers.setdefault(stack[0].patient_key, []).append(number)
    return numbers


def _content(image: DicomImage, frames: int) -> str:
    kind, technique = {word.lower() for word in image.kind[2:]}, image.technique
    if kind & _OF_PHASE:
        return "phase images"
    if kind & _OF_MAPS or any("map" in word for word in kind) or re.search(_MAP, technique.words):
        return "parametric map"
    if frames > 1:
        return ""
    if "localizer" in kind or re.search(_LOCALIZER, technique.words):
        return "localizer"
    inverted = (technique.inversion_ms or 0) > _SHORTEST_INVERSION_MS or "IR" in technique.sequence
    return "late enhancement" if inverted or re.search(_LATE, technique.words) else ""


def _is_of_one_beat(place: Sequence[DicomImage]) -> bool:
    """Whether the images at a place can be those of one heartbeat, by their trigger times and acquisition times."""
    triggers = {image.times["TriggerTime"] for image in place if "TriggerTime" in image.times}
    if triggers and max(triggers) - min(triggers) > _LONGEST_BEAT_MS:
        return False
    moments = {image.technique.acquired[1] for image in place}
    # The frames of a cine are acquired together. Those of a series over several beats are acquired one after the other.
    return min(moments) < 0 or len(moments) < len(place) or max(moments) - min(moments) <= _LONGEST_BEAT_MS / 1000


def _crosses(first: np.ndarray, second: np.ndarray) -> bool:
    return degrees_between(first, second) >= 90 - _PERPENDICULAR_DEGREES


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
