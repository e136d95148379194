"""Every column of every table has an entry in the data dictionary, and every entry is a column."""

import csv
import json

import numpy as np
import pytest

from foanet_jax.data.patients.body import Body
from foanet_jax.data.study import ACDC_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.measures.dictionary import COLUMNS, FRAMES, INDICES, SUMMARY, VOLUMES, column
from foanet_jax.measures.indices.papillary import PAPILLARY
from foanet_jax.measures.indices.study import volume_column
from foanet_jax.measures.indices.tables import write_lv_indices, write_volumes
from foanet_jax.measures.quality.review import Expectations, review_study
from foanet_jax.measures.quality.summary import BODY_COLUMNS, joined_patients, write_summary
from foanet_jax.pipeline import Prediction

BODY = Body(180.0, 80.0, "male", 60, source="Info.cfg")
CLASS_VOLUMES = set(map(volume_column, [*ACDC_CLASSES[1:], PAPILLARY]))


def heart(radius, slices=3):
    """A ring of myocardium around a cavity, with a right ventricle beside it, (1, Z, 40, 40)."""
    rows, columns = np.mgrid[:40, :40]
    away = np.hypot(rows - 20, columns - 24)
    mask = np.where(away < radius, 3, np.where(away < radius + 4, 2, 0))
    mask[(np.hypot(rows - 20, columns - 8) < 5) & (mask == 0)] = 1
    return np.broadcast_to(mask, (1, slices, 40, 40)).astype(np.uint8)


def review(case, mask, body=BODY, frame_seconds=None, convention="cavity"):
    voxels = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32) + 3 * mask
    study = Study(
        case, case, voxels, (8.0, 1.5, 1.5), ACDC_CLASSES, body=body, affine=np.diag([1.5, 1.5, 8.0, 1.0]),
        frame_seconds=frame_seconds,
    )  # fmt: skip
    prediction = Prediction(mask, [None], None, Box(0, 0, *mask.shape[2:]), ())
    return review_study(study, prediction, Expectations(), convention=convention)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The columns of the tables of studies of every kind, the rows of the summary, and its data dictionary."""
    folder = tmp_path_factory.mktemp("tables")
    beat = np.concatenate([heart(radius) for radius in (9, 8, 7, 6, 5, 6, 7, 8)])
    reviews = {
        "cine": review("cine", beat, frame_seconds=0.1),
        "slice": review("slice", beat[:, :1]),
        "a_frame01": review("a_frame01", heart(9)),
        "a_frame09": review("a_frame09", heart(6)),
        "stack": review("stack", heart(9), None),
        "moved": review("moved", beat, convention="myocardium"),
    }
    patients = joined_patients(reviews, ACDC_CLASSES)
    sources = {case: f"{case}.nii.gz" for case in reviews}
    write_summary(reviews, patients, folder, classes=ACDC_CLASSES, sources=sources)
    indices = reviews["moved"].indices
    write_lv_indices({"cine": indices.slices}, folder / "cine_indices.csv", frame_seconds=0.1)
    write_volumes(indices.volumes_ml, folder / "cine_volumes.csv", frame_seconds=0.1)

    def read(name):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            return list(reader), list(reader.fieldnames)

    names = {SUMMARY: SUMMARY, FRAMES: FRAMES, INDICES: "cine_indices.csv", VOLUMES: "cine_volumes.csv"}
    columns = {table: read(name)[1] for table, name in names.items()}
    schema = json.loads((folder / "summary.schema.json").read_text(encoding="utf-8"))
    return columns, {row["study"]: row for row in read(SUMMARY)[0]}, read(FRAMES)[0], schema


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_has_an_entry_and_every_entry_is_a_column(tables, table):
    columns = set(tables[0][table])
    absent = {"bsa_formula", "heart_rate_bpm", "heart_rate_source"} if table == FRAMES else set()
    assert columns <= set(COLUMNS[table]) | CLASS_VOLUMES
    assert set(COLUMNS[table]) - columns <= absent
    for name in columns:
        entry = column(table, name, ACDC_CLASSES)
        assert entry.description
        assert entry.source
        assert entry.type in ("string", "number", "integer")
        # The unit is in the name too.
        unit = entry.unit.replace("1/min", "bpm").replace("%", "percent").replace("/", "_")
        assert not unit or name.endswith(f"_{unit}"), name


def test_the_written_dictionary_describes_the_written_columns(tables):
    columns, _, _, schema = tables
    fields = {SUMMARY: schema["fields"], **{table: entry["fields"] for table, entry in schema["tables"].items()}}
    assert {table: [field["name"] for field in listed] for table, listed in fields.items()} == {
        SUMMARY: columns[SUMMARY],
        FRAMES: columns[FRAMES],
        INDICES: list(COLUMNS[INDICES]),
        VOLUMES: [*COLUMNS[VOLUMES], *map(volume_column, [*ACDC_CLASSES[1:], PAPILLARY])],
    }
    assert all(set(field) == {"name", "type", "unit", "description", "source"} for field in schema["fields"])
    assert schema["missingValues"] == ["", "nan"]


def test_one_row_is_one_patient(tables):
    _, rows, frames, _ = tables
    assert list(rows) == ["cine", "slice", "a", "stack", "moved"]
    assert (rows["a"]["frames"], rows["a"]["source"]) == ("a_frame01 a_frame09", "a_frame01.nii.gz; a_frame09.nii.gz")
    assert [row["study"] for row in frames] == ["a_frame01", "a_frame09"]


def test_the_types_are_those_of_the_cells(tables):
    _, rows, _, schema = tables
    for field in schema["fields"]:
        for row in rows.values():
            cell = row[field["name"]]
            if cell and field["type"] != "string":
                assert {"number": float, "integer": int}[field["type"]](cell) >= -1000


def test_values_that_are_not_known_are_empty_cells(tables):
    _, rows, _, _ = tables
    assert float(rows["a"]["bsa_m2"]) == 2
    assert float(rows["a"]["lv_edvi_ml_m2"]) == pytest.approx(float(rows["a"]["lv_edv_ml"]) / 2)
    assert rows["a"]["cardiac_output_l_min"] == ""  # Two frames tell no heart rate.
    assert float(rows["cine"]["heart_rate_bpm"]) == pytest.approx(75)
    assert {rows["stack"][name] for name in BODY_COLUMNS} == {""}
    assert rows["cine"]["expected_dice"] == ""


def test_a_table_of_frames_is_removed_only_if_an_earlier_prediction_wrote_it(tmp_path):
    frames = {f"a_frame{number:02d}": review(f"a_frame{number:02d}", heart(number)) for number in (9, 6)}
    write_summary(frames, joined_patients(frames, ACDC_CLASSES), tmp_path, classes=ACDC_CLASSES)
    assert (tmp_path / FRAMES).exists()
    others = {"b": review("b", heart(9))}
    write_summary(others, [], tmp_path, classes=ACDC_CLASSES)
    assert not (tmp_path / FRAMES).exists()
    (tmp_path / FRAMES).write_text("my own table\n")
    write_summary(others, [], tmp_path, classes=ACDC_CLASSES)
    assert (tmp_path / FRAMES).read_text() == "my own table\n"
