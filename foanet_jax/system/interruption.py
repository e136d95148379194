"""Programs that are told to end: by SIGINT (Ctrl-C), SIGTERM (a batch system) or SIGUSR1 (its early warning).

In a training the step that runs is finished and saved first; elsewhere nothing would be lost, and the program ends at
once. Either way it ends with status 0 and a line that tells how to go on. A second SIGINT or SIGTERM kills it.
"""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator

# What a program sends to its own processes: the system or the terminal may have told them as well, and a second SIGTERM
# would kill them. Windows has no such signal.
ASKING: signal.Signals = getattr(signal, "SIGUSR1", signal.SIGTERM)
DEADLY = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SystemExit):
    """The program was told to end, and ends in order.

    Attributes:
        message: the signal and how far the work has come.
        number: of the signal; 0 where another process got it.
    """

    def __init__(self, message: str, number: int = 0):
        super().__init__(0)
        self.message, self.number = message, number


@dataclasses.dataclass
class _Request:
    """Of this process: handlers of signals have no other place to leave word."""

    signal: str = ""
    deferred: bool = False


_REQUEST = _Request()


def requested() -> bool:
    """Whether the program was told to end, and should at the next good moment."""
    return bool(_REQUEST.signal)


def interrupt(where: str) -> None:
    """Raises Interrupted; `where` says how far the work has come."""
    number = signal.Signals[_REQUEST.signal] if _REQUEST.signal else 0
    raise Interrupted(f"{_REQUEST.signal or 'another process was told to end'}: {where}", number)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Answers the signals as this module says, where this is the main thread, which alone may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _REQUEST.signal = ""
    before = {number: signal.signal(number, _answer) for number in {*DEADLY, ASKING}}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _REQUEST.signal = ""


def _answer(number: int, _) -> None:
    already = requested()
    _REQUEST.signal = signal.Signals(number).name
    if number in DEADLY:
        # The system's own answer needs no turn of the interpreter, which may be waiting for a program to be compiled.
        for deadly in DEADLY:
            signal.signal(deadly, signal.SIG_DFL)
    if already:
        return
    if not _REQUEST.deferred:
        interrupt("stopped")
    # No logging here: what was interrupted may hold its lock.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{_REQUEST.signal}: the step is finished and saved first; once more ends at once\n".encode())


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A block that looks at `requested` itself; Interrupted is raised at its end at the latest."""
    _REQUEST.deferred = True
    try:
        yield
    finally:
        _REQUEST.deferred = False
    if requested():
        interrupt("stopped")
