"""Cross-validation by patient: no patient's studies are ever on both sides, nor are two patients' identical images."""

import dataclasses
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.heldout import SPLITS, hold_out
from foanet_jax.data.identical import identical_patients
from foanet_jax.data.refs import StudyRef, natural_key
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)

FOLDS = "folds.json"
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
    """The folds of a data set and what they were made with.

    Attributes:
        folds: test sets are disjoint.
        seed: of the shuffling.
        validation_fraction: what was asked for.
        identical: sets of patients who share images, so that a fold has each on one side; None where nobody looked.
        split: how test sets were made: one of `heldout.SPLITS`.
        held_out: what each fold's test patients have in common and nobody else has; none of random folds.
    """

    folds: tuple[Fold, ...]
    seed: int
    validation_fraction: float
    identical: tuple[tuple[str, ...], ...] | None = None
    split: str = "random"
    held_out: tuple[str, ...] = ()


def make_folds(
    refs: Sequence[StudyRef],
    *,
    count: int = 5,
    seed: int = 0,
    validation_fraction: float = 0.1,
    split: str = "random",
) -> Folds:
    """Deals the patients out to test sets, and those who are left of each fold to training and validation.

    Random test sets differ by one patient at most, each group spread evenly; the others leave patients of one kind
    out of the training (`heldout.hold_out`). Validation patients are drawn at random from those who are not tested.

    The outcome depends on patients, groups and seed, not on the order of `refs`. Patients who share images, as
    ACDC's patient074 and patient076 do, change places with others, of their own group where there are such, until
    they are together; test sets stay as even as they were wherever one of them has room for all who share.

    Args:
        refs: the studies; patients without a group are dealt out like a group of their own.
        count: number of folds; groups make as many as there are. 1: nobody is tested, and all others than the
            validation's patients are trained with.
        seed: of the shuffling.
        validation_fraction: share of the training part that becomes the validation part, in [0, 1): rounded
            to patients, but one at least unless it is 0.
        split: "random", or what test patients have in common: "group", "spacing" (in the image plane) or "size" (of
            the image).

    Raises:
        InputError: fewer patients than folds, those who share images counted as one, a patient in two groups, a
            number out of range, or patients who cannot be told apart by what the split asks for.
    """
    if split not in SPLITS:
        raise InputError("folds", f"data.split is {split!r}; choose one of {', '.join(SPLITS)}")
    if count < 1:
        raise InputError("folds", f"{count} folds; cross-validation takes 2 or more, and 1 tests nobody")
    if count == 1 and split != "random":
        raise InputError("folds", f"1 fold tests nobody, but data.split is {split!r}; make 2 or more, or leave it out")
    if not 0 <= validation_fraction < 1:
        raise InputError("folds", f"validation_fraction is {validation_fraction}; it must be in [0, 1)")
    group_of = _groups(refs)
    held_out: tuple[str, ...] = ()
    if split == "group":
        count = len(set(group_of.values()))
    if len(group_of) < count:
        raise InputError(
            "too-few-patients", f"{len(group_of)} patients for {count} folds; use fewer folds or add patients"
        )
    identical = identical_patients(refs)
    different = len(group_of) - sum(len(its) - 1 for its in identical)
    if different < count:
        shared = "; ".join(", ".join(its) for its in identical)
        raise InputError(
            "too-few-patients",
            f"{different} patients with different images for {count} folds (the same have {shared}); use fewer folds "
            "or add patients",
        )
    for its in identical:
        LOGGER.info("%s have the same images: kept on one side of every fold", ", ".join(its))
    random = np.random.default_rng(seed)
    members = [
        [patients[index] for index in random.permutation(len(patients))]
        for group in sorted(set(group_of.values()))
        for patients in [[patient for patient, its_group in group_of.items() if its_group == group]]
    ]
    # Dealt out like cards, group after group, so that neither groups nor folds come out uneven.
    dealt = [patient for patients in members for patient in patients]
    if split != "random":
        held_out, tests = hold_out(refs, group_of, split=split, count=count, identical=identical)
    elif count == 1:
        tests = [[]]
    else:
        tests = [dealt[index::count] for index in range(count)]
        tests = _none_left_empty(_brought_together(tests, identical, group_of), identical)
    folds = []
    for test in map(set, tests):
        validation = _spread(
            [[p for p in patients if p not in test] for patients in members], validation_fraction, random
        )
        rest = [patient for patients in members for patient in patients if patient not in test | validation]
        rest, drawn = _brought_together([rest, [p for p in dealt if p in validation]], identical, group_of)
        # Where all who are left share images, they are better trained on than validated with.
        folds.append(Fold(_ordered(rest or drawn), _ordered(drawn if rest else ()), _ordered(test)))
    return Folds(tuple(folds), seed, validation_fraction, identical, split, held_out)


