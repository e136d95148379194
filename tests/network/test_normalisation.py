"""Group and instance normalisation beside the plain formula, and the side heads that training alone has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, apply_network, apply_with_sides, init_network
from foanet_jax.network.convolution import convolve
from foanet_jax.network.modules import GROUPS, VARIANCE_FLOOR, ConvRelu, Grid

FEATURES = 12  # gcd(12, 8) = 4 groups of 3
TINY = {"classes": 3, "width": 1 / 32, "side_maps": 2}
APPLY = jax.jit(apply_network, static_argnames=("spec", "train"))
SIDES = jax.jit(apply_with_sides, static_argnames="spec")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


PARAMS = {"kernel": normal(0, 3, 3, 3, FEATURES), "bias": normal(1, FEATURES), "scale": normal(2, FEATURES)}


def layer(norm, images, extent=None):
    module = ConvRelu(FEATURES, norm=norm)
    return np.asarray(module.apply({"params": PARAMS}, images, Grid(extent), 1, True))


@pytest.mark.parametrize(("norm", "size"), [("group", 3), ("instance", 1)])
def test_the_plain_formula_and_the_padding(norm, size):
    assert GROUPS == 8
    images = normal(3, 2, 12, 10, 3) * np.float32([[[[1.0]]], [[[5.0]]]])
    products = np.asarray(convolve(images, PARAMS["kernel"]), np.float64)
    groups = products.reshape(2, 12, 10, FEATURES // size, size)
    mean, variance = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    plain = ((groups - mean) / np.sqrt(variance + VARIANCE_FLOOR)).reshape(products.shape)
    expected = np.maximum(plain * PARAMS["scale"] + PARAMS["bias"], 0)
    np.testing.assert_allclose(layer(norm, images), expected, atol=1e-4)
    wide = np.zeros((2, 16, 16, 3), np.float32)
    wide[:, :12, :10] = images
    np.testing.assert_allclose(
        layer(norm, wide, jnp.array([[12, 10], [12, 10]]))[:, :12, :10], layer(norm, images), atol=1e-4
    )
    np.testing.assert_allclose(layer(norm, images[1:]), layer(norm, images)[1:], atol=1e-4)  # one image at a time


def init(spec):
    return jax.jit(init_network, static_argnames="spec")(jax.random.key(0), spec)


def test_a_group_normalised_network_keeps_no_statistics_and_does_not_see_padding():
    spec = NetworkSpec("net2", norm="group", **TINY)
    variables, image = init(spec), normal(4, 1, 32, 48, 3)
    assert set(variables) == {"params"}
    wide = normal(5, 1, 48, 64, 3)
    wide[:, :32, :48] = image
    found = APPLY(variables, wide, spec, extent=jnp.array([[32, 48]]))
    np.testing.assert_allclose(found[:, :32, :48], APPLY(variables, image, spec), atol=1e-4)
    logits, statistics = APPLY(variables, image, spec, train=True)
    assert statistics == {}
    np.testing.assert_allclose(logits, APPLY(variables, image, spec), atol=1e-5)


def test_side_heads_are_for_training_only_and_change_no_other_layer():
    plain, headed = NetworkSpec("net1", **TINY), NetworkSpec("net1", side_heads=True, **TINY)
    variables, image = init(headed), normal(6, 2, 32, 48, 3)
    without = init(plain)
    heads = {f"head{n}": variables["params"][f"head{n}"] for n in range(1, 6)}
    assert {name: leaf["kernel"].shape for name, leaf in heads.items()} == dict.fromkeys(heads, (1, 1, 2, 3))
    rest = {name: leaf for name, leaf in variables["params"].items() if name not in heads}
    assert jax.tree.all(jax.tree.map(np.array_equal, rest, without["params"]))
    expected = APPLY(without, image, plain)
    np.testing.assert_array_equal(APPLY(variables, image, headed), expected)
    logits, sides, statistics = SIDES(variables, image, headed)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert [side.shape for side in sides] == [(2, 32 // s, 48 // s, 3) for s in (1, 2, 4, 8, 16)]
    assert statistics == {}
    assert SIDES(without, image, plain)[1] == ()
    with pytest.raises(ValueError, match="side_heads=True, decoder='none': unet has no side outputs"):
        NetworkSpec("unet", 3, side_heads=True)


def test_the_finest_head_is_a_1x1_convolution_of_the_specialised_layer():
    """Heads that pick the maps give the 3×3 convolution's maps themselves."""
    spec = NetworkSpec("net1", 2, width=1 / 32, side_maps=2, side_heads=True)
    variables, image = init(spec), normal(7, 1, 16, 16, 3)
    params = dict(variables["params"])
    params["head1"] = {"kernel": jnp.eye(2)[None, None], "bias": jnp.array([0.5, -0.5])}
    params["score"] = {
        "kernel": jnp.zeros((1, 1, 10, 2)).at[0, 0, :2].set(jnp.eye(2)),
        "bias": jnp.array([0.5, -0.5]),
    }
    logits, sides, _ = SIDES({"params": params}, image, spec)
    np.testing.assert_allclose(sides[0], logits, atol=1e-5)
