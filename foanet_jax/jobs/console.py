"""The first steps of both programs; `pip install` adds `main` as the command `foanet`."""

import signal
import sys
from pathlib import Path


def main() -> None:
    """The command `foanet`: runs the job in its first word."""
    start("foanet")


def start(program: str, default: Path | None = None) -> None:
    """Runs a program to its end; see `commandline.start`.

    Until the job starts, Ctrl-C ends the program without a message, because a compiled module whose import is
    interrupted may fail in any way.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from foanet_jax.jobs import commandline, dispatch

    commandline.start(sys.argv, dispatch.work, program=program, default=default)
