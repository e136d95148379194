"""Papillary muscles by their intensity: on discs whose sizes are known, and on images without a threshold."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from foanet_jax.data.study import ACDC_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.measures.indices.papillary import PAPILLARY, otsu_threshold, papillary_mask, papillary_volumes_ml
from foanet_jax.measures.indices.study import join_frames, measure_study, papillary_to_myocardium
from foanet_jax.measures.quality.review import Expectations, review_study
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError

SPACING = (10.0, 1.0, 1.0)
GRID = {"classes": ACDC_CLASSES, "spacing_mm": SPACING}
BLOOD, MUSCLE = 200.0, 60.0


def heart(radii=(12, 8), slices=3):
    """Mask, image and papillary muscles, (T, Z, 40, 40): two squares of 3 × 3 px in the cavity, as bright as muscle."""
    rows, columns = np.mgrid[:40, :40]
    away = np.hypot(rows - 20, columns - 20)
    frames = [np.where(away < radius, 3, np.where(away < radius + 5, 2, 0)) for radius in radii]
    mask = np.stack([np.broadcast_to(frame, (slices, 40, 40)) for frame in frames]).astype(np.uint8)
    papillary = np.zeros(mask.shape, bool)
    papillary[..., 17:20, 16:19] = papillary[..., 21:24, 21:24] = True
    image = np.where(mask == 3, BLOOD, MUSCLE)
    image[papillary] = MUSCLE
    noise = np.random.default_rng(0).normal(0, 8, mask.shape)
    return mask, (image + noise).astype(np.float32), papillary


def test_the_dark_pixels_are_found_exactly():
    mask, image, papillary = heart()
    np.testing.assert_array_equal(papillary_mask(image, mask, classes=ACDC_CLASSES), papillary)
    # 18 px of 1 mm² on 3 slices of 10 mm: 0.54 ml.
    assert papillary_volumes_ml(image, mask, **GRID) == pytest.approx([0.54, 0.54])


def test_the_threshold_is_that_of_scikit_image():
    random = np.random.default_rng(1)
    for share in (0.1, 0.5, 0.9):
        count = int(1000 * share)
        values = np.concatenate([random.normal(60, 15, count), random.normal(200, 25, 1000 - count)])
        width = np.ptp(values) / 256
        assert otsu_threshold(values) == pytest.approx(threshold_otsu(values), abs=1.01 * width)
    assert otsu_threshold(np.full(20, 7.0)) == 7


@pytest.mark.parametrize(("factor", "added"), [(3.0, 0.0), (0.01, 5.0), (1.0, -400.0)])
def test_the_scale_of_the_image_does_not_matter(factor, added):
    mask, image, papillary = heart()
    np.testing.assert_array_equal(papillary_mask(factor * image + added, mask, classes=ACDC_CLASSES), papillary)


def test_a_cavity_without_papillary_muscles_keeps_its_blood():
    mask, image, papillary = heart()
    image[papillary] = BLOOD
    assert not papillary_mask(image, mask, classes=ACDC_CLASSES).any()


def test_black_blood_is_refused():
    mask, image, _ = heart()
    with pytest.raises(InputError, match="not brighter than the myocardium") as caught:
        papillary_mask(-image, mask, classes=ACDC_CLASSES)
    assert caught.value.code == "papillary"


def test_slices_with_few_pixels_have_none():
    mask, image, _ = heart()
    mask[:, 0] = 0
    mask[:, 0, 20, 20:25] = 3
    assert not papillary_mask(image, mask, classes=ACDC_CLASSES)[:, 0].any()


def test_volumes_and_mass_by_hand():
    mask, image, _ = heart()
    moved = papillary_volumes_ml(image, mask, **GRID)
    drawn = measure_study(mask, **GRID)
    indices = papillary_to_myocardium(drawn, moved, ACDC_CLASSES)
    beat, before = indices.ventricles, drawn.ventricles
    columns = beat.columns()
    assert columns["lv_edv_ml"] == pytest.approx(before.left.edv_ml - 0.54)
    assert columns["lv_esv_ml"] == pytest.approx(before.left.esv_ml - 0.54)
    assert columns["lv_sv_ml"] == pytest.approx(before.left.sv_ml)
    assert columns["lv_ef_percent"] == pytest.approx(100 * before.left.sv_ml / (before.left.edv_ml - 0.54))
    assert columns["lv_mass_g"] == pytest.approx(before.mass_g + 1.05 * 0.54)
    assert (columns["lv_papillary_ed_ml"], columns["lv_papillary_es_ml"]) == pytest.approx((0.54, 0.54))
    assert columns["lv_edv_drawn_ml"] == pytest.approx(before.left.edv_ml)
    assert columns["lv_esv_drawn_ml"] == pytest.approx(before.left.esv_ml)
    assert columns["lv_ef_drawn_percent"] == pytest.approx(before.left.ef_percent)
    assert columns["lv_mass_drawn_g"] == pytest.approx(before.mass_g)
    # The sum of cavity and myocardium stays.
    for name in ("cavity", "myocardium"):
        assert indices.volumes_ml[name] == pytest.approx(
            drawn.volumes_ml[name] + (moved if name == "myocardium" else -moved)
        )
    np.testing.assert_array_equal(indices.slices.cavity_area_mm2, drawn.slices.cavity_area_mm2)


def test_the_frames_of_the_beat_do_not_depend_on_the_papillary_muscles():
    mask, _, _ = heart((12, 11, 8))
    drawn = measure_study(mask, **GRID)
    # So many dark pixels in the largest frame that the second one has more blood.
    moved = np.array([6.0, 0.0, 0.0])
    beat = papillary_to_myocardium(drawn, moved, ACDC_CLASSES).ventricles
    assert beat.left.volumes_ml[1] > beat.left.volumes_ml[0]
    assert (beat.ed, beat.es) == (0, 2)


def test_frames_in_separate_files_are_joined_with_their_papillary_muscles():
    mask, image, _ = heart()
    studies = {}
    for number, frame in ((1, 0), (9, 1)):
        one = slice(frame, frame + 1)
        moved = papillary_volumes_ml(image[one], mask[one], **GRID)
        studies[f"a_frame{number:02d}"] = papillary_to_myocardium(measure_study(mask[one], **GRID), moved, ACDC_CLASSES)
    joined = join_frames(studies, ACDC_CLASSES)["a"].columns()
    whole = papillary_to_myocardium(measure_study(mask, **GRID), np.array([0.54, 0.54]), ACDC_CLASSES)
    expected = whole.ventricles.columns()
    assert {name: value for name, value in joined.items() if np.isfinite(value)} == pytest.approx(
        {name: value for name, value in expected.items() if np.isfinite(value)}
    )


@pytest.mark.parametrize("convention", ["", "cavity", "myocardium"])
def test_only_on_request(convention):
    mask, image, _ = heart()
    study = Study("p", "p", image, SPACING, ACDC_CLASSES)
    prediction = Prediction(mask, [None], None, Box(0, 0, 40, 40), ())
    review = review_study(study, prediction, Expectations(), convention=convention)
    moved = convention == "myocardium"
    assert (PAPILLARY in review.indices.volumes_ml) == moved
    assert ("lv_papillary_ed_ml" in review.numbers) == moved
