"""The networks: layers by name and shape, any input shape, batch normalisation, and a gradient for every parameter."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax import network
from foanet_jax.network import (
    CHOICES,
    NetworkSpec,
    apply_network,
    count_parameters,
    forward_bytes,
    init_network,
    probabilities,
)
from foanet_jax.network.convolution import convolve
from foanet_jax.network.modules import MOMENTUM, VARIANCE_FLOOR, ConvRelu, Grid

VGG16 = {
    "block1_conv1": (3, 3, 3, 64),
    "block1_conv2": (3, 3, 64, 64),
    "block2_conv1": (3, 3, 64, 128),
    "block2_conv2": (3, 3, 128, 128),
    "block3_conv1": (3, 3, 128, 256),
    "block3_conv2": (3, 3, 256, 256),
    "block3_conv3": (3, 3, 256, 256),
    "block4_conv1": (3, 3, 256, 512),
    "block4_conv2": (3, 3, 512, 512),
    "block4_conv3": (3, 3, 512, 512),
    "block5_conv1": (3, 3, 512, 512),
    "block5_conv2": (3, 3, 512, 512),
    "block5_conv3": (3, 3, 512, 512),
}
SIDES = {
    "side1": (3, 3, 64, 16),
    "side2": (3, 3, 128, 16),
    "side3": (3, 3, 256, 16),
    "side4": (3, 3, 512, 16),
    "side5": (3, 3, 512, 16),
}
PART_2 = {
    "block3_dilated2": (3, 3, 256, 256),
    "block3_dilated3": (3, 3, 256, 256),
    "block3_project": (1, 1, 768, 256),
    "block4_dilated2": (3, 3, 512, 512),
    "block4_dilated3": (3, 3, 512, 512),
    "block4_project": (1, 1, 1536, 512),
    "block5_dilated2": (3, 3, 512, 512),
    "block5_dilated3": (3, 3, 512, 512),
    "block5_project": (1, 1, 1536, 512),
}
UNET = {
    "down1_conv1": (3, 3, 3, 64),
    "down1_conv2": (3, 3, 64, 64),
    "down2_conv1": (3, 3, 64, 128),
    "down2_conv2": (3, 3, 128, 128),
    "down3_conv1": (3, 3, 128, 256),
    "down3_conv2": (3, 3, 256, 256),
    "down4_conv1": (3, 3, 256, 512),
    "down4_conv2": (3, 3, 512, 512),
    "bottom_conv1": (3, 3, 512, 1024),
    "bottom_conv2": (3, 3, 1024, 1024),
    "up4": (2, 2, 1024, 512),
    "up4_conv1": (3, 3, 1024, 512),
    "up4_conv2": (3, 3, 512, 512),
    "up3": (2, 2, 512, 256),
    "up3_conv1": (3, 3, 512, 256),
    "up3_conv2": (3, 3, 256, 256),
    "up2": (2, 2, 256, 128),
    "up2_conv1": (3, 3, 256, 128),
    "up2_conv2": (3, 3, 128, 128),
    "up1": (2, 2, 128, 64),
    "up1_conv1": (3, 3, 128, 64),
    "up1_conv2": (3, 3, 64, 64),
    "score": (1, 1, 64, 4),
}
LAYERS = {
    "net1": VGG16 | SIDES | {"score": (1, 1, 80, 2)},
    "net2": VGG16 | PART_2 | SIDES | {"score": (1, 1, 80, 3)},
    "unet": UNET,
}
CLASSES = {"net1": 2, "net2": 3, "unet": 4}

TINY = {"classes": 3, "width": 1 / 16, "side_maps": 4}
NETWORKS = {
    "net1": NetworkSpec("net1", **TINY),
    "net2": NetworkSpec("net2", **TINY),
    "unet": NetworkSpec("unet", **TINY),
    "conv before up": NetworkSpec("net1", order="conv_up", **TINY),
    "learned up": NetworkSpec("net2", up="learned", **TINY),
    "learned up after conv": NetworkSpec("net1", up="learned", order="conv_up", **TINY),
    "batch": NetworkSpec("net2", norm="batch", **TINY),
    "decoder": NetworkSpec("net1", decoder="top_down", **TINY),
}
SMALL = {"classes": 3, "width": 1 / 32, "side_maps": 2}

INIT = jax.jit(init_network, static_argnames="spec")
APPLY = jax.jit(apply_network, static_argnames=("spec", "train"))


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@functools.cache
def shapes_of(spec: NetworkSpec):
    """The variables as shapes, without any computation."""
    return jax.eval_shape(lambda key: init_network(key, spec), jax.random.key(0))


@functools.cache
def random_variables(spec: NetworkSpec):
    """He-scaled kernels; biases, scales and statistics that are not the initial zeros and ones."""
    leaves, tree = jax.tree.flatten(shapes_of(spec))
    drawn = [normal(n, *leaf.shape) for n, leaf in enumerate(leaves)]
    scaled = [a * np.sqrt(2 / np.prod(a.shape[:-1])) if a.ndim > 1 else 0.2 + 0.5 * np.abs(a) for a in drawn]
    return jax.tree.unflatten(tree, [a.astype(np.float32) for a in scaled])


@pytest.mark.parametrize("architecture", LAYERS)
def test_layers_by_name_and_shape(architecture):
    variables = shapes_of(NetworkSpec(architecture, CLASSES[architecture]))
    assert set(variables) == {"params"}
    expected = {name: {"kernel": kernel, "bias": kernel[-1:]} for name, kernel in LAYERS[architecture].items()}
    found = {name: {leaf: a.shape for leaf, a in layer.items()} for name, layer in variables["params"].items()}
    assert found == expected
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_base_network_is_vgg16_in_size():
    params = shapes_of(NetworkSpec("net1", 2))["params"]
    base = {"params": {name: params[name] for name in VGG16}}
    assert set(params) == set(VGG16) | set(SIDES) | {"score"}
    assert count_parameters(base) == 14_714_688


def test_names_and_shapes_of_the_options():
    learned = shapes_of(NetworkSpec("net1", 2, width=1 / 64, side_maps=2, up="learned"))
    found = {name: leaf.shape for name, leaf in learned["params"].items() if name.startswith("up")}
    assert found == {"up2": (4, 4, 2), "up3": (8, 8, 4), "up4": (16, 16, 8), "up5": (32, 32, 8)}
    batch = shapes_of(NetworkSpec("net2", 3, norm="batch"))
    assert set(batch) == {"params", "statistics"}
    assert set(batch["statistics"]) == set(VGG16) | set(PART_2)
    assert batch["statistics"]["block2_conv1"]["mean"].shape == (128,)
    assert batch["statistics"]["block2_conv1"]["variance"].shape == (128,)
    assert {leaf: a.shape for leaf, a in batch["params"]["block2_conv1"].items()} == {
        "kernel": (3, 3, 64, 128),
        "bias": (128,),
        "scale": (128,),
    }


def test_init_is_a_function_of_the_key():
    spec = NetworkSpec("net1", **SMALL)
    first, again, other = (jax.tree.leaves(INIT(jax.random.key(seed), spec)) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        # Kernels are drawn, biases start at zero.
        assert not np.array_equal(a, c) if a.ndim > 1 else not a.any()


def test_compiled_without_optimisation_the_values_are_the_same():
    spec = NetworkSpec("net1", **SMALL)
    first, second = (function(jax.random.key(1), spec) for function in (network.random_variables, INIT))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), first, second)


@pytest.mark.parametrize(("backend", "computed"), [("cpu", "float32"), ("gpu", "bfloat16"), ("tpu", "bfloat16")])
def test_cpus_compute_bfloat16_networks_in_float32(backend, computed, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    spec = NetworkSpec("net2", dtype="bfloat16", decoder="top_down", **SMALL)
    assert network.on_this_device(spec) == dataclasses.replace(spec, dtype=computed)
    assert network.on_this_device(NETWORKS["net1"]) == NETWORKS["net1"]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_do_not_depend_on_the_padding(name):
    """An image of 37×50 by itself, and in a bigger grid whose rest holds anything."""
    spec = NETWORKS[name]
    variables, image = random_variables(spec), normal(1, 1, 37, 50, 3)
    expected = APPLY(variables, image, spec)
    assert expected.shape == (1, 37, 50, 3)
    assert expected.dtype == jnp.float32
    assert np.asarray(expected).std() > 0.05
    wide = 1e3 * normal(2, 2, 64, 80, 3)
    wide[0, :37, :50], wide[1, :64, :61] = image[0], normal(3, 64, 61, 3)
    found = APPLY(variables, wide, spec, extent=jnp.array([[37, 50], [64, 61]]))
    np.testing.assert_allclose(found[0, :37, :50], expected[0], atol=1e-5)
    wide[0, 37:], wide[1, :, 61:] = -7, 0
    other = APPLY(variables, wide, spec, extent=jnp.array([[37, 50], [64, 61]]))
    np.testing.assert_array_equal(other[0, :37, :50], found[0, :37, :50])
    np.testing.assert_array_equal(other[1, :, :61], found[1, :, :61])


def test_images_of_a_batch_do_not_see_each_other():
    spec = NETWORKS["net2"]
    images = normal(4, 3, 32, 32, 3)
    together = APPLY(random_variables(spec), images, spec)
    for n in range(3):
        np.testing.assert_allclose(together[n], APPLY(random_variables(spec), images[n : n + 1], spec)[0], atol=1e-5)


def test_probabilities_are_the_softmax():
    spec = NETWORKS["net1"]
    images = normal(4, 1, 32, 32, 3)
    logits = np.asarray(APPLY(random_variables(spec), images, spec), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(probabilities(random_variables(spec), images, spec), expected, atol=1e-5)


def layer(train: bool):
    """A batch-normalised layer as a function of its variables, images and grid."""
    module = ConvRelu(4, norm="batch")

    def call(variables, images, extent=None):
        mutable = ["statistics"] if train else []
        return module.apply(variables, images, Grid(extent), 1, train, mutable=mutable)

    return call


LAYER = {
    "params": {
        "kernel": normal(0, 3, 3, 3, 4),
        "bias": normal(1, 4),
        "scale": np.abs(normal(2, 4)) + 0.5,
    },
    "statistics": {"mean": normal(3, 4), "variance": np.abs(normal(4, 4)) + 0.5},
}


def normalised_by_hand(products, mean, variance):
    scale, bias = LAYER["params"]["scale"], LAYER["params"]["bias"]
    return np.maximum((products - mean) / np.sqrt(variance + VARIANCE_FLOOR) * scale + bias, 0)


def test_batch_norm_folds_into_the_kernel_at_prediction():
    images = normal(5, 2, 12, 10, 3)
    products = np.asarray(convolve(images, LAYER["params"]["kernel"]), np.float64)
    found, _ = layer(train=False)(LAYER, images)
    statistics = LAYER["statistics"]
    expected = normalised_by_hand(products, statistics["mean"], statistics["variance"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_batch_norm_uses_and_keeps_the_batchs_statistics():
    images = normal(5, 2, 12, 10, 3)
    products = np.asarray(convolve(images, LAYER["params"]["kernel"]), np.float64)
    mean, variance = products.mean((0, 1, 2)), products.var((0, 1, 2))
    found, changed = layer(train=True)(LAYER, images)
    np.testing.assert_allclose(found, normalised_by_hand(products, mean, variance), atol=1e-5)
    old = LAYER["statistics"]
    for name, value in (("mean", mean), ("variance", variance)):
        expected = MOMENTUM * old[name] + (1 - MOMENTUM) * value
        np.testing.assert_allclose(changed["statistics"][name], expected, atol=1e-5)


def test_batch_norm_counts_the_images_own_pixels_alone():
    images = normal(6, 2, 12, 10, 3)
    wide = np.zeros((2, 16, 16, 3), np.float32)
    wide[:, :12, :10] = images
    expected, statistics = layer(train=True)(LAYER, images)
    found, masked = layer(train=True)(LAYER, wide, jnp.array([[12, 10], [12, 10]]))
    np.testing.assert_allclose(found[:, :12, :10], expected, atol=1e-5)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(masked["statistics"][name], statistics["statistics"][name], atol=1e-6)


def test_statistics_of_a_padded_batch_are_the_unpadded_ones():
    spec = NetworkSpec("net2", norm="batch", **SMALL)
    variables, images = random_variables(spec), normal(7, 2, 32, 48, 3)
    wide = 1e3 * normal(8, 2, 64, 64, 3)
    wide[:, :32, :48] = images
    expected_logits, expected = APPLY(variables, images, spec, train=True)
    logits, found = APPLY(variables, wide, spec, extent=jnp.array([[32, 48]] * 2), train=True)
    np.testing.assert_allclose(logits[:, :32, :48], expected_logits, atol=1e-4)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)


def test_statistics_over_two_devices_are_the_whole_batchs():
    spec = NetworkSpec("net1", norm="batch", **SMALL)
    variables, images = random_variables(spec), normal(9, 4, 16, 32, 3)
    expected_logits, expected = APPLY(variables, images, spec, train=True)
    spread = jax.pmap(
        lambda images: apply_network(variables, images, spec, train=True, axis_name="devices"),
        axis_name="devices",
        devices=jax.local_devices()[:2],
    )
    logits, found = spread(images.reshape(2, 2, 16, 32, 3))
    np.testing.assert_allclose(logits.reshape(expected_logits.shape), expected_logits, atol=1e-4)
    for device in range(2):
        jax.tree.map(
            lambda a, b, device=device: np.testing.assert_allclose(a[device], b, rtol=1e-4, atol=1e-5), found, expected
        )


def test_without_batch_norm_there_are_no_statistics():
    spec = NETWORKS["net1"]
    images = normal(1, 1, 37, 50, 3)
    logits, statistics = APPLY(random_variables(spec), images, spec, train=True)
    assert statistics == {}
    np.testing.assert_allclose(logits, APPLY(random_variables(spec), images, spec), atol=1e-6)


@pytest.mark.parametrize("name", ["net1", "net2", "unet"])
def test_bfloat16_is_close(name):
    spec = NETWORKS[name]
    half = NetworkSpec(name, dtype="bfloat16", **TINY)
    images = normal(1, 1, 37, 50, 3)
    expected = np.asarray(APPLY(random_variables(spec), images, spec))
    found = APPLY(random_variables(spec), images, half)
    assert found.dtype == jnp.float32
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_gradient(name):
    spec = NETWORKS[name]
    images, target = normal(1, 1, 32, 48, 3), normal(2, 1, 32, 48, 3)

    @jax.jit
    def gradients(variables):
        def loss(params):
            logits, _ = apply_network(variables | {"params": params}, images, spec, train=True)
            return jnp.sum(logits * target)

        return jax.grad(loss)(variables["params"])

    found = jax.tree.leaves_with_path(gradients(random_variables(spec)))
    silent = [jax.tree_util.keystr(path) for path, leaf in found if not np.isfinite(leaf).all() or not leaf.any()]
    assert not silent


@pytest.mark.parametrize("field", CHOICES)
def test_unknown_options_are_refused_with_the_choices(field):
    options = {"architecture": "net2", "classes": 3} | {field: "something"}
    with pytest.raises(ValueError, match=f"{field} 'something'; choose one of {', '.join(CHOICES[field])}"):
        NetworkSpec(**options)


@pytest.mark.parametrize("bad", [{"classes": 1}, {"width": 0.0}, {"width": -1.0}, {"side_maps": 0}])
def test_bad_numbers_are_refused(bad):
    name, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=f"{name}={value}"):
        NetworkSpec(**({"architecture": "net1", "classes": 2} | bad))


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec("net1", classes=2),
        NetworkSpec("net2", classes=8),
        NetworkSpec("net2", classes=3, width=0.125),
        NetworkSpec("net2", classes=3, width=1 / 32),
        NetworkSpec("net2", classes=3, width=0.25, up="learned"),
        NetworkSpec("net1", classes=3, width=1 / 32, up="learned"),
        NetworkSpec("unet", classes=4, width=0.5),
        NetworkSpec("net2", classes=3, width=0.25, norm="group"),
        NetworkSpec("net2", classes=4, width=0.125, decoder="top_down"),
        NetworkSpec("net2", classes=4, width=0.375, decoder="top_down", norm="batch"),
        NetworkSpec("net2", classes=4, decoder="top_down"),
    ],
    ids=str,
)
def test_forward_bytes_bound_what_xla_counts(spec):
    variables = jax.eval_shape(lambda: init_network(jax.random.key(0), spec))
    images, extent = jax.ShapeDtypeStruct((2, 96, 128, 3), jnp.float32), jax.ShapeDtypeStruct((2, 2), jnp.int32)
    compiled = probabilities.lower(variables, images, spec, extent).compile()
    counted = compiled.memory_analysis().temp_size_in_bytes
    assert counted < 2 * forward_bytes(spec, (96, 128)) < 8 * counted
