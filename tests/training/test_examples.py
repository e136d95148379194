"""What a network trains on: the order fixed by seed and epoch, every example once, filled batches, boxes and labels."""

import collections

import numpy as np
import pytest

from foanet_jax.data.study import Study
from foanet_jax.errors import InputError
from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.boxes import Box, whole_image
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.training.examples import (
    batch_of,
    count_batches,
    epoch_batches,
    epoch_order,
    object_case,
    prepare_case,
    require_window,
    segmentation_case,
)

PLAIN, NO_CHANGE = PrepareSpec(bucket=16), AugmentSpec()


def study(number: int, shape=(3, 1, 40, 44), labelled: bool = True) -> Study:
    """A ring around a cavity that drifts by a pixel a slice; grey values that tell every slice from any other."""
    frames, slices, height, width = shape
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(shape, np.uint8)
    for n in range(frames * slices):
        radius = np.hypot(rows - 18 - n, columns - 20)
        labels[n // slices, n % slices] = np.select([radius <= 3, radius <= 6], [2, 1], 0)
    generator = np.random.default_rng(number)
    voxels = (generator.normal(size=shape) + 3 * labels).astype(np.float32)
    return Study(
        patient=f"p{number}",
        case=f"p{number}_c",
        voxels=voxels,
        spacing_mm=(8.0, 1.5, 1.2),
        classes=("background", "myocardium", "cavity"),
        labels=labels if labelled else None,
    )


def three_cases():
    """Grids of two shapes: 48×48 twice (3 and 4 slices), 32×48 once (5 slices)."""
    return [
        object_case(study(0), cyclic=True),
        object_case(study(1, (1, 4, 40, 44)), cyclic=True),
        object_case(study(2, (5, 1, 30, 44)), cyclic=False),
    ]


def batches(cases, **changes):
    options = {"batch_size": 2, "seed": 0, "epoch": 0} | changes
    return list(epoch_batches(cases, options.pop("spec", PLAIN), options.pop("augment", NO_CHANGE), **options))


def fingerprints(batch):
    """A number for each image of a batch: its middle channel's values, hashed."""
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
    expected = {image.tobytes() for case in cases for image in np.asarray(prepare_case(case, PLAIN).images)}
    assert set(found) == expected
    # 7 slices on 48×48 and 5 on 32×48: the last batch of each shape is filled with one example seen before.
    assert shapes == {(48, 48): 4, (32, 48): 3}
    assert sorted(found.values()) == [1] * 10 + [2] * 2


def test_batches_are_a_function_of_seed_and_epoch():
    cases = three_cases()
    options = {"augment": AugmentSpec(rotation_degrees=20, flip=True, noise=0.1), "jitter_px": 2}
    first, again = batches(cases, **options), batches(cases, **options)
    for a, b in zip(first, again, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    other = batches(cases, **options, epoch=1)
    assert {p for batch in first for p in fingerprints(batch)}.isdisjoint(p for b in other for p in fingerprints(b))


def test_batch_holds_the_slice_its_neighbours_and_its_labels():
    cine, volume = object_case(study(0), cyclic=True), object_case(study(1, (1, 3, 40, 44)), cyclic=True)
    prepared = [prepare_case(case, PLAIN) for case in (cine, volume)]
    batch = batch_of(prepared, [np.array([2, 0, 1]), np.array([0, 0, 1])])
    assert {name: value.shape for name, value in batch.items()} == {
        "images": (2, 48, 48, 3),
        "labels": (2, 48, 48),
        "extent": (2, 2),
    }
    np.testing.assert_array_equal(batch["extent"], [[40, 44], [40, 44]])
    for n, (case, triple) in enumerate([(cine, (2, 0, 1)), (volume, (0, 0, 1))]):
        voxels = case.study.voxels.reshape(3, 40, 44).astype(np.float64)
        normal = (voxels - voxels.mean()) / voxels.std()
        for channel, index in enumerate(triple):
            np.testing.assert_allclose(batch["images"][n, :40, :44, channel], normal[index], atol=1e-5)
        np.testing.assert_array_equal(batch["labels"][n, :40, :44], case.labels.reshape(3, 40, 44)[0])


@pytest.mark.parametrize("cyclic", [True, False])
def test_ends_of_a_cine_wrap_only_where_it_is_cyclic(cyclic):
    case = object_case(study(0), cyclic=cyclic)
    images = np.asarray(prepare_case(case, PLAIN).images)
    first = next(
        image
        for batch in batches([case], batch_size=1)
        for image in batch["images"]
        if np.array_equal(image[..., 1], images[0])
    )
    np.testing.assert_array_equal(first[..., 0], images[2 if cyclic else 0])
    np.testing.assert_array_equal(first[..., 2], images[1])


@pytest.mark.parametrize(("batch_size", "limit"), [(1, 0), (2, 0), (4, 0), (5, 0), (16, 0), (1, 5)])
def test_count_batches_is_the_number_of_batches(batch_size, limit):
    cases = three_cases()
    found = batches(cases, batch_size=batch_size, limit=limit)
    assert count_batches(cases, PLAIN, batch_size=batch_size, limit=limit) == len(found)
    assert all(len(batch["images"]) == batch_size for batch in found)


def test_localization_sees_one_object_on_whole_frames():
    case = object_case(study(0), cyclic=True)
    assert case.box == whole_image((40, 44))
    assert case.classes == 2
    assert case.examples == 3
    assert case.labels.dtype == np.uint8
    np.testing.assert_array_equal(case.labels, study(0).labels > 0)
    for batch in batches([case], augment=AugmentSpec(rotation_degrees=30), batch_size=3):
        assert set(np.unique(batch["labels"])) == {0, 1}


def test_segmentation_box_is_the_union_and_its_margin():
    # Discs of radius 6 about rows 18, 19, 20 and column 20: rows 12 to 26, columns 14 to 26.
    case = segmentation_case(study(0), cyclic=True, margin_px=4)
    assert case.box == Box(8, 10, 31, 31)
    assert case.classes == 3
    np.testing.assert_array_equal(case.labels, study(0).labels)
    assert segmentation_case(study(0), cyclic=True, margin_px=0).box == Box(12, 14, 27, 27)
    assert segmentation_case(study(0), cyclic=True, margin_px=15).box == Box(0, 0, 40, 42)
    assert segmentation_case(study(0), cyclic=True, margin_px=None).box == whole_image((40, 44))


def test_segmentation_without_foreground_takes_the_whole_frames():
    empty = study(0)
    empty.labels[:] = 0
    assert segmentation_case(empty, cyclic=True, margin_px=10).box == whole_image((40, 44))


def test_jittered_box_moves_and_stays_inside():
    case = segmentation_case(study(0), cyclic=True, margin_px=10)
    # Two rows from the top and three from the bottom: a shift of 6 px would leave the image.
    assert case.box == Box(2, 4, 37, 37)
    extents = set()
    for number in range(40):
        prepared = prepare_case(case, PLAIN, jitter_px=6, key=(0, 0, number))
        top, left = prepared.matrix[:, 2]
        rows, columns = prepared.extent
        assert 0 <= top <= 8
        assert 0 <= left <= 10
        assert 31 <= top + rows <= 40
        assert 31 <= left + columns <= 43
        extents.add((top, left, rows, columns))
    assert len(extents) > 30
    assert {top for top, *_ in extents} >= {0, 8}


def test_whole_frames_are_not_jittered():
    prepared = prepare_case(object_case(study(0), cyclic=True), PLAIN, jitter_px=6, key=(1,))
    assert prepared.extent == (40, 44)


def test_unlabelled_studies_are_refused():
    for make in (object_case, lambda *a, **k: segmentation_case(*a, **k, margin_px=3)):
        with pytest.raises(InputError, match="p7_c: no ground truth") as caught:
            make(study(7, labelled=False), cyclic=True)
        assert caught.value.code == "no-labels"


def test_crops_smaller_than_the_ssim_window_are_refused():
    case = segmentation_case(study(3), cyclic=True, margin_px=0)
    require_window([case], PLAIN)
    # 15 × 13 px of 1.5 × 1.2 mm at 2 mm: 11.25 × 7.8 px.
    with pytest.raises(InputError, match=r"p3_c: 11×8 px.*11-px window") as caught:
        require_window([case], PrepareSpec(spacing_mm=2.0))
    assert caught.value.code == "too-small"
