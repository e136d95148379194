"""Describes the machine on which the benchmark runs."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from foanet_jax import __version__


def describe() -> dict[str, Any]:
    """Returns the processor, its cores, the memory, the system, and the versions of Python and this project."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(_memory_gib(), 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "foanet_jax": __version__,
        "commit": _output("git", "describe", "--always", "--dirty"),
        "gpu": _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def in_words(machine: dict[str, Any]) -> str:
    """Returns the description as one line of text."""
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB{gpu}, {machine['system']}, "
        f"Python {machine['python']}; load {machine['load_at_start']} at the start"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        named = {key.strip(): value.strip() for key, value in fields.items()}
        return named.get("model name", platform.machine())
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _output(*command: str) -> str | None:
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
