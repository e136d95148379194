"""Folds by patient, and patients who share images."""

import dataclasses
import json
import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foanet_jax.data.folds import Fold, Folds, load_folds, make_folds, save_folds
from foanet_jax.data.identical import identical_patients
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.datasets import list_stack_phantom
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.refs import StudyRef
from foanet_jax.system.errors import InputError


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


@pytest.mark.parametrize(("fraction", "validated"), [(0, 0), (0.05, 5)])
def test_one_fold_trains_with_all(tmp_path, fraction, validated):
    refs = refs_of(100, ("DCM", "HCM", "MINF", "NOR", "RV"))
    folds = make_folds(refs, count=1, validation_fraction=fraction)
    (fold,) = folds.folds
    assert (len(fold.train), len(fold.validation), fold.test) == (100 - validated, validated, ())
    assert {*fold.train, *fold.validation} == {ref.patient for ref in refs}
    assert len({int(patient.removeprefix("patient")) % 5 for patient in fold.validation}) == validated
    save_folds(folds, tmp_path / "folds.json")
    assert load_folds(tmp_path / "folds.json", refs) == folds


def test_a_pinned_outcome():
    # A change here gives every saved experiment other folds.
    folds = make_folds(refs_of(6, ("A", "B")), count=3, seed=0)
    assert [fold.test for fold in folds.folds] == [
        ("patient5", "patient6"),
        ("patient2", "patient3"),
        ("patient1", "patient4"),
    ]


# Patients who share images.


def refs_with(images, groups=(None,)):
    """A patient for each list of images; 7 stands for an image whose values are all 7, None for one without."""
    refs = []
    for number, its in enumerate(images):
        for place, image in enumerate(its):
            voxels = np.arange(4.0) + image if image != 7 else np.full(4, 7.0)

            def load_voxels(voxels=voxels):
                return voxels

            group = groups[number % len(groups)]
            refs.append(StudyRef(f"p{number}", f"p{number}_{place}", group, load, load_voxels))
    return refs


def sets_of(draw, patients):
    """Patients by the image that they have: those with the same number share it."""
    return [[draw(st.integers(100, 99 + patients))] for _ in range(patients)]


@given(st.data(), st.integers(2, 24), st.integers(2, 6), st.integers(0, 99), st.sampled_from([0, 0.1, 0.5, 0.99]))
@settings(deadline=None, max_examples=200)
def test_patients_who_share_images_stay_together(data, patients, count, seed, fraction):
    images = sets_of(data.draw, patients)
    refs = refs_with(images, "ABC"[: data.draw(st.integers(1, 3))])
    together = [{f"p{n}" for n, its in enumerate(images) if its == [image]} for image in {i for (i,) in images}]
    if len(together) < count:
        with pytest.raises(InputError, match="patients"):
            make_folds(refs, count=count, seed=seed)
        return
    folds = make_folds(refs, count=count, seed=seed, validation_fraction=fraction)
    assert folds == make_folds(refs[::-1], count=count, seed=seed, validation_fraction=fraction)
    everyone = Counter(f"p{n}" for n in range(patients))
    assert Counter(patient for fold in folds.folds for patient in fold.test) == everyone
    for fold in folds.folds:
        parts = [set(fold.train), set(fold.validation), set(fold.test)]
        assert Counter(fold.train + fold.validation + fold.test) == everyone
        assert fold.train
        assert fold.test
        if fraction == 0:
            assert not fold.validation
        for its in together:
            assert sum(bool(its & part) for part in parts) == 1
    tied = {patient for its in together if len(its) > 1 for patient in its}
    assert {patient for its in folds.identical for patient in its} == tied


