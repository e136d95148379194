"""Preparation: the plain formula of Prepro.1, padding that never matters, the way back, order and alignment."""

import numpy as np
import pytest

from foanet_jax.image import prepare as preparation
from foanet_jax.image.augment import NO_AUGMENTATION, Augmentation, AugmentSpec, draw_augmentation
from foanet_jax.image.boxes import Box, crop, whole_image
from foanet_jax.image.prepare import Prepared, PrepareSpec, open_source, padded_shape, prepared_extent, restore_labels
from foanet_jax.image.resample import resize_matrix, sample_images

SPACING = (1.37, 1.37)
PREPRO_2 = PrepareSpec(spacing_mm=0.65, foa=True)


def prepare(voxels: np.ndarray, *args, labels: np.ndarray | None = None, **options) -> Prepared:
    return preparation.prepare(open_source(voxels, labels), *args, **options)


def scene(shape=(1, 3, 50, 60)) -> np.ndarray:
    """Voxels with an offset, a gradient and some texture."""
    rows, columns = np.mgrid[: shape[2], : shape[3]]
    noise = np.random.default_rng(0).normal(size=shape)
    return (300 + 2 * rows - columns + 30 * np.sin(rows / 5) * np.cos(columns / 7) + 5 * noise).astype(np.float32)


def rings(shape=(1, 3, 50, 60)) -> np.ndarray:
    """Labels like a heart's: a cavity (2) in a ring of myocardium (1), larger from slice to slice."""
    rows, columns = np.mgrid[: shape[2], : shape[3]]
    radius = np.hypot(rows - 24, columns - 31)
    planes = [np.select([radius < 6 + n, radius < 12 + n], [2, 1], 0) for n in range(shape[0] * shape[1])]
    return np.stack(planes).reshape(shape).astype(np.uint8)


def gauss(images: np.ndarray) -> np.ndarray:
    images = images.astype(np.float64)
    return (images - images.mean()) / images.std()


def inside(prepared) -> np.ndarray:
    """Prepared images without their padding."""
    rows, columns = prepared.extent
    return np.asarray(prepared.images)[:, :rows, :columns]


def dice(first, second) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.37, 0.7), (0.1, 3.3)])
def test_prepro_1_is_the_plain_formula(spacing):
    voxels = scene()
    prepared = prepare(voxels, whole_image((50, 60)), spacing, PrepareSpec(), labels=rings(), classes=3)
    assert prepared.extent == (50, 60)
    assert prepared.images.shape == (3, 64, 64)
    np.testing.assert_allclose(inside(prepared), gauss(voxels)[0], atol=5e-6)
    np.testing.assert_array_equal(prepared.labels[:, :50, :60], rings()[0])


def test_crop_is_normalised_by_itself_over_all_frames():
    voxels = scene((4, 1, 50, 60)) * np.array([1, 2, 3, 4], np.float32)[:, None, None, None]
    box = Box(7, 11, 43, 50)
    prepared = prepare(voxels, box, SPACING, PrepareSpec())
    np.testing.assert_allclose(inside(prepared), gauss(crop(voxels, box))[:, 0], atol=5e-6)
    assert prepared.labels is None


def test_padding_is_zero_and_the_bucket_does_not_matter():
    voxels, box = scene(), Box(5, 8, 42, 51)
    turn = draw_augmentation((1,), AugmentSpec(rotation_degrees=40, flip=True, scale=0.1, gamma=0.4))
    found = {
        bucket: prepare(
            voxels,
            box,
            SPACING,
            PrepareSpec(spacing_mm=1.0, foa=True, bucket=bucket),
            labels=rings(),
            classes=3,
            augmentation=turn,
        )
        for bucket in (16, 64)
    }
    for bucket, prepared in found.items():
        rows, columns = prepared.extent
        assert (rows, columns) == (51, 59)
        assert prepared.images.shape[1:] == padded_shape((51, 59), bucket)
        assert not np.asarray(prepared.images)[:, rows:].any()
        assert not np.asarray(prepared.images)[:, :, columns:].any()
        assert not np.asarray(prepared.labels)[:, rows:].any()
        assert not np.asarray(prepared.labels)[:, :, columns:].any()
        np.testing.assert_allclose(inside(prepared), inside(found[16]), atol=1e-5)
        np.testing.assert_array_equal(prepared.labels[:, :rows, :columns], found[16].labels[:, :rows, :columns])


