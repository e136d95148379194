"""How often findings and verdicts were right, and how often they cried wolf."""

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence

import numpy as np

from benchmarks.report import markdown_table
from foanet_jax.data.frames import patient_of_frame
from foanet_jax.data.study import Study
from foanet_jax.measures.indices.study import join_frames
from foanet_jax.measures.metrics import FOREGROUND, score_study
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.physiology import check_beat
from foanet_jax.measures.quality.ranks import roc_auc
from foanet_jax.measures.quality.review import Review
from foanet_jax.measures.quality.table import case_dice
from foanet_jax.measures.quality.verdict import VERDICTS, classes_of, verdict
from foanet_jax.pipeline import Prediction

LOW = 0.8  # Dice of a class; with less, the quality control should have said something


@dataclasses.dataclass(frozen=True)
class Judged:
    """One study, one degraded copy, or one patient whose frames are separate studies, beside its truth.

    Attributes:
        patient, case: what it is.
        change: how the copy was degraded; "" for a study.
        joined: whether it is a patient: its findings are those about the heartbeat, and its Dice is that of the worse
            frame.
        verdict: "good", "check" or "reject".
        codes: by code of a finding, the classes that it concerns.
        dice: by class, without classes that neither truth nor prediction has.
        expected: the expected Dice by class, without those that are not known.
        confidence: the mean probability by class.
    """

    patient: str
    case: str
    change: str
    joined: bool
    verdict: str
    codes: Mapping[str, Sequence[str]]
    dice: Mapping[str, float]
    expected: Mapping[str, float] = dataclasses.field(default_factory=dict)
    confidence: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether a class has a Dice below LOW."""
        return any(dice < LOW for dice in self.dice.values())


def judge_study(study: Study, prediction: Prediction, review: Review, change: str) -> Judged:
    """Puts a review beside the truth.

    Args:
        study: the study or the copy, with labels.
        prediction, review: of this study.
        change: see `Judged`.
    """
    scores = score_study(prediction.mask, study)
    return Judged(
        patient=study.patient,
        case=study.case,
        change=change,
        joined=False,
        verdict=review.verdict,
        codes=_codes(review.findings, study.classes),
        dice={name: dice for name, dice in case_dice(scores).items() if name != FOREGROUND},
        expected=review.expected_of_class,
        confidence={} if prediction.confidence is None else prediction.confidence.classes,
    )


def judge_patients(
    judged: Sequence[Judged], reviews: Mapping[str, Review], classes: Sequence[str], *, apart: Container[str]
) -> list[Judged]:
    """Returns the patients whose frames are separate studies, with the findings about their heartbeat.

    Args:
        judged: the studies, with or without copies.
        reviews: of the studies, by case.
        classes: names by index, background first.
        apart: patients whose frames do not belong together.
    """
    beats = join_frames({case: review.indices for case, review in reviews.items()}, classes, apart=apart)
    joined = []
    for patient, ventricles in beats.items():
        frames = [one for one in judged if not one.change and patient_of_frame(one.case) == patient]
        findings = check_beat(ventricles)
        dice = {
            name: min(one.dice[name] for one in frames if name in one.dice)
            for name in classes[1:]
            if any(name in one.dice for one in frames)
        }
        told = verdict(findings, classes)
        joined.append(Judged(patient, patient, "", True, told, _codes(findings, classes), dice))
    return joined


def _codes(findings: Sequence[Finding], classes: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for finding in findings:
        found.setdefault(finding.code, set()).update(classes_of(finding, classes))
    return {code: [name for name in classes[1:] if name in names] for code, names in found.items()}


def finding_table(judged: Sequence[Judged]) -> str:
    """Returns a table of all codes that occur.

    The columns: in how many studies; in how many of them a class that the finding concerns is below LOW, and any class;
    in how many none is (it cried wolf); the share that it found of all studies with a class below LOW.
    """
    bad = sum(one.bad for one in judged)
    rows = []
    for code in sorted({code for one in judged for code in one.codes}):
        with_it = [one for one in judged if code in one.codes]
        own = sum(any(one.dice.get(name, 1.0) < LOW for name in one.codes[code]) for one in with_it)
        right = sum(one.bad for one in with_it)
        wolf = len(with_it) - right
        rows.append([f"`{code}`", str(len(with_it)), str(own), str(right), str(wolf), _share(right, bad)])
    rows.append(["none", *_without(judged, bad)])
    header = ["finding", "studies", f"its class below {LOW}", "any class below", "cried wolf", "found of all below"]
    return markdown_table(header, rows)


def _without(judged: Sequence[Judged], bad: int) -> list[str]:
    silent = [one for one in judged if not one.codes]
    missed = sum(one.bad for one in silent)
    return [str(len(silent)), "–", str(missed), "–", _share(missed, bad)]


def verdict_table(judged: Sequence[Judged]) -> str:
    """Returns a table of the verdicts: number and share of studies, those with a class below LOW, and the mean Dice."""
    rows = []
    for name in VERDICTS:
        ones = [one for one in judged if one.verdict == name]
        dice = [np.mean(list(one.dice.values())) for one in ones if one.dice]
        bad = sum(one.bad for one in ones)
        mean = f"{np.mean(dice):.3f}" if dice else "–"
        rows.append([name, str(len(ones)), _share(len(ones), len(judged)), str(bad), _share(bad, len(ones)), mean])
    return markdown_table(["verdict", "studies", "share", f"a class below {LOW}", "share of them", "mean Dice"], rows)


def class_table(judged: Sequence[Judged], classes: Sequence[str]) -> str:
    """Returns a table of the classes: how well the expected Dice and the mean probability find a Dice below LOW.

    A class whose expected Dice is not known counts as 0, in the area under the ROC curve only.
    """
    rows = []
    for name in classes[1:]:
        ones = [one for one in judged if name in one.dice]
        dice = np.array([one.dice[name] for one in ones])
        bad = dice < LOW
        expected = np.array([one.expected.get(name, 0.0) for one in ones])
        sure = np.nan_to_num([one.confidence.get(name, 0.0) for one in ones])
        errors = [abs(one.expected[name] - one.dice[name]) for one in ones if name in one.expected]
        rows.append(
            [
                name,
                str(len(ones)),
                str(bad.sum()),
                _number(roc_auc(-expected, bad)),
                _number(roc_auc(-sure, bad)),
                _number(float(np.mean(errors)) if errors else math.nan),
            ]
        )
    header = ["class", "studies", f"below {LOW}", "ROC area, expected Dice", "ROC area, probability", "mean error"]
    return markdown_table(header, rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
