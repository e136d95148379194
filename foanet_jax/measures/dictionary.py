"""The data dictionary of the tables of a prediction: type, unit, meaning and source of every column."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from foanet_jax.measures.body.reference import AGES, DISTANCES, SHORT_SOURCE
from foanet_jax.measures.body.reference import SOURCE as REFERENCE
from foanet_jax.measures.body.surface import INDEXED
from foanet_jax.measures.indices.papillary import PAPILLARY
from foanet_jax.measures.indices.short_axis import DIMENSIONS, SECTORS, WALLS
from foanet_jax.measures.indices.study import volume_column
from foanet_jax.system.atomic import atomic_path

NAME = "summary.schema.json"
SUMMARY, FRAMES, INDICES, VOLUMES = "summary.csv", "frames.csv", "CASE_indices.csv", "CASE_volumes.csv"
# Cells that stand for a value that is not known.
MISSING = ("", "nan")

Type = Literal["string", "number", "integer"]


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        type: "string", "number" or "integer".
        unit: "" for a number without a unit and for text.
        description: one sentence.
        source: where the values come from.
    """

    type: Type
    unit: str
    description: str
    source: str


_MASK, _INPUT, _CONTROL = "mask", "input", "quality control"
_BODY = "table of --patients, DICOM header or Info.cfg"
_SIDES = {"lv": "left ventricle", "rv": "right ventricle"}
_WHAT = {
    "edv": "volume of the cavity of the {} at end diastole",
    "esv": "volume of the cavity of the {} at end systole",
    "sv": "stroke volume of the {}: volume at end diastole minus volume at end systole",
}

_MUSCLES = "volume of papillary muscles and trabeculae, moved from the cavity to the myocardium,"
_DARK = "mask and image: dark pixels of the cavity"

_VENTRICLES = {
    **{
        f"{side}_{what}_ml": Column("number", "ml", _WHAT[what].format(chamber), _MASK)
        for side, chamber in _SIDES.items()
        for what in _WHAT
    },
    **{
        f"{side}_ef_percent": Column("number", "%", f"ejection fraction of the {chamber}", _MASK)
        for side, chamber in _SIDES.items()
    },
    "lv_mass_g": Column("number", "g", "myocardium at end diastole times 1.05 g/ml", _MASK),
}
_PAPILLARY = {
    "lv_papillary_ed_ml": Column("number", "ml", f"{_MUSCLES} at end diastole", _DARK),
    "lv_papillary_es_ml": Column("number", "ml", f"{_MUSCLES} at end systole", _DARK),
    "lv_edv_drawn_ml": Column("number", "ml", "lv_edv_ml with papillary muscles in the cavity, as drawn", _MASK),
    "lv_esv_drawn_ml": Column("number", "ml", "lv_esv_ml with papillary muscles in the cavity, as drawn", _MASK),
    "lv_ef_drawn_percent": Column("number", "%", "lv_ef_percent with papillary muscles in the cavity, as drawn", _MASK),
    "lv_mass_drawn_g": Column("number", "g", "lv_mass_g without papillary muscles, as drawn", _MASK),
}
_CONTEXT = {
    "sex": Column("string", "", "sex of the patient, female or male", _BODY),
    "age_years": Column("integer", "years", "age at the examination; 90 stands for all ages from 90", _BODY),
    "bsa_m2": Column("number", "m2", "body surface area, from height and weight", _BODY),
    "bsa_formula": Column("string", "", "formula of bsa_m2: mosteller (1987) or dubois (1916)", "option --bsa"),
    "heart_rate_bpm": Column("number", "1/min", "heart rate", "see heart_rate_source"),
    "heart_rate_source": Column("string", "", "source of heart_rate_bpm", "program"),
    **{
        name: Column(
            "number",
            "g/m2" if column.endswith("_g") else "ml/m2",
            f"{column} divided by bsa_m2",
            "mask and body surface area",
        )
        for column, name in INDEXED.items()
    },
    "cardiac_output_l_min": Column("number", "l/min", "lv_sv_ml times heart_rate_bpm", "mask and heart rate"),
    "cardiac_index_l_min_m2": Column(
        "number", "l/min/m2", "cardiac_output_l_min divided by bsa_m2", "mask, heart rate and body surface area"
    ),
    **{
        distance: Column(
            "number",
            "",
            f"distance of {name} from the mean of healthy people of the same sex, in their standard deviations; only "
            f"for {AGES[0]} to {AGES[1]} years, and for masks that count papillary muscles to the cavity",
            REFERENCE,
        )
        for name, distance in DISTANCES.items()
    },
}
_OF_PATIENT = ("sex", "age_years", "bsa_m2", "bsa_formula", "heart_rate_bpm", "heart_rate_source")
_STUDY = {
    "study": Column("string", "", "id of the study, or of the patient if its frames are separate files", _INPUT),
    "source": Column("string", "", "file or folder of the study; of several, separated by '; '", _INPUT),
    "frames": Column(
        "string", "", "ids of the studies that are the frames of this patient, separated by spaces", _INPUT
    ),
    "verdict": Column("string", "", "good, check or reject", _CONTROL),
    "reasons": Column("string", "", "codes of the findings, separated by spaces", _CONTROL),
    "classes_to_check": Column("string", "", "classes that the findings concern, separated by commas", _CONTROL),
    "affected_by": Column(
        "string",
        "",
        "columns that the findings spoil, each with the codes of these findings: 'rv_esv_ml: class-gap; …'",
        _CONTROL,
    ),
    "expected_dice": Column(
        "number",
        "",
        "expected Dice of the foreground, of frames the lowest",
        _CONTROL,
    ),
}
_SLICE = {
    "cavity_area_max_mm2": Column("number", "mm2", "largest cavity of a cine of one slice", _MASK),
    "cavity_area_min_mm2": Column("number", "mm2", "smallest cavity of a cine of one slice", _MASK),
    "wall_at_max_mm": Column("number", "mm", "mean thickness of the wall in the frame with the largest cavity", _MASK),
}
_TIME = {
    "frame": Column("integer", "", "number of the frame, from 0", _INPUT),
    "time_ms": Column("number", "ms", "time of the frame after the first one", _INPUT),
}

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    SUMMARY: {**_STUDY, **_VENTRICLES, **_PAPILLARY, **_CONTEXT, **_SLICE},
    FRAMES: {**_STUDY, **{name: _CONTEXT[name] for name in _OF_PATIENT}},
    INDICES: {
        "case": Column("string", "", "id of the study", _INPUT),
        **_TIME,
        "slice": Column("integer", "", "number of the slice, from 0", _INPUT),
        "counts": Column(
            "integer", "", "1 if the left ventricle in this slice is in the volumes of its frame, else 0", _MASK
        ),
        "cavity_area_mm2": Column("number", "mm2", "area of the cavity", _MASK),
        "myocardium_area_mm2": Column("number", "mm2", "area of the myocardium", _MASK),
        **{
            f"dim_{name}_mm": Column("number", "mm", f"diameter of the cavity, {WALLS[one]} to {WALLS[other]}", _MASK)
            for name, (one, other) in DIMENSIONS.items()
        },
        **{f"rwt_{name}_mm": Column("number", "mm", f"thickness of the {WALLS[name]} wall", _MASK) for name in SECTORS},
        "phase": Column("number", "", "1 in systole, 0 in diastole", _MASK),
        "wall_directions": Column(
            "string", "", "known, or unknown if anterior and inferior wall may be exchanged", "position in the patient"
        ),
        "flags": Column("string", "", "what could not be measured or does not count, and why", _MASK),
    },
    VOLUMES: dict(_TIME),
}