def test_padded_shape():
    assert padded_shape((1, 32), 32) == (32, 32)
    assert padded_shape((33, 65), 32) == (64, 96)


def test_foa_comes_before_gauss_normalisation():
    voxels, box = scene(), Box(5, 8, 42, 51)
    spec = PrepareSpec(spacing_mm=1.0, foa=True, delta_ratio=0.4)
    prepared = prepare(voxels, box, SPACING, spec)
    rows, columns = extent = prepared.extent
    matrix = resize_matrix(SPACING, (1.0, 1.0), (box.top, box.left)).astype(np.float32)
    resized = np.asarray(sample_images(voxels[0], matrix, extent), np.float64)
    a, b = np.mgrid[:rows, :columns]
    delta = 0.4 * (rows + columns) / 2
    weights = np.exp(-((a - (rows - 1) / 2) ** 2 + (b - (columns - 1) / 2) ** 2) / delta**2)
    np.testing.assert_allclose(inside(prepared), gauss(weights * resized), atol=2e-5)
    after = weights * gauss(resized)
    assert np.abs(inside(prepared) - after).max() > 0.5


def test_foa_of_normalised_voxels_fades_to_the_crops_mean():
    voxels, box = scene(), Box(5, 8, 42, 51)

    def prepared(scale=1, offset=0, **changes):
        return inside(prepare(scale * voxels + offset, box, SPACING, PrepareSpec(foa=True, **changes)))

    found = prepared(foa_of="normalised")
    rows, columns = box.shape
    a, b = np.mgrid[:rows, :columns]
    delta = 0.5 * (rows + columns) / 2
    weights = np.exp(-((a - (rows - 1) / 2) ** 2 + (b - (columns - 1) / 2) ** 2) / delta**2)
    np.testing.assert_allclose(found, gauss(weights * gauss(crop(voxels, box)[0])), atol=2e-5)
    np.testing.assert_allclose(prepared(scale=3, offset=-500, foa_of="normalised"), found, atol=1e-4)
    assert np.abs(prepared(offset=-500) - prepared()).max() > 0.5


def test_frames_beyond_a_multiple_of_four_do_not_matter():
    voxels = scene((1, 5, 50, 60))
    together = prepare(voxels, whole_image((50, 60)), SPACING, PrepareSpec())
    assert together.images.shape[0] == 5
    np.testing.assert_allclose(inside(together), gauss(voxels)[0], atol=5e-6)


