"""The log of a training: JSON lines, TensorBoard by choice."""

import json
import math
from pathlib import Path
from typing import Any

NAME = "log.jsonl"


class RunLog:
    """Appends records to `folder/log.jsonl`, and their numbers to TensorBoard where asked.

    A record is {"kind": "train" | "validation", "step", "epoch", …numbers}.
    """

    def __init__(self, folder: Path, *, tensorboard: bool):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / NAME).open("a", encoding="utf-8")
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

    def flush(self) -> None:
        """Hands what was written to the operating system."""
        self._file.flush()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All records of a folder's log, none where there is no log; a last line cut short is left out."""
    path = folder / NAME
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def truncate_log(folder: Path, epochs: int) -> None:
    """Drops the records of epochs from number `epochs` on, which a resumed training will write again."""
    kept = [record for record in read_log(folder) if record["epoch"] < epochs]
    if (folder / NAME).exists():
        (folder / NAME).write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
