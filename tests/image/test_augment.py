"""Augmentation: drawn from the key alone, a true rotation in mm, exact reflections, ranges refused."""

import numpy as np
import pytest

from foanet_jax.image.augment import NO_AUGMENTATION, Augmentation, AugmentSpec, about_centre, draw_augmentation
from foanet_jax.image.boxes import whole_image
from foanet_jax.image.prepare import PrepareSpec, open_source, prepare

EVERYTHING = AugmentSpec(rotation_degrees=30, flip=True, scale=0.2, gamma=0.3, noise=0.1)


def quarter_turn() -> np.ndarray:
    return np.array([[0.0, -1.0], [1.0, 0.0]])


def prepared_labels(labels, linear, spacing=(1.0, 1.0)):
    """Labels (H, W) changed by a linear map about the middle of their image."""
    found = prepare(
        open_source(labels[None, None].astype(np.float32), labels[None, None]),
        whole_image(labels.shape),
        spacing,
        PrepareSpec(),
        augmentation=Augmentation(linear),
    )
    rows, columns = found.extent
    return np.asarray(found.labels)[0, :rows, :columns]


def test_same_key_same_draw():
    first, again = (draw_augmentation((7, 3, 1), EVERYTHING) for _ in range(2))
    np.testing.assert_array_equal(first.linear, again.linear)
    assert (first.gamma, first.noise, first.noise_seed) == (again.gamma, again.noise, again.noise_seed)
    others = [draw_augmentation(key, EVERYTHING) for key in ((7, 3, 2), (7, 4, 1), (8, 3, 1))]
    assert len({first.gamma, *(other.gamma for other in others)}) == 4
    assert len({first.noise_seed, *(other.noise_seed for other in others)}) == 4


def test_default_changes_nothing():
    drawn = draw_augmentation((1, 2, 3), AugmentSpec())
    np.testing.assert_array_equal(drawn.linear, NO_AUGMENTATION.linear)
    assert drawn.gamma == 1
    assert drawn.noise == 0


def test_draws_fill_their_ranges():
    draws = [draw_augmentation((key,), EVERYTHING) for key in range(400)]
    sizes = np.array([1 / np.sqrt(abs(np.linalg.det(draw.linear))) for draw in draws])
    flipped = np.array([np.linalg.det(draw.linear) < 0 for draw in draws])
    gammas, noises = np.array([draw.gamma for draw in draws]), np.array([draw.noise for draw in draws])
    assert 0.8 <= sizes.min() < 0.82 < 1.18 < sizes.max() <= 1.2
    assert 0.4 < flipped.mean() < 0.6
    assert np.exp(-0.3) <= gammas.min() < 0.76 < 1.33 < gammas.max() <= np.exp(0.3)
    assert 0 <= noises.min() < 0.005 < 0.095 < noises.max() <= 0.1
    turns = [draw_augmentation((key,), AugmentSpec(rotation_degrees=30)).linear for key in range(400)]
    degrees = np.rad2deg([np.arctan2(linear[1, 0], linear[0, 0]) for linear in turns])
    assert -30 <= degrees.min() < -29 < 29 < degrees.max() <= 30
    for linear in turns:
        np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-12)


def test_flips_alone_are_the_four_reflections():
    found = {tuple(draw_augmentation((key,), AugmentSpec(flip=True)).linear.ravel()) for key in range(60)}
    assert found == {(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)}


@pytest.mark.parametrize("shape", [(33, 40), (32, 41)])
@pytest.mark.parametrize(("rows", "columns"), [(-1, 1), (1, -1), (-1, -1)])
def test_flips_are_exact(rows, columns, shape):
    labels = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    found = prepared_labels(labels, np.diag([rows, columns]), spacing=(1.3, 0.7))
    np.testing.assert_array_equal(found, labels[::rows, ::columns])


def test_rotation_keeps_the_area_of_a_disc_and_moves_its_centre():
    rows, columns = np.mgrid[:64, :64]
    disc = ((rows - 20) ** 2 + (columns - 31.5) ** 2 < 10.3**2).astype(np.uint8)
    theta = np.deg2rad(37)
    linear = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    turned = prepared_labels(disc, linear)
    assert turned.sum() == pytest.approx(disc.sum(), rel=0.02)
    # The map leads from output to input: the disc is seen where the inverse turn takes it.
    middle = np.array([31.5, 31.5])
    expected = middle + linear.T @ (np.array([20, 31.5]) - middle)
    np.testing.assert_allclose(np.argwhere(turned).mean(axis=0), expected, atol=0.1)


def test_scale_is_a_relative_size():
    rows, columns = np.mgrid[:64, :64]
    disc = ((rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 14**2).astype(np.uint8)
    assert prepared_labels(disc, np.eye(2) / 1.5).sum() == pytest.approx(1.5**2 * disc.sum(), rel=0.02)


def test_quarter_turn_in_mm_by_hand():
    # Rows are 2 mm apart, columns 1 mm: one row off the centre is 2 mm, hence two columns.
    matrix = about_centre(quarter_turn(), (10, 20), (2.0, 1.0))
    np.testing.assert_allclose(matrix @ [10, 20, 1], [10, 20], atol=1e-12)
    np.testing.assert_allclose(matrix @ [11, 20, 1], [10, 22], atol=1e-12)
    np.testing.assert_allclose(matrix @ [10, 22, 1], [9, 20], atol=1e-12)


def test_quarter_turn_of_an_anisotropic_disc_keeps_it():
    rows, columns = np.mgrid[:40, :80]
    disc = (((rows - 19.5) * 2) ** 2 + (columns - 39.5) ** 2 < 25**2).astype(np.uint8)
    turned = prepared_labels(disc, quarter_turn(), spacing=(2.0, 1.0))
    assert 2 * (turned & disc).sum() / (turned.sum() + disc.sum()) > 0.98


@pytest.mark.parametrize("seed", range(5))
def test_turns_keep_distances_in_mm(seed):
    linear = draw_augmentation((seed,), AugmentSpec(rotation_degrees=180, flip=True)).linear
    spacing = np.array([1.9, 0.6])
    matrix = about_centre(linear, (12, 30), tuple(spacing))
    first, second = np.random.default_rng(seed).uniform(0, 60, (2, 2))
    moved = (matrix @ [*first, 1] - matrix @ [*second, 1]) * spacing
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm((first - second) * spacing), rel=1e-12)
    np.testing.assert_allclose(matrix @ [12, 30, 1], [12, 30], atol=1e-12)


@pytest.mark.parametrize(
    "bad", [{"rotation_degrees": -1.0}, {"scale": -0.1}, {"scale": 1.0}, {"gamma": -0.1}, {"noise": -1.0}]
)
def test_ranges_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}.*no range may be negative"):
        AugmentSpec(**bad)
