"""The options for reading DICOM input."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from foanet_jax.system.errors import InputError

Repeats = Literal["last", "first"]
ALL = "all"  # selects all series


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The options for reading DICOM input.

    Attributes:
        series: numbers or UIDs of the series to read instead of the short-axis cines; "all" reads all series.
        repeats: which acquisition is kept if a slice was acquired more than once.
        incomplete: whether stacks with missing slices or frames are read.
    """

    series: tuple[str, ...] = ()
    repeats: Repeats = "last"
    incomplete: bool = False


DEFAULT = Wanted()


def wanted(series: str | int | Sequence[str] | None, repeats: str, incomplete: bool) -> Wanted:
    """Checks the options that the user gives, and returns them.

    Raises:
        InputError: "repeats" if `repeats` is neither "last" nor "first".
    """
    if repeats not in get_args(Repeats):
        raise InputError("repeats", f"repeats is {repeats!r}; choose 'last' or 'first'")
    words = () if series is None else (series,) if isinstance(series, str | int) else tuple(series)
    return Wanted(tuple(map(str, words)), repeats, incomplete)  # type: ignore[arg-type]  # checked above
