"""The main row by kind of patient and study: on which kinds the segmentation is worse."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from foanet_jax.data.acquisition import Acquisition
from foanet_jax.data.heldout import runs_of, shown_ranges, value_of_studies
from foanet_jax.measures.evaluation import summarise
from foanet_jax.measures.indices.labels import LV_CAVITY
from foanet_jax.measures.indices.study import patient_of_frame
from foanet_jax.measures.metrics import FOREGROUND, Score
from foanet_jax.measures.sizes import Size
from foanet_jax.pages.markup.elements import counted
from foanet_jax.pages.report.results import RowResult, SweepResult
from foanet_jax.pages.report.table import Cell, Estimate, MeanSd, Table, table_of
from foanet_jax.pages.report.tables import class_estimates, fold_notes

RUNS = 3
# The properties by which patients are sorted, each with the decimals and the unit of its limits.
_GRIDS: Mapping[str, tuple[Callable[[Acquisition], float], int, str]] = {
    "pixel side": (lambda study: math.sqrt(study.row_mm * study.column_mm), 2, "mm"),
    "slice distance": (lambda study: study.slice_mm, 1, "mm"),
    "slices": (lambda study: study.slices, 0, ""),
    "image": (lambda study: study.rows * study.columns, 0, "px"),
}
_Unit: TypeAlias = tuple[str, str, int]  # patient, case, frame


def kind_tables(result: SweepResult) -> list[Table]:
    """Returns the table "kinds", if the main row has finished runs whose patients differ in some property."""
    row = result.main_row if result.rows else None
    if row is None:
        return []
    scores = row.scores
    kinds = list(_kinds(row))
    if not kinds:
        return []
    classes = [*result.classes, FOREGROUND]
    rows: list[tuple[Cell, ...]] = []
    for kind, which, units in kinds:
        summary = summarise(score for score in scores if _unit(score) in units)
        found = {name: class_estimates(summary, name) for name in classes}
        dice = [_brief(found[name].estimates["dc"]) for name in classes]
        mean = found[FOREGROUND]
        distance = _brief(mean.estimates["hd95_mm"])
        rows.append((kind, which, mean.summary.n_patients, *dice, distance, mean.summary.misses))
    columns = {"kind": "kind", "which": "which", "n_patients": "patients"}
    columns |= {f"dc_{name}": f"{name} DC" for name in classes}
    columns |= {"hd95_mm": f"{FOREGROUND} 95HD mm", "misses": "misses"}
    return [
        table_of(
            name="kinds",
            title=f"{result.title}: kinds of patients and studies, {row.title}",
            columns=columns,
            rows=rows,
            notes=(
                "Mean ± sd over patients; the CSV file has medians and intervals. "
                f"{FOREGROUND}: the mean over the classes, for each patient.",
                "Moment: the frame of each heartbeat with the largest true cavity, and the frame with the smallest.",
                "Pixel side, slice distance, slices, image: the patients are sorted by this property and divided into "
                f"{RUNS} groups of similar size. Patients with the same value are in the same group.",
                *_older(row),
                *fold_notes([row]),
            ),
            grouped=True,
        )
    ]


def _older(row: RowResult) -> list[str]:
    unknown = _unknown(row)
    if not unknown:
        return []
    return [
        "Clinical groups and image grids are not shown: an older version did not store them for "
        f"{counted(len(unknown), 'patient')}. Evaluate these folds again."
    ]


def _brief(estimate: Estimate) -> MeanSd:
    return MeanSd(**dataclasses.asdict(estimate))


def _unit(score: Score | Size) -> _Unit:
    return score.patient, score.case, score.frame


def _kinds(row: RowResult) -> Iterator[tuple[str, str, set[_Unit]]]:
    """Yields kind, group and the units of the group, for the kinds that divide the patients into groups."""
    units = {_unit(score) for score in row.scores}
    acquisitions = [] if _unknown(row) else row.acquisitions

    def of(patients: set[str]) -> set[_Unit]:
        return {unit for unit in units if unit[0] in patients}

    for group, patients in _groups(acquisitions).items():
        yield "clinical group", group, of(patients)
    for moment, chosen in _moments(row.sizes).items():
        yield "moment", moment, chosen
    for kind, (value, decimals, unit) in _GRIDS.items():
        values: dict[str, list[float]] = {}
        for study in acquisitions:
            values.setdefault(study.patient, []).append(value(study))
        value_of = {patient: value_of_studies(its) for patient, its in values.items()}
        count = min(RUNS, len(set(value_of.values())))
        if count > 1:
            runs = runs_of(value_of, count)
            names = shown_ranges([(low, high) for low, high, _ in runs], decimals)
            for name, (*_, run) in zip(names, runs, strict=True):
                yield kind, f"{name} {unit}".strip(), of(set(run))


def _unknown(row: RowResult) -> set[str]:
    """Returns the patients without group and grid: they were evaluated before `studies.csv` existed."""
    return {score.patient for score in row.scores} - {study.patient for study in row.acquisitions}


def _groups(acquisitions: list[Acquisition]) -> dict[str, set[str]]:
    """Returns the patients of each clinical group; empty if there is only one, or if a patient's group is unknown."""
    groups: dict[str, set[str]] = {}
    for study in acquisitions:
        groups.setdefault(study.group, set()).add(study.patient)
    return dict(sorted(groups.items())) if len(groups) > 1 and "" not in groups else {}


def _moments(sizes: list[Size]) -> dict[str, set[_Unit]]:
    """Returns the units at end diastole and at end systole of each heartbeat; empty if there is no heartbeat.

    A heartbeat is a study of several frames, or several studies that are the frames of a patient.
    """
    truths: dict[str, dict[_Unit, float]] = {}
    for size in sizes:
        if size.class_name in LV_CAVITY and size.truth > 0:
            truths.setdefault(patient_of_frame(size.case) or size.case, {})[_unit(size)] = size.truth
    moments: dict[str, set[_Unit]] = {"end diastole": set(), "end systole": set()}
    for its in truths.values():
        if len(set(its.values())) > 1:
            moments["end diastole"].add(max(its, key=its.__getitem__))
            moments["end systole"].add(min(its, key=its.__getitem__))
    return moments if all(moments.values()) else {}
