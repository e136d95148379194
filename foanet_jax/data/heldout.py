"""Test sets of patients unlike those trained on: of a clinical group, a spacing or an image size of their own."""

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
    """What each test set's patients have in common, in words, and who they are.

    "group": one test set a clinical group, in order of their names. "spacing" and "size": patients in order of the
    pixel's side, or of the image's pixels, cut into `count` runs as even as can be. Patients with the same value are
    never parted, nor are those who share images; a patient's several studies count with their mean.

    Args:
        refs: the studies; for "spacing" and "size" their headers are read.
        group_of: each patient's group, "" where unknown.
        split: "group", "spacing" or "size".
        count: number of test sets by spacing or size.
        identical: sets of patients who share images.

    Raises:
        InputError: a patient without a group, one group alone, patients of two groups who share images, or fewer
            different values than test sets.
    """
    if split == "group":
        return _by_group(group_of, identical)
    value_of = _values(refs, split)
    for its in identical:
        shared = min(value_of[patient] for patient in its)
        value_of |= dict.fromkeys(its, shared)
    if (different := len(set(value_of.values()))) < count:
        raise InputError(
            "folds", f"{different} different values of {split} for {count} folds; use data.split=random, or fewer folds"
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
        raise InputError("folds", f"no group is known of {', '.join(unknown[:8])}; use another data.split")
    groups = sorted(set(group_of.values()))
    if len(groups) < 2:
        raise InputError("folds", f"all patients are of group {', '.join(groups)}; use another data.split")
    for its in identical:
        if len({group_of[patient] for patient in its}) > 1:
            raise InputError(
                "folds", f"{', '.join(its)} have the same images but are of different groups; leave one of them out"
            )
    return tuple(groups), [[patient for patient, its in group_of.items() if its == group] for group in groups]


def _values(refs: Sequence[StudyRef], split: str) -> dict[str, float]:
    """Each patient's pixel side in mm, or number of pixels of an image, in order of patient."""
    found: dict[str, list[float]] = {}
    for ref in over(refs, desc="reading headers", unit="study"):
        grid = grid_of(ref)
        rows, columns = grid.shape[2:]
        side = math.sqrt(grid.spacing_mm[1] * grid.spacing_mm[2])
        found.setdefault(ref.patient, []).append(side if split == "spacing" else rows * columns)
    return {patient: value_of_studies(found[patient]) for patient in sorted(found, key=natural_key)}


def value_of_studies(values: Sequence[float]) -> float:
    """A patient's value: the mean of the studies', to five decimals, since headers round as well."""
    return round(statistics.fmean(values), 5)


def runs_of(value_of: Mapping[str, float], count: int) -> list[tuple[float, float, list[str]]]:
    """Patients in order of a value, cut into `count` runs as even as can be; those with the same value are not parted.

    Args:
        value_of: of each patient; at least `count` different ones.
        count: number of runs.

    Returns:
        The least and greatest value of each run, and its patients in the order of `value_of`.
    """
    together = Counter(value_of.values())
    values = sorted(together)
    ends = even_runs([together[value] for value in values], count)
    limits = [(values[start], values[end - 1]) for start, end in zip((0, *ends), ends, strict=False)]
    return [(low, high, [who for who, value in value_of.items() if low <= value <= high]) for low, high in limits]


def shown_ranges(limits: Sequence[tuple[float, float]], decimals: int) -> list[str]:
    """Limits in words, one number where both read the same, with as many more decimals as tell all ranges apart."""
    for form in (f".{digits}f" for digits in range(decimals, 6)):
        shown = [list(dict.fromkeys(format(limit, form) for limit in pair)) for pair in limits]
        names = ["–".join(texts) for texts in shown]
        if len(set(names)) == len(names):
            break
    return names


def even_runs(sizes: Sequence[int], count: int) -> tuple[int, ...]:
    """Where `count` runs of neighbours end, none empty, whose sums have the least sum of squares.

    Args:
        sizes: in their order, at least `count` of them.
        count: number of runs.

    Returns:
        The index after the last of each run; the last is len(sizes).
    """
    before = [sum(sizes[:end]) for end in range(len(sizes) + 1)]
    # By where the runs so far end: the least sum of squares, and the ends that have it.
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
