"""An epoch: the order fixed by seed and epoch, every example once, filled batches, blocks that change nothing."""

import collections
import dataclasses

import numpy as np
import pytest

from foanet_jax.data.study import Study
from foanet_jax.image.augment import NO_CHANGE, AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.training import epoch as epoch_module
from foanet_jax.training.epoch import (
    BLOCK,
    Block,
    EpochSpec,
    Sources,
    count_steps,
    epoch_batches,
    epoch_order,
    fill_shelf,
    plan_epoch,
    split_blocks,
)
from foanet_jax.training.examples import localization_study, prepare_study, segmentation_study

PLAIN = EpochSpec(PrepareSpec(bucket=16), NO_CHANGE, batch_size=2)
CHANGED = dataclasses.replace(PLAIN, augment=AugmentSpec(rotation_degrees=20, flip=True, noise=0.1), jitter_px=2)


def study(number: int, shape=(3, 1, 40, 44)) -> Study:
    """Grey values that tell every slice from any other, and a square of labels that drifts by a pixel a slice."""
    labels = np.zeros(shape, np.uint8)
    for n, (frame, slice_) in enumerate(np.ndindex(*shape[:2])):
        labels[frame, slice_, 8 + n : 24 + n, 10:24] = 1
    voxels = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    return Study(
        patient=f"p{number}",
        case=f"p{number}_c",
        voxels=voxels,
        spacing_mm=(8.0, 1.5, 1.2),
        classes=("background", "heart"),
        labels=labels,
    )


def three_cases():
    """Grids of two shapes: 48×48 twice (3 and 4 slices), 32×48 once (5 slices)."""
    return [
        localization_study(study(0), cyclic=True),
        localization_study(study(1, (1, 4, 40, 44)), cyclic=True),
        localization_study(study(2, (5, 1, 30, 44)), cyclic=False),
    ]


def batches(cases, spec=PLAIN, epoch=0, **options):
    """Single batches, (B, …)."""
    stacked = (batch for _, batch in epoch_batches(cases, spec, epoch, **options))
    return [{name: value[n] for name, value in batch.items()} for batch in stacked for n in range(len(batch["images"]))]


def fingerprints(batch):
    """Each image of a batch by its middle channel's values."""
    return [np.asarray(image)[..., 1].tobytes() for image in batch["images"]]


def test_order_is_a_permutation_fixed_by_seed_and_epoch():
    cases = three_cases()
    everything = {(c, s) for c, case in enumerate(cases) for s in range(case.examples)}
    first = epoch_order(cases, seed=1, epoch=2, limit=0)
    assert len(first) == 12
    assert set(first) == everything
    np.random.default_rng(5).random(100)
    assert epoch_order(cases, seed=1, epoch=2, limit=0) == first
    assert epoch_order(cases, seed=1, epoch=3, limit=0) != first
    assert epoch_order(cases, seed=2, epoch=2, limit=0) != first
    assert epoch_order(cases, seed=1, epoch=2, limit=5) == first[:5]
    assert epoch_order(cases, seed=1, epoch=2, limit=100) == first


def test_every_example_of_the_epoch_appears():
    cases = three_cases()
    found = collections.Counter()
    shapes = collections.Counter()
    for batch in batches(cases):
        assert batch["images"].shape[0] == 2
        found.update(fingerprints(batch))
        shapes[batch["images"].shape[1:3]] += 1
    expected = {image.tobytes() for case in cases for image in np.asarray(prepare_study(case, PLAIN.prepare).images)}
    assert set(found) == expected
    # 7 slices on 48×48 and 5 on 32×48: the last batch of each shape is filled with one example seen before.
    assert shapes == {(48, 48): 4, (32, 48): 3}
    assert sorted(found.values()) == [1] * 10 + [2] * 2


