"""Calibration: the expected Dice at a confidence, fitted on patients that were not used for training.

The mean Dice of the foreground is expected from its confidence, the Dice of a class from its soft Dice; both are
described in `image.confidence.Confidence`.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.system.errors import InputError

NAME = "calibration.json"
FEWEST = 5  # studies; a calibration on fewer is not reliable


@dataclasses.dataclass(frozen=True)
class Curve:
    """The expected Dice as a rising function of a confidence.

    It is linear between its points, constant above the last point, and unknown below the first point.

    Attributes:
        confidence, dice: the points, both in rising order.
    """

    confidence: tuple[float, ...]
    dice: tuple[float, ...]

    def expected_dice(self, confidence: float) -> float | None:
        """Returns the expected Dice; None if the confidence is lower than all that were used for the fit."""
        if confidence < self.confidence[0]:
            return None
        return float(np.interp(confidence, self.confidence, self.dice))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The expected Dice of the foreground and of each class.

    Attributes:
        checkpoint: the checkpoint that gives the confidence, "best" or "last".
        studies: number of studies it was fitted on, with their degraded copies.
        confidence, dice: the points of the foreground's `Curve`.
        classes: the curve of each class, whose confidence is the soft Dice; empty in files of earlier versions.
    """

    checkpoint: str
    studies: int
    confidence: tuple[float, ...]
    dice: tuple[float, ...]
    classes: Mapping[str, Curve] = dataclasses.field(default_factory=dict)

    def expected_dice(self, confidence: float) -> float | None:
        """Returns the expected Dice of the foreground; None as for `Curve.expected_dice`."""
        return Curve(self.confidence, self.dice).expected_dice(confidence)


@dataclasses.dataclass(frozen=True)
class Point:
    """One study with truth, from which a calibration is fitted.

    Attributes:
        confidence, dice: of the foreground.
        classes: soft Dice and Dice of each class that the truth or the prediction has.
    """

    confidence: float
    dice: float
    classes: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


def fit_calibration(points: Sequence[Point], *, checkpoint: str) -> Calibration | None:
    """Fits the curves of the foreground and of each class; see `fit_curve`.

    Args:
        points: one for each study.
        checkpoint: the checkpoint that gave the confidences.

    Returns:
        The calibration; None if there are fewer than FEWEST studies. A class in fewer studies has no curve.
    """
    if len(points) < FEWEST:
        return None
    whole = fit_curve([(point.confidence, point.dice) for point in points])
    of_class: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        for name, pair in point.classes.items():
            of_class.setdefault(name, []).append(pair)
    return Calibration(
        checkpoint=checkpoint,
        studies=len(points),
        confidence=whole.confidence,
        dice=whole.dice,
        classes={name: fit_curve(pairs) for name, pairs in of_class.items() if len(pairs) >= FEWEST},
    )


def fit_curve(pairs: Iterable[tuple[float, float]]) -> Curve:
    """Fits the Dice to the confidence: isotonic regression, by pooling adjacent violators.

    Studies are sorted by confidence. Neighbours whose Dice falls are replaced by their mean until no Dice falls. Each
    group of pooled studies gives one point. This is the rising function with the least squared error.

    Args:
        pairs: confidence and Dice of each study; at least one.
    """
    pools: list[tuple[float, float, int]] = []
    for x, y in sorted(pairs):
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
    return Curve(tuple(pool[0] for pool in pools), tuple(pool[1] for pool in pools))


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
        whole = _curve(fields)
        classes = {str(name): _curve(curve) for name, curve in dict(fields.get("classes", {})).items()}
        return Calibration(str(fields["checkpoint"]), int(fields["studies"]), whole.confidence, whole.dice, classes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _curve(fields: Any) -> Curve:
    confidence, dice = (tuple(map(float, fields[name])) for name in ("confidence", "dice"))
    if not confidence or len(confidence) != len(dice):
        raise ValueError(f"{len(confidence)} confidences for {len(dice)} Dice")
    return Curve(confidence, dice)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError("damaged-file", f"{path}: {error}; remove it, or evaluate the run again")
