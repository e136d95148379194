"""What is known of a patient's body, and which values are possible."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

Sex = Literal["female", "male"]

# Body heights and weights outside are not of people, or in another unit.
HEIGHT_CM_RANGE = (40.0, 250.0)
WEIGHT_KG_RANGE = (1.0, 350.0)
# kg/m². Outside, one of the two is in another unit: no height in inches with a weight of the same person lies inside.
BMI_RANGE = (10.0, 60.0)
# Above, the weight may be in pounds: a weight in pounds makes 25 kg/m² to 55.
BMI_ASKED = 45.0
AGE_YEARS_RANGE = (0, 120)
# Older ages identify a person. They are stored as this one.
OLDEST = 90
HEART_RATE_RANGE = (24.0, 240.0)
_INCHES = (45.0, 85.0)


@dataclasses.dataclass(frozen=True)
class Body:
    """What is known of the body of a patient; None if it is not known. It has no name and no date.

    Attributes:
        height_cm, weight_kg: height and weight.
        sex: "female" or "male".
        age_years: whole years at the examination; 90 stands for all ages from 90.
        heart_rate_bpm: beats per minute at the examination, if the source has it.
        source: where height and weight come from, as text: "DICOM header", "Info.cfg", "table of patients".
        heart_rate_source: the same of the heart rate: "DICOM HeartRate", "DICOM NominalInterval", "table of patients".
        remarks: a sentence for each value that was not used or has to be checked, without the value.
    """

    height_cm: float | None = None
    weight_kg: float | None = None
    sex: Sex | None = None
    age_years: int | None = None
    heart_rate_bpm: float | None = None
    source: str = ""
    heart_rate_source: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return all(getattr(self, name) is None for name in VALUES)


NOTHING = Body()
VALUES = ("height_cm", "weight_kg", "sex", "age_years", "heart_rate_bpm")


def height_problem(height_cm: float) -> str | None:
    """Returns why a height cannot be one in cm; None if it can."""
    low, high = HEIGHT_CM_RANGE
    if low <= height_cm <= high:
        return None
    unit = "in metres" if 0.4 <= height_cm <= 2.5 else "in mm" if 400 <= height_cm <= 2500 else "in another unit"
    return f"{height_cm:g} is no height in cm (it may be {unit}); give cm, from {low:g} to {high:g}"


def weight_problem(weight_kg: float) -> str | None:
    """Returns why a weight cannot be one in kg; None if it can."""
    low, high = WEIGHT_KG_RANGE
    if low <= weight_kg <= high:
        return None
    unit = "in grams" if weight_kg > 1000 else "in pounds" if weight_kg > high else "in another unit"
    return f"{weight_kg:g} is no weight in kg (it may be {unit}); give kg, from {low:g} to {high:g}"


def proportion_problem(height_cm: float, weight_kg: float) -> str | None:
    """Returns why a height and a weight cannot be of one person; None if they can."""
    low, high = BMI_RANGE
    index = weight_kg / (height_cm / 100) ** 2
    if low <= index <= high:
        return None
    inches = index > high and _INCHES[0] <= height_cm <= _INCHES[1]
    unit = "the height may be in inches" if inches else "the weight may be in pounds" if index > high else "check both"
    return (
        f"{height_cm:g} cm and {weight_kg:g} kg make {index:.0f} kg/m², and nobody has less than {low:g} or more than "
        f"{high:g} here ({unit}); give cm and kg"
    )


def may_be_pounds(height_cm: float, weight_kg: float) -> bool:
    """Whether a weight is so high for the height that it should be checked; it is used all the same."""
    return weight_kg / (height_cm / 100) ** 2 > BMI_ASKED


def stored_age(years: float) -> int | None:
    """Returns an age in whole years as it is stored; None if nobody has it."""
    low, high = AGE_YEARS_RANGE
    return min(int(years), OLDEST) if low <= years <= high else None


def checked(
    height_cm: float | None,
    weight_kg: float | None,
    *,
    source: str,
    names: tuple[str, str] = ("height", "weight"),
    **others: Any,
) -> Body:
    """Returns a body without the height and the weight that are not possible; a remark says which were left out.

    Args:
        height_cm, weight_kg: the values of the source; None if it has none.
        source: see `Body`.
        names: what the source calls height and weight.
        others: other values of the body.
    """
    remarks = list(others.pop("remarks", ()))
    remedy = "give height and weight with --patients"
    if height_cm is not None and height_problem(height_cm):
        remarks.append(f"{names[0]} in the {source} is not a possible height and was not used; {remedy}")
        height_cm = None
    if weight_kg is not None and weight_problem(weight_kg):
        remarks.append(f"{names[1]} in the {source} is not a possible weight and was not used; {remedy}")
        weight_kg = None
    if height_cm is not None and weight_kg is not None:
        if proportion_problem(height_cm, weight_kg):
            remarks.append(
                f"{names[0]} and {names[1]} in the {source} do not fit each other; neither was used; {remedy}"
            )
            height_cm = weight_kg = None
        elif may_be_pounds(height_cm, weight_kg):
            remarks.append(HEAVY)
    return Body(height_cm=height_cm, weight_kg=weight_kg, source=source, remarks=tuple(remarks), **others)


HEAVY = "the weight is very high for the height: check that it is in kg, not in pounds"


def body_of_all(bodies: Iterable[Body]) -> Body:
    """Returns what the images of one study say of the patient.

    A value about which they differ is left out, with a remark. The heart rate is the mean.
    """
    bodies = list(dict.fromkeys(bodies))
    if len(bodies) < 2:
        return bodies[0] if bodies else Body()
    remarks = list(dict.fromkeys(remark for body in bodies for remark in body.remarks))
    values: dict[str, Any] = {}
    for name, what in (("height_cm", "height"), ("weight_kg", "weight"), ("sex", "sex"), ("age_years", "age")):
        said = {getattr(body, name) for body in bodies} - {None}
        values[name] = said.pop() if len(said) == 1 else None
        if said:
            remarks.append(f"the images differ in the patient's {what}, so it was not used")
    rates = [body.heart_rate_bpm for body in bodies if body.heart_rate_bpm is not None]
    values["heart_rate_bpm"] = sum(rates) / len(rates) if rates else None
    rate_source = next((body.heart_rate_source for body in bodies if body.heart_rate_source), "")
    return Body(**values, source=bodies[0].source, heart_rate_source=rate_source, remarks=tuple(remarks))


def completed(given: Body, header: Body | None) -> Body:
    """Returns the values that the user gave, and those of the header for which the user gave none.

    Height and weight are taken from one source, because they are checked together.
    """
    if header is None:
        return given
    body = given
    if given.height_cm is None and given.weight_kg is None:
        size: dict[str, Any] = {"height_cm": header.height_cm, "weight_kg": header.weight_kg}
        body = dataclasses.replace(body, **size, source=header.source, remarks=(*given.remarks, *header.remarks))
    if given.heart_rate_bpm is None:
        rate: dict[str, Any] = {"heart_rate_bpm": header.heart_rate_bpm, "heart_rate_source": header.heart_rate_source}
        body = dataclasses.replace(body, **rate)
    return dataclasses.replace(body, sex=given.sex or header.sex, age_years=_first(given.age_years, header.age_years))


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one
