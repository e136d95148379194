"""Tables of scores: numbers worked by hand, strict JSON, and CSV there and back."""

import csv
import json
import math

import numpy as np
import pytest

from foanet_jax.measures import evaluation
from foanet_jax.measures.metrics import FOREGROUND, Score, score_case

NAN4 = [math.nan] * 4


def score(patient, class_name, dc, hd=2.0, bdc=0.3, *, frame=0, miss=False):
    return Score(patient, f"{patient}_ed", frame, class_name, dc, hd, hd / 2, bdc, miss, False)


THREE_PATIENTS = [
    # Patient a has two frames of myocardium, mean 0.8; b and c have one.
    score("a", "myocardium", 0.7, frame=0),
    score("a", "myocardium", 0.9, frame=1),
    score("a", "cavity", 0.9),
    score("b", "myocardium", 0.5, hd=4.0),
    score("b", "cavity", 0.0, hd=300.0, bdc=0.0, miss=True),
    score("c", "myocardium", 0.8, hd=6.0),
    score("c", "cavity", 0.9),
]


def test_summary_worked_by_hand():
    summary = evaluation.summarise(THREE_PATIENTS)
    assert [row.class_name for row in summary.classes] == ["myocardium", "cavity", FOREGROUND]
    myocardium, cavity, foreground = summary.classes
    # Patients' means 0.8, 0.5, 0.8: mean 0.7, squares 0.01 + 0.04 + 0.01 over 2, median 0.8.
    assert myocardium.dc.mean == pytest.approx(0.7)
    assert myocardium.dc.sd == pytest.approx(math.sqrt(0.06 / 2))
    assert myocardium.dc.median == pytest.approx(0.8)
    assert (myocardium.hd95_mm.mean, myocardium.hd95_mm.sd) == pytest.approx((4.0, 2.0))
    assert (myocardium.hd95_px.mean, myocardium.hd95_px.sd) == pytest.approx((2.0, 1.0))
    assert (myocardium.n_patients, myocardium.n_units, myocardium.misses) == (3, 4, 0)
    # The miss counts in every mean: (0.9 + 0 + 0.9) / 3, (2 + 300 + 2) / 3.
    assert (cavity.dc.mean, cavity.hd95_mm.mean, cavity.bdc.mean) == pytest.approx((0.6, 304 / 3, 0.2))
    assert (cavity.n_patients, cavity.n_units, cavity.misses) == (3, 3, 1)
    # Per patient over classes: 0.85, 0.25, 0.85.
    assert (foreground.dc.mean, foreground.dc.median) == pytest.approx((0.65, 0.85))
    assert foreground.dc.sd == pytest.approx(math.sqrt((0.04 + 0.16 + 0.04) / 2))
    assert (foreground.n_patients, foreground.n_units, foreground.misses) == (3, 7, 1)
    assert summary.row("cavity") is cavity
    with pytest.raises(KeyError, match="atrium"):
        summary.row("atrium")


def test_excluded_units_stay_out_of_every_mean():
    scores = [score("a", "cavity", 0.8), Score("a", "a_ed", 1, "cavity", *NAN4, False, True)]
    scores.append(Score("b", "b_ed", 0, "cavity", *NAN4, False, True))
    row = evaluation.summarise(scores).row("cavity")
    assert (row.n_patients, row.n_units, row.excluded, row.dc.mean) == (1, 1, 2, 0.8)
    assert math.isnan(row.dc.sd)


def test_one_patient_has_no_sd_and_none_has_no_mean():
    one = evaluation.summarise([score("a", "cavity", 0.8)])
    assert one.row("cavity").dc.mean == 0.8
    assert math.isnan(one.row("cavity").dc.sd)
    assert "0.800 ± –" in evaluation.format_table(one)
    none = evaluation.summarise([])
    assert [row.class_name for row in none.classes] == [FOREGROUND]
    assert none.classes[0].n_patients == 0
    assert math.isnan(none.classes[0].dc.median)
    last = evaluation.format_table(none).splitlines()[-1]
    assert last.split() == [FOREGROUND, "–", "–", "–", "–", "0", "0", "0"]
    for text in (evaluation.format_table(none), evaluation.format_table(none, markdown=True)):
        assert "nan" not in text.lower()


