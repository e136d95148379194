"""A prediction's studies in one table: a row each, and one for each patient whose frames are studies of their own."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.measures.indices.study import headline, join_frames, patient_of_frame
from foanet_jax.measures.quality.finding import verdict, worst
from foanet_jax.measures.quality.plausible import check_ventricles
from foanet_jax.measures.quality.review import Review
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.escaping import to_cell


@dataclasses.dataclass(frozen=True)
class JoinedPatient:
    """A patient whose frames are studies of their own, and one beat together.

    Attributes:
        patient: id.
        frames: the studies' cases.
        verdict: the worst of theirs and of what the beat's own volumes and ejection fraction give.
        codes: of all findings.
        measured: the ventricles' indices by name with unit, without those that could not be measured.
    """

    patient: str
    frames: tuple[str, ...]
    verdict: str
    codes: tuple[str, ...]
    measured: Mapping[str, float]


def summary_rows(
    reviews: Mapping[str, Review], patients: Sequence[JoinedPatient], *, sources: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """One row for each study, and below them one for each patient joined from frames.

    Args:
        reviews: by case.
        patients: what `joined_patients` makes of them.
        sources: by case, the file or folder of the study.
    """
    sources = sources or {}
    rows = [
        _row(
            case,
            sources.get(case, ""),
            [],
            review.verdict,
            [finding.code for finding in review.findings],
            headline(review.indices),
        )
        | ({} if review.expected_dice is None else {"expected_dice": review.expected_dice})
        for case, review in reviews.items()
    ]
    return rows + [_row(beat.patient, "", beat.frames, beat.verdict, beat.codes, beat.measured) for beat in patients]


def joined_patients(reviews: Mapping[str, Review], classes: Sequence[str]) -> list[JoinedPatient]:
    """Each patient whose frames are studies of their own.

    Args:
        reviews: by case.
        classes: names by index.
    """
    joined = []
    for patient, ventricles in join_frames({case: r.indices for case, r in reviews.items()}, classes).items():
        frames = {case: review for case, review in reviews.items() if patient_of_frame(case) == patient}
        own = check_ventricles(ventricles)
        codes = [finding.code for findings in (*(r.findings for r in frames.values()), own) for finding in findings]
        told = worst([*(review.verdict for review in frames.values()), verdict(own)])
        measured = {name: float(value) for name, value in ventricles.columns().items() if np.isfinite(value)}
        joined.append(JoinedPatient(patient, tuple(sorted(frames)), told, tuple(codes), measured))
    return joined


def write_summary(
    reviews: Mapping[str, Review],
    patients: Sequence[JoinedPatient],
    path: Path,
    *,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Writes `summary_rows` as CSV, whole or not at all. Cells of values that a row does not have are empty."""
    rows = summary_rows(reviews, patients, sources=sources)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _row(
    study: str, source: str, frames: Sequence[str], told: str, codes: Sequence[str], indices: Mapping[str, float]
) -> dict[str, Any]:
    whose = {"study": to_cell(study), "source": to_cell(source), "frames": " ".join(frames)}
    return {**whose, "verdict": told, "reasons": " ".join(dict.fromkeys(codes)), **indices}
