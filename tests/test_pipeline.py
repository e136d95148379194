"""The pipeline around networks whose answer is known: geometry is exact and nothing is lost on the way."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax import pipeline
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.measures.metrics import dice
from foanet_jax.network import NetworkSpec, forward_bytes
from foanet_jax.pipeline import BLANK, UNEVEN, Model, Network, predict_study, slices_together

SPACING = (8.0, 1.37, 1.37)


def disc(shape, centre, radius):
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def ring_study(frames=3, slices=2, shape=(90, 70), centre=(50, 30)) -> Study:
    """Background 0, a ring of brightness 1 and its cavity of brightness 2: intensities are the labels."""
    labels = np.zeros((frames, slices, *shape), np.uint8)
    for t in range(frames):
        labels[t, :, disc(shape, centre, 14 - t)] = 1
        labels[t, :, disc(shape, centre, 8 - t)] = 2
    return Study("p", "p", labels.astype(np.float32), SPACING, LV_CLASSES, labels)


def oracle(variables, images, spec, extent=None):
    """A "network" that reads the label off the middle channel's brightness ranks: 0 < ring < cavity."""
    middle = images[..., 1]
    inside = (jnp.arange(middle.shape[1])[:, None] < extent[0, 0]) & (jnp.arange(middle.shape[2]) < extent[0, 1])
    low, high = jnp.min(jnp.where(inside, middle, jnp.inf)), jnp.max(jnp.where(inside, middle, -jnp.inf))
    level = jnp.round(2 * (middle - low) / jnp.maximum(high - low, 1e-6)).astype(int)
    level = jnp.minimum(level, spec.classes - 1)
    return jnp.where(inside[None, :, :, None], jnp.eye(spec.classes)[level], jnp.eye(spec.classes)[0])


def model(localize=True, spacing_mm=0.65, **changes) -> Model:
    object_network = Network(NetworkSpec("net1", 2), PrepareSpec(), {})
    segmentation = Network(NetworkSpec("net2", 3), PrepareSpec(spacing_mm=spacing_mm, **changes), {})
    return Model(LV_CLASSES, (object_network,) * localize, (segmentation,), margin_px=10, cyclic=True)


@pytest.fixture
def _oracle(monkeypatch):
    monkeypatch.setattr(pipeline, "probabilities", oracle)


@pytest.mark.usefixtures("_oracle")
def test_box_is_the_union_over_frames_and_slices_with_ten_pixels_more():
    study = ring_study()
    found = predict_study(study, model())
    assert found.object_box == Box(36, 16, 65, 45)  # radius 14 around (50, 30)
    assert found.box == Box(26, 6, 75, 55)
    assert found.slice_boxes[0] == Box(36, 16, 65, 45)
    assert found.slice_boxes[-1] == Box(38, 18, 63, 43)  # frame 2: radius 12
    assert found.flags == ()


@pytest.mark.usefixtures("_oracle")
@pytest.mark.parametrize("spacing_mm", [0.0, 0.65, 1.0])
def test_mask_comes_back_on_the_studys_grid(spacing_mm):
    study = ring_study()
    found = predict_study(study, model(spacing_mm=spacing_mm))
    assert found.mask.shape == study.voxels.shape
    assert found.mask.dtype == np.uint8
    if spacing_mm == 0:
        np.testing.assert_array_equal(found.mask, study.labels)
    for label in (1, 2):
        assert dice(found.mask == label, study.labels == label) > 0.93


@pytest.mark.usefixtures("_oracle")
def test_the_memory_does_not_change_the_mask():
    study = ring_study()
    told: list[tuple[str, int, int]] = []
    options = {"progress": lambda *now: told.append(now)}
    masks = [predict_study(study, model(), memory_bytes=size, **options).mask for size in (1, 10**7, 10**12)]
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])
    total = study.voxels.shape[0] * study.voxels.shape[1]
    assert told[-2:] == [("localizing", total, total), ("segmenting", total, total)]  # with memory for all at once
    ends = [place for place, now in enumerate(told) if now == ("segmenting", total, total)]
    first = told[: ends[0] + 1]
    assert len(first) > 2
    assert first == sorted(first)  # localizing before segmenting, and the slices rise


@pytest.mark.usefixtures("_oracle")
def test_only_the_greatest_component_of_each_frame_is_kept():
    study = ring_study()
    voxels = study.voxels.copy()
    voxels[:, 0, 64:66, 50:53] = 2  # beside the heart, inside the margin
    labels = study.labels
    found = predict_study(dataclasses.replace(study, voxels=voxels), model(spacing_mm=0.0))
    np.testing.assert_array_equal(found.mask, labels)


