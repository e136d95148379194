"""Checkpoints: everything comes back bit by bit; the best and the last are kept, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.errors import InputError
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import FOLDER, open_checkpoints
from foanet_jax.training.step import OptimiserSpec, init_state, make_optimiser

DESCRIPTION = {
    "stage": "segmentation",
    "classes": ["background", "µ"],
    "config": {"a": {"b": 0.1, "c": [1, 2]}, "d": ""},
}


def trained_state(seed: int, spec: OptimiserSpec):
    """A state in which nothing is zero, for a made-up network of two layers and statistics."""
    generator = np.random.default_rng(seed)
    variables = {
        "params": {
            "conv": {"kernel": generator.normal(size=(3, 3, 2, 4)), "bias": generator.normal(size=4)},
            "score": {"kernel": generator.normal(size=(1, 1, 4, 2))},
        },
        "statistics": {"conv": {"mean": generator.normal(size=4)}},
    }
    variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), variables)
    optimiser = make_optimiser(spec, 10)
    state = init_state(variables, optimiser)
    gradients = jax.tree.map(jnp.sin, variables["params"])
    _, moved = optimiser.update(gradients, state.optimiser, variables["params"])
    return parallel.place(state.replace(step=jnp.int32(seed + 7), optimiser=moved), 1)


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "spec",
    [OptimiserSpec(), OptimiserSpec(keras_epsilon=True, clip_norm=1.0, schedule="cosine")],
    ids=["paper", "options"],
)
def test_state_comes_back_bit_by_bit(tmp_path, spec):
    state = trained_state(1, spec)
    with open_checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(3, state, DESCRIPTION, score=0.5)
    like = trained_state(2, spec)
    with open_checkpoints(tmp_path, write=False) as checkpoints:
        assert checkpoints.last_epoch == 3
        found = checkpoints.restore_state(3, like)
        assert_same_bits(found, state)
        assert_same_bits(checkpoints.restore_variables(3, like.variables), state.variables)
        assert checkpoints.description(3) == DESCRIPTION
    assert found.step == 8
    assert found.variables["params"]["conv"]["kernel"].sharding == like.variables["params"]["conv"]["kernel"].sharding


def saved(tmp_path, scores):
    """Epochs that a folder holds after one checkpoint a score, and what it calls the last and the best."""
    state = trained_state(0, OptimiserSpec())
    with open_checkpoints(tmp_path, write=True) as checkpoints:
        for epoch, score in enumerate(scores, start=1):
            checkpoints.save(epoch, state, DESCRIPTION, score=score)
    with open_checkpoints(tmp_path, write=False) as checkpoints:
        last, best = checkpoints.last_epoch, checkpoints.best_epoch
        for epoch in {last, best}:
            assert_same_bits(checkpoints.restore_state(epoch, state), state)
    return {int(path.name) for path in (tmp_path / FOLDER).iterdir() if path.name.isdigit()}, last, best


@pytest.mark.parametrize(
    ("scores", "kept", "last", "best"),
    [
        ([0.1, 0.9, 0.3, 0.5], {2, 4}, 4, 2),
        ([0.1, 0.2, 0.3], {3}, 3, 3),
        ([0.3, 0.2, 0.1], {1, 3}, 3, 1),
        ([0.5, 0.5, 0.1], {2, 3}, 3, 2),
        ([None, None, None], {3}, 3, 3),
        ([0.5, None, None], {1, 3}, 3, 1),
    ],
)
def test_best_and_last_are_kept_and_nothing_else(tmp_path, scores, kept, last, best):
    assert saved(tmp_path, scores) == (kept, last, best)


def test_new_folder_has_none(tmp_path):
    with open_checkpoints(tmp_path / "new", write=True) as checkpoints:
        assert checkpoints.last_epoch is None
        assert checkpoints.best_epoch is None


def test_missing_folder_is_named(tmp_path):
    message = f"{tmp_path / 'none' / FOLDER}: no checkpoints; --checkpoint"
    with pytest.raises(InputError, match=message) as caught, open_checkpoints(tmp_path / "none", write=False):
        pass
    assert caught.value.code == "missing-checkpoint"
    assert not (tmp_path / "none").exists()
