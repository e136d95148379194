"""The process of a contestant: it builds its program, runs it on request of the parent, and sleeps in between.

Requests are lines of JSON on standard input, and answers are lines of JSON on standard output. The output of the
frameworks themselves goes to standard error.
"""

import importlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import MODULES
from benchmarks.program import Program, Settings, settings_from

MIB = 2**20


def memory_mib(field: str) -> float:
    """Returns a field of /proc/self/status in MiB: VmRSS (current) or VmHWM (peak so far). 0 if it does not exist."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def forget_peak() -> None:
    """Resets the peak memory VmHWM, if the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


class Server:
    """Answers the requests of the parent for one program."""

    def __init__(self, settings: Settings):
        self.module = importlib.import_module(MODULES[settings.contestant])
        self.baseline = memory_mib("VmRSS")
        self.program: Program = self.module.make(settings)
        self.first_peak = 0.0

    def first(self, out: str) -> dict[str, Any]:
        """Runs the first step, with all compilation, and writes its results to a file."""
        start = time.perf_counter()
        numbers = self.program.fetch(self.program.step())
        seconds = time.perf_counter() - start
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in numbers.items()}
        np.savez(out, **arrays)
        self.first_peak = memory_mib("VmHWM") - self.baseline
        self.program.settle()
        forget_peak()
        return {"seconds": seconds, "note": self.program.note}

    def run(self, steps: int) -> dict[str, Any]:
        """Measures the mean time of a step in s over several steps. As in training, it waits only for the last step."""
        start = time.perf_counter()
        calls = math.ceil(steps / self.program.steps)
        for _ in range(calls):
            outcome = self.program.step()
        self.program.fetch(outcome)
        return {"seconds": (time.perf_counter() - start) / (calls * self.program.steps)}

    def memory(self) -> dict[str, Any]:
        """Returns the peak memory in MiB, without imports: of the first step with compilation, and of later steps."""
        peak = self.program.device_peak
        return {
            "first_peak_mib": self.first_peak,
            "peak_mib": memory_mib("VmHWM") - self.baseline,
            "baseline_mib": self.baseline,
            "device_peak_mib": None if peak is None else peak() / MIB,
        }


def main() -> None:
    """Serves until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    settings = settings_from(json.loads(sys.argv[1]))
    if hasattr(os, "sched_setaffinity") and settings.device == "cpu":
        # XLA has no option for the number of threads. It uses one thread for each core that the process may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.threads])

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        server = Server(settings)
    except ModuleNotFoundError as error:
        answer({"missing": str(error)})
        return
    answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        answer(getattr(server, request.pop("do"))(**request))


if __name__ == "__main__":
    main()
