"""Runs of a sweep in processes of their own, each on a device of its own."""

import contextlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.jobs.sweep.locks import locked
from foanet_jax.jobs.sweep.plan import Job
from foanet_jax.pages.report.results import DONE, FAILED, run_folder
from foanet_jax.system import interruption
from foanet_jax.system.atomic import open_unlinked
from foanet_jax.system.progress import LINE

LOGGER = logging.getLogger(__name__)
Device = Mapping[str, str] | frozenset[int]  # environment variables that choose a GPU, or processor cores
OUTPUT = "output.log"
CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


def visible_gpus() -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES knows the GPUs that JAX would use, found without using them."""
    if os.environ.get("JAX_PLATFORMS", "cuda").split(",")[0] not in ("cuda", "gpu"):
        return []
    if not any(importlib.util.find_spec(plugin) for plugin in CUDA_PLUGINS):
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name and name != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]


def devices_at_hand(processes: int) -> list[Device]:
    """What each of the processes works on: a GPU or a part of one, where there are any, else a share of the cores.

    Args:
        processes: how many; 0: as many as there are GPUs, and 1 without.
    """
    gpus = visible_gpus()
    if gpus:
        count = processes or len(gpus)
        together = -(-count // len(gpus))
        memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / together:.2f}"} if together > 1 else {}
        return [{"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)], **memory} for number in range(count)]
    count = max(processes, 1)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    shares = [frozenset(cores[number::count]) for number in range(count)]
    return [share or frozenset(cores) for share in shares]


def run_in_processes(jobs: Sequence[Job], folder: Path, *, devices: Sequence[Device], command: Sequence[str]) -> None:
    """Does the jobs, as many at a time as there are devices; what a process says goes to output.log of its run.

    Interrupted or told to end, it lets its processes save and end as well; what they had begun can be taken up again.
    """
    free: SimpleQueue[Device] = SimpleQueue()
    for device in devices:
        free.put(device)
    processes = _Processes()
    done = SimpleQueue[Job]()

    def work(job: Job) -> None:
        device = free.get()
        try:
            start = time.monotonic()
            if not processes.run(job, folder, device, command):
                return
            done.put(job)
            place = run_folder(folder, job.row, job.fold)
            how = "done" if (place / DONE).exists() else f"failed, see {place / OUTPUT}"
            LOGGER.info("%s: %s after %.0f s (%d of %d)", job, how, time.monotonic() - start, done.qsize(), len(jobs))
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            for future in [pool.submit(work, job) for job in jobs]:
                future.result()
        except BaseException:
            processes.end()
            pool.shutdown(cancel_futures=True)
            raise


class _Processes:
    """The processes that are running, until they are told to end."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._ended = False

    def end(self) -> None:
        """Asks them all to save and end, and lets none begin."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.send_signal(interruption.ASKING)

    def run(self, job: Job, folder: Path, device: Device, command: Sequence[str]) -> bool:
        """One job; False where it was ended from here."""
        place = run_folder(folder, job.row, job.fold)
        place.mkdir(parents=True, exist_ok=True)
        one = [f"--rows={job.row}", f"--folds={job.fold}", "--processes=1", f"--workdir={folder}"]
        environment = {**os.environ, **(device if isinstance(device, Mapping) else {})}
        with open_unlinked(place / OUTPUT, "w") as output:
            with self._lock:
                if self._ended:
                    return False
                # Of an option given twice the last one counts.
                process = subprocess.Popen(
                    [sys.executable, *command, *one], env=environment, stdout=output, stderr=subprocess.STDOUT
                )
                self._running.add(process)
            if isinstance(device, frozenset) and hasattr(os, "sched_setaffinity"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(process.pid, device)
            status = process.wait()
        with self._lock:
            self._running.discard(process)
            if self._ended:
                return False
        with locked(place):
            # A process that ended by itself has said why; one that was killed could not.
            if status and not (place / DONE).exists() and (status < 0 or not (place / FAILED).exists()):
                error = f"the process ended with status {status}: {_last_line(place / OUTPUT)}"
                write_json(place / FAILED, {"error": error, "traceback": ""})
        return True


def _last_line(path: Path) -> str:
    """The last that a program said, but for its progress."""
    lines = path.read_text(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip() and not LINE.search(line)), "no message")
