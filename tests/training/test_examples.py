"""What a network trains on: labels, boxes and their jitter, and what is refused."""

import dataclasses

import numpy as np
import pytest

from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box, whole_image
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.system.errors import InputError
from foanet_jax.training.examples import (
    jittered_box,
    localization_study,
    prepare_study,
    require_window,
    segmentation_study,
)

PLAIN = PrepareSpec(bucket=16)


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


def test_localization_sees_one_object_on_whole_frames():
    case = localization_study(study(0), cyclic=True)
    assert case.box == whole_image((40, 44))
    assert case.classes == 2
    assert case.examples == 3
    assert case.labels.dtype == np.uint8
    np.testing.assert_array_equal(case.labels, study(0).labels > 0)
    assert set(np.unique(prepare_study(case, PLAIN).labels)) == {0, 1}


def test_segmentation_box_is_the_union_and_its_margin():
    # Discs of radius 6 about rows 18, 19, 20 and column 20: rows 12 to 26, columns 14 to 26.
    case = segmentation_study(study(0), cyclic=True, margin_px=4)
    assert case.box == Box(8, 10, 31, 31)
    assert case.classes == 3
    np.testing.assert_array_equal(case.labels, study(0).labels)
    assert segmentation_study(study(0), cyclic=True, margin_px=0).box == Box(12, 14, 27, 27)
    assert segmentation_study(study(0), cyclic=True, margin_px=15).box == Box(0, 0, 40, 42)
    assert segmentation_study(study(0), cyclic=True, margin_px=None).box == whole_image((40, 44))


def test_segmentation_without_foreground_takes_the_whole_frames():
    empty = study(0)
    empty.labels[:] = 0
    assert segmentation_study(empty, cyclic=True, margin_px=10).box == whole_image((40, 44))


def test_jittered_box_moves_and_stays_inside():
    case = segmentation_study(study(0), cyclic=True, margin_px=10)
    # Two rows from the top and three from the bottom: a shift of 6 px would leave the image.
    assert case.box == Box(2, 4, 37, 37)
    extents = set()
    for number in range(40):
        prepared = prepare_study(case, PLAIN, jitter_px=6, key=(0, 0, number))
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
    prepared = prepare_study(localization_study(study(0), cyclic=True), PLAIN, jitter_px=6, key=(1,))
    assert prepared.extent == (40, 44)


def test_unlabelled_studies_are_refused():
    for make in (localization_study, lambda *a, **k: segmentation_study(*a, **k, margin_px=3)):
        with pytest.raises(InputError, match="p7_c: no ground truth") as caught:
            make(study(7, labelled=False), cyclic=True)
        assert caught.value.code == "no-labels"


def test_crops_smaller_than_the_ssim_window_are_refused():
    case = segmentation_study(study(3), cyclic=True, margin_px=0)
    require_window([case], PLAIN)
    # 15 × 13 px of 1.5 × 1.2 mm at 2 mm: 11.25 × 7.8 px.
    with pytest.raises(InputError, match=r"p3_c: the crop has 11×8 px.*11-px window") as caught:
        require_window([case], PrepareSpec(spacing_mm=2.0))
    assert caught.value.code == "too-small"


def test_crops_grow_by_a_random_share_of_their_size():
    case = segmentation_study(study(0, (1, 1, 200, 200)), cyclic=True, margin_px=30)
    case = dataclasses.replace(case, box=Box(60, 50, 140, 150))
    grown = [jittered_box(case, 0, (n,), scale=0.2) for n in range(100)]
    rows, columns = np.array([box.shape for box in grown]).T
    assert rows.min() >= 80
    assert 94 <= rows.max() <= 96
    assert 117 <= columns.max() <= 120
    assert all(box.centre == case.box.centre for box in grown)
    assert jittered_box(case, 3, (1,)) == jittered_box(case, 3, (1,), scale=0.0)
