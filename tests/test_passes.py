"""A box that the segmentation contradicts is corrected: networks whose answer is known, a wrong localization."""

import dataclasses

import numpy as np
import pytest

from foanet_jax import pipeline
from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box
from foanet_jax.pipeline import NOT_LOCALIZED, predict_study
from tests.test_pipeline import model, oracle, ring_study

RIGHT = Box(26, 6, 75, 55)  # radius 14 around (50, 30), and ten pixels more


@pytest.fixture
def localized(monkeypatch):
    """Sets the box that the localization finds on every slice; what it segments counts as passes."""
    passes = []

    def segment(study: Study, box: Box, *arguments, **options):
        passes.append(box)
        return real(study, box, *arguments, **options)

    def at(box: Box | None):
        monkeypatch.setattr(pipeline, "localize", lambda study, *_, **__: [box] * study.voxels.shape[0])
        return passes

    real = pipeline.segment
    monkeypatch.setattr(pipeline, "probabilities", oracle)
    monkeypatch.setattr(pipeline, "segment", segment)
    return at


def predicted(passes: int):
    study = ring_study(slices=1)
    return study, predict_study(study, dataclasses.replace(model(spacing_mm=0.0), passes=passes))


def test_one_pass_believes_the_box(localized):
    passes = localized(Box(30, 10, 55, 35))
    study, found = predicted(1)
    assert passes == [Box(20, 0, 65, 45)]
    assert 0 < np.count_nonzero(found.mask) <= np.count_nonzero(study.labels)


def test_a_box_that_cuts_the_heart_off_moves_to_it(localized):
    passes = localized(Box(20, 5, 45, 25))
    study, found = predicted(5)
    assert passes[0] == Box(10, 0, 55, 35)  # without the ring's lower right
    assert passes[-1] == RIGHT
    assert found.box == RIGHT
    assert found.object_box == Box(36, 16, 65, 45)
    np.testing.assert_array_equal(found.mask, study.labels)


def test_a_box_that_fits_is_kept(localized):
    passes = localized(Box(38, 18, 65, 45))
    predicted(5)
    assert passes == [Box(28, 8, 75, 55)]


def test_where_nothing_is_drawn_twice_the_box_is_looked_at(localized):
    passes = localized(Box(78, 50, 82, 60))
    study, found = predicted(4)
    assert passes[:2] == [Box(68, 40, 90, 70), Box(53, 25, 90, 70)]  # 15 px more on each side, as far as there are
    np.testing.assert_array_equal(found.mask, study.labels)


def test_no_more_passes_than_asked_for(localized):
    passes = localized(Box(20, 5, 45, 25))
    predicted(2)
    assert len(passes) == 2


def test_what_is_not_localized_is_looked_for_in_the_whole_image_then_segmented_in_its_box(localized):
    passes = localized(None)
    study, found = predicted(3)
    assert passes == [Box(0, 0, 90, 70), RIGHT]
    assert found.flags == (NOT_LOCALIZED,)
    np.testing.assert_array_equal(found.mask, study.labels)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (Box(0, 0, 4, 6), 1.0),
        (Box(0, 3, 4, 9), 12 / 36),
        (Box(2, 0, 6, 6), 12 / 36),
        (Box(1, 1, 3, 3), 4 / 24),
        (Box(4, 0, 8, 6), 0.0),
    ],
)
def test_overlap_by_hand(other, share):
    box = Box(0, 0, 4, 6)
    assert box.overlap(other) == pytest.approx(share)
    assert other.overlap(box) == box.overlap(other)
