"""Kinds of patients and studies: who is in each, and that its means are those of its units alone."""

import dataclasses
import statistics

import numpy as np
import pytest

from foanet_jax.data.acquisition import Acquisition, acquisition_of, read_acquisitions, write_acquisitions
from foanet_jax.data.study import Study
from foanet_jax.measures.metrics import patient_means
from foanet_jax.pages.report.kinds import kind_tables
from tests.pages.report.sweep_results import make_result

# Of each patient: group, slices, rows and columns, slice distance, pixel side.
GRIDS = [
    ("NOR", 9, 200, 10.0, 1.2),
    ("DCM", 10, 256, 10.0, 1.5),
    ("NOR", 9, 200, 10.0, 1.5),
    ("DCM", 8, 224, 10.0, 1.8),
    ("HCM", 9, 216, 10.0, 1.4),
    ("NOR", 9, 210, 10.0, 1.6),
]


def acquired(number, **changes):
    group, slices, side, distance, pixel = GRIDS[number]
    patient = f"patient{number + 1:02d}"
    made = Acquisition(patient, f"{patient}_cine", group, 2, slices, side, side, distance, pixel, pixel)
    return dataclasses.replace(made, **changes)


def result(studies, **options):
    made = make_result(rows=["i"], folds=2, patients=len(GRIDS), **options)
    (row,) = made.rows
    runs = [
        dataclasses.replace(run, acquisitions=tuple(study for study in studies if study.patient in patients_of(run)))
        for run in row.runs
    ]
    return dataclasses.replace(made, rows=(dataclasses.replace(row, runs=tuple(runs)),))


def patients_of(run):
    return {score.patient for score in run.scores}


def shown(made):
    """Cells by kind and which."""
    (table,) = kind_tables(made)
    return {row[:2]: dict(zip(table.keys, row, strict=True)) for row in table.rows}


def test_who_is_of_which_kind():
    rows = shown(result([acquired(number) for number in range(len(GRIDS))]))
    assert {key: row["n_patients"] for key, row in rows.items()} == {
        ("clinical group", "DCM"): 2,
        ("clinical group", "HCM"): 1,
        ("clinical group", "NOR"): 3,
        ("moment", "end diastole"): 6,
        ("moment", "end systole"): 6,
        ("pixel side", "1.20–1.40 mm"): 2,
        ("pixel side", "1.50 mm"): 2,
        ("pixel side", "1.60–1.80 mm"): 2,
        ("slices", "8"): 1,
        ("slices", "9"): 4,
        ("slices", "10"): 1,
        ("image", "40000 px"): 2,
        ("image", "44100–46656 px"): 2,
        ("image", "50176–65536 px"): 2,
    }  # all have the same slice distance


def test_means_are_of_the_kind_alone():
    made = result([acquired(number) for number in range(len(GRIDS))], misses={"i": ["patient05"]})
    rows, scores = shown(made), made.rows[0].scores
    normal = {"patient01", "patient03", "patient06"}
    expected = [row.dc for row in patient_means(scores) if row.class_name == "cavity" and row.patient in normal]
    assert rows["clinical group", "NOR"]["dc_cavity"].mean == pytest.approx(statistics.fmean(expected))
    # A made-up cavity shrinks from each frame to the next.
    expected = [score.dc for score in scores if score.class_name == "myocardium" and score.frame == 1]
    assert rows["moment", "end systole"]["dc_myocardium"].mean == pytest.approx(statistics.fmean(expected))
    assert rows["moment", "end systole"]["dc_myocardium"].n == len(GRIDS)
    assert {which: row["misses"] for (_, which), row in rows.items() if row["misses"]} == {
        "HCM": 1,
        "end diastole": 1,
        "1.20–1.40 mm": 1,
        "9": 1,
        "44100–46656 px": 1,
    }


def test_kinds_that_part_nobody_are_left_out():
    alike = [acquired(0, patient=f"patient{number + 1:02d}") for number in range(len(GRIDS))]
    assert {kind for kind, _ in shown(result(alike))} == {"moment"}
    unknown = [acquired(number, group="" if number == 3 else "NOR") for number in range(len(GRIDS))]
    assert "clinical group" not in {kind for kind, _ in shown(result(unknown))}
    assert kind_tables(result([], frames=1)) == []
    assert kind_tables(result([], classes=("left atrium", "right atrium"))) == []


def test_a_beat_is_a_cine_or_the_frames_of_one_patient():
    def kind_of(cases):
        made = result([])
        (row,) = made.rows
        changed = [
            dataclasses.replace(
                run,
                scores=tuple(dataclasses.replace(s, case=cases(s.patient, s.frame), frame=0) for s in run.scores),
                sizes=tuple(dataclasses.replace(s, case=cases(s.patient, s.frame), frame=0) for s in run.sizes),
            )
            for run in row.runs
        ]
        return kind_tables(dataclasses.replace(made, rows=(dataclasses.replace(row, runs=tuple(changed)),)))

    (table,) = kind_of(lambda patient, frame: f"{patient}_frame{frame + 1:02d}")
    assert [row[1:3] for row in table.rows] == [("end diastole", 6), ("end systole", 6)]
    assert kind_of(lambda patient, frame: f"{patient}_visit{frame}") == []


def test_folds_that_an_older_version_evaluated_are_told():
    made = result([acquired(number) for number in range(len(GRIDS)) if number % 2])  # fold 0 has none
    (table,) = kind_tables(made)
    assert {row[0] for row in table.rows} == {"moment"}
    assert "an older version did not store them for 3 patients" in " ".join(table.notes)
    (row,) = made.rows
    failed = dataclasses.replace(row, runs=row.runs[:1], failures={1: "out of memory"})
    (table,) = kind_tables(dataclasses.replace(made, rows=(failed,)))
    assert "1/2 folds, fold 1 failed: out of memory" in table.notes[-1]


def test_studies_come_back_as_they_were_written(tmp_path):
    study = Study(
        "=1+1", "p1_frame01", np.zeros((2, 9, 200, 210), np.float32), (10.0, 1.25, 1.2), ("b", "m"), group="A"
    )
    rows = [acquisition_of(study), acquisition_of(dataclasses.replace(study, group=None, case="other"))]
    assert rows[0] == Acquisition("=1+1", "p1_frame01", "A", 2, 9, 200, 210, 10.0, 1.25, 1.2)
    assert rows[1].group == ""
    write_acquisitions(rows, tmp_path)
    assert read_acquisitions(tmp_path) == rows
    assert read_acquisitions(tmp_path / "elsewhere") == []
