"""The decoder of `network.decoder="top_down"`: its layers, what it is when it adds nothing, and what it is there for.

Its numbers are PyTorch's in `test_against_torch.py`; padding and gradients are tried with the other networks.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, apply_network, apply_with_sides, init_network

LAYERS = {
    "top4": (2, 2, 512, 512),
    "top4_conv1": (3, 3, 1024, 512),
    "top4_conv2": (3, 3, 512, 512),
    "top3": (2, 2, 512, 256),
    "top3_conv1": (3, 3, 512, 256),
    "top3_conv2": (3, 3, 256, 256),
    "top2": (2, 2, 256, 128),
    "top2_conv1": (3, 3, 256, 128),
    "top2_conv2": (3, 3, 128, 128),
    "top1": (2, 2, 128, 64),
    "top1_conv1": (3, 3, 128, 64),
    "top1_conv2": (3, 3, 64, 64),
}
SMALL = {"classes": 3, "width": 1 / 32, "side_maps": 2}
PLAIN, TOP_DOWN = (NetworkSpec("net1", decoder=decoder, **SMALL) for decoder in ("none", "top_down"))
APPLY = jax.jit(apply_network, static_argnames="spec")
IMAGE = np.random.default_rng(0).normal(size=(1, 32, 48, 3)).astype(np.float32)


def shapes(spec):
    variables = jax.eval_shape(lambda key: init_network(key, spec), jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf.shape, variables["params"])


def drawn(shape):
    """He-scaled kernels, positive biases."""
    values = np.random.default_rng(math.prod(shape)).normal(size=shape)
    return jnp.asarray(values * np.sqrt(2 / math.prod(shape[:-1])) if len(shape) > 1 else np.abs(values), jnp.float32)


PARAMS = {name: {leaf: drawn(shape) for leaf, shape in layer.items()} for name, layer in shapes(TOP_DOWN).items()}


def logits(changed, spec=TOP_DOWN):
    """Of the network with some layers changed."""
    return np.asarray(APPLY({"params": {**PARAMS, **changed}}, IMAGE, spec))


def zeros(*names):
    return {name: jax.tree.map(jnp.zeros_like, PARAMS[name]) for name in names}


@pytest.mark.parametrize("architecture", ["net1", "net2"])
def test_layers_by_name_and_shape(architecture):
    plain, found = (shapes(NetworkSpec(architecture, 3, decoder=decoder)) for decoder in ("none", "top_down"))
    assert found == plain | {name: {"kernel": kernel, "bias": kernel[-1:]} for name, kernel in LAYERS.items()}


def test_one_that_hands_the_finer_stage_on_changes_nothing():
    """Stages are not negative, so that ReLU leaves them as they are."""
    changed = zeros(*LAYERS)
    for name in changed:
        if "_" in name:
            maps = changed[name]["bias"].size
            changed[name]["kernel"] = changed[name]["kernel"].at[1, 1, :maps].set(jnp.eye(maps))
    expected = logits({}, PLAIN)
    np.testing.assert_allclose(logits(changed), expected, atol=1e-5)
    # The other half of the concatenation has nothing.
    changed["top1_conv1"]["kernel"] = jnp.roll(changed["top1_conv1"]["kernel"], 2, axis=2)
    without_the_first = logits(zeros("side1"), PLAIN)
    bias = PARAMS["side1"]["bias"] @ PARAMS["score"]["kernel"][0, 0, :2]
    np.testing.assert_allclose(logits(changed), without_the_first + bias, atol=1e-5)


def test_what_the_coarsest_stage_knows_reaches_the_finest_side_output():
    silent = zeros("side2", "side3", "side4", "side5")
    other = silent | {"block5_conv1": jax.tree.map(lambda leaf: -leaf, PARAMS["block5_conv1"])}
    np.testing.assert_array_equal(logits(silent, PLAIN), logits(other, PLAIN))
    assert np.abs(logits(silent) - logits(other)).max() > 1e-3
    # Its way leads through every level.
    for level in range(1, 5):
        np.testing.assert_array_equal(logits(silent | zeros(f"top{level}")), logits(other | zeros(f"top{level}")))


def test_side_heads_read_what_the_side_outputs_read():
    """With heads that pick the maps, and a score that picks the first side's."""
    spec = dataclasses.replace(TOP_DOWN, side_heads=True)
    pick, nothing = jnp.eye(2, 3), jnp.zeros(3)
    heads = {f"head{n}": {"kernel": pick[None, None], "bias": nothing} for n in range(1, 6)}
    score = {"kernel": jnp.zeros((1, 1, 10, 3)).at[0, 0, :2].set(pick), "bias": nothing}
    variables = {"params": PARAMS | heads | {"score": score}}
    found, sides, _ = jax.jit(apply_with_sides, static_argnames="spec")(variables, IMAGE, spec)
    assert [side.shape for side in sides] == [(1, 32 // s, 48 // s, 3) for s in (1, 2, 4, 8, 16)]
    np.testing.assert_allclose(sides[0], found, atol=1e-5)


def test_the_unet_has_a_decoder_of_its_own():
    with pytest.raises(ValueError, match="side_heads=False, decoder='top_down': unet has no side outputs"):
        NetworkSpec("unet", 3, decoder="top_down")
