"""Runs of a sweep in processes of their own, each on a device of its own."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from foanet_jax.experiment import write_text
from foanet_jax.sweep.plan import Job
from foanet_jax.sweep.results import DONE, FAILED, run_folder

LOGGER = logging.getLogger(__name__)
Device = Mapping[str, str] | frozenset[int]  # environment variables that choose a GPU, or processor cores
OUTPUT = "output.log"


def visible_gpus() -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES knows the GPUs that this process may use, found without using them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name]
    if os.environ.get("JAX_PLATFORMS", "cuda").startswith("cpu") or shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]


def devices_at_hand(processes: int) -> list[Device]:
    """What each of the processes works on: a GPU, where there are any, else a share of the processor's cores.

    Args:
        processes: how many; 0: as many as there are GPUs, and 1 without.
    """
    gpus = visible_gpus()
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} for number in range(processes or len(gpus))]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    shares = [frozenset(cores[number :: max(processes, 1)]) for number in range(max(processes, 1))]
    return [share or frozenset(cores) for share in shares]


def run_in_processes(jobs: Sequence[Job], folder: Path, *, devices: Sequence[Device], command: Sequence[str]) -> None:
    """Does the jobs, as many at a time as there are devices; what a process says goes to output.log of its run."""
    free: SimpleQueue[Device] = SimpleQueue()
    for device in devices:
        free.put(device)
    done = SimpleQueue[Job]()

    def work(job: Job) -> None:
        device = free.get()
        try:
            start = time.monotonic()
            _run(job, folder, device, command)
            done.put(job)
            place = run_folder(folder, job.row, job.fold)
            how = "done" if (place / DONE).exists() else f"failed, see {place / OUTPUT}"
            LOGGER.info("%s: %s after %.0f s (%d of %d)", job, how, time.monotonic() - start, done.qsize(), len(jobs))
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        for future in [pool.submit(work, job) for job in jobs]:
            future.result()


def _run(job: Job, folder: Path, device: Device, command: Sequence[str]) -> None:
    place = run_folder(folder, job.row, job.fold)
    place.mkdir(parents=True, exist_ok=True)
    one = [f"--rows={job.row}", f"--folds={job.fold}", "--processes=1", f"--workdir={folder}"]
    environment = {**os.environ, **(device if isinstance(device, Mapping) else {})}
    with (place / OUTPUT).open("w") as output:
        # Of an option given twice the last one counts.
        process = subprocess.Popen(
            [sys.executable, *command, *one], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        if isinstance(device, frozenset) and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, device)
        status = process.wait()
    if not (place / DONE).exists() and not (place / FAILED).exists():
        last = (place / OUTPUT).read_text(errors="replace").strip().splitlines()[-1:]
        record = {"error": f"the process ended with status {status}: {''.join(last)}", "traceback": ""}
        write_text(place / FAILED, json.dumps(record, indent=1) + "\n")
