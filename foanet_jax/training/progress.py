"""Progress of a training: the only place that writes its log, saves checkpoints and decides whether to stop."""

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
from foanet_jax.training.examples import TrainingStudy
from foanet_jax.training.runlog import RunLog, read_log, skipped_in_a_row
from foanet_jax.training.spec import TrainSpec


class Progress:
    """Counts, logs and saves the steps of a training.

    With several processes, each process has its own instance. They decide together, and only the first process writes.

    Args:
        folder: folder of the network.
        checkpoints: checkpoints of the network; None in all processes except the first.
        log: log of the network, truncated to the steps that the progress bar counts; None in all processes except the
            first.
        bar: progress bar of `system.progress`, which includes the steps of earlier, interrupted runs.
        name: name of the network.
        studies: the training studies.
        train: how often to save, and after how many skipped steps to stop.
        description: JSON stored with each checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: Checkpoints | None,
        log: RunLog | None,
        bar: Any,
        *,
        name: str,
        studies: Sequence[TrainingStudy],
        train: TrainSpec,
        description: dict[str, Any],
    ):
        self.step: int = bar.n
        self._folder, self._checkpoints, self._log, self._bar = folder, checkpoints, log, bar
        self._studies, self._train, self._description = studies, train, description
        self._name = name
        skipped = skipped_in_a_row(read_log(folder)) if log is not None else 0
        self._skipped = int(distributed.of_first(np.int32(skipped)))
        self._noted_at = time.monotonic()

    def note(self, epoch: int, block: Block, metrics: dict[str, jax.Array]) -> None:
        """Logs the steps on the batches of a block.

        Args:
            epoch: from 0.
            block: the batches.
            metrics: from `train_steps`.

        Raises:
            InputError: too many steps in a row had no finite gradients.
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
            study = self._studies[number]
            frame, slice_ = divmod(index, study.labels.shape[1])
            examples.append([study.original.case, slice_, frame])
        self._write({"kind": "skipped", "step": self.step, "epoch": epoch, "examples": examples})
        named = ", ".join(f"{case} slice {slice_} frame {frame}" for case, slice_, frame in examples)
        if self._log is not None:
            self._bar.write(f"{self._folder}: step {self.step} skipped because its gradients are not finite: {named}")
        if self._skipped >= self._train.max_skipped:
            raise InputError(
                "diverged",
                f"{self._folder}: {self._skipped} steps in a row had no finite gradients, the last was step "
                f"{self.step} on {named}; check these images, or lower optimiser.learning_rate or set "
                "optimiser.clip_norm",
            )

    def note_validation(self, epoch: int, score: float) -> None:
        """Logs the mean validation Dice after an epoch."""
        self._write({"kind": "validation", "step": self.step, "epoch": epoch, "dice": score})
        self._bar.set_description(f"{self._name}, validation Dice {score:.3f}", refresh=False)

    def _write(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(record)

    def due(self) -> bool:
        """Returns whether it is time to save: in any process, `save_minutes` have passed or a signal came."""
        seconds = 60 * self._train.save_minutes
        return distributed.anywhere(interruption.requested() or 0 < seconds <= time.monotonic() - self._noted_at)

    def save(self, state, epoch: int, *, score: float | None = None) -> None:
        """Saves the state after the logged steps. The log is written first.

        Args:
            state: the training state.
            epoch: from 0.
            score: mean validation Dice; None if there was no validation.

        Raises:
            InputError: the disk is full.
            Interrupted: this or another process received a signal to end; the state has been saved.
        """
        now = time.monotonic()
        if self._log is not None and self._checkpoints is not None:
            self._log.write_seconds(self.step, epoch, now - self._noted_at)
            # The log must be on the disk before the checkpoint: a resumed training relies on it.
            self._log.flush()
            self._checkpoints.save(state, self._description, epoch=epoch + 1, score=score)
        self._noted_at = now
        if distributed.anywhere(interruption.requested()):
            distributed.part()
            interruption.interrupt(f"{self._folder}: saved after step {self.step} of {self._bar.total}")
