"""How well confidence and verdict predict the Dice, on studies with truth: quality.csv and quality.json."""

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.image.confidence import Confidence
from foanet_jax.measures.metrics import FOREGROUND, Score
from foanet_jax.measures.quality.ranks import roc_auc, spearman
from foanet_jax.measures.quality.verdict import LOW_DICE, VERDICTS
from foanet_jax.system.records import write_records

NAME = "quality.csv"


@dataclasses.dataclass(frozen=True)
class QualityRow:
    """One class of one study, or `FOREGROUND`, the mean over the classes.

    Attributes:
        patient, case, class_name: what the row is about.
        confidence: the mean probability of the predicted class; 0 if nothing was predicted.
        agreement: the agreement of several views, for the foreground; NaN for classes, and if there was only one view.
        expected_dice: NaN if it is not known.
        verdict: the verdict on the study.
        reasons: the codes of the findings, separated by spaces.
        dice: the mean over the frames of the study.
    """

    patient: str
    case: str
    class_name: str
    confidence: float
    agreement: float
    expected_dice: float
    verdict: str
    reasons: str
    dice: float


def case_dice(scores: Iterable[Score]) -> dict[str, float]:
    """Returns the mean Dice over the frames of a case, by class, and the mean over the classes as `FOREGROUND`.

    A frame in which neither truth nor prediction has the class is not part of the mean.
    """
    by_class: dict[str, list[float]] = {}
    for score in scores:
        if not score.empty:
            by_class.setdefault(score.class_name, []).append(score.dc)
    means = {name: float(np.mean(values)) for name, values in by_class.items()}
    return means | ({FOREGROUND: float(np.mean(list(means.values())))} if means else {})


def quality_rows(
    scores: Sequence[Score],
    confidence: Confidence,
    *,
    verdict: str,
    reasons: Iterable[str],
    expected_dice: Mapping[str, float],
) -> list[QualityRow]:
    """Returns the rows of one case.

    Args:
        scores: the scores of this case only.
        confidence: the confidence of the prediction.
        verdict, reasons: from the review of the prediction.
        expected_dice: by class, and for `FOREGROUND`, without those that are not known.
    """
    sure = {**confidence.classes, FOREGROUND: confidence.foreground}
    return [
        QualityRow(
            patient=scores[0].patient,
            case=scores[0].case,
            class_name=name,
            confidence=0.0 if math.isnan(sure[name]) else sure[name],
            agreement=confidence.agreement if name == FOREGROUND and confidence.agreement is not None else math.nan,
            expected_dice=expected_dice.get(name, math.nan),
            verdict=verdict,
            reasons=" ".join(dict.fromkeys(reasons)),
            dice=dice,
        )
        for name, dice in case_dice(scores).items()
    ]


def summarise_quality(rows: Sequence[QualityRow]) -> dict[str, Any]:
    """Measures how well confidence and verdict separate good studies from bad ones. Nothing is fitted.

    Returns:
        A dictionary; values that are not defined are NaN.
        "low_dice": the Dice below which a study is bad.
        "classes", by name: the number of studies, the number of bad ones, Spearman's correlation of confidence and
        Dice, and the area under the ROC curve for finding the bad ones.
        "agreement": the same for the agreement of the views, if there were several views.
        "verdicts", by verdict: the number of studies, the number of bad ones, and the mean Dice of the foreground.
        "expected_mae": the mean absolute error of the expected Dice, and the number of studies.
    """
    by_class: dict[str, list[QualityRow]] = {}
    for row in rows:
        by_class.setdefault(row.class_name, []).append(row)
    whole = by_class.get(FOREGROUND, [])
    seen = [row for row in whole if not math.isnan(row.agreement)]
    told = [row for row in whole if not math.isnan(row.expected_dice)]
    errors = [abs(row.expected_dice - row.dice) for row in told]
    return {
        "low_dice": LOW_DICE,
        "classes": {name: _discrimination(found, "confidence") for name, found in by_class.items()},
        **({"agreement": _discrimination(seen, "agreement")} if seen else {}),
        "verdicts": {name: _outcome([row for row in whole if row.verdict == name]) for name in VERDICTS},
        "expected_mae": {"n": len(told), "mae": float(np.mean(errors)) if told else math.nan},
    }


def _discrimination(rows: Sequence[QualityRow], by: str) -> Mapping[str, float]:
    sure, dice = np.array([(getattr(row, by), row.dice) for row in rows]).T
    bad = dice < LOW_DICE
    return {
        "n": len(rows),
        "bad": int(bad.sum()),
        "spearman": spearman(sure, dice),
        "auc": roc_auc(-sure, bad),
    }


def _outcome(rows: Sequence[QualityRow]) -> Mapping[str, float]:
    dice = [row.dice for row in rows]
    return {
        "n": len(rows),
        "bad": sum(value < LOW_DICE for value in dice),
        "dice": float(np.mean(dice)) if dice else math.nan,
    }


def write_quality(rows: Iterable[QualityRow], folder: Path) -> None:
    """Writes `folder/quality.csv`, whole or not at all."""
    write_records(folder / NAME, QualityRow, rows)


def read_quality(folder: Path) -> list[QualityRow]:
    """Reads what `write_quality` wrote; an empty list if there is no such file.

    Raises:
        KeyError, ValueError: the file is not such a table.
    """
    if not (folder / NAME).exists():
        return []
    with (folder / NAME).open(newline="", encoding="utf-8") as file:
        return [
            QualityRow(
                patient=row["patient"],
                case=row["case"],
                class_name=row["class_name"],
                confidence=float(row["confidence"]),
                agreement=float(row.get("agreement") or math.nan),  # Older evaluations do not have it.
                expected_dice=float(row["expected_dice"]) if row["expected_dice"] else math.nan,
                verdict=row["verdict"],
                reasons=row["reasons"],
                dice=float(row["dice"]),
            )
            for row in csv.DictReader(file)
        ]