@pytest.mark.usefixtures("_oracle")
def test_object_at_the_border_is_flagged_and_its_box_clipped():
    found = predict_study(ring_study(centre=(10, 30)), model(spacing_mm=0.0))
    assert found.box.top == 0
    assert any("border" in flag for flag in found.flags)


@pytest.mark.usefixtures("_oracle")
def test_without_localization_whole_frames_are_segmented():
    study = ring_study()
    found = predict_study(study, model(localize=False, spacing_mm=0.0))
    assert found.box == Box(0, 0, 90, 70)
    assert found.object_box is None
    assert found.flags == ()
    np.testing.assert_array_equal(found.mask, study.labels)


def test_nothing_localized_is_flagged_and_the_whole_image_segmented(monkeypatch):
    def blind(variables, images, spec, extent=None):
        return jnp.broadcast_to(jnp.eye(spec.classes)[0], (*images.shape[:3], spec.classes))

    monkeypatch.setattr(pipeline, "probabilities", blind)
    found = predict_study(ring_study(), model())
    assert found.box == Box(0, 0, 90, 70)
    assert not found.mask.any()
    assert [flag.split(":")[0] for flag in found.flags] == ["the heart was not found", "nothing was segmented"]


def test_nothing_is_drawn_on_a_slice_without_contrast(monkeypatch):
    def everywhere(variables, images, spec, extent=None):
        return jnp.broadcast_to(jnp.eye(spec.classes)[1], (*images.shape[:3], spec.classes))

    monkeypatch.setattr(pipeline, "probabilities", everywhere)
    study = ring_study(slices=4)
    voxels = study.voxels.copy()
    voxels[:, 3] = 1
    found = predict_study(dataclasses.replace(study, voxels=voxels), model())
    assert BLANK in found.flags
    assert not found.mask[:, 3].any()
    assert (found.mask[:, :3] == 1).all()
    assert BLANK not in predict_study(study, model()).flags


@pytest.mark.usefixtures("_oracle")
def test_slices_of_unlike_brightness_are_brought_to_one():
    study = ring_study(slices=3, centre=(45, 35))
    uneven = study.voxels * np.array([1, 8, 0.2], np.float32)[:, None, None]
    found = predict_study(dataclasses.replace(study, voxels=uneven), model(localize=False, spacing_mm=0.0))
    assert found.flags == (UNEVEN,)
    np.testing.assert_array_equal(found.mask, study.labels)


def test_a_constant_study_is_flagged_not_segmented():
    study = ring_study()
    found = predict_study(dataclasses.replace(study, voxels=np.full_like(study.voxels, 7)), model())
    assert not found.mask.any()
    assert "σ = 0" in found.flags[0]


def test_labels_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(pipeline, "probabilities", oracle)
    study = ring_study()
    with_labels = predict_study(study, model())
    without = predict_study(dataclasses.replace(study, labels=None), model())
    np.testing.assert_array_equal(with_labels.mask, without.mask)


def together(count, memory_bytes=10**12):
    return slices_together(model().segmentation, (128, 128), count, memory_bytes)


def test_a_cpu_takes_even_shares_of_four_slices_at_most(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    found = {count: together(count) for count in (1, 2, 4, 5, 8, 9, 10, 100)}
    assert found == {1: 1, 2: 2, 4: 4, 5: 3, 8: 4, 9: 3, 10: 4, 100: 4}
    needed = forward_bytes(model().segmentation[0].spec, (128, 128))
    assert [together(10, memory) for memory in (1, 2 * needed, 3 * needed)] == [1, 2, 3]
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert [together(count) for count in (1, 9, 10)] == [2, 6, 6]


def test_an_accelerator_takes_whole_sixteens_of_which_few_shapes_are_compiled(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    found = {count: together(count) for count in (1, 16, 17, 32, 33, 48, 70)}
    assert found == {1: 16, 16: 16, 17: 32, 32: 32, 33: 32, 48: 32, 70: 32}
    needed = forward_bytes(model().segmentation[0].spec, (128, 128))
    assert [together(40, memory) for memory in (1, 5 * needed, 20 * needed)] == [1, 5, 20]
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert [together(count) for count in (1, 33, 100)] == [32, 64, 64]