def test_table_is_aligned_and_counts_misses():
    text = evaluation.format_table(evaluation.summarise(THREE_PATIENTS))
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["class", "DC", "95HD", "mm", "95HD", "px", "BDC", "patients", "units", "misses"]
    assert "0.700 ± 0.173" in lines[2]
    assert lines[2].split()[-3:] == ["3", "4", "0"]
    assert lines[3].split()[0] == "cavity"
    assert lines[3].split()[-1] == "1"
    assert lines[-1].startswith(FOREGROUND)
    assert "excluded" not in text


def test_table_tells_of_excluded_units_where_there_are_any():
    scores = [score("a", "cavity", 0.8), Score("a", "a_ed", 1, "cavity", *NAN4, False, True)]
    lines = evaluation.format_table(evaluation.summarise(scores)).splitlines()
    assert lines[0].split()[-1] == "excluded"
    assert lines[2].split()[-1] == "1"


def test_markdown_table_has_as_many_cells_in_every_line():
    lines = evaluation.format_table(evaluation.summarise(THREE_PATIENTS), markdown=True).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(line) for line in cells} == {8}
    assert len({len(line) for line in lines}) == 1
    assert set(cells[1][0]) == {"-"}
    assert all(cell.endswith("-:") for cell in cells[1][1:])
    assert cells[2] == ["myocardium", "0.700 ± 0.173", "4.000 ± 2.000", "2.000 ± 1.000", "0.300 ± 0.000", "3", "4", "0"]


def test_scores_come_back_from_csv(tmp_path):
    truth = np.zeros((2, 2, 8, 8), np.uint8)
    truth[:, :, 2:6, 2:6] = 1
    truth[0, :, 3:5, 3:5] = 2
    prediction = np.roll(truth, 1, axis=-1)
    scores = score_case(
        prediction,
        truth,
        spacing_mm=(8, 1.1, 1.3),
        classes=("background", "myocardium", "cavity"),
        patient='comma, "quote"',
        case="öde",
        exclude_empty=True,
    )
    evaluation.write_scores(scores, evaluation.summarise(scores), tmp_path / "new" / "folder")
    back = evaluation.read_scores(tmp_path / "new" / "folder" / "scores.csv")
    # NaN is not equal to itself, so the excluded unit is compared by its text.
    assert [repr(s) for s in back] == [repr(s) for s in scores]
    assert back[:3] == scores[:3]
    assert back[3].empty


def test_patients_csv_has_a_row_per_patient_and_class(tmp_path):
    evaluation.write_scores(THREE_PATIENTS, evaluation.summarise(THREE_PATIENTS), tmp_path)
    with (tmp_path / "patients.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient"], row["class_name"]) for row in rows] == [
        (patient, name) for patient in "abc" for name in ("myocardium", "cavity", FOREGROUND)
    ]
    assert float(rows[0]["dc"]) == pytest.approx(0.8)
    assert (rows[0]["n_units"], rows[4]["misses"]) == ("2", "1")


def test_summary_json_is_strict(tmp_path):
    def refuse(token):
        raise AssertionError(token)

    scores = [score("a", "cavity", 0.8)]
    evaluation.write_scores(scores, evaluation.summarise(scores), tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["classes"]["cavity"]["dc"] == {"mean": 0.8, "sd": None, "median": 0.8}
    assert content["classes"][FOREGROUND]["n_patients"] == 1
    evaluation.write_scores([], evaluation.summarise([]), tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["classes"][FOREGROUND]["hd95_mm"]["mean"] is None
    assert evaluation.read_scores(tmp_path / "scores.csv") == []


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    scores = [score("a", "cavity", 0.8)]
    evaluation.write_scores(scores, evaluation.summarise(scores), tmp_path)
    before = (tmp_path / "scores.csv").read_bytes()
    with pytest.raises(AttributeError):
        evaluation.write_scores([*scores, "not a score"], evaluation.summarise(scores), tmp_path)
    assert (tmp_path / "scores.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["patients.csv", "scores.csv", "summary.json"]


def test_reading_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"scores\.csv: the columns are \['a', 'b'\]"):
        evaluation.read_scores(path)
    scores = [score("a", "cavity", 0.8)]
    evaluation.write_scores(scores, evaluation.summarise(scores), tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("0.8", "high"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"scores\.csv, line 2: .*high"):
        evaluation.read_scores(path)
