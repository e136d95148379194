"""How far a training has come: the one place that writes its log, saves it and decides whether it stops."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from foanet_jax.system import distributed, interruption
from foanet_jax.system.errors import InputError
from foanet_jax.training.checkpoint import Checkpoints
from foanet_jax.training.epoch import Block, Example
from foanet_jax.training.examples import Case
from foanet_jax.training.runlog import RunLog, read_log, skipped_in_a_row
from foanet_jax.training.spec import TrainSpec


class Progress:
    """The steps that were made and noted, and what becomes of them.

    Of several processes each has one of its own: they decide together, and the first one writes.

    Args:
        folder: of the network.
        checkpoints: of the network; None in the other processes.
        log: of the network, cut back to the steps that the bar has; None in the other processes.
        bar: of `system.progress`, of the steps, those that were made before counted.
        name: of the network.
        cases: trained on.
        train: how often to save, and when to give up.
        description: stored with each checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: Checkpoints | None,
        log: RunLog | None,
        bar: Any,
        *,
        name: str,
        cases: Sequence[Case],
        train: TrainSpec,
        description: dict[str, Any],
    ):
        self.step: int = bar.n
        self._folder, self._checkpoints, self._log, self._bar = folder, checkpoints, log, bar
        self._cases, self._train, self._description = cases, train, description
        self._name = name
        skipped = skipped_in_a_row(read_log(folder)) if log is not None else 0
        self._skipped = int(distributed.of_first(np.int32(skipped)))
        self._noted_at = time.monotonic()

    def note(self, epoch: int, block: Block, metrics: dict[str, jax.Array]) -> None:
        """Logs the steps on a block's batches.

        Raises:
            InputError: too many in a row had no finite gradients.
        """
        columns = {name: values.tolist() for name, values in jax.device_get(metrics).items()}
        rows = zip(*columns.values(), strict=True)
        for batch, numbers in zip(block.batches, (dict(zip(columns, row, strict=True)) for row in rows), strict=True):
            self.step += 1
            skipped = numbers.pop("skipped")
            self._write({"kind": "train", "step": self.step, "epoch": epoch, **numbers})
            self._bar.set_postfix(loss=f"{numbers['loss']:.3f}", refresh=False)
            self._bar.update()
            self._skipped = self._skipped + 1 if skipped else 0
            if skipped:
                self._note_skipped(epoch, batch)

    def _note_skipped(self, epoch: int, batch: Sequence[Example]) -> None:
        examples = []
        for number, index in batch:
            case = self._cases[number]
            frame, slice_ = divmod(index, case.labels.shape[1])
            examples.append([case.study.case, slice_, frame])
        self._write({"kind": "skipped", "step": self.step, "epoch": epoch, "examples": examples})
        named = ", ".join(f"{case} slice {slice_} frame {frame}" for case, slice_, frame in examples)
        if self._log is not None:
            self._bar.write(f"{self._folder}: step {self.step} skipped, its gradients are not finite: {named}")
        if self._skipped >= self._train.max_skipped:
            raise InputError(
                "diverged",
                f"{self._folder}: {self._skipped} steps in a row without finite gradients, up to step {self.step} on "
                f"{named}; check these images, or lower optimiser.learning_rate or set optimiser.clip_norm",
            )

    def note_validation(self, epoch: int, score: float) -> None:
        """Logs the mean Dice after an epoch."""
        self._write({"kind": "validation", "step": self.step, "epoch": epoch, "dice": score})
        self._bar.set_description(f"{self._name}, validation Dice {score:.3f}", refresh=False)

    def _write(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(record)

    def due(self) -> bool:
        """Whether it is time to save: some minutes have passed, or the program was told to end, in any process."""
        seconds = 60 * self._train.save_minutes
        return distributed.anywhere(interruption.requested() or 0 < seconds <= time.monotonic() - self._noted_at)

    def save(self, state, epoch: int, *, score: float | None = None) -> None:
        """Saves the state after the steps that were noted, the log first.

        Raises:
            InputError: the disk is full.
            Interrupted: the program, or another of its processes, was told to end.
        """
        now = time.monotonic()
        if self._log is not None and self._checkpoints is not None:
            self._log.write_seconds(self.step, epoch, now - self._noted_at)
            # What a checkpoint follows from is on the disk before it.
            self._log.flush()
            self._checkpoints.save(state, self._description, epoch=epoch + 1, score=score)
        self._noted_at = now
        if distributed.anywhere(interruption.requested()):
            distributed.part()
            interruption.interrupt(f"{self._folder}: saved after step {self.step} of {self._bar.total}")
