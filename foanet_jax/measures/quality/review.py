"""The review of a prediction: its indices, findings, expected Dice and verdict."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from foanet_jax.data.frames import Place, place_of
from foanet_jax.data.study import Study
from foanet_jax.image.confidence import Confidence
from foanet_jax.measures.body.context import NO_CONTEXT, Context, context_of
from foanet_jax.measures.body.surface import FORMULAS, Formula
from foanet_jax.measures.indices.counted import describe_count, moments_of
from foanet_jax.measures.indices.counting import ISLAND, LEFT, RIGHT, Counting, SliceCount, counted_mask
from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY
from foanet_jax.measures.indices.papillary import papillary_volumes_ml
from foanet_jax.measures.indices.study import (
    StudyIndices,
    count_study,
    has_ventricle,
    headline,
    known,
    measure_study,
    measured_frames,
    papillary_to_myocardium,
)
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.measures.quality.calibration import Calibration
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.physiology import check_beat
from foanet_jax.measures.quality.picture import Range, check_contrast, check_image
from foanet_jax.measures.quality.plausible import check_study
from foanet_jax.measures.quality.shape import check_shapes
from foanet_jax.measures.quality.verdict import GOOD_DICE, LOW_DICE, affected_numbers, doubtful_classes, verdict
from foanet_jax.pipeline import AT_BORDER, BLANK, EMPTY, NO_CONTRAST, NOT_LOCALIZED, UNEVEN, Prediction

# The code of each flag of the pipeline, by the end of its sentence.
_CODES = {
    AT_BORDER: "box-at-border",
    NOT_LOCALIZED: "not-localized",
    EMPTY: "empty-mask",
    BLANK: "blank-slice",
    UNEVEN: "uneven-brightness",
    NO_CONTRAST: "no-contrast",
}


@dataclasses.dataclass(frozen=True)
class Expectations:
    """What a run expects of the studies that it segments.

    Attributes:
        trained: the range of the training images; None if the checkpoint does not store it.
        calibration: from confidence to Dice; None if the run had no validation patients.
    """

    trained: Range | None = None
    calibration: Calibration | None = None


NO_EXPECTATIONS = Expectations()


@dataclasses.dataclass(frozen=True)
class Review:
    """The review of one prediction.

    Attributes:
        indices: the clinical indices of the mask.
        findings: everything that is wrong or unusual, in no order of importance.
        expected_dice: for the foreground, from the network's confidence; None if it is not known.
        classes: names by index, background first.
        expected_of_class: the expected Dice of each class, without those for which it is not known.
        place: where the study lies.
        context: what is known of the patient beside the images.
        count: which slices of the mask count; None if all of the mask does.
    """

    indices: StudyIndices
    findings: tuple[Finding, ...]
    expected_dice: float | None
    classes: tuple[str, ...]
    expected_of_class: Mapping[str, float] = dataclasses.field(default_factory=dict)
    place: Place | None = None
    context: Context = NO_CONTEXT
    count: SliceCount | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """The main numbers of the study by name with unit, without those that are not known."""
        return headline(self.indices) | known(self.context.numbers(self.indices.ventricles))

    @property
    def moments(self) -> dict[str, int]:
        """The frames whose slices are told; see `moments_of`."""
        beat = self.indices.ventricles
        frames = 0 if self.count is None else len(self.count.shares)
        return moments_of(frames, None if beat is None else beat.ed, None if beat is None else beat.es)

    @property
    def verdict(self) -> str:
        """ "good", "check" or "reject"; see `quality.verdict.verdict`."""
        return verdict(self.findings, self.classes)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The classes that findings concern."""
        return doubtful_classes(self.findings, self.classes)

    @property
    def affected(self) -> dict[str, tuple[str, ...]]:
        """The numbers that findings spoil, with the codes of these findings."""
        return affected_numbers(self.findings, self.numbers, self.classes, measured_frames(self.indices))


def leave_out(study: Study, prediction: Prediction, counting: Counting) -> tuple[Prediction, SliceCount | None]:
    """Leaves out of a mask what does not count, such as slices beyond the valve plane; see `count_study`.

    Args:
        study: the study that was segmented.
        prediction: the prediction for this study.
        counting: the rule, and what the user chose.

    Returns:
        The prediction with its new mask, and which slices count. If all of them do, the mask is the same array. None if
        the classes are not those of a short-axis heart.

    Raises:
        InputError: the chosen slices or frames do not exist.
    """
    grid: dict[str, Any] = {"classes": study.classes, "spacing_mm": study.spacing_mm}
    count = count_study(prediction.mask, affine=study.affine, counting=counting, **grid)
    if count is None:
        return prediction, None
    return dataclasses.replace(prediction, mask=counted_mask(prediction.mask, count, study.classes)), count


