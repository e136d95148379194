"""Forward passes on several devices, and on devices with too little memory: the result is always the same."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax import pipeline
from foanet_jax.pipeline import predict_study
from foanet_jax.system import devices
from foanet_jax.system.devices import spread
from foanet_jax.system.errors import InputError
from tests.test_pipeline import model, ring_study

ROOT = Path(__file__).parents[2]
EXTENTS = np.array([[4, 3], [2, 2], [4, 1], [1, 3], [3, 3]], np.int32)
IMAGES = np.arange(5 * 4 * 3 * 3, dtype=np.float32).reshape(5, 4, 3, 3)


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    monkeypatch.setattr(devices, "_FITTING", {})


def weighed(variables, images, spec, extents):
    """Tells every image and extent from any other."""
    return variables * images.sum(axis=(1, 2, 3)) + spec * extents[:, 0] * extents[:, 1]


def short_of_memory(most, tried):
    """A network that takes so many images a device, and tells how many it was given."""

    def call(variables, images, spec, extents):
        tried.append(len(images))
        if len(images) > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")
        return weighed(variables, images, spec, extents)

    return call


def expected():
    return 2 * IMAGES.reshape(5, -1).sum(axis=1) + 100 * EXTENTS.prod(axis=1)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
@pytest.mark.parametrize("there", [1, 2])
def test_images_that_do_not_go_round_come_back_once_and_in_order(count, there, monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: there)
    found = spread(weighed, jnp.float32(2), jnp.asarray(IMAGES[:count]), 100, EXTENTS[:count])
    np.testing.assert_array_equal(found, expected()[:count])
    assert found.devices() == {jax.local_devices()[0]}


def test_too_little_memory_halves_the_batch_says_so_once_and_is_remembered(monkeypatch, caplog):
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    tried: list[int] = []
    short = short_of_memory(2, tried)
    for _ in range(2):
        found = spread(short, jnp.float32(2), jnp.asarray(IMAGES), 100, EXTENTS)
        np.testing.assert_array_equal(found, expected())
    assert tried == [5, 3, *[2] * 3, *[2] * 3]
    assert [record.message.split(" do not")[0] for record in caplog.records] == ["5 images of 4×3 px at a time"]


def test_too_little_memory_on_two_devices():
    tried: list[int] = []
    found = spread(short_of_memory(1, tried), jnp.float32(2), jnp.asarray(IMAGES), 100, EXTENTS)
    np.testing.assert_array_equal(found, expected())
    assert tried[:3] == [3, 2, 1]


def test_other_errors_are_not_tried_again():
    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: no")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        spread(broken, jnp.float32(2), jnp.asarray(IMAGES), 100, EXTENTS)


def test_a_study_of_which_no_slice_fits_is_told(monkeypatch):
    def never(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(pipeline, "probabilities", never)
    with pytest.raises(InputError, match=r"p: does not fit into the memory of .*, not even slice by slice") as caught:
        predict_study(ring_study(), model())
    assert caught.value.code == "device-memory"


def test_one_two_and_four_devices_predict_and_train_alike(tmp_path):
    """In a process of its own, which has four."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=2", "device_count=4")
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.system.four_devices", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two, four = (dict(np.load(tmp_path / f"{count}.npz")) for count in (1, 2, 4))
    masks = [found.pop("mask") for found in (one, two, four)]
    assert set(np.unique(masks[0])) == {0, 1, 2}
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    # What was trained includes statistics over the whole batch, of which each device has seen one image.
    assert one.keys() == four.keys()
    assert sum("statistics" in name for name in one) == 2
    for name, values in one.items():
        np.testing.assert_allclose(four[name], values, rtol=0, atol=1e-5, err_msg=name)
