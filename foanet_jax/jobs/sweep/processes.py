"""Runs of a sweep in separate processes, each on its own device."""

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
Device = Mapping[str, str] | frozenset[int]  # environment variables that select a GPU, or a set of processor cores
OUTPUT = "output.log"
CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


def visible_gpus() -> list[str]:
    """Returns the GPUs that JAX would use, by their names in CUDA_VISIBLE_DEVICES, without initialising them."""
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
    """Returns the device of each process: a GPU or a part of a GPU, or a share of the cores if there are no GPUs.

    Args:
        processes: number of processes; 0: one per GPU, or one if there are no GPUs.
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


def run_in_processes(
    jobs: Sequence[Job], folder: Path, *, devices: Sequence[Device], command: Sequence[str], ablation: bool
) -> None:
    """Runs jobs in processes, one at a time on each device. The output of a process is written to its run's output.log.

    When this program is interrupted, it asks its processes to save and end. Their runs can be resumed later.

    Args:
        jobs: the runs.
        folder: folder of the sweep.
        devices: one device for each process that runs at the same time.
        command: arguments of the program; options that select one run are appended.
        ablation: whether the job has several rows. If so, an option that selects the row is appended too.
    """
    free: SimpleQueue[Device] = SimpleQueue()
    for device in devices:
        free.put(device)
    processes = _Processes()
    done = SimpleQueue[Job]()

    def chosen(job: Job) -> list[str]:
        row = [f"--rows={job.row}"] if ablation else []
        return [*row, f"--folds={job.fold}", "--processes=1", f"--workdir={folder}"]

    def work(job: Job) -> None:
        device = free.get()
        try:
            start = time.monotonic()
            if not processes.run(job, folder, device, [*command, *chosen(job)]):
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
    """The set of running processes, which can be ended together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._ended = False

    def end(self) -> None:
        """Asks all processes to save and end, and prevents new ones from starting."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.send_signal(interruption.ASKING)

    def run(self, job: Job, folder: Path, device: Device, command: Sequence[str]) -> bool:
        """Runs one job and waits for it; returns False if `end` stopped it."""
        place = run_folder(folder, job.row, job.fold)
        place.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **(device if isinstance(device, Mapping) else {})}
        with open_unlinked(place / OUTPUT, "w") as output:
            with self._lock:
                if self._ended:
                    return False
                # If an option is given twice, the last one counts.
                process = subprocess.Popen(
                    [sys.executable, *command], env=environment, stdout=output, stderr=subprocess.STDOUT
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
            # A process that failed has written its error. A process that was killed could not, so it is recorded here.
            if status and not (place / DONE).exists() and (status < 0 or not (place / FAILED).exists()):
                error = f"the process ended with status {status}: {_last_line(place / OUTPUT)}"
                write_json(place / FAILED, {"error": error, "traceback": ""})
        return True


def _last_line(path: Path) -> str:
    """Returns the last line of a program's output that is not a progress bar."""
    lines = path.read_text(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip() and not LINE.search(line)), "no message")