def review_study(
    study: Study,
    prediction: Prediction,
    expected: Expectations,
    *,
    count: SliceCount | None = None,
    formula: Formula = FORMULAS[0],
    convention: str = "",
) -> Review:
    """Reviews the prediction for a study. The labels of the study are not used.

    Args:
        study: the study that was segmented.
        prediction: the prediction for this study.
        expected: the expectations of the run that segmented it.
        formula: of the body surface area.
        convention: what the volumes count papillary muscles to, "cavity" or "myocardium"; "" if it is not known. With
            "myocardium", the dark pixels of the cavity are moved to the myocardium; see `papillary_mask`.
        count: which slices count, if some may have been left out of the mask; see `leave_out`.

    Raises:
        InputError: "papillary" if the blood is not brighter than the myocardium, so that they cannot be moved.
    """
    grid: dict[str, Any] = {"classes": study.classes, "spacing_mm": study.spacing_mm}
    chosen: dict[str, Any] = {} if count is None else {"ed": count.ed, "es": count.es}
    indices = measure_study(prediction.mask, affine=study.affine, **chosen, **grid)
    if convention == "myocardium" and has_ventricle(study.classes) and MYOCARDIUM in study.classes:
        indices = papillary_to_myocardium(
            indices, papillary_volumes_ml(study.voxels, prediction.mask, **grid), study.classes
        )
    findings = [] if count is None else _islands(count)
    short_axis = indices.ventricles is not None or indices.slices is not None
    if short_axis and np.ptp(study.voxels):
        findings += check_contrast(study, prediction.mask)  # These name the slices; the flags below do not.
    findings += [Finding(code, message) for code, message in study.findings if short_axis or code != "not-short-axis"]
    named = {finding.code for finding in findings}
    coded = [Finding(_code_of(flag), flag) for flag in prediction.flags]
    findings += [finding for finding in coded if finding.code not in named]
    if prediction.mask.any():
        findings += check_shapes(prediction.mask, **grid)
        findings += check_study(indices)
        if indices.ventricles is not None:
            findings += check_beat(indices.ventricles)
    if expected.trained is not None and np.ptp(study.voxels):
        findings += check_image(study, expected.trained)
    dice: float | None = None
    of_class: dict[str, float] = {}
    if expected.calibration is not None and prediction.confidence is not None:
        # A mask without foreground has no confidence; its expected Dice is 0.
        sure = prediction.confidence.foreground
        dice = 0.0 if np.isnan(sure) else expected.calibration.expected_dice(sure)
        if expected.calibration.classes:
            of_class, doubts = _expect_classes(prediction.confidence, expected.calibration)
            findings += doubts
        else:
            findings += _expect_foreground(sure, dice)
    context = context_of(study, formula=formula, convention=convention)
    return Review(indices, tuple(findings), dice, tuple(study.classes), of_class, place_of(study), context, count)


def _islands(count: SliceCount) -> list[Finding]:
    """Finds parts that were left out because slices without the ventricle separate them from the others."""
    return [
        Finding("class-gap", f"a part of the {name} lies apart and does not count: {ISLAND}", frame, slice_, class_name)
        for name, class_name, reasons in zip((LEFT, RIGHT), (LV_CAVITY[0], RV_CAVITY[0]), count.reasons, strict=True)
        for frame, slice_ in np.argwhere(reasons == ISLAND).tolist()
    ]


def _expect_classes(confidence: Confidence, calibration: Calibration) -> tuple[dict[str, float], list[Finding]]:
    """Returns the expected Dice of each class that was segmented, and findings about those below GOOD_DICE."""
    expected, findings = {}, []
    for name, curve in calibration.classes.items():
        sure = confidence.soft_dice.get(name, 0.0)
        if not sure:
            continue  # The class is absent, which is a finding of its own.
        dice = curve.expected_dice(sure)
        if dice is not None:
            expected[name] = dice
        if dice is None:
            lowest = curve.confidence[0]
            message = (
                f"the expected Dice of the {name} is unknown: its soft Dice, {sure:.2f}, is lower than any in the "
                f"calibration ({lowest:.2f})"
            )
            findings.append(Finding("low-confidence", message, class_name=name, limit=GOOD_DICE))
        elif dice < GOOD_DICE:
            message = f"the expected Dice of the {name} is {dice:.2f}, below {GOOD_DICE:g}"
            findings.append(Finding("low-confidence", message, class_name=name, value=dice, limit=GOOD_DICE))
    return expected, findings


def _expect_foreground(sure: float, dice: float | None) -> list[Finding]:
    """Returns the finding about a low expected Dice of the foreground, for calibrations without classes."""
    if dice is None:
        message = f"the expected Dice is unknown: the confidence, {sure:.2f}, is lower than any in the calibration"
        return [Finding("low-confidence", message, limit=LOW_DICE)]
    if dice < LOW_DICE:
        return [Finding("low-confidence", f"the expected Dice is only {dice:.2f}", value=dice, limit=LOW_DICE)]
    return []


def expected_dice(review: Review) -> dict[str, float]:
    """Returns the expected Dice of each class and of `FOREGROUND`, without those that are not known."""
    whole = {} if review.expected_dice is None else {FOREGROUND: review.expected_dice}
    return {**review.expected_of_class, **whole}


def _code_of(flag: str) -> str:
    """Returns the code of the finding for a flag of the pipeline.

    Raises:
        ValueError: the flag is new and has no code yet.
    """
    for ending, code in _CODES.items():
        if flag.endswith(ending):
            return code
    raise ValueError(f"the flag {flag!r} of the pipeline has no code; add it to _CODES in {__name__}")


def describe(review: Review, prediction: Prediction) -> dict[str, Any]:
    """Returns the review for JSON, without numbers that could not be measured."""
    confidence, slices = prediction.confidence, review.indices.slices
    return {
        "indices": review.numbers,
        **({"patient": review.context.texts()} if review.context.texts() else {}),
        **({} if slices is None else {"wall_directions": slices.wall_directions}),
        **({} if review.count is None else {"slices": describe_count(review.count, review.moments)}),
        "quality": {
            "verdict": review.verdict,
            "classes_to_check": list(review.doubtful),
            "affected_by": {number: list(codes) for number, codes in review.affected.items()},
            "findings": [dataclasses.asdict(finding) for finding in review.findings],
            "confidence": {} if confidence is None else _numbers(dataclasses.asdict(confidence)),
            **({} if review.expected_dice is None else {"expected_dice": review.expected_dice}),
            "expected_dice_of_class": dict(review.expected_of_class),
        },
    }


def _numbers(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _numbers(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
        if isinstance(value, Mapping) or (value is not None and not np.isnan(value))
    }