def save_folds(folds: Folds, path: str | os.PathLike[str]) -> None:
    """Writes folds as JSON, whole or not at all."""
    content = dataclasses.asdict(folds)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_folds(path: str | os.PathLike[str], refs: Sequence[StudyRef]) -> Folds:
    """The folds in a file, once they fit the catalogue.

    Patients who share images and stand on different sides are warned of, not refused. Images are read for that only
    where the file does not say who shares some, as those of save_folds do.

    Raises:
        InputError: the file is missing or malformed; a patient stands in two parts of a fold or in two test
            sets; a patient of `refs` is missing from a fold or, where there are several folds, from the test
            sets; a fold has nobody to train with or, of several, to test; or a patient is not in `refs`. All
            problems are named at once.
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
        needed = ("train", "test") if len(folds.folds) > 1 else ("train",)
        problems += [f"fold {number}: no patients to {part}" for part in needed if not getattr(fold, part)]
    tested = Counter(patient for fold in folds.folds for patient in set(fold.test))
    _note(problems, "in two test sets", (p for p, times in tested.items() if times > 1))
    if len(folds.folds) > 1:
        _note(problems, "in no test set", known - tested.keys())
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise InputError("folds", f"{path}: does not fit the data set; correct it or make folds anew:\n{listed}")
    if folds.identical is None:
        folds = dataclasses.replace(folds, identical=identical_patients(refs))
    for its in folds.identical or ():
        apart = [number for number, fold in enumerate(folds.folds) if len(_sides(fold, its)) > 1]
        if apart:
            LOGGER.warning(
                "%s: %s have the same images, but stand in different parts of fold %s, whose scores will be too good; "
                "put them into one part, or make folds anew",
                path,
                ", ".join(its),
                ", ".join(map(str, apart)),
            )
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


def _brought_together(
    parts: Sequence[Sequence[str]], sets: Sequence[Sequence[str]], group_of: Mapping[str, str]
) -> list[list[str]]:
    """The parts after each set's patients changed places with others until they are in one part, the largest first.

    Of all parts that a set could gather in, it takes the one that leaves fewest parts empty, sizes and then groups
    as near to what they were as can be, and moves fewest patients.
    """
    part_of = {patient: number for number, part in enumerate(parts) for patient in part}
    sizes, groups = _counts(part_of, group_of)
    settled: set[str] = set()
    for its in sorted(sets, key=len, reverse=True):
        its = [patient for patient in its if patient in part_of]
        settled |= set(its)
        choices = []
        for target in range(len(parts)):
            moved = dict(part_of)
            for patient in its:
                if moved[patient] != target:
                    others = [other for other in moved if moved[other] == target and other not in settled]
                    same = [other for other in others if group_of[other] == group_of[patient]]
                    for other in (same or others)[:1]:
                        moved[other] = moved[patient]
                    moved[patient] = target
            new_sizes, new_groups = _counts(moved, group_of)
            cost = (
                max(0, len(sizes) - len(new_sizes)),
                _difference(sizes, new_sizes),
                _difference(groups, new_groups),
                sum(moved[patient] != part_of[patient] for patient in moved),
                target,
            )
            choices.append((cost, moved))
        part_of = min(choices, key=lambda choice: choice[0])[1]
    return [[patient for patient, its in part_of.items() if its == number] for number in range(len(parts))]


def _none_left_empty(parts: list[list[str]], sets: Sequence[Sequence[str]]) -> list[list[str]]:
    """The parts after empty ones were given what can be spared: the smallest of what must stay together elsewhere."""
    bound = {patient: tuple(its) for its in sets for patient in its}
    while True:
        # What must stay together in each part: a set, or a patient alone.
        units = [{bound.get(patient, (patient,)) for patient in part} for part in parts]
        empty = next((n for n, its in enumerate(units) if not its), None)
        donor = max(range(len(parts)), key=lambda n: (len(units[n]) > 1, len(parts[n])))
        if empty is None or len(units[donor]) < 2:
            return parts
        given = min(units[donor], key=lambda its: (len(its), its))
        parts[empty] = [patient for patient in parts[donor] if patient in given]
        parts[donor] = [patient for patient in parts[donor] if patient not in given]


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


def _counts(part_of: Mapping[str, int], group_of: Mapping[str, str]) -> tuple[Counter, Counter]:
    return Counter(part_of.values()), Counter((part, group_of[patient]) for patient, part in part_of.items())


def _difference(first: Counter, second: Counter) -> int:
    return sum(((first - second) + (second - first)).values())


def _sides(fold: Fold, patients: Sequence[str]) -> set[str]:
    return {part for part in _PARTS for patient in getattr(fold, part) if patient in patients}


def _ordered(patients: object) -> tuple[str, ...]:
    return tuple(sorted(patients, key=natural_key))  # type: ignore[call-overload]


def _note(problems: list[str], what: str, patients: object) -> None:
    named = _ordered(patients)
    if named:
        problems.append(f"{what}: {', '.join(named)}")


def _parse(path: Path) -> Folds:
    try:
        # Whatever else has this name, such as a pipe, could be read for ever.
        if path.exists() and not path.is_file():
            raise InputError("folds", f"{path}: not a file; make the folds anew")
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
        identical = content.get("identical")
        if identical is not None:
            if not isinstance(identical, list):
                raise TypeError("identical is not a list of sets of patients")
            identical = tuple(_patients(its, "identical") for its in identical)
        # Files of older versions have neither.
        split, held_out = content.get("split", SPLITS[0]), _patients(content.get("held_out", []), "held_out")
        if split not in SPLITS:
            raise TypeError(f"split is not one of {', '.join(SPLITS)}")
        return Folds(folds, seed, float(fraction), identical, split, held_out)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
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