def test_batches_are_a_function_of_seed_and_epoch():
    cases = three_cases()
    first, again = batches(cases, CHANGED), batches(cases, CHANGED, sources=Sources(cases))
    for a, b in zip(first, again, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    other = batches(cases, CHANGED, epoch=1)
    assert {p for batch in first for p in fingerprints(batch)}.isdisjoint(p for b in other for p in fingerprints(b))


@pytest.mark.parametrize("together", [2, 3, BLOCK])
def test_batches_that_come_together_are_the_same_batches(together):
    cases = three_cases()
    spec = dataclasses.replace(CHANGED, batch_size=1)
    single, stacked = batches(cases, spec), [batch for _, batch in epoch_batches(cases, spec, 0, together=together)]
    assert {len(batch["images"]) for batch in stacked} <= {1, together}
    if together < 5:
        assert any(len(batch["images"]) == together for batch in stacked)
    for a, b in zip(single, batches(cases, spec, together=together), strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_parts_of_blocks_by_hand():
    one, two = Block((16, 16), (((0, 0),), ((0, 1),), ((0, 2),), ((0, 3),), ((0, 4),))), Block((32, 16), (((1, 0),),))
    first, second = one.batches[:2], one.batches[2:4]
    rest = [one.batches[4:], two.batches]
    assert [part.batches for part in split_blocks([one, two], together=2)] == [first, second, *rest]
    assert [part.batches for part in split_blocks([one, two], together=2, skip=2)] == [second, *rest]
    assert [part.batches for part in split_blocks([one, two], together=2, skip=3)] == [one.batches[3:4], *rest]
    assert [part.batches for part in split_blocks([one, two], together=2, skip=5)] == [two.batches]
    assert split_blocks([one, two], together=2, skip=6) == []
    assert split_blocks([one, two], together=BLOCK) == split_blocks([one, two], together=1)


@pytest.mark.parametrize("skip", [1, 6, 9, 11])
def test_what_is_skipped_is_the_start_and_is_not_prepared(skip, monkeypatch):
    cases = three_cases()
    spec = dataclasses.replace(CHANGED, batch_size=1)
    whole = list(epoch_batches(cases, spec, 0, together=3))
    prepared = []
    prepare = epoch_module.prepare_study
    monkeypatch.setattr(
        epoch_module,
        "prepare_study",
        lambda case, *args, **named: prepared.append(case) or prepare(case, *args, **named),
    )
    found = list(epoch_batches(cases, spec, 0, together=3, skip=skip))
    examples = [batch for part, _ in found for batch in part.batches]
    assert examples == [batch for part, _ in whole for batch in part.batches][skip:]
    assert {id(case) for case in prepared} == {id(cases[number]) for ((number, _),) in examples}
    images = [[np.asarray(image) for _, batch in parts for image in batch["images"]] for parts in (whole, found)]
    for a, b in zip(images[0][skip:], images[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_of_what_others_train_on_nothing_is_prepared(monkeypatch):
    cases = three_cases()
    whole = batches(cases, CHANGED)
    opened = []
    monkeypatch.setattr(
        epoch_module,
        "fill_shelf",
        lambda cases, numbers, *rest: opened.append(numbers) or fill_shelf(cases, numbers, *rest),
    )
    for share in (slice(0, 1), slice(1, 2)):
        opened.clear()
        parts = list(epoch_batches(cases, CHANGED, 0, share=share))
        wanted = {number for part, _ in parts for batch in part.batches for number, _ in batch[share]}
        assert {number for numbers in opened for number in numbers} == wanted
        for (_, found), expected in zip(parts, whole, strict=True):
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name][0], value[share])


def test_batches_tell_their_examples():
    cases = three_cases()
    for part, batch in epoch_batches(cases, PLAIN, 0, together=2):
        assert len(part.batches) == len(batch["images"])
        for examples, images in zip(part.batches, batch["images"], strict=True):
            for (number, slice_), image in zip(examples, images, strict=True):
                expected = prepare_study(cases[number], PLAIN.prepare).images[slice_]
                np.testing.assert_array_equal(image[..., 1], expected)


def test_blocks_hold_one_shape_each_and_come_in_random_order():
    cases = [localization_study(study(n, (BLOCK, 1, 30 + 15 * (n % 2), 44)), cyclic=True) for n in range(8)]
    spec = dataclasses.replace(PLAIN, batch_size=1)
    plans = [plan_epoch(cases, spec, epoch) for epoch in range(4)]
    for plan in plans:
        assert [len(block.batches) for block in plan] == [BLOCK] * 8
        for block in plan:
            assert {cases[c].original.voxels.shape[2] for batch in block.batches for c, _ in batch} == {
                {32: 30, 48: 45}[block.shape[0]]
            }
    assert len({tuple(block.shape for block in plan) for plan in plans}) > 1


def test_batch_holds_the_slice_its_neighbours_and_its_labels():
    cases = [localization_study(study(0), cyclic=True), localization_study(study(1, (1, 3, 40, 44)), cyclic=True)]
    shelf = fill_shelf(cases, [0, 1], Sources(cases), PLAIN, 0, (48, 48))
    assert shelf.images.shape[0] == epoch_module.SHELF
    batch = shelf.collect([[(0, 0), (1, 0)]])
    assert {name: value.shape for name, value in batch.items()} == {
        "images": (1, 2, 48, 48, 3),
        "labels": (1, 2, 48, 48),
        "extent": (1, 2, 2),
    }
    np.testing.assert_array_equal(batch["extent"][0], [[40, 44], [40, 44]])
    for n, (case, triple) in enumerate([(cases[0], (2, 0, 1)), (cases[1], (0, 0, 1))]):
        voxels = case.original.voxels.reshape(3, 40, 44).astype(np.float64)
        normal = (voxels - voxels.mean()) / voxels.std()
        for channel, index in enumerate(triple):
            np.testing.assert_allclose(batch["images"][0, n, :40, :44, channel], normal[index], atol=1e-5)
        np.testing.assert_array_equal(batch["labels"][0, n, :40, :44], case.labels.reshape(3, 40, 44)[0])


@pytest.mark.parametrize("cyclic", [True, False])
def test_ends_of_a_cine_wrap_only_where_it_is_cyclic(cyclic):
    case = localization_study(study(0), cyclic=cyclic)
    images = np.asarray(prepare_study(case, PLAIN.prepare).images)
    first = next(
        image for batch in batches([case]) for image in batch["images"] if np.array_equal(image[..., 1], images[0])
    )
    np.testing.assert_array_equal(first[..., 0], images[2 if cyclic else 0])
    np.testing.assert_array_equal(first[..., 2], images[1])


@pytest.mark.parametrize(("batch_size", "limit"), [(1, 0), (2, 0), (4, 0), (5, 0), (16, 0), (1, 5), (2, 7)])
def test_steps_are_counted_as_they_come(batch_size, limit):
    cases = three_cases()
    spec = dataclasses.replace(PLAIN, batch_size=batch_size, limit=limit)
    found = [batches(cases, spec, epoch) for epoch in range(3)]
    assert count_steps(cases, spec, 3) == [len(epoch) for epoch in found]
    assert all(len(batch["images"]) == batch_size for epoch in found for batch in epoch)


def test_steps_are_counted_with_jitter_that_changes_shapes():
    cases = [segmentation_study(study(n), cyclic=True, margin_px=5) for n in range(4)]
    spec = dataclasses.replace(PLAIN, jitter_px=4)
    counted = count_steps(cases, spec, 6)
    assert counted == [len(batches(cases, spec, epoch)) for epoch in range(6)]
    assert len({block.shape for epoch in range(6) for block in plan_epoch(cases, spec, epoch)}) > 1


def test_studies_too_large_to_stay_are_opened_each_time(monkeypatch):
    cases = three_cases()
    resident = Sources(cases)
    assert resident[0] is resident[0]
    monkeypatch.setattr(epoch_module, "RESIDENT_BYTES", 5 * 8 * 128**2)
    passing = Sources(cases)
    assert passing[0] is not passing[0]
    for a, b in zip(batches(cases, CHANGED, sources=resident), batches(cases, CHANGED, sources=passing), strict=True):
        np.testing.assert_array_equal(a["images"], b["images"])
