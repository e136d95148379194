"""Runs the contestants in separate processes. In each round, every contestant has one turn."""

import contextlib
import dataclasses
import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import Settings

ROOT = Path(__file__).parents[1]
# A pause between turns is needed, because the threads of OpenMP keep spinning for a moment after their work.
PAUSE_S = 0.05


class LeftOut(Exception):
    """A contestant cannot take part; the message gives the reason."""


class Contestant:
    """A process that runs one program on request."""

    def __init__(self, settings: Settings, *, python: str, log: Path, environment: Mapping[str, str]):
        """Starts the process and waits until its program is ready.

        Args:
            settings: what to compute.
            python: interpreter to start.
            log: file for its standard error.
            environment: environment variables in addition to those of this process.

        Raises:
            LeftOut: the framework is not installed, or the program cannot be built.
        """
        self.settings = settings
        self.log = log
        threads = str(settings.threads)
        pinned = {name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        platform = {"JAX_PLATFORMS": "cpu"} if settings.device == "cpu" else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("w") as errors:
                self.process = subprocess.Popen(
                    [python, "-m", "benchmarks.serve", json.dumps(settings.as_dict())],
                    cwd=ROOT,
                    env={**os.environ, **pinned, **platform, **environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        except OSError as error:
            raise LeftOut(f"{python}: {error.strerror}") from None
        ready = self._answer()
        if "missing" in ready:
            self.close()
            raise LeftOut(f"not installed ({ready['missing']})")

    def ask(self, request: str, **options) -> dict[str, Any]:
        """Sends a request and returns the answer of the process."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": request, **options}) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            said = self.log.read_text(errors="replace").strip().splitlines()
            raise LeftOut(f"failed: {said[-1][:300] if said else 'no message'} (see {self.log})")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclasses.dataclass
class Entry:
    """A contestant in the rounds, and its measurements.

    Attributes:
        contestant: the process.
        first: time of the first step in s, with all compilation.
        numbers: results of the first step.
        note: versions and other remarks.
        steps: number of steps in each turn.
        seconds: time of a step in s, one value for each round.
    """

    contestant: Contestant
    first: float
    numbers: dict[str, np.ndarray]
    note: dict[str, Any]
    steps: int = 1
    seconds: list[float] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def enter(contestant: Contestant, folder: Path, *, turn_s: float) -> Entry:
    """Runs the first step, warms up, and chooses the number of steps for a turn of about `turn_s` seconds."""
    out = folder / "numbers" / f"{contestant.log.stem}.npz"
    out.parent.mkdir(parents=True, exist_ok=True)
    first = contestant.ask("first", out=str(out))
    with np.load(out) as file:
        numbers = dict(file)
    out.unlink()
    entry = Entry(contestant, first["seconds"], numbers, first["note"])
    contestant.ask("run", steps=1)
    warm = contestant.ask("run", steps=2)["seconds"]
    entry.steps = max(1, math.ceil(turn_s / warm))
    return entry


def play(entries: Sequence[Entry], rounds: int) -> None:
    """Runs rounds of one turn each. Every second round is in reverse order, so that a drift of the machine cancels."""
    for number in range(rounds):
        for entry in entries if number % 2 == 0 else reversed(entries):
            time.sleep(PAUSE_S)
            entry.seconds.append(entry.contestant.ask("run", steps=entry.steps)["seconds"])


@contextlib.contextmanager
def closing(contestants: list[Contestant]) -> Iterator[list[Contestant]]:
    """Ends all contestants in the list when the block ends."""
    try:
        yield contestants
    finally:
        for contestant in contestants:
            contestant.close()


def ratios(seconds: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Returns median, minimum and maximum, over the rounds, of a contestant's time divided by ours."""
    each = [a / b for a, b in zip(seconds, ours, strict=True)]
    return statistics.median(each), min(each), max(each)
