"""Progress of a job: a bar in a terminal, and one line of text every ten seconds in a file or a pipe."""

import contextlib
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

EVERY_S = 10
LINE = re.compile(r"%\||: \d+ of \d+ \w+ \(\d+ %\)")  # matches every line of a tqdm bar and of Lines


class Lines:
    """Progress as lines of text on standard error. It has the methods of a tqdm bar that the jobs use.

    Args:
        total: total number of units.
        desc: name of the activity, such as "predicting".
        unit: the unit in the singular, such as "study".
        initial: number of units that are done at the start.
        disable: write nothing.
    """

    def __init__(self, *, total: int, desc: str, unit: str, initial: int = 0, disable: bool = False):
        self.n, self.total = initial, total
        self._desc, self._unit, self._disable = desc, unit, disable
        self._initial, self._postfix = initial, ""
        self._begun = self._written = time.monotonic()
        self._written_n: int | None = None

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        if self.n != self._written_n and self.n > self._initial:
            self._write_line()

    def update(self, n: int = 1) -> None:
        """Counts units as done."""
        self.n += n
        self._write_if_due()

    def set_postfix(self, *, refresh: bool = True, **values: str) -> None:
        """Sets the text at the end of a line."""
        self._postfix = ", ".join(f"{name} {value}" for name, value in values.items())

    def set_postfix_str(self, text: str) -> None:
        """Sets the text at the end of a line, and writes a line if it is time."""
        self._postfix = text
        self._write_if_due()

    def set_description(self, text: str, *, refresh: bool = True) -> None:
        """Sets the name of the activity."""
        self._desc = text

    def write(self, text: str) -> None:
        """Writes a message to standard output."""
        sys.stdout.write(f"{text}\n")

    def _write_if_due(self) -> None:
        if time.monotonic() - self._written >= EVERY_S:
            self._write_line()

    def _write_line(self) -> None:
        self._written, self._written_n = time.monotonic(), self.n
        if self._disable:
            return
        seconds = self._written - self._begun
        done, left = self.n - self._initial, self.total - self.n
        parts = [f"{self._desc}: {self.n} of {self.total} {plural(self._unit, self.total)} ({percent(self)} %)"]
        parts.append(f"{duration(seconds)}")
        if done and left > 0:
            parts.append(f"about {duration(seconds / done * left)} left")
        if left > 0 and self._postfix:
            parts.append(self._postfix)
        with contextlib.suppress(OSError):  # An error means that nobody reads the output.
            sys.stderr.write(f"{', '.join(parts)}\n")
            sys.stderr.flush()


def percent(bar: Lines) -> int:
    """Returns the share of the work that is done, in percent."""
    return 100 * bar.n // bar.total if bar.total else 100


def plural(unit: str, count: int) -> str:
    """Returns the unit in the singular or plural."""
    if count == 1:
        return unit
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"


def duration(seconds: float) -> str:
    """Returns a time as text: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def progress(*, total: int, desc: str, unit: str, initial: int = 0, disable: bool = False) -> Any:
    """Returns a tqdm bar if standard error is a terminal, else `Lines`. Both are context managers.

    Args:
        total: total number of units.
        desc: name of the activity, such as "predicting".
        unit: the unit in the singular, such as "study".
        initial: number of units that are done at the start.
        disable: show nothing.
    """
    given: dict[str, Any] = {"total": total, "desc": desc, "unit": unit, "initial": initial, "disable": disable}
    return tqdm(**given, mininterval=1) if in_terminal() else Lines(**given)


def over(items: Iterable[Any], *, desc: str, unit: str) -> Iterator[Any]:
    """Yields the items and shows the progress.

    Args:
        items: a collection.
        desc: name of the activity, such as "predicting".
        unit: the name of an item, in the singular.
    """
    total = len(items) if isinstance(items, Sized) else 0
    with progress(total=total, desc=desc, unit=unit, disable=not total) as bar:
        for item in items:
            yield item
            bar.update()


def messages_above() -> contextlib.AbstractContextManager:
    """Returns a context in which log messages are written above the bar, not into it."""
    return logging_redirect_tqdm() if in_terminal() else contextlib.nullcontext()


def in_terminal() -> bool:
    """Returns whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