def one_hot(prepared, classes=3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[np.asarray(prepared.labels)]


@pytest.mark.parametrize("box", [Box(4, 9, 45, 54), whole_image((50, 60))])
@pytest.mark.parametrize("label_method", ["linear", "nearest"])
def test_restore_gives_labels_back(box, label_method):
    spec = PrepareSpec(spacing_mm=0.65, foa=True, label_method=label_method)
    prepared = prepare(scene(), box, SPACING, spec, labels=rings(), classes=3)
    back = restore_labels(one_hot(prepared), prepared, box)
    assert back.shape == (3, *box.shape)
    assert back.dtype == np.uint8
    truth = crop(rings()[0], box)
    for c in range(3):
        assert dice(back == c, truth == c) > 0.98


def test_restore_is_exact_at_the_studys_own_spacing():
    box = Box(4, 9, 45, 54)
    prepared = prepare(scene(), box, SPACING, PrepareSpec(), labels=rings(), classes=3)
    back = restore_labels(one_hot(prepared), prepared, box)
    np.testing.assert_array_equal(back, crop(rings()[0], box))


def test_restore_from_a_coarser_grid_and_anisotropic_spacing():
    box = Box(2, 3, 47, 57)
    prepared = prepare(scene(), box, (0.8, 1.1), PrepareSpec(spacing_mm=1.2), labels=rings(), classes=3)
    assert prepared.extent == (30, 50)
    labels = restore_labels(one_hot(prepared), prepared, box)
    assert dice(labels > 0, crop(rings()[0], box) > 0) > 0.98


@pytest.mark.parametrize("key", range(6))
def test_labels_stay_on_the_image(key):
    """An image that is its own mask: after any change, the mask is where the image is above one half."""
    mask = (rings() > 0).astype(np.uint8)
    box, spacing = Box(3, 5, 47, 58), (1.37, 0.9)
    change = draw_augmentation((key,), AugmentSpec(rotation_degrees=45, flip=True, scale=0.25))
    prepared = prepare(
        mask.astype(np.float32), box, spacing, PrepareSpec(spacing_mm=0.8), labels=mask, augmentation=change
    )
    images = inside(prepared)
    scaled = (images - images.min()) / (images.max() - images.min())
    rows, columns = prepared.extent
    labels = np.asarray(prepared.labels)[:, :rows, :columns]
    clear = np.abs(scaled - 0.5) > 1e-4
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(labels[clear], scaled[clear] > 0.5)
    assert 0.05 < labels.mean() < 0.6


@pytest.mark.parametrize("key", range(3))
def test_every_class_stays_on_the_image(key):
    labels = rings()
    change = draw_augmentation((key,), AugmentSpec(rotation_degrees=45, flip=True, scale=0.25))
    spec = PrepareSpec(spacing_mm=0.8, image_method="nearest", label_method="nearest")
    box = Box(3, 5, 47, 58)
    prepared = prepare(labels.astype(np.float32), box, (1.37, 0.9), spec, labels=labels, classes=3, augmentation=change)
    rows, columns = prepared.extent
    found = np.asarray(prepared.labels)[:, :rows, :columns]
    np.testing.assert_allclose(inside(prepared), gauss(found), atol=1e-5)


def test_gamma_only_when_asked():
    voxels = scene()
    box = whole_image((50, 60))
    plain = prepare(voxels, box, SPACING, PrepareSpec(), augmentation=NO_AUGMENTATION)
    np.testing.assert_allclose(inside(plain), gauss(voxels)[0], atol=5e-6)
    changed = prepare(voxels, box, SPACING, PrepareSpec(), augmentation=Augmentation(np.eye(2), gamma=1.8))
    low, high = voxels.min(), voxels.max()
    np.testing.assert_allclose(
        inside(changed), gauss(((voxels.astype(np.float64) - low) / (high - low)) ** 1.8)[0], atol=2e-5
    )


def test_noise_only_when_asked_and_of_the_level_asked():
    voxels = scene()
    box = whole_image((50, 60))

    def noisy(level, seed):
        change = Augmentation(np.eye(2), noise=level, noise_seed=seed)
        return inside(prepare(voxels, box, SPACING, PrepareSpec(), augmentation=change))

    clean = noisy(0.0, 1)
    np.testing.assert_array_equal(clean, noisy(0.0, 2))
    first, again, other = noisy(0.5, 1), noisy(0.5, 1), noisy(0.5, 2)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5
    # Noise of half the volume's σ leaves a correlation of 1/√(1 + 0.5²).
    for found in (first, other):
        assert np.corrcoef(found.ravel(), clean.ravel())[0, 1] == pytest.approx(1 / np.sqrt(1.25), abs=0.01)
    # What the first noise adds is unrelated to what the second adds.
    a, b = (found - clean / np.sqrt(1.25) for found in (first, other))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_resized_extent_and_matrix(method):
    box = Box(10, 20, 40, 50)
    prepared = prepare(scene(), box, (1.3, 0.65), PrepareSpec(spacing_mm=0.65, image_method=method))
    assert prepared.extent == prepared_extent(box, (1.3, 0.65), PREPRO_2) == (60, 30)
    np.testing.assert_allclose(prepared.matrix, [[0.5, 0, 9.75], [0, 1, 20]], atol=1e-12)


def test_flat_volume_gives_zeros():
    prepared = prepare(np.full((1, 2, 40, 40), 100.3, np.float32), whole_image((40, 40)), SPACING, PrepareSpec())
    assert not np.asarray(prepared.images).any()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"image_method": "quintic"}, "image_method is 'quintic'.*choose nearest, linear or cubic"),
        ({"label_method": "cubic"}, "label_method is 'cubic'"),
        ({"foa_of": "crop"}, "foa_of 'crop'; choose one of voxels, normalised"),
        ({"spacing_mm": -0.65}, "spacing_mm=-0.65"),
        ({"delta_ratio": 0.0}, "delta_ratio=0.0"),
        ({"bucket": 8}, "bucket=8"),
        ({"bucket": 40}, "multiple of 16"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        PrepareSpec(**bad)
