"""The log of a training: JSON lines and, optionally, TensorBoard events."""

import contextlib
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.system.atomic import atomic_path, open_unlinked
from foanet_jax.system.diskspace import explaining_disk_full

NAME, SECONDS = "log.jsonl", "seconds.jsonl"


class RunLog:
    """Appends records to `folder/log.jsonl` and, optionally, their numbers to TensorBoard.

    A record is {"kind": "train" | "validation", "step", "epoch", …numbers}. For a step whose gradients were not finite,
    it is {"kind": "skipped", "step", "epoch", "examples": [[case, slice, frame], …]}. The durations are in a separate
    file, `folder/seconds.jsonl`, so that the log of a repeated training is identical.

    Args:
        folder: folder of the network; created if it is missing.
        tensorboard: write TensorBoard events to `folder/tensorboard`.

    Raises:
        InputError: a method found the disk full.
    """

    def __init__(self, folder: Path, *, tensorboard: bool):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with contextlib.ExitStack() as opened:
            self._file, self._seconds = (
                opened.enter_context(open_unlinked(folder / name, "a")) for name in (NAME, SECONDS)
            )
            opened.pop_all()
        self._writer = None
        if tensorboard:
            from tensorboardX import SummaryWriter  # The import is slow, so it is done only if needed.

            self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, record: dict[str, Any]) -> None:
        """Appends one record; numbers that are not finite become null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with explaining_disk_full(self._folder / NAME):
            self._file.write(json.dumps(clean) + "\n")
        if self._writer is not None:
            for name, value in clean.items():
                if name not in ("kind", "step", "epoch", "examples") and value is not None:
                    self._writer.add_scalar(f"{clean['kind']}/{name}", value, clean["step"])

    def write_seconds(self, step: int, epoch: int, seconds: float) -> None:
        """Appends the time since the last call: that of the steps up to this one, including validation."""
        with explaining_disk_full(self._folder / SECONDS):
            self._seconds.write(json.dumps({"step": step, "epoch": epoch, "seconds": round(seconds, 3)}) + "\n")

    def flush(self) -> None:
        """Waits until all records are on the disk."""
        for file in (self._file, self._seconds):
            with explaining_disk_full(Path(file.name)):
                file.flush()
                os.fsync(file.fileno())

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_) -> None:
        with explaining_disk_full(self._folder), self._file, self._seconds:
            pass
        if self._writer is not None:
            self._writer.close()


def read_log(folder: Path, name: str = NAME) -> list[dict[str, Any]]:
    """Reads all records of a folder's log; none if there is no log. An incomplete last line is left out."""
    path = folder / name
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError):
            break
    return records


def training_seconds(folder: Path) -> float | None:
    """Returns the total time in seconds that the training in a folder took; None if it is not known."""
    records = read_log(folder, SECONDS)
    return sum(record["seconds"] for record in records) if records else None


def skipped_in_a_row(records: Sequence[Mapping[str, Any]]) -> int:
    """Returns the number of steps in a row, up to the last step, that had no finite gradients."""
    skipped = {record["step"] for record in records if record["kind"] == "skipped"}
    steps = [record["step"] for record in records if record["kind"] == "train"]
    return len(list(itertools.takewhile(skipped.__contains__, reversed(steps))))


def truncate_log(folder: Path, step: int) -> None:
    """Removes the records after a step from the logs; a resumed training writes them again."""
    for name in (NAME, SECONDS):
        if (folder / name).exists():
            kept = [record for record in read_log(folder, name) if record["step"] <= step]
            with explaining_disk_full(folder / name), atomic_path(folder / name) as temporary:
                temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
