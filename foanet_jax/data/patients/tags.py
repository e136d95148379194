"""The patient's body in the header of a DICOM image."""

import datetime
import re
from collections.abc import Callable
from typing import Any

from foanet_jax.data.patients.body import HEART_RATE_RANGE, Body, Sex, checked, stored_age

TAGS = (
    "PatientSize",
    "PatientWeight",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "HeartRate",
    "NominalInterval",
)
SOURCE = "DICOM header"
_SEXES: dict[str, Sex] = {"F": "female", "M": "male"}
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def body_of_tags(get: Callable[[str], Any]) -> Body:
    """Returns what the tags of an image say of the patient. The birth date is used for the age, and not kept.

    PatientSize is in metres, as DICOM defines it. A value in cm is not converted, because then the weight may also be
    in another unit; a remark says so.

    Args:
        get: returns the value of a tag by its name. It may raise any error for a damaged value.
    """
    metres, weight = (_positive(get, tag) for tag in ("PatientSize", "PatientWeight"))
    interval_ms = _positive(get, "NominalInterval")
    rates = {"HeartRate": _positive(get, "HeartRate")}
    rates["NominalInterval"] = None if interval_ms is None else 60000 / interval_ms
    possible = {tag: rate for tag, rate in rates.items() if _possible_rate(rate)}
    tag, rate = next(iter(possible.items()), ("", None))
    return checked(
        None if metres is None else 100 * metres,
        weight,
        source=SOURCE,
        names=("PatientSize (in metres)", "PatientWeight (in kg)"),
        sex=_SEXES.get(_text(get, "PatientSex").upper()),
        age_years=_age(get),
        heart_rate_bpm=rate,
        heart_rate_source=f"DICOM {tag}" if tag else "",
    )


def _age(get: Callable[[str], Any]) -> int | None:
    """Returns PatientAge, or else the years from the birth date to the date of the examination."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", _text(get, "PatientAge").upper())
    if match and int(match[1]):
        return stored_age(int(match[1]) * _YEARS[match[2]])
    born, examined = (_date(_text(get, tag)) for tag in ("PatientBirthDate", "StudyDate"))
    if born is None or examined is None or examined < born:
        return None
    had_birthday = (examined.month, examined.day) >= (born.month, born.day)
    return stored_age(examined.year - born.year - (0 if had_birthday else 1))


def _date(text: str) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _text(get: Callable[[str], Any], tag: str) -> str:
    try:
        return str(get(tag) or "").strip()
    except Exception:  # pydicom parses a value when it is accessed. Without this value, the image is still an image.
        return ""


def _positive(get: Callable[[str], Any], tag: str) -> float | None:
    try:
        number = float(_text(get, tag))
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _possible_rate(rate: float | None) -> bool:
    low, high = HEART_RATE_RANGE
    return rate is not None and low <= rate <= high
