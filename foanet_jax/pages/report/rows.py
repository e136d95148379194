"""A row of the table of an experiment."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from foanet_jax.system.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant of an experiment, one row of its table.

    Attributes:
        title: the name in the table.
        change: the new values of the fields that it changes, by dotted name.
        paper: the values in the paper: "dc", "hd95_mm" and "bdc", as far as it gives them.
    """

    title: str
    change: Mapping[str, Any]
    paper: Mapping[str, float] = dataclasses.field(default_factory=dict)


def require_names(names) -> None:
    """Checks the names of rows, which become names of folders.

    Raises:
        InputError: "row-name" if a name has other characters than letters, digits, ".", "-" and "_".
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError("row-name", f"the name of a row is {name!r}; use only letters, digits, '.', '-' and '_'")
