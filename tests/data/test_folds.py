"""Folds by patient."""

import dataclasses
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foanet_jax.data.folds import Fold, Folds, load_folds, make_folds, save_folds
from foanet_jax.data.refs import StudyRef
from foanet_jax.errors import InputError


def load():
    raise AssertionError("folds are made without loading")


def refs_of(patients, groups=(None,), studies=2):
    return [
        StudyRef(f"patient{number}", f"patient{number}_frame{study}", groups[number % len(groups)], load)
        for number in range(1, patients + 1)
        for study in range(studies)
    ]


@given(
    st.integers(2, 60),
    st.integers(2, 8),
    st.integers(0, 2**32),
    st.sampled_from([0, 0.1, 0.5, 0.99]),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=100)
def test_folds_are_sound(patients, count, seed, fraction, group_count):
    refs = refs_of(patients, "ABCDE"[:group_count])
    if patients < count:
        with pytest.raises(InputError, match="folds"):
            make_folds(refs, count=count, seed=seed)
        return
    folds = make_folds(refs, count=count, seed=seed, validation_fraction=fraction)
    everyone = {ref.patient for ref in refs}
    assert len(folds.folds) == count
    for fold in folds.folds:
        assert Counter(fold.train + fold.validation + fold.test) == Counter(everyone)
        assert fold.train
        assert bool(fold.validation) == (fraction > 0 and len(fold.train + fold.validation) > 1)
    assert Counter(patient for fold in folds.folds for patient in fold.test) == Counter(everyone)
    sizes = [len(fold.test) for fold in folds.folds]
    assert max(sizes) - min(sizes) <= 1
    group_of = {ref.patient: ref.group for ref in refs}
    for group in set(group_of.values()):
        sizes = [sum(group_of[patient] == group for patient in fold.test) for fold in folds.folds]
        assert max(sizes) - min(sizes) <= 1
    assert folds == make_folds(refs[::-1], count=count, seed=seed, validation_fraction=fraction)


def test_sizes_as_in_the_data_sets():
    folds = make_folds(refs_of(100, ("DCM", "HCM", "MINF", "NOR", "RV")))
    for fold in folds.folds:
        assert (len(fold.train), len(fold.validation), len(fold.test)) == (72, 8, 20)
        groups = Counter(int(patient.removeprefix("patient")) % 5 for patient in fold.validation)
        assert len(groups) == 5
    assert sorted(len(fold.test) for fold in make_folds(refs_of(56)).folds) == [11, 11, 11, 11, 12]
    assert make_folds(refs_of(100), seed=1) != make_folds(refs_of(100), seed=2)


def test_a_pinned_outcome():
    # A change here gives every saved experiment other folds.
    folds = make_folds(refs_of(6, ("A", "B")), count=3, seed=0)
    assert [fold.test for fold in folds.folds] == [
        ("patient5", "patient6"),
        ("patient2", "patient3"),
        ("patient1", "patient4"),
    ]


@pytest.mark.parametrize(
    "options", [{"count": 1}, {"count": 0}, {"validation_fraction": 1}, {"validation_fraction": -1}]
)
def test_numbers_out_of_range(options):
    with pytest.raises(InputError):
        make_folds(refs_of(10), **options)


def test_a_patient_in_two_groups():
    refs = [StudyRef("p", "a", "DCM", load), StudyRef("p", "b", "NOR", load), StudyRef("q", "c", "NOR", load)]
    with pytest.raises(InputError, match="DCM"):
        make_folds(refs, count=2)


def test_saved_and_loaded(tmp_path):
    refs = refs_of(12)
    folds = make_folds(refs, count=3, seed=5, validation_fraction=0.25)
    path = tmp_path / "new" / "folds.json"
    save_folds(folds, path)
    assert load_folds(path, refs) == folds
    assert [file.name for file in path.parent.iterdir()] == ["folds.json"]
    single = Folds(folds.folds[:1], 5, 0.25)
    save_folds(single, path)
    assert load_folds(path, refs) == single


def with_fold(folds, number, **parts):
    changed = list(folds.folds)
    changed[number] = dataclasses.replace(changed[number], **parts)
    return dataclasses.replace(folds, folds=tuple(changed))


def test_folds_that_do_not_fit(tmp_path):
    refs = refs_of(6)
    folds = make_folds(refs, count=3, seed=0)
    first, second = folds.folds[:2]
    path = tmp_path / "folds.json"
    for changed, told in [
        (with_fold(folds, 0, train=first.train + first.test[:1]), f"fold 0: more than once: {first.test[0]}"),
        (with_fold(folds, 0, validation=first.test), "fold 0: more than once"),
        (with_fold(folds, 0, test=first.test + first.test), "fold 0: more than once"),
        (with_fold(folds, 0, train=(*first.train, "patient99")), "fold 0: not in the data set: patient99"),
        (with_fold(folds, 0, train=first.train[1:]), f"fold 0: missing: {first.train[0]}"),
        (with_fold(folds, 0, test=second.test, train=first.test), "in two test sets"),
        (with_fold(folds, 0, test=(), train=first.train + first.test), "in no test set"),
        (dataclasses.replace(folds, folds=(first, first, first)), "in two test sets"),
        (Folds((Fold((), (), tuple(f"patient{n}" for n in range(1, 7))),), 0, 0.0), "no patients to train"),
    ]:
        save_folds(changed, path)
        with pytest.raises(InputError) as caught:
            load_folds(path, refs)
        assert told in str(caught.value)
        assert str(path) in str(caught.value)
    save_folds(folds, path)
    with pytest.raises(InputError, match="missing: patient7"):
        load_folds(path, refs_of(7))
    with pytest.raises(InputError, match="not in the data set: patient6"):
        load_folds(path, refs_of(5))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"folds": []}',
        json.dumps({"seed": 0, "validation_fraction": 0, "folds": []}).encode(),
        json.dumps(
            {"seed": 0, "validation_fraction": 0, "folds": [{"train": "p", "validation": [], "test": []}]}
        ).encode(),
        json.dumps({"seed": None, "validation_fraction": 0, "folds": [1]}).encode(),
    ],
)
def test_files_that_are_malformed(tmp_path, content):
    path = tmp_path / "folds.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"folds\.json"):
        load_folds(path, refs_of(3))
    with pytest.raises(InputError, match=r"none\.json"):
        load_folds(tmp_path / "none.json", refs_of(3))
