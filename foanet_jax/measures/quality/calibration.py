"""Calibration: the expected Dice at a confidence, fitted on patients that were not used for training."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.system.errors import InputError

NAME = "calibration.json"
FEWEST = 5  # studies; a calibration on fewer is not reliable


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The expected Dice as a rising function of the confidence.

    It is linear between its points, constant above the last point, and unknown below the first point.

    Attributes:
        checkpoint: the checkpoint that gives the confidence, "best" or "last".
        studies: number of studies it was fitted on, with their degraded copies.
        confidence, dice: the points, both in rising order.
    """

    checkpoint: str
    studies: int
    confidence: tuple[float, ...]
    dice: tuple[float, ...]

    def expected_dice(self, confidence: float) -> float | None:
        """Returns the expected Dice; None if the confidence is lower than all that were used for the fit."""
        if confidence < self.confidence[0]:
            return None
        return float(np.interp(confidence, self.confidence, self.dice))


def fit_calibration(confidence: Sequence[float], dice: Sequence[float], *, checkpoint: str) -> Calibration | None:
    """Fits the calibration: isotonic regression, by pooling adjacent violators.

    Studies are sorted by confidence. Neighbours whose Dice falls are replaced by their mean until no Dice falls. Each
    group of pooled studies gives one point. This is the rising function with the least squared error.

    Args:
        confidence, dice: of each study.
        checkpoint: the checkpoint that gave the confidences.

    Returns:
        The calibration; None if there are fewer than FEWEST studies.
    """
    if len(confidence) < FEWEST:
        return None
    pools: list[tuple[float, float, int]] = []
    for x, y in sorted(zip(confidence, dice, strict=True)):
        pool = (float(x), float(y), 1)
        # Studies of equal confidence are one point, so that their order does not matter.
        while pools and (pools[-1][1] >= pool[1] or pools[-1][0] == pool[0]):
            other = pools.pop()
            count = other[2] + pool[2]
            pool = (
                (other[0] * other[2] + pool[0] * pool[2]) / count,
                (other[1] * other[2] + pool[1] * pool[2]) / count,
                count,
            )
        pools.append(pool)
    return Calibration(
        checkpoint=checkpoint,
        studies=len(confidence),
        confidence=tuple(pool[0] for pool in pools),
        dice=tuple(pool[1] for pool in pools),
    )


def read_calibration(run: Path, *, checkpoint: str = "best") -> Calibration | None:
    """Reads the calibration of a run; None if the run has none for this checkpoint.

    Raises:
        InputError: "damaged-file" if the file is damaged.
    """
    path = run / NAME
    if not path.exists():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from None
    found = parse_calibration(fields, path)
    return found if found.checkpoint == checkpoint else None


def parse_calibration(fields: Any, path: Path) -> Calibration:
    """Makes a calibration from its JSON fields, which were read from the file `path`.

    Raises:
        InputError: "damaged-file" if the fields are not those of a calibration.
    """
    try:
        confidence, dice = (tuple(map(float, fields[name])) for name in ("confidence", "dice"))
        if not confidence or len(confidence) != len(dice):
            raise ValueError(f"{len(confidence)} confidences for {len(dice)} Dice")
        return Calibration(str(fields["checkpoint"]), int(fields["studies"]), confidence, dice)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError("damaged-file", f"{path}: {error}; remove it, or evaluate the run again")
