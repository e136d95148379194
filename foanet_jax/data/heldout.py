"""Test sets of patients who differ from the training patients: by clinical group, pixel spacing or image size."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from foanet_jax.data.refs import StudyRef, grid_of, natural_key
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import over

SPLITS = ("random", "group", "spacing", "size")


def hold_out(
    refs: Sequence[StudyRef],
    group_of: Mapping[str, str],
    *,
    split: str,
    count: int,
    identical: Sequence[Sequence[str]],
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Makes test sets of patients with a common property.

    With "group" there is one test set per clinical group, in order of the groups' names. With "spacing" and "size" the
    patients are sorted by pixel size, or by the number of pixels of an image, and cut into `count` intervals of nearly
    equal size. Patients with the same value, and patients with identical images, stay together. If a patient has
    several studies, their mean counts.

    Args:
        refs: the studies; for "spacing" and "size" their headers are read.
        group_of: the group of each patient, "" if it is unknown.
        split: "group", "spacing" or "size".
        count: number of test sets for "spacing" and "size".
        identical: sets of patients with identical images.

    Returns:
        The property of each test set as text, and its patients.

    Raises:
        InputError: a patient has no group, there is only one group, patients of two groups have identical images, or
            there are fewer different values than test sets.
    """
    if split == "group":
        return _by_group(group_of, identical)
    value_of = _values(refs, split)
    for its in identical:
        shared = min(value_of[patient] for patient in its)
        value_of |= dict.fromkeys(its, shared)
    if (different := len(set(value_of.values()))) < count:
        raise InputError(
            "folds",
            f"there are only {different} different values of {split} for {count} folds; use data.split=random or "
            "fewer folds",
        )
    runs = runs_of(value_of, count)
    decimals, unit = (0, "px") if split == "size" else (2, "mm")
    names = shown_ranges([(low, high) for low, high, _ in runs], decimals)
    return tuple(f"{name} {unit}" for name in names), [run for *_, run in runs]


def _by_group(
    group_of: Mapping[str, str], identical: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[list[str]]]:
    unknown = [patient for patient, group in group_of.items() if not group]
    if unknown:
        raise InputError("folds", f"the group of {', '.join(unknown[:8])} is unknown; use another data.split")
    groups = sorted(set(group_of.values()))
    if len(groups) < 2:
        raise InputError("folds", f"all patients are in the group {', '.join(groups)}; use another data.split")
    for its in identical:
        if len({group_of[patient] for patient in its}) > 1:
            raise InputError(
                "folds", f"{', '.join(its)} have identical images but are in different groups; remove one of them"
            )
    return tuple(groups), [[patient for patient, its in group_of.items() if its == group] for group in groups]


def _values(refs: Sequence[StudyRef], split: str) -> dict[str, float]:
    """Returns the pixel size in mm, or the number of pixels of an image, of each patient, in order of the patients."""
    found: dict[str, list[float]] = {}
    for ref in over(refs, desc="reading headers", unit="study"):
        grid = grid_of(ref)
        rows, columns = grid.shape[2:]
        side = math.sqrt(grid.spacing_mm[1] * grid.spacing_mm[2])
        found.setdefault(ref.patient, []).append(side if split == "spacing" else rows * columns)
    return {patient: value_of_studies(found[patient]) for patient in sorted(found, key=natural_key)}


def value_of_studies(values: Sequence[float]) -> float:
    """Returns the mean over a patient's studies, rounded to five decimals, because headers are rounded too."""
    return round(statistics.fmean(values), 5)


def runs_of(value_of: Mapping[str, float], count: int) -> list[tuple[float, float, list[str]]]:
    """Sorts patients by a value and cuts them into `count` intervals of nearly equal size.

    Patients with the same value stay together.

    Args:
        value_of: the value of each patient; at least `count` different values.
        count: number of intervals.

    Returns:
        For each interval its smallest and largest value, and its patients in the order of `value_of`.
    """
    together = Counter(value_of.values())
    values = sorted(together)
    ends = even_runs([together[value] for value in values], count)
    limits = [(values[start], values[end - 1]) for start, end in zip((0, *ends), ends, strict=False)]
    return [(low, high, [who for who, value in value_of.items() if low <= value <= high]) for low, high in limits]


def shown_ranges(limits: Sequence[tuple[float, float]], decimals: int) -> list[str]:
    """Formats intervals as text, with as many decimals as are needed to make all of them different.

    Args:
        limits: smallest and largest value of each interval; if both have the same text, it is written once.
        decimals: the least number of decimals.
    """
    for form in (f".{digits}f" for digits in range(decimals, 6)):
        shown = [list(dict.fromkeys(format(limit, form) for limit in pair)) for pair in limits]
        names = ["–".join(texts) for texts in shown]
        if len(set(names)) == len(names):
            break
    return names


def even_runs(sizes: Sequence[int], count: int) -> tuple[int, ...]:
    """Divides a sequence into `count` non-empty runs so that the sum of the squares of the runs' sums is smallest.

    Args:
        sizes: the sequence, at least `count` numbers.
        count: number of runs.

    Returns:
        The end index (exclusive) of each run; the last one is len(sizes).
    """
    before = [sum(sizes[:end]) for end in range(len(sizes) + 1)]
    # Dynamic programming: for each end of the runs so far, the smallest sum of squares and the ends that give it.
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for _ in range(count):
        best = {
            end: min(
                (cost + (before[end] - before[start]) ** 2, (*ends, end))
                for start, (cost, ends) in best.items()
                if start < end
            )
            for end in range(min(best) + 1, len(sizes) + 1)
        }
    return best[len(sizes)][1]
