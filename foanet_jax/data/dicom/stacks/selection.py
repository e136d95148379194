"""Selects the series of a patient that are segmented, and says why the others are left out."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.dicom.stacks.views import seems, short_axis_cines, turned_in_series, view_of
from foanet_jax.data.dicom.wanted import ALL


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A series that is not segmented.

    Attributes:
        folder: the folder of its first file.
        series: its number; None if it has none.
        images: the number of its images.
        seems: what it seems to show.
        why: why it is not a short-axis cine.
    """

    folder: Path
    series: int | None
    images: int
    seems: str
    why: str

    def __str__(self) -> str:
        number = "a series without a number" if self.series is None else f"series {self.series}"
        return f"{number} in {self.folder} ({self.images} images): {self.seems}; {self.why}"


@dataclasses.dataclass(frozen=True)
class Selection:
    """The stacks of one patient that are segmented, and those that are not.

    Attributes:
        chosen: the indices of the stacks that are segmented.
        left_out: the series of the other stacks.
        seems: what each stack seems to show.
        matched: the words of --series that name one of the stacks.
    """

    chosen: list[int]
    left_out: list[LeftOut]
    seems: list[str]
    matched: set[str]


def select(stacks: Sequence[Sequence[DicomImage]], series: Collection[str] = ()) -> Selection:
    """Selects the short-axis cines of one patient, or all stacks if there is none.

    Args:
        stacks: the stacks of one patient.
        series: numbers or UIDs of the series to select instead, or "all".
    """
    views = [view_of(stack) for stack in stacks]
    cines, turned = set(short_axis_cines(views)), turned_in_series(stacks)
    told = [seems(view, short_axis=n in cines, turned=n in turned) for n, view in enumerate(views)]
    words = [{word for image in stack for word in (image.series, str(image.series_number))} for stack in stacks]
    if ALL in series:
        chosen = list(range(len(stacks)))
    elif series:
        chosen = [number for number, its in enumerate(words) if its & set(series)]
    else:
        chosen = sorted(cines) or list(range(len(stacks)))
    others: dict[tuple[str, str], list[int]] = {}
    for number, stack in enumerate(stacks):
        if number not in chosen:
            others.setdefault((stack[0].series, told[number][0]), []).append(number)
    left_out = [
        LeftOut(
            stacks[numbers[0]][0].path.parent,
            stacks[numbers[0]][0].series_number,
            sum(len(stacks[number]) for number in numbers),
            what,
            told[numbers[0]][1] or "another series was asked for",
        )
        for (_, what), numbers in others.items()
    ]
    matched = {ALL} & set(series) | {word for its in words for word in its & set(series)}
    return Selection(chosen, left_out, [what for what, _ in told], matched)
