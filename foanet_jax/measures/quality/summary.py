"""The tables of all predicted studies: a row for each patient, and a row for each frame in a file of its own."""

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.data.frames import frames_apart, number_of_frame, patient_of_frame
from foanet_jax.measures.body.context import NUMBERS, TEXTS
from foanet_jax.measures.dictionary import (
    COLUMNS,
    FRAMES,
    INDICES,
    SUMMARY,
    VOLUMES,
    expected_column,
    write_dictionary,
)
from foanet_jax.measures.dictionary import NAME as SCHEMA
from foanet_jax.measures.indices.labels import LV_CAVITY
from foanet_jax.measures.indices.papillary import PAPILLARY
from foanet_jax.measures.indices.study import has_ventricle, join_frames, known, volume_column
from foanet_jax.measures.indices.ventricle import COLUMNS as VENTRICLE_COLUMNS
from foanet_jax.measures.quality.physiology import check_beat
from foanet_jax.measures.quality.plausible import check_ventricles
from foanet_jax.measures.quality.review import Review
from foanet_jax.measures.quality.verdict import CHECK, affected_numbers, as_cell, doubtful_classes, verdict, worst
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.escaping import to_cell

_FIRST = ("study", "source", "frames", "verdict", "reasons", "classes_to_check", "affected_by", "expected_dice")
# The columns of every table of hearts with an LV.
BODY_COLUMNS = (*VENTRICLE_COLUMNS, *TEXTS, *NUMBERS)


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
        known: what is known of the patient beside the images, as text, by column.
        doubtful: the classes that findings concern.
        affected: the indices that findings spoil, with the codes of these findings.
    """

    patient: str
    frames: tuple[str, ...]
    verdict: str
    codes: tuple[str, ...]
    measured: Mapping[str, float]
    apart: str = ""
    known: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    doubtful: tuple[str, ...] = ()
    affected: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def summary_rows(
    reviews: Mapping[str, Review], patients: Sequence[JoinedPatient], *, sources: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Returns one row for each patient: a study, or the studies that are frames of one patient together.

    Args:
        reviews: by case.
        patients: the patients that `joined_patients` returns for these reviews.
        sources: by case, the file or folder of the study.
    """
    sources = sources or {}
    beat_of = {frame: beat for beat in patients for frame in beat.frames}
    rows = []
    for case, review in reviews.items():
        beat = beat_of.get(case)
        if beat is None:
            rows.append(_study_row(case, review, sources))
        elif case == next(frame for frame in reviews if frame in beat.frames):
            rows.append(_patient_row(beat, reviews, sources))
    return rows