@given(st.integers(20, 60), st.integers(2, 5), st.integers(0, 99), st.integers(1, 3), st.data())
@settings(deadline=None, max_examples=100)
def test_few_who_share_images_leave_the_folds_as_even_as_they_were(patients, count, seed, group_count, data):
    """As long as all who share would fit into one test set, and those of every group among its patients."""
    groups = "ABC"[:group_count]
    twins = data.draw(st.lists(st.integers(0, patients - 1), min_size=2, max_size=3, unique=True))
    per_group = Counter(number % group_count for number in twins)
    images = [[0] if number in twins else [100 + number] for number in range(patients)]
    folds = make_folds(refs_with(images, groups), count=count, seed=seed)
    plain = make_folds(refs_with([[100 + n] for n in range(patients)], groups), count=count, seed=seed)
    for name in ("train", "validation", "test"):
        sizes = [[len(getattr(fold, name)) for fold in its.folds] for its in (folds, plain)]
        if name == "test":
            assert sizes[0] == sizes[1]
            moved = sum(len(set(a.test) - set(b.test)) for a, b in zip(folds.folds, plain.folds, strict=True))
            assert moved <= 2 * len(twins)
    totals = [len(range(group, patients, group_count)) for group in range(group_count)]
    if all(per_group[group] <= total // count for group, total in enumerate(totals)):
        for group, letter in enumerate(groups):
            its = [sum(int(p[1:]) % group_count == group for p in fold.test) for fold in folds.folds]
            assert max(its) - min(its) <= 1, letter


def test_no_test_set_is_left_empty():
    """8 patients of whom 3 share images make 6 test sets, one of them of the three."""
    refs = refs_with([[100], [101], [0], [0], [0], [105], [106], [107]])
    tests = [fold.test for fold in make_folds(refs, count=6).folds]
    assert sorted(map(len, tests)) == [1, 1, 1, 1, 1, 3]
    assert ("p2", "p3", "p4") in tests


def test_folds_without_shared_images_are_what_they_were():
    bare = refs_of(40, "AB")
    read = [
        dataclasses.replace(ref, load_voxels=lambda number=number: np.arange(3.0) * (number + 1))
        for number, ref in enumerate(bare)
    ]
    for seed in range(5):
        assert make_folds(read, seed=seed) == make_folds(bare, seed=seed)
    assert make_folds(bare).identical == ()


def test_pairs_alone():
    """Five pairs for five folds: nobody is free to change places with, and each test set is a pair all the same."""
    refs = refs_with([[100 + n // 2] for n in range(10)])
    for seed in range(20):
        tests = [fold.test for fold in make_folds(refs, seed=seed).folds]
        assert sorted(tests) == [(f"p{n}", f"p{n + 1}") for n in range(0, 10, 2)]


def test_who_shares_images_with_whom():
    def damaged():
        raise InputError("corrupt", "x")

    # p0 and p2 share one image and p2 and p10 another; p3 has the same twice; p4 and p5 show one value.
    images = [[100], [101], [100, 102], [103, 103], [7], [7], *([200 + n] for n in range(4)), [102]]
    refs = refs_with(images)
    assert identical_patients(refs) == (("p0", "p2", "p10"),)
    assert identical_patients([dataclasses.replace(refs[0], load_voxels=damaged), *refs[1:]]) == (("p2", "p10"),)
    # The shape and the type count as well.
    same = [np.zeros((2, 3)) + np.arange(3), (np.zeros((2, 3)) + np.arange(3)).reshape(3, 2)]
    same.append(same[0].astype(np.float32))
    others = [StudyRef(f"q{n}", f"q{n}", None, load, lambda array=array: array) for n, array in enumerate(same)]
    assert identical_patients(others) == ()
    # Phantoms are made, not read.
    assert identical_patients(list_stack_phantom(3, size=64, seed=0)) == ()


def test_the_same_image_in_two_files(tmp_path, caplog):
    """Compressed or not: other bytes, the same voxels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 99, (6, 1, 2, 5, 4)).astype(np.float32)
    for number, suffix in enumerate([".nii.gz"] * 5 + [".nii"], 1):
        stem = tmp_path / f"patient{number:03d}" / f"patient{number:03d}_frame01"
        image = images[number - 1 if number < 6 else 0]
        for path, voxels in ((f"{stem}{suffix}", image), (f"{stem}_gt.nii.gz", np.zeros(image.shape, np.uint8))):
            write_nifti(voxels, affine=np.eye(4), spacing_mm=(1.0, 1.0, 1.0), path=path)
        stem.with_name("Info.cfg").write_text("ED: 1\nES: 1\nGroup: NOR\n")
    refs = list_acdc(tmp_path)
    assert identical_patients(refs) == (("patient001", "patient006"),)
    with caplog.at_level(logging.INFO):
        folds = make_folds(refs, count=3)
    assert "patient001, patient006 have identical images; they stay in one part" in caplog.text
    assert ("patient001", "patient006") in [fold.test for fold in folds.folds]


def test_a_file_of_folds_that_takes_them_apart(tmp_path, caplog):
    refs = refs_with([[100], [100], [101], [102]])
    path = tmp_path / "folds.json"
    apart = Folds((Fold(("p0", "p2"), ("p3",), ("p1",)),), 0, 0.1)
    save_folds(apart, path)
    with caplog.at_level(logging.WARNING):
        loaded = load_folds(path, refs)
    assert loaded == dataclasses.replace(apart, identical=(("p0", "p1"),))
    assert "p0, p1 have identical images but are in different parts of fold 0" in caplog.text
    assert str(path) in caplog.text

    def never():
        raise AssertionError("a file that tells who shares images spares reading them")

    unread = [dataclasses.replace(ref, load_voxels=never) for ref in refs]
    caplog.clear()
    save_folds(loaded, path)
    assert load_folds(path, unread) == loaded
    assert "p0, p1" in caplog.text
    caplog.clear()
    together = dataclasses.replace(loaded, folds=(Fold(("p2",), ("p3",), ("p0", "p1")),))
    save_folds(together, path)
    assert load_folds(path, unread) == together
    assert not caplog.text


@pytest.mark.parametrize("identical", [1, "p0", {"p0": 1}, [1], [["p0", 2]], [["\ud800", "p1"]]])
def test_files_that_tell_nonsense_of_who_shares_images(tmp_path, identical):
    path = tmp_path / "folds.json"
    save_folds(make_folds(refs_of(4), count=2), path)
    content = json.loads(path.read_text()) | {"identical": identical}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="make new folds"):
        load_folds(path, refs_of(4))


def test_the_twins_of_acdc(shared_data, caplog):
    refs = list_acdc(shared_data("acdc"))
    with caplog.at_level(logging.INFO):
        folds = make_folds(refs)
    assert folds.identical == (("patient074", "patient076"),)
    assert "patient074, patient076" in caplog.text
    for fold in folds.folds:
        assert (
            sum(bool({"patient074", "patient076"} & set(part)) for part in (fold.train, fold.validation, fold.test))
            == 1
        )
        assert (len(fold.train), len(fold.validation), len(fold.test)) == (72, 8, 20)
        group_of = {ref.patient: ref.group for ref in refs}
        assert set(Counter(group_of[patient] for patient in fold.test).values()) == {4}


@pytest.mark.parametrize(
    "options",
    [
        {"count": 0},
        {"count": 1, "split": "size"},
        {"validation_fraction": 1},
        {"validation_fraction": -1},
    ],
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
    single = Folds(folds.folds[:1], 5, 0.25, ())
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
