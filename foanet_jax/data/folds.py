"""Cross-validation by patient.

All studies of a patient are in the same part of a fold, and so are patients who have identical images.
"""

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
    """The patients of the three parts of one fold; the validation part may be empty."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Folds:
    """The folds of a data set and the settings that they were made with.

    Attributes:
        folds: the folds; their test sets are disjoint.
        seed: of the shuffling.
        validation_fraction: the requested fraction.
        identical: sets of patients who have identical images; each set is in one part of a fold. None if the images
            were not compared.
        split: how the test sets were made, one of `heldout.SPLITS`.
        held_out: for each fold, the property that only its test patients have; empty for random folds.
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
    """Splits the patients into test sets, and the remaining patients of each fold into training and validation.

    The sizes of random test sets differ by at most one patient, and each clinical group is spread evenly over them. The
    other splits hold out patients of one kind (`heldout.hold_out`). Validation patients are drawn at random from those
    who are not in the test set.

    The result depends on the patients, their groups and the seed, not on the order of `refs`. Patients who have
    identical images, such as ACDC's patient074 and patient076, are moved into one test set, in exchange for other
    patients, if possible of the same group. The sizes of the test sets stay the same if a test set is large enough for
    all patients who share images.

    Args:
        refs: the studies; patients without a group count as one additional group.
        count: number of folds; ignored for the split "group", which makes one fold per group. 1: no test set; all
            patients are used for training and validation.
        seed: of the shuffling.
        validation_fraction: fraction of the training part that becomes the validation part, in [0, 1). It is rounded
            to whole patients, at least one unless the fraction is 0.
        split: "random", or the property by which test patients are held out: "group", "spacing" (in the image plane)
            or "size" (of the image).

    Raises:
        InputError: there are fewer patients than folds, where patients with identical images count as one; a patient
            is in two groups; an argument is out of range; or the patients cannot be split by the property.
    """
    if split not in SPLITS:
        raise InputError("folds", f"data.split is {split!r}; choose one of {', '.join(SPLITS)}")
    if count < 1:
        raise InputError("folds", f"the number of folds is {count}; use 2 or more, or 1 for no test set")
    if count == 1 and split != "random":
        raise InputError(
            "folds", f"1 fold has no test set, but data.split is {split!r}; use 2 or more folds, or data.split=random"
        )
    if not 0 <= validation_fraction < 1:
        raise InputError("folds", f"validation_fraction is {validation_fraction}; it must be in [0, 1)")
    group_of = _groups(refs)
    held_out: tuple[str, ...] = ()
    if split == "group":
        count = len(set(group_of.values()))
    if len(group_of) < count:
        raise InputError(
            "too-few-patients",
            f"there are {len(group_of)} patients for {count} folds; use fewer folds or add patients",
        )
    identical = identical_patients(refs)
    different = len(group_of) - sum(len(its) - 1 for its in identical)
    if different < count:
        shared = "; ".join(", ".join(its) for its in identical)
        raise InputError(
            "too-few-patients",
            f"there are {different} patients with different images for {count} folds (patients with identical images: "
            f"{shared}); use fewer folds or add patients",
        )
    for its in identical:
        LOGGER.info("%s have identical images; they stay in one part of each fold", ", ".join(its))
    random = np.random.default_rng(seed)
    members = [
        [patients[index] for index in random.permutation(len(patients))]
        for group in sorted(set(group_of.values()))
        for patients in [[patient for patient, its_group in group_of.items() if its_group == group]]
    ]
    # Patients are assigned to the folds in turn, group after group, so that groups and folds are balanced.
    dealt = [patient for patients in members for patient in patients]
    if split != "random":
        held_out, tests = hold_out(refs, group_of, split=split, count=count, identical=identical)
    elif count == 1:
        tests = [[]]
    else:
        tests = [dealt[index::count] for index in range(count)]
        tests = _fill_empty_parts(_move_together(tests, identical, group_of), identical)
    folds = []
    for test in map(set, tests):
        validation = _spread(
            [[p for p in patients if p not in test] for patients in members], validation_fraction, random
        )
        rest = [patient for patients in members for patient in patients if patient not in test | validation]
        rest, drawn = _move_together([rest, [p for p in dealt if p in validation]], identical, group_of)
        # If all remaining patients share images, they are used for training, not for validation.
        folds.append(Fold(_ordered(rest or drawn), _ordered(drawn if rest else ()), _ordered(test)))
    return Folds(tuple(folds), seed, validation_fraction, identical, split, held_out)