def frame_rows(
    reviews: Mapping[str, Review], patients: Sequence[JoinedPatient], *, sources: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Returns one row for each study that is a frame of a patient in `summary_rows`."""
    frames = {frame for beat in patients for frame in beat.frames}
    return [_study_row(case, review, sources or {}) for case, review in reviews.items() if case in frames]


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
        left = next(name for name in classes if name in LV_CAVITY)
        own = [*check_ventricles(ventricles, left=left), *check_beat(ventricles)]
        ordered = sorted(frames, key=number_of_frame)
        # A finding of a file becomes one of its frame in the heartbeat, so that it spoils the numbers of this frame.
        of_frames = [
            dataclasses.replace(finding, frame=frame)
            for frame, case in enumerate(ordered)
            for finding in frames[case].findings
        ]
        context = next(iter(frames.values())).context
        measured = known(ventricles.columns() | context.numbers(ventricles))
        moments = {"ed": ventricles.ed, "es": ventricles.es}
        joined.append(
            JoinedPatient(
                patient,
                tuple(sorted(frames)),
                worst([*(review.verdict for review in frames.values()), verdict(own, classes)]),
                tuple(finding.code for finding in (*of_frames, *own)),
                measured,
                known=context.texts(),
                doubtful=doubtful_classes([*of_frames, *own], classes),
                affected=affected_numbers([*of_frames, *own], measured, classes, moments),
            )
        )
    return joined


def write_summary(
    reviews: Mapping[str, Review],
    patients: Sequence[JoinedPatient],
    folder: Path,
    *,
    classes: Sequence[str],
    sources: Mapping[str, str] | None = None,
) -> None:
    """Writes `summary.csv`, of frames in separate files `frames.csv`, and `summary.schema.json`, the data dictionary.

    Each file is written whole or not at all. The cell of a value that is not known is empty. For classes with an LV,
    `summary.csv` has the same columns for all studies. A `frames.csv` of an earlier prediction is removed.

    Args:
        reviews: by case.
        patients: the patients that `joined_patients` returns for these reviews.
        folder: the folder of the tables.
        classes: names by index, background first.
        sources: by case, the file or folder of the study.
    """
    rows = summary_rows(reviews, patients, sources=sources)
    first = [*_FIRST, *(BODY_COLUMNS if has_ventricle(classes) else ())]
    written: dict[str, Sequence[str]] = {SUMMARY: _write(rows, first, folder / SUMMARY)}
    frames = frame_rows(reviews, patients, sources=sources)
    if frames:
        written[FRAMES] = _write(frames, _FIRST, folder / FRAMES)
    elif _is_ours(folder / FRAMES):
        (folder / FRAMES).unlink()
    indices = [review.indices for review in reviews.values()]
    if any(found.slices is not None for found in indices):
        written[INDICES] = tuple(COLUMNS[INDICES])
    if any(found.volumes_ml for found in indices):
        moved = [PAPILLARY] if any(PAPILLARY in found.volumes_ml for found in indices) else []
        written[VOLUMES] = (*COLUMNS[VOLUMES], *map(volume_column, [*classes[1:], *moved]))
    write_dictionary(written, classes, folder / SCHEMA)


def _is_ours(path: Path) -> bool:
    """Whether a file is a table that an earlier prediction wrote."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", errors="replace").startswith(f"{','.join(_FIRST)},")
    except OSError:
        return False


def _write(rows: Sequence[Mapping[str, Any]], first: Sequence[str], path: Path) -> list[str]:
    """Writes rows as CSV, and returns the columns: the given ones, then the others of the rows."""
    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return names


def _study_row(case: str, review: Review, sources: Mapping[str, str]) -> dict[str, Any]:
    codes = [finding.code for finding in review.findings]
    values = review.numbers | review.context.texts()
    row = _row(case, sources.get(case, ""), [], review.verdict, codes, review.doubtful, review.affected, values)
    whole = {} if review.expected_dice is None else {"expected_dice": review.expected_dice}
    return row | whole | {expected_column(name): dice for name, dice in review.expected_of_class.items()}


def _patient_row(beat: JoinedPatient, reviews: Mapping[str, Review], sources: Mapping[str, str]) -> dict[str, Any]:
    frames = [case for case in reviews if case in beat.frames]
    source = "; ".join(filter(None, (sources.get(case, "") for case in frames)))
    values = {**beat.measured, **beat.known}
    row = _row(beat.patient, source, beat.frames, beat.verdict, beat.codes, beat.doubtful, beat.affected, values)
    whole = [reviews[case].expected_dice for case in frames]
    of_class = [reviews[case].expected_of_class for case in frames]
    lowest = _lowest({"expected_dice": value} for value in whole)
    return row | lowest | _lowest({expected_column(name): dice for name, dice in one.items()} for one in of_class)


def _lowest(rows: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    """Returns the lowest value of each column, of the columns that all rows have."""
    listed = list(rows)
    found: dict[str, float] = {}
    for name in listed[0] if listed else ():
        values = [row.get(name) for row in listed]
        known_ones = [value for value in values if value is not None]
        if len(known_ones) == len(values):
            found[name] = min(known_ones)
    return found


def _row(
    study: str,
    source: str,
    frames: Sequence[str],
    told: str,
    codes: Sequence[str],
    doubtful: Sequence[str],
    affected: Mapping[str, Sequence[str]],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    whose = {"study": to_cell(study), "source": to_cell(source), "frames": " ".join(frames)}
    doubts = {"classes_to_check": ", ".join(doubtful), "affected_by": as_cell(affected)}
    return {**whose, "verdict": told, "reasons": " ".join(dict.fromkeys(codes)), **doubts, **values}
