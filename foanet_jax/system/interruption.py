"""Orderly end of a program on SIGINT (Ctrl-C), SIGTERM (a batch system) or SIGUSR1 (a batch system's early warning).

During training, the current step is finished and a checkpoint is saved first. Elsewhere nothing would be lost, and the
program ends at once. In both cases it ends with status 0 and a message that says how to continue. A second SIGINT or
SIGTERM kills it.
"""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator

# The signal that a program sends to its child processes. It is not SIGTERM: the batch system or the terminal may have
# sent them a SIGTERM already, and a second one would kill them. Windows has no SIGUSR1.
ASKING: signal.Signals = getattr(signal, "SIGUSR1", signal.SIGTERM)
DEADLY = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SystemExit):
    """The exception that ends the program in an orderly way after a signal.

    Attributes:
        message: the signal and the progress of the work.
        number: number of the signal; 0 if another process received it.
    """

    def __init__(self, message: str, number: int = 0):
        super().__init__(0)
        self.message, self.number = message, number


@dataclasses.dataclass
class _Request:
    """The state of this process that the signal handler sets; a handler cannot return a value."""

    signal: str = ""
    deferred: bool = False


_REQUEST = _Request()


def requested() -> bool:
    """Returns whether a signal has asked the program to end. It should end at the next suitable moment."""
    return bool(_REQUEST.signal)


def interrupt(where: str) -> None:
    """Raises Interrupted.

    Args:
        where: the progress of the work, for the message.
    """
    number = signal.Signals[_REQUEST.signal] if _REQUEST.signal else 0
    raise Interrupted(f"{_REQUEST.signal or 'another process was asked to stop'}: {where}", number)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Handles the signals in the block as this module describes.

    It does nothing in other threads than the main thread, because only the main thread can set signal handlers.
    """
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
        # The default handler of the system also works while the Python interpreter waits for a long compilation.
        for deadly in DEADLY:
            signal.signal(deadly, signal.SIG_DFL)
    if already:
        return
    if not _REQUEST.deferred:
        interrupt("stopped")
    # The handler does not log, because the interrupted code may hold the logging lock.
    message = "finishing the current step and saving a checkpoint; send the signal again to stop at once"
    with contextlib.suppress(OSError):
        os.write(2, f"\n{_REQUEST.signal}: {message}\n".encode())


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Delays Interrupted until the end of a block. The block checks `requested` itself and can end earlier."""
    _REQUEST.deferred = True
    try:
        yield
    finally:
        _REQUEST.deferred = False
    if requested():
        interrupt("stopped")
