"""Cross-validation by patient: no patient's studies are ever on both sides."""

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.atomic import atomic_path
from foanet_jax.data.refs import StudyRef, natural_key
from foanet_jax.errors import InputError

_PARTS = ("train", "validation", "test")
_LONGEST_NAME = 1024


@dataclasses.dataclass(frozen=True)
class Fold:
    """The patients of one fold's three parts; validation may be empty."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Folds:
    """The folds of a data set and what they were made with."""

    folds: tuple[Fold, ...]
    seed: int
    validation_fraction: float


def make_folds(refs: Sequence[StudyRef], *, count: int = 5, seed: int = 0, validation_fraction: float = 0.1) -> Folds:
    """Deals the patients out to `count` test sets that differ by one patient at most, each group evenly.

    The outcome depends on patients, groups and seed, not on the order of `refs`.

    Args:
        refs: the studies; patients without a group are dealt out like a group of their own.
        count: number of folds, 2 or more.
        seed: of the shuffling.
        validation_fraction: share of the training part that becomes the validation part, in [0, 1): rounded
            to patients, but one at least unless it is 0.

    Raises:
        InputError: fewer patients than folds, a patient in two groups, or a number out of range.
    """
    if count < 2:
        raise InputError("folds", f"{count} folds; cross-validation takes 2 or more")
    if not 0 <= validation_fraction < 1:
        raise InputError("folds", f"validation_fraction is {validation_fraction}; it must be in [0, 1)")
    group_of = _groups(refs)
    if len(group_of) < count:
        raise InputError(
            "too-few-patients", f"{len(group_of)} patients for {count} folds; use fewer folds or add patients"
        )
    random = np.random.default_rng(seed)
    members = [
        [patients[index] for index in random.permutation(len(patients))]
        for group in sorted(set(group_of.values()))
        for patients in [[patient for patient, its_group in group_of.items() if its_group == group]]
    ]
    # Dealt out like cards, group after group, so that neither groups nor folds come out uneven.
    dealt = [patient for patients in members for patient in patients]
    folds = []
    for index in range(count):
        test = set(dealt[index::count])
        validation = _spread(
            [[p for p in patients if p not in test] for patients in members], validation_fraction, random
        )
        rest = [patient for patient in group_of if patient not in test and patient not in validation]
        folds.append(Fold(tuple(rest), _ordered(validation), _ordered(test)))
    return Folds(tuple(folds), seed, validation_fraction)


def save_folds(folds: Folds, path: str | os.PathLike[str]) -> None:
    """Writes folds as JSON, whole or not at all."""
    content = dataclasses.asdict(folds)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_folds(path: str | os.PathLike[str], refs: Sequence[StudyRef]) -> Folds:
    """The folds in a file, once they fit the catalogue.

    Raises:
        InputError: the file is missing or malformed; a patient stands in two parts of a fold or in two test
            sets; a patient of `refs` is missing from a fold or, where there are several folds, from the test
            sets; or a patient is not in `refs`. All problems are named at once.
    """
    path = Path(path)
    folds = _parse(path)
    known = set(_groups(refs))
    problems: list[str] = []
    for number, fold in enumerate(folds.folds):
        stands = Counter(patient for part in _PARTS for patient in getattr(fold, part))
        _note(problems, f"fold {number}: more than once", (p for p, times in stands.items() if times > 1))
        _note(problems, f"fold {number}: not in the data set", stands.keys() - known)
        _note(problems, f"fold {number}: missing", known - stands.keys())
        problems += [f"fold {number}: no patients to {part}" for part in ("train", "test") if not getattr(fold, part)]
    tested = Counter(patient for fold in folds.folds for patient in set(fold.test))
    _note(problems, "in two test sets", (p for p, times in tested.items() if times > 1))
    if len(folds.folds) > 1:
        _note(problems, "in no test set", known - tested.keys())
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise InputError("folds", f"{path}: does not fit the data set; correct it or make folds anew:\n{listed}")
    return folds


def _groups(refs: Sequence[StudyRef]) -> dict[str, str]:
    """The group of each patient, "" where unknown, in order of patient."""
    found: dict[str, set[str]] = {}
    for ref in refs:
        found.setdefault(ref.patient, set()).update([ref.group] if ref.group else [])
    mixed = {patient: sorted(groups) for patient, groups in found.items() if len(groups) > 1}
    if mixed:
        raise InputError("folds", f"patients in more than one group: {mixed}; correct the groups")
    return {patient: next(iter(found[patient]), "") for patient in _ordered(found)}


def _spread(members: list[list[str]], fraction: float, random: np.random.Generator) -> set[str]:
    """A random share of the patients, taken evenly from the groups."""
    total = sum(map(len, members))
    count = min(total - 1, max(1, math.floor(fraction * total + 0.5))) if fraction > 0 else 0
    # Each group's patients are spread over [0, 1) in random order; the lowest of all groups are taken.
    placed = [
        ((rank + random.random()) / len(patients), patient)
        for patients in members
        for rank, patient in enumerate(random.permutation(np.array(patients, dtype=object)) if patients else [])
    ]
    return {patient for _, patient in sorted(placed)[:count]}


def _ordered(patients: object) -> tuple[str, ...]:
    return tuple(sorted(patients, key=natural_key))  # type: ignore[call-overload]


def _note(problems: list[str], what: str, patients: object) -> None:
    named = _ordered(patients)
    if named:
        problems.append(f"{what}: {', '.join(named)}")


def _parse(path: Path) -> Folds:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError("missing-file", f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError("folds", f"{path}: not JSON ({error}); make the folds anew") from None
    try:
        seed, fraction = content["seed"], content["validation_fraction"]
        if type(seed) is not int:
            raise TypeError("seed is not a whole number")
        if type(fraction) not in (int, float) or not 0 <= fraction < 1:
            raise TypeError("validation_fraction is not a number from 0 to below 1")
        folds = tuple(Fold(*(_patients(entry[part], part) for part in _PARTS)) for entry in content["folds"])
        if not folds:
            raise TypeError("no folds")
        return Folds(folds, seed, float(fraction))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("folds", f"{path}: not as save_folds writes it ({error}); make the folds anew") from None


def _patients(entry: object, part: str) -> tuple[str, ...]:
    if not isinstance(entry, list) or not all(isinstance(patient, str) for patient in entry):
        raise TypeError(f"{part} is not a list of patients")
    for patient in entry:
        # Messages name patients, and JSON can hold what no file can be called and no terminal can print.
        odd = any("\ud800" <= letter <= "\udfff" or letter < " " for letter in patient)
        if odd or not 0 < len(patient) <= _LONGEST_NAME:
            raise TypeError(f"{part} has a patient {patient[:40]!r} of {len(patient)} characters")
    return tuple(entry)
