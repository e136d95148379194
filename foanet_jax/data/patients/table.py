"""The table of patients that the user gives: height, weight, sex, age and heart rate by study."""

import csv
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.data.frames import patient_of_frame
from foanet_jax.data.patients.body import (
    AGE_YEARS_RANGE,
    HEART_RATE_RANGE,
    HEAVY,
    Body,
    Sex,
    completed,
    height_problem,
    may_be_pounds,
    proportion_problem,
    stored_age,
    weight_problem,
)
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError, did_you_mean
from foanet_jax.system.escaping import from_cell

KEY = "study"
COLUMNS = (KEY, "height_cm", "weight_kg", "sex", "age_years", "heart_rate_bpm")
SOURCE = "table of patients"
_LARGEST = 2**24  # bytes
_MOST_LISTED = 20
_SEXES: dict[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}
_UNKNOWN_SEX = ("", "o", "other", "u", "unknown")


def read_patients(path: Path) -> dict[str, Body]:
    """Reads a table of patients, a CSV file with the column `study` and any of the other COLUMNS.

    Fields are separated by commas or semicolons; with semicolons, numbers may have a decimal comma. An empty cell is an
    unknown value.

    Args:
        path: the file.

    Returns:
        The body by study, the id of a case or of a patient.

    Raises:
        InputError: "patients" if the file cannot be read as such a table, with all problems of its rows: two rows of
            one study, values that are not numbers, and heights and weights that are not possible.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError("patients", f"{path}: cannot be read ({error.strerror}); check --patients") from None
    if len(raw) > _LARGEST:
        raise InputError("patients", f"{path}: more than {_LARGEST >> 20} MiB; --patients is a CSV file of patients")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("patients", f"{path}: not UTF-8; save the table as CSV with UTF-8") from None
    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError("patients", f"{path}: not a CSV file ({error}); save the table again") from None
    names = _require_header(path, rows)
    bodies: dict[str, Body] = {}
    problems: list[str] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            problems.append(f"row {number}: {len(row)} fields, but the header has {len(names)}")
            continue
        cells = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
        study = from_cell(cells[KEY])
        if not study:
            problems.append(f"row {number}: no study")
        elif study in bodies:
            problems.append(f"row {number}: a second row of {study}; keep one of them")
        else:
            wrong: list[str] = []
            bodies[study] = _body(cells, decimal_comma=delimiter == ";", problems=wrong)
            problems += [f"row {number}, {study}: {problem}" for problem in wrong]
    _raise(path, problems)
    return bodies


def with_bodies(refs: Sequence[StudyRef], bodies: Mapping[str, Body], path: Path) -> list[StudyRef]:
    """Returns the same studies, whose bodies have the values of the table; those of the files fill the gaps.

    A row belongs to the study of that id, or to all frames PATIENT_frameNN of that patient.

    Raises:
        InputError: "patients" if a row belongs to no study.
    """
    known = {ref.case for ref in refs} | {patient for ref in refs if (patient := patient_of_frame(ref.case))}
    unknown = [study for study in bodies if study not in known]
    cases = ", ".join(ref.case for ref in refs[:3]) + (", …" if len(refs) > 3 else "")
    _raise(
        path,
        [f"{study}: no such study in the input; {did_you_mean(study, known)}remove or rename it" for study in unknown],
        f" (the studies are {cases})" if unknown else "",
    )

    def with_body(ref: StudyRef) -> StudyRef:
        given = bodies.get(ref.case) or bodies.get(patient_of_frame(ref.case) or "")
        return ref if given is None else dataclasses.replace(ref, load=functools.partial(_load, ref.load, given))

    return [with_body(ref) for ref in refs]


def _load(load: Callable[[], Study], given: Body) -> Study:
    study = load()
    body = completed(given, study.body)
    dropped = () if study.body is None else study.body.remarks
    remarks = [remark for remark in study.remarks if remark not in dropped or remark in body.remarks]
    remarks += [remark for remark in body.remarks if remark not in remarks]
    return dataclasses.replace(study, body=body, remarks=tuple(remarks))


def _require_header(path: Path, rows: Sequence[Sequence[str]]) -> list[str]:
    expected = f"the columns are {KEY} and any of {', '.join(COLUMNS[1:])}"
    if not rows:
        raise InputError("patients", f"{path}: empty; {expected}")
    names = [name.strip().lower() for name in rows[0]]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        guess = did_you_mean(unknown[0], COLUMNS)
        raise InputError("patients", f"{path}: unknown column {', '.join(map(repr, unknown))}; {guess}{expected}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("patients", f"{path}: two columns {', '.join(twice)}; keep one of them")
    if KEY not in names or len(names) < 2:
        raise InputError("patients", f"{path}: the columns are {', '.join(names)}; {expected}")
    return names


def _body(cells: Mapping[str, str], *, decimal_comma: bool, problems: list[str]) -> Body:
    """Returns the body of a row. Its problems are added to `problems`."""

    def number(name: str) -> float | None:
        cell = cells.get(name, "")
        if not cell:
            return None
        try:
            value = float(cell.replace(",", ".") if decimal_comma else cell)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            problems.append(f"{name} is {cell!r}; give a number, or nothing")
            return None
        return value

    values: dict[str, Any] = {name: number(name) for name in ("height_cm", "weight_kg", "age_years", "heart_rate_bpm")}
    height, weight, age, rate = values.values()
    wrong = [
        None if height is None else height_problem(height),
        None if weight is None else weight_problem(weight),
    ]
    if wrong == [None, None] and height is not None and weight is not None:
        wrong = [proportion_problem(height, weight)]
    problems += filter(None, wrong)
    if age is not None and stored_age(age) is None:
        low, high = AGE_YEARS_RANGE
        problems.append(f"age_years is {age:g}; give years, from {low} to {high}")
    if rate is not None and not HEART_RATE_RANGE[0] <= rate <= HEART_RATE_RANGE[1]:
        low_rate, high_rate = HEART_RATE_RANGE
        problems.append(f"heart_rate_bpm is {rate:g}; give beats per minute, from {low_rate:g} to {high_rate:g}")
    sex = cells.get("sex", "").lower()
    if sex not in _SEXES and sex not in _UNKNOWN_SEX:
        problems.append(f"sex is {cells['sex']!r}; give female or male (f or m), or nothing")
    heavy = not problems and height is not None and weight is not None and may_be_pounds(height, weight)
    return Body(
        height_cm=height,
        weight_kg=weight,
        sex=_SEXES.get(sex),
        age_years=None if age is None else stored_age(age),
        heart_rate_bpm=rate,
        source=SOURCE,
        heart_rate_source="" if rate is None else SOURCE,
        remarks=(HEAVY,) if heavy else (),
    )


def _raise(path: Path, problems: Iterable[str], ending: str = "") -> None:
    """Raises one InputError "patients" with all problems, if there are any."""
    problems = list(problems)
    if not problems:
        return
    listed = "\n".join(f"- {problem}" for problem in problems[:_MOST_LISTED])
    more = f"\n- … and {len(problems) - _MOST_LISTED} more" if len(problems) > _MOST_LISTED else ""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise InputError("patients", f"{path}: {count} to correct{ending}:\n{listed}{more}")
