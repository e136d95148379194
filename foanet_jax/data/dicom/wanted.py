"""What is wanted of DICOM input: the options of its reading."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from foanet_jax.system.errors import InputError

Repeats = Literal["last", "first"]
ALL = "all"  # of series


@dataclasses.dataclass(frozen=True)
class Wanted:
    """How DICOM input is read.

    Attributes:
        series: numbers or UIDs of the series to read instead of the short-axis cines; "all" reads all.
        repeats: which acquisition of a slice is kept that was acquired more than once.
        incomplete: whether stacks are read in which slices or frames are missing.
    """

    series: tuple[str, ...] = ()
    repeats: Repeats = "last"
    incomplete: bool = False


DEFAULT = Wanted()


def wanted(series: str | int | Sequence[str] | None, repeats: str, incomplete: bool) -> Wanted:
    """The options as people give them, once they make sense.

    Raises:
        InputError: "repeats" where that is neither "last" nor "first".
    """
    if repeats not in get_args(Repeats):
        raise InputError("repeats", f"repeats is {repeats!r}; choose 'last' or 'first'")
    words = () if series is None else (series,) if isinstance(series, str | int) else tuple(series)
    return Wanted(tuple(map(str, words)), repeats, incomplete)  # type: ignore[arg-type]  # checked above
