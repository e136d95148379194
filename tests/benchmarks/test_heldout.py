"""What held-out patients lose: the same patients in two cross-validations that differ in their folds alone."""

import dataclasses
import json
import math
import statistics

import pytest
from PIL import Image

from benchmarks.heldout import ALL, cost_table, costs, main
from benchmarks.plots import draw_heldout
from foanet_jax.measures.evaluation import summarise, write_scores
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.measures.sizes import write_sizes
from tests.pages.report.sweep_results import CLASSES, make_result

NAMES = {0: "HCM", 1: "NOR"}


def changed(result, by, folds):
    """The row of a result with each patient's Dice moved, and the folds that are left of it."""
    (row,) = result.rows
    runs = [
        dataclasses.replace(run, scores=tuple(dataclasses.replace(s, dc=s.dc + by[run.fold]) for s in run.scores))
        for run in row.runs
        if run.fold in folds
    ]
    return dataclasses.replace(row, runs=tuple(runs))


def test_costs_are_differences_of_the_same_patients():
    made = make_result(rows=["i"], folds=2, patients=16)
    seen = changed(made, {0: 0.0, 1: 0.0}, (0, 1))
    found = costs(seen, changed(made, {0: -0.05, 1: 0.01}, (0, 1)), NAMES, CLASSES)
    by_name = {(cost.held_out, cost.class_name): cost for cost in found}
    assert len(by_name) == 3 * 3
    hcm, whole = by_name["HCM", "cavity"], by_name[ALL, FOREGROUND]
    truth = [row.dc for row in seen.patients("cavity").values() if int(row.patient[-2:]) % 2]  # fold 0: 1, 3, …
    assert hcm.dc_seen == pytest.approx(statistics.fmean(truth))
    assert (hcm.patients, hcm.difference, hcm.low, hcm.high) == (8, *[pytest.approx(-0.05)] * 3)
    assert hcm.dc_held_out == pytest.approx(hcm.dc_seen - 0.05)
    assert hcm.p == pytest.approx(2 * 2 / 2**8)  # all eight the same way, twice by Holm
    assert by_name["NOR", "cavity"].difference == pytest.approx(0.01)
    assert (whole.patients, whole.difference) == (16, pytest.approx(-0.02))
    assert whole.low < -0.02 < whole.high
    line = cost_table(found).splitlines()[2]
    assert f"{hcm.dc_seen:.3f} → {hcm.dc_held_out:.3f} (p 0.016)" in line


def test_patients_whom_only_one_has_tested_are_left_out():
    made = make_result(rows=["i"], folds=2, patients=16)
    found = costs(changed(made, {1: 0.0}, [1]), changed(made, {0: 0.0, 1: 0.02}, (0, 1)), NAMES, CLASSES)
    assert {cost.held_out for cost in found} == {"NOR", ALL}
    assert {cost.patients for cost in found} == {8}


def test_classes_that_a_patient_does_not_have_and_kinds_of_one_patient(tmp_path):
    made = make_result(rows=["i"], folds=2, patients=3)  # fold 1 tests one patient
    (row,) = made.rows
    nan = float("nan")
    scores = [
        dataclasses.replace(s, dc=nan, hd95_mm=nan, bdc=nan, empty=True) if s.class_name == "cavity" else s
        for s in row.runs[1].scores
    ]
    without = dataclasses.replace(row, runs=(row.runs[0], dataclasses.replace(row.runs[1], scores=tuple(scores))))
    found = costs(row, without, NAMES, CLASSES)
    by_name = {(cost.held_out, cost.class_name): cost for cost in found}
    assert ("NOR", "cavity") not in by_name
    assert by_name[ALL, "cavity"].patients == 2
    assert by_name["NOR", "myocardium"].difference == 0
    assert math.isnan(by_name["NOR", "myocardium"].low)
    assert cost_table(found).splitlines()[3].split("|")[4].strip() == "–"
    draw_heldout(
        [(c.held_out, c.class_name, c.difference, c.low, c.high) for c in found], CLASSES, "x", tmp_path / "x.png"
    )


def save(folder, result, *, held_out=(), **config):
    """A sweep of one row as `run.py` leaves it, without checkpoints and pictures."""
    (row,) = result.rows
    folder.mkdir()
    plan = {"name": "x", "title": "x", "class_name": "cavity", "reference": "i", "folds": list(row.wanted)}
    plan |= {"config": {"data": {"split": "group" if held_out else "random"}, **config}}
    plan |= {"rows": {"i": {"title": "FOANet", "paper": {}, "change": {}}}}
    for run in row.runs:
        place = folder / "rows" / "i" / f"fold{run.fold}"
        (place / "evaluation").mkdir(parents=True)
        write_scores(run.scores, summarise(run.scores), place / "evaluation")
        write_sizes(run.sizes, place / "evaluation")
        for name in ("run.json", "done.json", "evaluation/flags.json"):
            (place / name).write_text("{}")
    (folder / "sweep.json").write_text(json.dumps(plan))
    (folder / "folds.json").write_text(json.dumps({"held_out": list(held_out)}))
    return folder


def test_the_command_and_what_it_refuses(tmp_path, capsys):
    made = make_result(rows=["i"], folds=2, patients=16)
    seen = save(tmp_path / "seen", made, epochs=3)
    held_out = save(tmp_path / "groups", made, epochs=3, held_out=["HCM", "NOR"])
    output = tmp_path / "out"

    def called(first, second):
        return main(["--seen", str(first), "--held-out", str(second), "--output", str(output)])

    assert called(seen, held_out) == 0
    assert (output / "heldout.md").read_text().count("HCM") == 1
    assert {cost["difference"] for cost in json.loads((output / "heldout.json").read_text())["costs"]} == {0.0}
    with Image.open(output / "heldout.png") as picture:
        assert picture.size[0] == 1200
    capsys.readouterr()
    assert called(seen, seen) == 2
    assert "its folds are random" in capsys.readouterr().err
    assert called(held_out, held_out) == 2
    assert "its folds hold out groups" in capsys.readouterr().err
    other = save(tmp_path / "other", made, epochs=4)
    assert called(other, held_out) == 2
    assert "epochs is 3, but 4 in" in capsys.readouterr().err
    patients = [dataclasses.replace(s, patient=f"x{s.patient}") for s in made.rows[0].runs[0].scores]
    run = dataclasses.replace(made.rows[0].runs[0], scores=tuple(patients))
    strangers = dataclasses.replace(made, rows=(dataclasses.replace(made.rows[0], runs=(run,)),))
    assert called(save(tmp_path / "strangers", strangers, epochs=3), held_out) == 2
    assert "has no test patients in common with" in capsys.readouterr().err
    empty = save(tmp_path / "empty", dataclasses.replace(made, rows=(changed(made, {}, ()),)), epochs=3)
    assert called(empty, held_out) == 2
    assert "no finished folds" in capsys.readouterr().err
