"""The table of all predicted studies, with a row for each patient whose frames are separate studies."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.data.frames import frames_apart, patient_of_frame
from foanet_jax.measures.indices.study import headline, join_frames
from foanet_jax.measures.quality.finding import CHECK, verdict, worst
from foanet_jax.measures.quality.plausible import check_ventricles
from foanet_jax.measures.quality.review import Review
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.escaping import to_cell


@dataclasses.dataclass(frozen=True)
class JoinedPatient:
    """A patient whose frames are separate studies that together show one heartbeat.

    Attributes:
        patient: the id of the patient.
        frames: the case ids of the studies.
        verdict: the worst of the studies' verdicts and of the verdict on the patient's volumes and ejection fraction.
        codes: the codes of all findings.
        measured: the indices of the ventricles by name with unit, without those that could not be measured.
        apart: why the frames are not one heartbeat, so that nothing is measured; empty if they are.
    """

    patient: str
    frames: tuple[str, ...]
    verdict: str
    codes: tuple[str, ...]
    measured: Mapping[str, float]
    apart: str = ""


def summary_rows(
    reviews: Mapping[str, Review], patients: Sequence[JoinedPatient], *, sources: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Returns one row for each study, followed by one row for each patient whose frames are separate studies.

    Args:
        reviews: by case.
        patients: the patients that `joined_patients` returns for these reviews.
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
    """Returns the patients whose frames are separate studies.

    Args:
        reviews: by case.
        classes: names by index, background first.
    """
    apart = frames_apart({case: review.place for case, review in reviews.items() if review.place is not None})
    indices = {case: review.indices for case, review in reviews.items()}
    joined = []
    for patient, ventricles in join_frames(indices, classes).items():
        frames = {case: review for case, review in reviews.items() if patient_of_frame(case) == patient}
        if patient in apart:
            told = worst([*(review.verdict for review in frames.values()), CHECK])
            joined.append(JoinedPatient(patient, tuple(sorted(frames)), told, ("frames-differ",), {}, apart[patient]))
            continue
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
    """Writes `summary_rows` as CSV, whole or not at all. The cell of a value that a row does not have is empty."""
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
