"""A long run in children: crashes, hangs and exhausted memory are found with the mutation that did it."""

import concurrent.futures
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.attempts import Tally, bench, temporary_place

ROOT = Path(__file__).parents[2]
CHUNK = 10_000  # mutations of one child at most
STALLED_S = 120.0  # longest time for one mutation before it counts as a hang
STARTS = 3  # of a child that ends before its first mutation, which says nothing of a reader


def campaign(name: str, *, run_seed: int, start: int, mutations: int, jobs: int, out: Path) -> dict[str, Any]:
    """Runs the mutations start … start + mutations − 1 of a format and returns what came of them.

    Damaged files that a reader failed on are kept in `out`.
    """
    began = time.monotonic()
    stop = start + mutations
    length = max(1, min(CHUNK, -(-mutations // jobs)))
    chunks = [(at, min(at + length, stop)) for at in range(start, stop, length)]
    tally, crashes = Tally(), []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for part, crashed in pool.map(lambda chunk: _chunk(name, run_seed, *chunk), chunks):
            tally.add(part)
            crashes += crashed
    seconds = time.monotonic() - began
    if tally.failures or crashes:
        keep(name, run_seed, [found["index"] for found in (*tally.failures, *crashes)], out)
    return {
        "format": name,
        "seed": run_seed,
        "start": start,
        "mutations": tally.total + len(crashes),
        "equal": tally.equal,
        "different": tally.different,
        "refused": dict(sorted(tally.refused.items(), key=lambda item: -item[1])),
        "failures": tally.failures,
        "crashes": crashes,
        "seconds": round(seconds, 1),
    }


def keep(name: str, run_seed: int, indices: list[int], out: Path) -> None:
    """Saves the damaged files of these mutations."""
    out.mkdir(parents=True, exist_ok=True)
    with bench(name) as at:
        for index in indices:
            mutation = at.mutation(run_seed, index)
            file = mutation.target.name.replace("/", "_")
            (out / f"{name}-{run_seed}-{index}-{file}").write_bytes(mutation.content)


def _chunk(
    name: str, run_seed: int, start: int, stop: int, *, starts: int = STARTS
) -> tuple[Tally, list[dict[str, Any]]]:
    """A range in a child; where it dies, the mutation that it died of, and the rest on both sides of it."""
    if start >= stop:
        return Tally(), []
    with tempfile.TemporaryDirectory(prefix="fuzz-run-", dir=temporary_place()) as folder:
        progress, result, log = (Path(folder) / name for name in ("progress", "result", "log"))
        progress.write_bytes(struct.pack("<q", -1))
        command = [sys.executable, "-m", "tests.fuzz.worker", name, str(run_seed), str(start), str(stop)]
        # The child's own temporary folder, so that nothing is left of one that dies.
        environment = {**os.environ, "TMPDIR": folder}
        with open(log, "wb") as stderr:
            child = subprocess.Popen([*command, str(progress), str(result)], stderr=stderr, env=environment, cwd=ROOT)
            ended = _wait(child, progress)
        if child.returncode == 0 and result.exists():
            found = json.loads(result.read_text())
            return Tally(**{**found, "refused": Counter(found["refused"])}), []
        (index,) = struct.unpack("<q", progress.read_bytes())
        text = log.read_text(errors="replace")[-4000:]
        if index >= 0:
            crash = {"index": index, "ended": ended, "log": text}
        elif starts > 1:
            return _chunk(name, run_seed, start, stop, starts=starts - 1)
        else:
            raise RuntimeError(f"{name}: a child ended {STARTS} times before its first mutation: {ended}\n{text}")
    before, more = _chunk(name, run_seed, start, index)
    after, still_more = _chunk(name, run_seed, index + 1, stop)
    before.add(after)
    return before, [*more, crash, *still_more]


def _wait(child: subprocess.Popen[bytes], progress: Path) -> str:
    """How the child ended; it is killed where it makes no progress."""
    last, waited, before = b"", 0.0, time.monotonic()
    while child.poll() is None:
        now, clock = progress.read_bytes(), time.monotonic()
        # A machine that was asleep in between has kept the child asleep too.
        waited = waited + min(clock - before, 1.0) if now == last else 0.0
        last, before = now, clock
        if waited > STALLED_S:
            child.kill()
            child.wait()
            return f"no progress for {STALLED_S:g} s"
        time.sleep(0.05)
    return f"signal {-child.returncode}" if child.returncode < 0 else f"exit status {child.returncode}"
