"""A row of an experiment's table."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from foanet_jax.system.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant of an experiment, as its table has it.

    Attributes:
        title: as the table calls it.
        change: what it changes, by dotted name.
        paper: what the paper has of "dc", "hd95_mm" and "bdc".
    """

    title: str
    change: Mapping[str, Any]
    paper: Mapping[str, float] = dataclasses.field(default_factory=dict)


def require_names(names) -> None:
    """Checks names of rows, which become names of folders.

    Raises:
        InputError: one is anything but letters, digits, dots, dashes and underscores.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError("row-name", f"a row is called {name!r}; use letters, digits, '.', '-' and '_'")
