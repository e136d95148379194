"""From a network's confidence to the Dice to expect: a monotone map, fitted on patients that were not trained on."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.system.errors import InputError

NAME = "calibration.json"
FEWEST = 5  # studies; a map through fewer says little


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A rising map from confidence to Dice: linear between its points, level above them, unknown below them.

    Attributes:
        checkpoint: "best" or "last", whose confidence it takes.
        studies: how many it was fitted on, degraded copies included.
        confidence, dice: its points, both rising.
    """

    checkpoint: str
    studies: int
    confidence: tuple[float, ...]
    dice: tuple[float, ...]

    def expected_dice(self, confidence: float) -> float | None:
        """The Dice to expect; None below the lowest confidence that it was fitted on, where it is unknown."""
        if confidence < self.confidence[0]:
            return None
        return float(np.interp(confidence, self.confidence, self.dice))


def fit_calibration(confidence: Sequence[float], dice: Sequence[float], *, checkpoint: str) -> Calibration | None:
    """The rising map with the least squared error at the studies, by pooling adjacent violators; None of too few.

    Neighbours in confidence whose Dice falls are pooled to their mean until it rises; each pool is a point.

    Args:
        confidence, dice: of each study.
        checkpoint: which one's.
    """
    if len(confidence) < FEWEST:
        return None
    pools: list[tuple[float, float, int]] = []
    for x, y in sorted(zip(confidence, dice, strict=True)):
        pool = (float(x), float(y), 1)
        # Equal confidences have one Dice, whatever their order.
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
    """The map in a run's folder; None where there is none for this checkpoint.

    Raises:
        InputError: the file is damaged.
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
    """A map from its JSON, which stood in the file `path`.

    Raises:
        InputError: it is none.
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
