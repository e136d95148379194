"""The log of a training: JSON lines, TensorBoard by choice."""

import json
import math
from pathlib import Path
from typing import Any

from foanet_jax.atomic import atomic_path, open_unlinked

NAME, SECONDS = "log.jsonl", "seconds.jsonl"


class RunLog:
    """Appends records to `folder/log.jsonl`, and their numbers to TensorBoard where asked.

    A record is {"kind": "train" | "validation", "step", "epoch", …numbers}. How long epochs took goes to a file of
    its own, `folder/seconds.jsonl`, so that the log of the same training is the same.
    """

    def __init__(self, folder: Path, *, tensorboard: bool):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open_unlinked(folder / NAME, "a")
        self._seconds = open_unlinked(folder / SECONDS, "a")
        self._writer = None
        if tensorboard:
            from tensorboardX import SummaryWriter  # only with the option: it is slow to import

            self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, record: dict[str, Any]) -> None:
        """Adds one record; numbers that are not finite become null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._file.write(json.dumps(clean) + "\n")
        if self._writer is not None:
            for name, value in clean.items():
                if name not in ("kind", "step", "epoch") and value is not None:
                    self._writer.add_scalar(f"{clean['kind']}/{name}", value, clean["step"])

    def write_seconds(self, epoch: int, seconds: float) -> None:
        """Adds how long an epoch took, its validation as well."""
        self._seconds.write(json.dumps({"epoch": epoch, "seconds": round(seconds, 3)}) + "\n")

    def flush(self) -> None:
        """Hands what was written to the operating system."""
        self._file.flush()
        self._seconds.flush()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self._seconds.close()
        if self._writer is not None:
            self._writer.close()


def read_log(folder: Path, name: str = NAME) -> list[dict[str, Any]]:
    """All records of a folder's log, none where there is no log; a last line cut short is left out."""
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
    """How long the training in a folder took, all its epochs together; None where that is not known."""
    records = read_log(folder, SECONDS)
    return sum(record["seconds"] for record in records) if records else None


def truncate_log(folder: Path, epochs: int) -> None:
    """Drops the records of epochs from number `epochs` on, which a resumed training will write again."""
    for name in (NAME, SECONDS):
        if (folder / name).exists():
            kept = [record for record in read_log(folder, name) if record["epoch"] < epochs]
            with atomic_path(folder / name) as temporary:
                temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
