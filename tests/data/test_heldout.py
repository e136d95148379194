"""Folds that leave a clinical group, a spacing or an image size out of the training."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import acdc
from foanet_jax.data.folds import load_folds, make_folds, save_folds
from foanet_jax.data.heldout import even_runs, shown_ranges, value_of_studies
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.refs import StudyRef, grid_of
from foanet_jax.data.study import Grid
from foanet_jax.jobs.experiment.studies import open_folds
from foanet_jax.system.errors import InputError


def never():
    raise AssertionError("headers are enough")


def refs_with(grids, groups=("A",), images=None):
    """A patient for each (spacing, rows, columns), of two studies."""

    def ref(number, study):
        spacing, rows, columns = grids[number]
        grid = Grid((1, 9, rows, columns), (8.0, spacing, spacing))
        voxels = None if images is None else lambda: np.arange(3.0) + images[number]
        return StudyRef(f"p{number}", f"p{number}_{study}", groups[number % len(groups)], never, voxels, lambda: grid)

    return [ref(number, study) for number in range(len(grids)) for study in range(2)]


def parts_tested(folds):
    return [fold.test for fold in folds.folds]


def test_a_group_is_tested_on_networks_that_never_saw_it():
    refs = refs_with([(1.0, 10, 10)] * 9, ("B", "A", "C"))
    folds = make_folds(refs, count=5, split="group", validation_fraction=0.34)
    assert (folds.split, folds.held_out) == ("group", ("A", "B", "C"))
    assert parts_tested(folds) == [("p1", "p4", "p7"), ("p0", "p3", "p6"), ("p2", "p5", "p8")]
    for fold in folds.folds:
        assert len(fold.validation) == 2
        assert sorted(fold.train + fold.validation + fold.test) == [f"p{n}" for n in range(9)]
    drawn = {make_folds(refs, split="group", seed=seed).folds[0].validation for seed in range(8)}
    assert len(drawn) > 1, "validation patients are drawn at random"


def test_ranges_that_read_the_same_are_told_apart():
    refs = refs_with([(1.5604, 10, 10), (1.5604, 10, 10), (1.5626, 10, 10), (1.5638, 10, 10)])
    folds = make_folds(refs, count=2, split="spacing", validation_fraction=0)
    assert folds.held_out == ("1.560 mm", "1.563–1.564 mm")
    assert shown_ranges([(10.0, 10.04), (12.0, 12.1)], 1) == ["10.0", "12.0–12.1"]


@given(st.floats(0.3, 3.0), st.integers(1, 13))
def test_a_patients_value_is_that_of_equal_studies(value, count):
    assert value_of_studies([value] * count) == value_of_studies([value])


def test_spacings_in_their_order():
    refs = refs_with([(1.5, 10, 10), (0.7, 10, 10), (1.9, 10, 10), (1.1, 10, 10), (1.3, 10, 10), (1.7, 10, 10)])
    folds = make_folds(refs, count=3, split="spacing", validation_fraction=0)
    assert parts_tested(folds) == [("p1", "p3"), ("p0", "p4"), ("p2", "p5")]
    assert folds.held_out == ("0.70–1.10 mm", "1.30–1.50 mm", "1.70–1.90 mm")


def test_patients_of_one_size_are_not_parted():
    # Four patients with 200 px, in two shapes: blocks of 1, 4 and 1 rather than of 2 each.
    refs = refs_with([(1.0, 10, 20), (1.0, 20, 10), (1.0, 10, 20), (1.0, 10, 20), (1.0, 5, 5), (1.0, 30, 30)])
    folds = make_folds(refs, count=3, split="size", validation_fraction=0)
    assert parts_tested(folds) == [("p4",), ("p0", "p1", "p2", "p3"), ("p5",)]
    assert folds.held_out == ("25 px", "200 px", "900 px")
    with pytest.raises(InputError, match="3 different values of size for 4 folds"):
        make_folds(refs, count=4, split="size")


def test_patients_who_share_images_are_not_parted():
    grids = [(1.0, 10, 10), (1.1, 10, 10), (1.2, 10, 10), (1.9, 10, 10)]
    refs = refs_with(grids, images=[10, 20, 30, 10])
    folds = make_folds(refs, count=2, split="spacing", validation_fraction=0)
    assert parts_tested(folds) == [("p0", "p3"), ("p1", "p2")]
    with pytest.raises(InputError, match=r"p0, p3 have identical images but are in different groups"):
        make_folds(refs_with(grids, "AB", images=[10, 20, 30, 10]), split="group")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_runs_are_as_even_as_can_be(sizes, count):
    if count > len(sizes):
        return

    def cost(ends):
        return sum(sum(sizes[a:b]) ** 2 for a, b in itertools.pairwise((0, *ends)))

    every = [(*inner, len(sizes)) for inner in itertools.combinations(range(1, len(sizes)), count - 1)]
    found = even_runs(sizes, count)
    assert found in every
    assert cost(found) == min(map(cost, every))


@pytest.mark.parametrize(
    ("groups", "message"),
    [(("A", None), "the group of p1, p3 is unknown"), (("A",), "all patients are in the group A")],
)
def test_groups_that_cannot_be_left_out(groups, message):
    with pytest.raises(InputError, match=message):
        make_folds(refs_with([(1.0, 10, 10)] * 4, groups), split="group")


def test_a_split_that_there_is_not():
    with pytest.raises(InputError, match="'sex'; choose one of random, group, spacing, size"):
        make_folds(refs_with([(1.0, 10, 10)] * 4), split="sex")


def test_the_file_tells_how_folds_were_made(tmp_path):
    refs = refs_with([(1.0, 10, 10)] * 6, "AB")
    path = tmp_path / "folds.json"
    folds = make_folds(refs, split="group")
    save_folds(folds, path)
    content = json.loads(path.read_text())
    assert (content["split"], content["held_out"]) == ("group", ["A", "B"])
    assert load_folds(path, refs) == folds
    for part in ("split", "held_out"):  # as older versions wrote it
        content.pop(part)
    path.write_text(json.dumps(content))
    assert load_folds(path, refs) == dataclasses.replace(folds, split="random", held_out=())
    for part in ({"split": "sex"}, {"split": []}, {"held_out": [1]}, {"held_out": "A"}):
        path.write_text(json.dumps(content | part))
        with pytest.raises(InputError, match="make new folds"):
            load_folds(path, refs)


def test_folds_in_a_workdir_that_were_split_otherwise(tmp_path):
    config = acdc.get_config()
    refs = refs_with([(1.0 + number / 10, 10, 10) for number in range(4)])
    save_folds(make_folds(refs, count=2), tmp_path / "folds.json")
    config.data.split, config.data.folds = "spacing", 2
    with pytest.raises(InputError, match=r"has folds by random, but data\.split is spacing"):
        open_folds(config.to_dict(), refs, tmp_path)
    made = open_folds(config.to_dict(), refs)
    assert made.split == "spacing"
    save_folds(made, tmp_path / "folds.json")
    config.data.split = "random"  # as `--mode evaluate` would have it
    assert open_folds(config.to_dict(), refs, tmp_path) == made


def test_acdcs_headers_are_read_alone(tmp_path):
    for number, spacing in ((1, 1.2), (2, 1.6)):
        stem = tmp_path / f"patient{number:03d}" / f"patient{number:03d}_frame01"
        for suffix in (".nii.gz", "_gt.nii.gz"):
            voxels = np.zeros((1, 3, 5, 4), np.uint8)
            write_nifti(voxels, affine=np.eye(4), spacing_mm=(9.0, spacing, spacing), path=f"{stem}{suffix}")
        stem.with_name("Info.cfg").write_text("ED: 1\nES: 1\nGroup: NOR\n")
    first, second = list_acdc(tmp_path)
    assert grid_of(first).shape == (1, 3, 5, 4)
    assert grid_of(first).spacing_mm == pytest.approx((9.0, 1.2, 1.2))
    loaded = second.load()
    assert grid_of(second) == Grid(loaded.voxels.shape, loaded.spacing_mm)
    unread = dataclasses.replace(second, load_grid=None)
    assert grid_of(unread) == grid_of(second)


def test_acdcs_five_groups(shared_data):
    refs = [dataclasses.replace(ref, load=never, load_voxels=None) for ref in list_acdc(shared_data("acdc"))]
    config = acdc.get_config().to_dict()
    for split, names in (("group", ("DCM", "HCM", "MINF", "NOR", "RV")), ("spacing", None), ("size", None)):
        folds = open_folds({**config, "data": {**config["data"], "split": split}}, refs)
        assert len(folds.folds) == len(folds.held_out) == 5
        assert names is None or folds.held_out == names
        assert sum(len(fold.test) for fold in folds.folds) == 100
