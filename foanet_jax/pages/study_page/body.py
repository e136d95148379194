"""The section of the page about the size of the body and the reference values."""

import math
from collections.abc import Mapping

from foanet_jax.measures.body.reference import DISTANCES, POPULATION, SHORT_SOURCE, SOURCE, Normal, shown_age, why_none
from foanet_jax.pages.markup.elements import Html, join, tag, titled_table
from foanet_jax.pages.study_page.result import StudyResult

# Name, decimals and unit of each index, by column. The indices are known to about 5 %, so that decimals would be noise.
_ROWS: Mapping[str, tuple[str, int, str]] = {
    "lv_edv_ml": ("LV end-diastolic volume", 0, "ml"),
    "lv_edvi_ml_m2": ("LV end-diastolic volume index", 0, "ml/m²"),
    "lv_esv_ml": ("LV end-systolic volume", 0, "ml"),
    "lv_esvi_ml_m2": ("LV end-systolic volume index", 0, "ml/m²"),
    "lv_sv_ml": ("LV stroke volume", 0, "ml"),
    "lv_svi_ml_m2": ("LV stroke volume index", 0, "ml/m²"),
    "lv_ef_percent": ("LV ejection fraction", 0, "%"),
    "lv_mass_index_g_m2": ("LV mass index", 0, "g/m²"),
    "cardiac_output_l_min": ("Cardiac output", 1, "l/min"),
    "cardiac_index_l_min_m2": ("Cardiac index", 1, "l/min/m²"),
    "rv_edvi_ml_m2": ("RV end-diastolic volume index", 0, "ml/m²"),
    "rv_esvi_ml_m2": ("RV end-systolic volume index", 0, "ml/m²"),
    "rv_svi_ml_m2": ("RV stroke volume index", 0, "ml/m²"),
}
_FORMULAS = {"mosteller": "Mosteller", "dubois": "Du Bois"}
_RV_MASS = "The mass of the RV is not measured, because its wall is not drawn."


def body_section(result: StudyResult) -> Html:
    """Returns what is known of the patient, the indices for the body size, and the reference values beside them.

    It is empty if the study has no heartbeat.
    """
    if result.ventricle is None or len(result.mask) < 2:
        return Html()
    context = result.context
    normals = context.normals
    values = result.ventricle.columns() | context.numbers(result.ventricle)
    rows = [
        [name, _shown(values[column], decimals, unit), *_beside(column, values, normals)]
        for column, (name, decimals, unit) in _ROWS.items()
        if math.isfinite(values[column]) and (column in normals or column not in result.ventricle.columns())
    ]
    header = ["Index", "Value", "Healthy", "Away"]
    absent = why_none(context.body, context.convention)
    notes = [
        absent
        or f"Healthy: mean ± standard deviation (sd) of the same sex, {POPULATION}; papillary muscles count to "
        f"the cavity. {SOURCE}. Indices without a value have no reference whose figures could be confirmed.",
        _RV_MASS,
    ]
    text = tag("p", " ".join([_patient(result), *_moved(values), *([] if rows else notes)]))
    if not rows:
        return text
    table = titled_table(
        f"Indices for the body size{'' if absent else f', beside {SHORT_SOURCE}'}",
        header if normals else header[:2],
        rows if normals else [row[:2] for row in rows],
        numeric=range(1, 4 if normals else 2),
        notes=notes,
    )
    return join([text, table])


def _moved(values: Mapping[str, float]) -> list[str]:
    """Returns what the volumes are with and without papillary muscles, if these were moved to the myocardium."""
    if not math.isfinite(values.get("lv_papillary_ed_ml", math.nan)):
        return []
    drawn = [values[name] for name in ("lv_edv_drawn_ml", "lv_esv_drawn_ml", "lv_ef_drawn_percent", "lv_mass_drawn_g")]
    diastole, systole = values["lv_papillary_ed_ml"], values["lv_papillary_es_ml"]
    return [
        "Papillary muscles and trabeculae, the dark pixels of the cavity, count to the myocardium: "
        f"{diastole:.0f} ml at end diastole and {systole:.0f} ml at end systole. "
        "As drawn, with them in the cavity: EDV {:.0f} ml, ESV {:.0f} ml, EF {:.0f} %, mass {:.0f} g.".format(*drawn)
    ]


def _patient(result: StudyResult) -> str:
    context = result.context
    body, surface = context.body, context.surface_m2
    who = [body.sex.capitalize() if body.sex else "", "" if body.age_years is None else shown_age(body.age_years)]
    sentences = [", ".join(filter(None, who)) or "Sex and age are not known"]
    if math.isnan(surface):
        sentences.append(
            "Height and weight are not known, so nothing is divided by the body surface (give them with --patients)"
        )
    else:
        sentences.append(f"Body surface {surface:.2f} m² ({_FORMULAS[context.formula]}, from the {body.source})")
    if context.pulse is None:
        sentences.append("The heart rate is not known, so there is no cardiac output")
    else:
        sentences.append(f"Heart rate {context.pulse.bpm:.0f} per minute (from the {context.pulse.source})")
    return ". ".join(sentences) + "."


def _beside(column: str, values: Mapping[str, float], normals: Mapping[str, Normal]) -> list[str]:
    """Returns the reference of an index, and the distance from its mean."""
    if column not in normals:
        return ["–", "–"]
    normal, distance = normals[column], values[DISTANCES[column]]
    return [f"{normal.mean:g} ± {normal.sd:g}", f"{distance:+.1f} sd".replace("-", "−")]


def _shown(value: float, decimals: int, unit: str) -> str:
    return f"{value:.{decimals}f} {unit}"
