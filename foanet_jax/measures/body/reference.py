"""Published reference values of healthy people, and how far a patient is from them.

Only values whose convention is that of the masks can be compared. These count papillary muscles and trabeculae to the
cavity. Values that could not be confirmed in at least two places, or in the abstract of the source, are left out: the
indexed end-diastolic and end-systolic volumes, the right ventricle, and cardiac output.
"""

import dataclasses
import math
from collections.abc import Mapping

from foanet_jax.data.patients.body import Body, Sex

SOURCE = (
    "Petersen et al., Reference ranges for cardiac structure and function using cardiovascular magnetic resonance "
    "(CMR) in Caucasians from the UK Biobank population cohort, J Cardiovasc Magn Reson 19:18, 2017, "
    "doi:10.1186/s12968-017-0327-9"
)
SHORT_SOURCE = "Petersen et al. 2017"
POPULATION = "healthy Caucasian people of 45 to 74 years (368 men, 432 women), 1.5 T balanced steady-state cines"
CONVENTION = "cavity"  # to which papillary muscles and trabeculae are counted
AGES = (45, 74)  # whole years, both included


@dataclasses.dataclass(frozen=True)
class Normal:
    """The mean and the standard deviation of an index in healthy people of one sex, in the unit of the index."""

    mean: float
    sd: float


# Mean and standard deviation by sex, of all ages together.
NORMALS: Mapping[str, Mapping[Sex, Normal]] = {
    "lv_edv_ml": {"male": Normal(166, 32), "female": Normal(124, 21)},
    "lv_esv_ml": {"male": Normal(69, 16), "female": Normal(49, 11)},
    "lv_sv_ml": {"male": Normal(96, 20), "female": Normal(75, 14)},
    "lv_ef_percent": {"male": Normal(58, 5), "female": Normal(61, 5)},
    "lv_svi_ml_m2": {"male": Normal(49, 10), "female": Normal(45, 8)},
    "lv_mass_index_g_m2": {"male": Normal(53, 9), "female": Normal(42, 7)},
}
# The column of the distance from the mean, by the column of the index.
DISTANCES: Mapping[str, str] = {
    name: "_".join(word for word in name.split("_") if word not in ("ml", "g", "m2", "percent")) + "_z"
    for name in NORMALS
}


def why_none(body: Body, convention: str) -> str:
    """Returns why there are no reference values for a patient, as a sentence; empty if there are.

    Args:
        body: the patient.
        convention: what the masks count papillary muscles to, "cavity" or "myocardium"; "" if it is not known.
    """
    low, high = AGES
    if convention != CONVENTION:
        counted = f"count them to the {convention}" if convention else "may not"
        return f"The reference values count papillary muscles to the cavity, and these masks {counted}."
    if body.sex is None or body.age_years is None:
        absent = " and ".join(what for what, value in (("sex", body.sex), ("age", body.age_years)) if value is None)
        known = f"The reference values are for one sex and for {low} to {high} years"
        return f"{known}; the {absent} of this patient is unknown."
    if not low <= body.age_years <= high:
        return f"The reference values are for {low} to {high} years; this patient is {shown_age(body.age_years)}."
    return ""


def normals_for(body: Body, convention: str) -> dict[str, Normal]:
    """Returns the reference values for a patient by column; empty if there are none, see `why_none`."""
    if why_none(body, convention) or body.sex is None:
        return {}
    return {name: by_sex[body.sex] for name, by_sex in NORMALS.items()}


def distances(columns: Mapping[str, float], normals: Mapping[str, Normal]) -> dict[str, float]:
    """Returns how many standard deviations each index is from the mean of the reference, by the names in DISTANCES.

    It is NaN if the index or its reference is not known.
    """
    return {
        distance: (columns.get(name, math.nan) - normals[name].mean) / normals[name].sd if name in normals else math.nan
        for name, distance in DISTANCES.items()
    }


def shown_age(years: int) -> str:
    """Returns an age as text; 90 stands for all ages from 90."""
    return f"{years} years" if years < 90 else "90 years or older"
