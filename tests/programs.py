"""Programs of the project in processes of their own that start at once: what they import was imported before.

A server imports everything and computes nothing; each process is a fork of it, and runs a file as `python FILE …` does.
"""

import dataclasses
import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "absl.app",
        "ml_collections.config_flags",
        "experiments.phantom",
        "foanet_jax.jobs.experiment.release",
        "foanet_jax.jobs.export",
        "foanet_jax.jobs.prediction",
        "foanet_jax.jobs.sweep.work",
        "tests.faults.child",
    ]
)


@dataclasses.dataclass(frozen=True)
class Done:
    """How a program ended."""

    returncode: int | None
    stdout: str
    stderr: str


def start(words: Sequence[str], *, cwd: Path, output: Path) -> BaseProcess:
    """Starts `python WORDS` in a folder.

    Args:
        words: a program's file and its arguments.
        cwd: the folder that it is run in.
        output: what it says goes to this path with .out and .err behind it.
    """
    process = CONTEXT.Process(target=_run, args=(list(words), str(cwd), str(output), dict(os.environ)), daemon=True)
    process.start()
    return process


def run(words: Sequence[str], *, cwd: Path, output: Path) -> Done:
    """Runs `python WORDS` in a folder to its end; see `start`."""
    process = start(words, cwd=cwd, output=output)
    process.join()
    return Done(process.exitcode, *(output.with_name(output.name + end).read_text() for end in (".out", ".err")))


def _run(words: list[str], cwd: str, output: str, environment: dict[str, str]) -> None:
    for number, end in ((1, ".out"), (2, ".err")):
        with open(output + end, "wb", buffering=0) as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).resolve().parent))  # as Python does
    runpy.run_path(words[0], run_name="__main__")