def save_folds(folds: Folds, path: str | os.PathLike[str]) -> None:
    """Writes folds as JSON, atomically."""
    content = dataclasses.asdict(folds)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_folds(path: str | os.PathLike[str], refs: Sequence[StudyRef]) -> Folds:
    """Reads folds from a file and checks them against the data set.

    Patients with identical images in different parts of a fold cause a warning, not an error. The images are compared
    only if the file does not list such patients; files of `save_folds` do.

    Args:
        path: the file.
        refs: the studies of the data set.

    Raises:
        InputError: the file is missing or malformed; a patient is in two parts of a fold or in two test sets; a patient
            of `refs` is missing from a fold or, with several folds, from the test sets; a fold has no training
            patients or, with several folds, no test patients; or a patient is not in `refs`. The message lists all
            problems.
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
        raise InputError("folds", f"{path}: does not fit the data set; correct the file or make new folds:\n{listed}")
    if folds.identical is None:
        folds = dataclasses.replace(folds, identical=identical_patients(refs))
    for its in folds.identical or ():
        apart = [number for number, fold in enumerate(folds.folds) if len(_sides(fold, its)) > 1]
        if apart:
            LOGGER.warning(
                "%s: %s have identical images but are in different parts of fold %s, whose scores will be too high; "
                "put them into one part, or make new folds",
                path,
                ", ".join(its),
                ", ".join(map(str, apart)),
            )
    return folds


def _groups(refs: Sequence[StudyRef]) -> dict[str, str]:
    """Returns the group of each patient, "" if it is unknown, in order of the patients."""
    found: dict[str, set[str]] = {}
    for ref in refs:
        found.setdefault(ref.patient, set()).update([ref.group] if ref.group else [])
    mixed = {patient: sorted(groups) for patient, groups in found.items() if len(groups) > 1}
    if mixed:
        raise InputError("folds", f"patients in more than one group: {mixed}; correct the groups")
    return {patient: next(iter(found[patient]), "") for patient in _ordered(found)}


def _move_together(
    parts: Sequence[Sequence[str]], sets: Sequence[Sequence[str]], group_of: Mapping[str, str]
) -> list[list[str]]:
    """Moves the patients of each set into one part, by exchanging them with other patients; largest sets first.

    For each set, the target part is chosen by these criteria, in this order: the fewest empty parts, the smallest
    change of the sizes of the parts, the smallest change of the groups in the parts, the fewest moved patients.

    Args:
        parts: the patients of each part.
        sets: sets of patients who must be in one part.
        group_of: the group of each patient.
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


def _fill_empty_parts(parts: list[list[str]], sets: Sequence[Sequence[str]]) -> list[list[str]]:
    """Fills empty parts with patients from other parts, as few as possible, without separating any of the sets."""
    bound = {patient: tuple(its) for its in sets for patient in its}
    while True:
        # The units of each part that must not be separated: a set of patients, or a single patient.
        units = [{bound.get(patient, (patient,)) for patient in part} for part in parts]
        empty = next((n for n, its in enumerate(units) if not its), None)
        donor = max(range(len(parts)), key=lambda n: (len(units[n]) > 1, len(parts[n])))
        if empty is None or len(units[donor]) < 2:
            return parts
        given = min(units[donor], key=lambda its: (len(its), its))
        parts[empty] = [patient for patient in parts[donor] if patient in given]
        parts[donor] = [patient for patient in parts[donor] if patient not in given]


def _spread(members: list[list[str]], fraction: float, random: np.random.Generator) -> set[str]:
    """Draws a random fraction of the patients, evenly from all groups."""
    total = sum(map(len, members))
    count = min(total - 1, max(1, math.floor(fraction * total + 0.5))) if fraction > 0 else 0
    # The patients of each group get evenly spaced numbers in [0, 1), in random order; the lowest numbers are drawn.
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
        # Something else than a file, such as a pipe, could block the reading for ever.
        if path.exists() and not path.is_file():
            raise InputError("folds", f"{path}: is not a file; remove it and make new folds")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError("missing-file", f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError("folds", f"{path}: is not valid JSON ({error}); make new folds") from None
    try:
        seed, fraction = content["seed"], content["validation_fraction"]
        if type(seed) is not int:
            raise TypeError("seed is not an integer")
        if type(fraction) not in (int, float) or not 0 <= fraction < 1:
            raise TypeError("validation_fraction is not a number in [0, 1)")
        folds = tuple(Fold(*(_patients(entry[part], part) for part in _PARTS)) for entry in content["folds"])
        if not folds:
            raise TypeError("it has no folds")
        identical = content.get("identical")
        if identical is not None:
            if not isinstance(identical, list):
                raise TypeError("identical is not a list of sets of patients")
            identical = tuple(_patients(its, "identical") for its in identical)
        # Files of older versions do not have these two fields.
        split, held_out = content.get("split", SPLITS[0]), _patients(content.get("held_out", []), "held_out")
        if split not in SPLITS:
            raise TypeError(f"split is not one of {', '.join(SPLITS)}")
        return Folds(folds, seed, float(fraction), identical, split, held_out)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError("folds", f"{path}: has not the format of a folds file ({error}); make new folds") from None


def _patients(entry: object, part: str) -> tuple[str, ...]:
    if not isinstance(entry, list) or not all(isinstance(patient, str) for patient in entry):
        raise TypeError(f"{part} is not a list of patients")
    for patient in entry:
        # Patients appear in messages, and JSON can hold characters that no terminal can print.
        odd = any("\ud800" <= letter <= "\udfff" or letter < " " for letter in patient)
        if odd or not 0 < len(patient) <= _LONGEST_NAME:
            raise TypeError(f"{part} has a patient {patient[:40]!r} of {len(patient)} characters")
    return tuple(entry)