def expected_column(class_name: str) -> str:
    """Returns the name of the column with the expected Dice of a class, such as "expected_dice_right_ventricle"."""
    return f"expected_dice_{class_name.replace(' ', '_')}"


def column(table: str, name: str, classes: Sequence[str]) -> Column | None:
    """Returns the entry of a column; None if it has none.

    Args:
        table: one of the keys of COLUMNS.
        name: the column.
        classes: names by index, background first; each has a column of volumes, such as "left_atrium_ml".
    """
    of_class = {volume_column(one): one for one in (*classes[1:], PAPILLARY)}
    if name in of_class:
        where = "in the frame" if table == VOLUMES else "of a single stack"
        return Column("number", "ml", f"volume of the class {of_class[name]} {where}", _MASK)
    expected = {expected_column(one): one for one in classes[1:]}
    if name in expected and table != VOLUMES:
        return Column("number", "", f"expected Dice of the class {expected[name]}, of frames the lowest", _CONTROL)
    return COLUMNS[table].get(name)


def described(tables: Mapping[str, Iterable[str]], classes: Sequence[str]) -> dict[str, Any]:
    """Returns the data dictionary of tables.

    The entry "fields" is that of summary.csv, so that the file is also a Table Schema of this table.

    Args:
        tables: the columns by table.
        classes: names by index, background first.
    """

    def fields(table: str, names: Iterable[str]) -> list[dict[str, str]]:
        entries = ((name, column(table, name, classes) or Column("string", "", "", "")) for name in names)
        return [{"name": name, **dataclasses.asdict(entry)} for name, entry in entries]

    listed = {table: {"fields": fields(table, names)} for table, names in tables.items()}
    first = listed.pop(SUMMARY, {"fields": []})
    return {
        "title": f"Columns of the tables; reference values: {SHORT_SOURCE}",
        "primaryKey": ["study"],
        "missingValues": list(MISSING),
        **first,
        "tables": listed,
    }


def write_dictionary(tables: Mapping[str, Iterable[str]], classes: Sequence[str], path: Path) -> None:
    """Writes the data dictionary of tables as JSON, whole or not at all; see `described`."""
    text = json.dumps(described(tables, classes), indent=1, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
