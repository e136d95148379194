"""What is known of a patient beside the images, and the numbers that follow from it."""

import dataclasses
import math
from typing import Any

from foanet_jax.data.patients.body import NOTHING, Body
from foanet_jax.data.study import Study
from foanet_jax.measures.body.reference import DISTANCES, Normal, distances, normals_for
from foanet_jax.measures.body.surface import FORMULAS, INDEXED, Formula, Pulse, indexed, pulse_of, surface_of
from foanet_jax.measures.indices.ventricle import VentricleIndices

NUMBERS = (
    "bsa_m2",
    "heart_rate_bpm",
    *INDEXED.values(),
    "cardiac_output_l_min",
    "cardiac_index_l_min_m2",
    *DISTANCES.values(),
)
TEXTS = ("sex", "age_years", "bsa_formula", "heart_rate_source")


@dataclasses.dataclass(frozen=True)
class Context:
    """What is known of a patient beside the images.

    Attributes:
        body: height, weight, sex and age.
        formula: of the body surface area.
        pulse: the heart rate; None if it is not known.
        convention: what the masks count papillary muscles to, "cavity" or "myocardium"; "" if it is not known.
    """

    body: Body = NOTHING
    formula: Formula = FORMULAS[0]
    pulse: Pulse | None = None
    convention: str = ""

    @property
    def surface_m2(self) -> float:
        """The body surface area in m²; NaN if it is not known."""
        return surface_of(self.body, formula=self.formula)

    @property
    def normals(self) -> dict[str, Normal]:
        """The reference values for this patient by column."""
        return normals_for(self.body, self.convention)

    def numbers(self, ventricles: VentricleIndices | None) -> dict[str, float]:
        """Returns the NUMBERS of this patient; NaN if they are not known. Without ventricles, only the first two."""
        surface = self.surface_m2
        own = {"bsa_m2": surface, "heart_rate_bpm": math.nan if self.pulse is None else self.pulse.bpm}
        if ventricles is None:
            return own
        divided = indexed(ventricles, surface_m2=surface, pulse=self.pulse)
        return {
            **own,
            **divided,
            **distances(ventricles.columns() | divided, self.normals),
        }

    def texts(self) -> dict[str, Any]:
        """Returns the TEXTS of this patient, without those that are not known."""
        known = {
            "sex": self.body.sex,
            "age_years": self.body.age_years,
            "bsa_formula": None if math.isnan(self.surface_m2) else self.formula,
            "heart_rate_source": None if self.pulse is None else self.pulse.source,
        }
        return {name: value for name, value in known.items() if value is not None}


NO_CONTEXT = Context()


def context_of(study: Study, *, formula: Formula = FORMULAS[0], convention: str = "") -> Context:
    """Returns what is known of the patient of a study.

    Args:
        study: the study.
        formula: of the body surface area.
        convention: what the masks count papillary muscles to; see `Context`.
    """
    body = study.body or NOTHING
    frames = len(study.voxels)
    return Context(body, formula, pulse_of(body, frames=frames, frame_seconds=study.frame_seconds), convention)
