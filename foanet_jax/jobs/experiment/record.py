"""The record of a run, `run.json`, and the writing of text and JSON files."""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from foanet_jax.jobs.experiment.studies import Config
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.determinism import promise


def save_run(config: Config, workdir: Path, command: Sequence[str], *, checkpoint: str = "") -> None:
    """Writes `run.json`: configuration, command line, versions, devices, reproducibility and git commit.

    Args:
        config: the configuration.
        workdir: the folder to write to.
        command: the user's command line.
        checkpoint: the evaluated checkpoints, for an evaluation outside the workdir of a training.
    """
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "nibabel")
    record = {
        "config": dict(config),
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "determinism": promise(),
        "platform": platform.platform(),
        "commit": _commit(),
        **({"checkpoint": checkpoint} if checkpoint else {}),
    }
    write_json(workdir / "run.json", record)


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically; a missing folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a value to a JSON file atomically; a missing folder is created."""
    write_text(path, json.dumps(value, indent=1) + "\n")
