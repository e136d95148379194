"""The benchmark of the verdicts: its tables by hand, and the command on phantoms."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import verdicts
from benchmarks.judged import Judged, class_table, finding_table, judge_patients, judge_study, verdict_table
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.image.confidence import Confidence
from foanet_jax.measures.quality.calibration import Calibration, Curve
from foanet_jax.measures.quality.review import Expectations, review_study
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError

RV, WALL, CAVITY = ACDC_CLASSES[1:]


def cells(table):
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


def judged(verdict, codes, dice, expected=(0.9, 0.9, 0.9), confidence=(0.9, 0.9, 0.9)):
    names = ACDC_CLASSES[1:]
    return Judged(
        "p",
        "p",
        "",
        False,
        verdict,
        codes,
        dict(zip(names, dice, strict=True)),
        dict(zip(names, expected, strict=True)),
        dict(zip(names, confidence, strict=True)),
    )


ONES = [
    judged("good", {}, (0.9, 0.9, 0.9)),
    judged("good", {}, (0.7, 0.9, 0.95), (0.88, 0.9, 0.9), (0.95, 0.9, 0.9)),
    judged("check", {"class-gap": [RV]}, (0.6, 0.9, 0.9), (0.5, 0.9, 0.9), (0.8, 0.9, 0.9)),
    judged("check", {"class-gap": [RV], "hole": [WALL, CAVITY]}, (0.9, 0.75, 0.9)),
    judged("reject", {"hole": [WALL, CAVITY]}, (0.85, 0.85, 0.85)),
]


def test_findings_by_hand():
    assert cells(finding_table(ONES)) == [
        # Of the two gaps, the right ventricle is below 0.8 in one and another class in the other; three are below.
        ["`class-gap`", "2", "1", "2", "0", "67 %"],
        ["`hole`", "2", "1", "1", "1", "33 %"],
        ["none", "2", "–", "1", "–", "33 %"],
    ]


def test_verdicts_by_hand():
    assert cells(verdict_table(ONES)) == [
        ["good", "2", "40 %", "1", "50 %", "0.875"],  # 0.9 and 0.85
        ["check", "2", "40 %", "2", "100 %", "0.825"],  # 0.8 and 0.85
        ["reject", "1", "20 %", "0", "0 %", "0.850"],
    ]


def test_classes_by_hand():
    right, wall, cavity = cells(class_table(ONES, ACDC_CLASSES))
    # Expected 0.88 and 0.5 of the bad are both below 0.9 of the good. Probabilities: 0.95 is above, 0.8 below 0.9.
    # Errors: 0, 0.18, 0.1, 0, 0.05.
    assert right == [RV, "5", "2", "1.000", "0.500", "0.066"]
    assert wall[:5] == [WALL, "5", "1", "0.500", "0.500"]
    assert cavity[:4] == [CAVITY, "5", "0", "–"]


def test_what_is_unknown_counts_as_zero_for_the_order():
    unknown = dataclasses.replace(ONES[2], expected={})
    assert cells(class_table([*ONES[:2], unknown], ACDC_CLASSES))[0][3] == "1.000"


def review_of(study, mask, soft=0.9):
    classes = study.classes[1:]
    sure = Confidence(dict.fromkeys(classes, 0.8), 0.8, 0.1, soft_dice=dict.fromkeys(classes, soft))
    prediction = Prediction(mask, [], None, Box(0, 0, 96, 96), (), sure)
    curve = Curve((0.0, 1.0), (0.0, 1.0))
    expected = Expectations(calibration=Calibration("best", 5, (0.0, 1.0), (0.0, 1.0), dict.fromkeys(classes, curve)))
    return prediction, review_study(study, prediction, expected)


def test_a_study_beside_its_truth():
    study = short_axis_stack(0, size=96, slices=5, noise=0)
    mask = study.labels.copy()
    mask[0, 2][mask[0, 2] == 1] = 0
    one = judge_study(study, *review_of(study, mask), "blur 3")
    assert one.codes == {"class-gap": [RV]}
    assert (one.verdict, one.change, one.joined, one.dice[CAVITY]) == ("check", "blur 3", False, 1)
    pixels, lost = (study.labels == 1).sum(), (study.labels[0, 2] == 1).sum()
    assert one.dice[RV] == pytest.approx(2 * (pixels - lost) / (2 * pixels - lost))
    assert one.expected == pytest.approx(dict.fromkeys(ACDC_CLASSES[1:], 0.9))


def test_a_patient_of_two_frames():
    beat = short_axis_stack(0, size=96, slices=5, frames=8, noise=0)
    sizes = (beat.labels == 3).sum((1, 2, 3))
    frames = (int(sizes.argmax()), int(sizes.argmin()))
    studies, ones = {}, []
    for number, frame in enumerate(frames):
        case = f"p_frame{number:02d}"
        part = slice(frame, frame + 1)
        study = dataclasses.replace(beat, case=case, voxels=beat.voxels[part], labels=beat.labels[part])
        mask = study.labels.copy()
        if number:
            mask[:, :, :, :] = np.where(mask == 1, 0, mask)
            mask[:, 0, 0:3, 0:3] = 1  # of the right ventricle almost nothing is left: it ejects too much
        prediction, review = review_of(study, mask)
        studies[case] = review
        ones.append(judge_study(study, prediction, review, ""))
    (joined,) = judge_patients(ones, studies, ACDC_CLASSES, apart=())
    assert (joined.joined, joined.patient, joined.dice[CAVITY]) == (True, "p", 1)
    assert joined.dice[RV] == min(one.dice[RV] for one in ones) < 0.1
    assert set(joined.codes) <= {"stroke-volumes", "myocardium-varies"}
    assert judge_patients(ones, studies, ACDC_CLASSES, apart={"p"}) == []


@pytest.mark.parametrize("copies", [-1, 12])
def test_more_copies_than_changes_are_refused(tmp_path, copies):
    with pytest.raises(InputError, match=r"there are 11 changes"):
        verdicts.run({}, tmp_path, tmp_path, copies=copies)


def test_the_report_has_studies_copies_and_patients():
    copy = dataclasses.replace(ONES[2], change="blur 3")
    patient = dataclasses.replace(ONES[0], joined=True, codes={"stroke-volumes": [RV]}, verdict="check")
    text = verdicts.report([*ONES, copy, patient], ACDC_CLASSES)
    assert text.index("Verdicts, studies") < text.index("Verdicts, degraded copies") < text.index("Findings, studies")
    assert "`stroke-volumes`" in text.split("Findings about heartbeats")[1]
    assert json.dumps([dataclasses.asdict(one) for one in (copy, patient)])


def test_a_patient_is_judged_by_the_other_ones():
    """Six studies with their own masks, so that every Dice is 1, whatever the soft Dice is; one has the lowest."""
    predicted = []
    for number in range(6):
        study = dataclasses.replace(
            short_axis_stack(number, size=64, slices=4, noise=0), patient=f"p{number}", case=f"p{number}"
        )
        predicted.append(("", study, review_of(study, study.labels, soft=0.5 + number / 10)[0]))
    ones = verdicts.judge(predicted, Expectations(), leave_out=True)
    # Of the first patient nothing is known: its soft Dice is lower than those of all others. The last has the highest.
    assert (ones[0].expected, ones[-1].expected) == ({}, dict.fromkeys(ACDC_CLASSES[1:], 1.0))
    assert "low-confidence" in ones[0].codes
    assert "low-confidence" not in ones[-1].codes
    assert all(one.expected == {} for one in verdicts.judge(predicted, Expectations(), leave_out=False))
