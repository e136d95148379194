"""The networks, the losses and all their gradients against an independent PyTorch implementation.

The stored numbers (`make_fixtures.py`) are float64 rounded once, so that the tolerance is all for the code under
test. Where PyTorch is installed, one shape more is compared live, and the reference itself is checked by hand.
"""

import functools
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, apply_network, init_network
from foanet_jax.training.losses import LossSpec, hybrid_loss

HERE = Path(__file__).parent
TOLERANCE = 1e-4
NETWORKS = [("net1", "up_conv"), ("net1", "conv_up"), ("net2", "up_conv"), ("net2", "conv_up"), ("unet", "none")]
ODD, EVEN, ONE = (2, 37, 50), (1, 32, 48), (1, 37, 50)
# Sizes that 16 divides take a path without padding.
CASES = [
    *((*network, ODD) for network in NETWORKS),
    ("net2", "up_conv", EVEN),
    ("net2+top_down", "up_conv", ONE),
]


def sibling(name: str):
    """A module beside this one, however pytest was started."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw = sibling("random_params")


def network_spec(architecture: str, order: str, *, classes: int, width: float) -> NetworkSpec:
    """The spec of a fixture; the U-Net has no side outputs, hence no order."""
    architecture, _, decoder = architecture.partition("+")
    options = {} if order == "none" else {"order": order, "decoder": decoder or "none"}
    return NetworkSpec(architecture=architecture, classes=classes, width=width, **options)


# Each case runs once: unoptimised code takes an eighth of the time to compile.
@functools.partial(
    jax.jit,
    static_argnames=("spec", "loss_spec"),
    compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
)
def logits_losses_gradients(params, images, labels, spec, loss_spec):
    """What the reference function of the same name returns, from JAX: gradients as (params, images)."""

    def loss(params, images):
        logits = apply_network({"params": params}, images, spec)
        total, terms = hybrid_loss(logits, labels, loss_spec)
        return total, (logits, terms)

    gradients, (logits, terms) = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, images)
    return logits, terms, gradients


def relative_error(actual, expected, scale=None) -> float:
    """max|a − b| / max|b|."""
    expected = np.asarray(expected, np.float64)
    scale = np.abs(expected).max() if scale is None else scale
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / scale)


@pytest.fixture(scope="module")
def torch():
    """PyTorch, or skip."""
    return pytest.importorskip("torch", reason="needs PyTorch, which the stored fixtures make optional")


@pytest.fixture(scope="module")
def reference(torch):
    """The PyTorch implementation, or skip."""
    return sibling("torch_reference")


@pytest.fixture(scope="module")
def fixture():
    """Reader of the stored arrays of one network."""
    return functools.lru_cache(
        lambda architecture, order: dict(
            np.load(HERE / "fixtures" / f"torch_{architecture}_{order}.npz", allow_pickle=False)
        )
    )


@pytest.mark.parametrize(
    ("architecture", "order"),
    [("net1", "up_conv"), ("net2", "up_conv"), ("net2+top_down", "up_conv"), ("unet", "none")],
)
def test_parameters_have_the_names_and_shapes_of_the_reference(architecture, order):
    spec = network_spec(architecture, order, classes=3, width=1 / 16)
    variables = jax.eval_shape(lambda key: init_network(key, spec), jax.random.key(0))
    shapes = jax.tree.map(lambda leaf: leaf.shape, variables["params"])
    assert shapes == draw.network_shapes(architecture, classes=3, width=1 / 16)


@pytest.mark.parametrize(("architecture", "order", "shape"), CASES)
def test_stored_logits_losses_and_gradients(architecture, order, shape, fixture):
    stored = fixture(architecture, order)
    label = "x".join(map(str, shape))
    seed, classes, width = int(stored["seed"]), int(stored["classes"]), float(stored["width"])
    logits, terms, (by_params, by_images) = logits_losses_gradients(
        draw.random_params(draw.network_shapes(architecture, classes=classes, width=width), seed),
        draw.random_images((*shape, 3), seed),
        draw.random_labels(shape, classes, seed),
        network_spec(architecture, order, classes=classes, width=width),
        LossSpec(dice_epsilon=float(stored["epsilon"])),
    )
    expected = dict(zip(("cce", "ssim", "dice"), stored[f"{label}/losses"], strict=True))
    assert set(terms) == set(expected)
    errors = {name: relative_error(terms[name], value) for name, value in expected.items()}
    errors["logits"] = relative_error(logits, stored[f"{label}/logits"])
    errors["images"] = relative_error(by_images, stored[f"{label}/images"])

    names, start = stored[f"{label}/names"].tolist(), 0
    assert {f"{layer}/{leaf}" for layer, leaves in by_params.items() for leaf in leaves} == set(names)
    for name, (largest, norm) in zip(names, stored[f"{label}/magnitudes"], strict=True):
        layer, leaf = name.split("/")
        gradient = np.asarray(by_params[layer][leaf])
        sample = draw.gradient_sample(gradient, name)
        expected_sample = stored[f"{label}/gradients"][start : start + sample.size]
        errors[name] = relative_error(sample, expected_sample, largest)
        errors[f"norm of {name}"] = relative_error(np.linalg.norm(gradient), norm)
        start += sample.size
    assert start == stored[f"{label}/gradients"].size
    assert {name: error for name, error in errors.items() if not error <= TOLERANCE} == {}


@pytest.mark.parametrize(("architecture", "order"), [("net1", "conv_up"), ("net2", "up_conv"), ("unet", "none")])
def test_another_shape_live(architecture, order, reference):
    shape, classes, width, seed = (1, 27, 41), 4, 1 / 32, 7
    params = draw.random_params(draw.network_shapes(architecture, classes=classes, width=width), seed)
    images, labels = draw.random_images((*shape, 3), seed), draw.random_labels(shape, classes, seed)
    expected_logits, expected_terms, expected_gradients = reference.logits_losses_gradients(
        architecture, params, images, labels, order=order, epsilon=0.5
    )
    spec = network_spec(architecture, order, classes=classes, width=width)
    logits, terms, (by_params, by_images) = logits_losses_gradients(
        params, images, labels, spec, LossSpec(dice_epsilon=0.5)
    )
    errors = {name: relative_error(terms[name], value) for name, value in expected_terms.items()}
    errors["logits"] = relative_error(logits, expected_logits)
    errors["images"] = relative_error(by_images, expected_gradients.pop("images"))
    for name, gradient in expected_gradients.items():
        layer, leaf = name.split("/")
        errors[name] = relative_error(by_params[layer][leaf], gradient)
    assert {name: error for name, error in errors.items() if not error <= TOLERANCE} == {}


class TestReference:
    """Is the reference itself right? By hand, and against its own fixtures."""

    def test_bilinear_weights_by_hand(self, torch, reference):
        np.testing.assert_array_equal(reference.bilinear_kernel(2), [0.25, 0.75, 0.75, 0.25])
        np.testing.assert_array_equal(reference.bilinear_kernel(4), np.array([1, 3, 5, 7, 7, 5, 3, 1]) / 8)
        line = torch.tensor([[[[4.0, 8.0]]]], dtype=torch.float64)
        up = reference.upsample(line, 2, 2, 4)
        # Rows see one neighbour inside and one beyond the border, which is zero: a factor of 0.75.
        by_hand = 0.75 * np.array([0.75 * 4, 0.75 * 4 + 0.25 * 8, 0.25 * 4 + 0.75 * 8, 0.75 * 8])
        np.testing.assert_allclose(up[0, 0].numpy(), [by_hand, by_hand])

    def test_up_sampling_keeps_a_constant_away_from_the_borders(self, torch, reference):
        for stride in (2, 4, 8, 16):
            up = reference.upsample(torch.ones(1, 2, 3, 4), stride, 3 * stride - 1, 4 * stride)
            assert up.shape == (1, 2, 3 * stride - 1, 4 * stride)
            edge = stride // 2
            inside = up[:, :, edge : 3 * stride - edge, edge : 4 * stride - edge].numpy()
            np.testing.assert_allclose(inside[:, :, : 2 * stride], 1.0, atol=1e-6)

    def test_odd_sizes_are_pooled_with_what_is_there(self, torch, reference):
        x = torch.arange(15.0).reshape(1, 1, 3, 5)
        np.testing.assert_array_equal(reference.pool(x)[0, 0].numpy(), [[6, 8, 9], [11, 13, 14]])

    def test_transposed_convolution_puts_each_tap_at_its_place(self, torch, reference):
        params = draw.random_params(draw.network_shapes("unet", classes=2, width=1 / 64), 0)
        kernel, bias = params["up4"]["kernel"], params["up4"]["bias"]
        x = draw.uniform("x", (1, 3, 4, kernel.shape[2]), 0)
        expected = np.einsum("byxi,uvio->byuxvo", x, kernel).reshape(1, 6, 8, -1) + bias
        up = torch.nn.functional.conv_transpose2d(
            torch.tensor(x).permute(0, 3, 1, 2),
            torch.tensor(kernel, dtype=torch.float64).permute(2, 3, 0, 1),
            torch.tensor(bias, dtype=torch.float64),
            stride=2,
        )
        np.testing.assert_allclose(up.permute(0, 2, 3, 1).numpy(), expected)

    def test_losses_by_hand(self, torch, reference):
        labels = torch.tensor(draw.random_labels((2, 16, 17), 3, 1), dtype=torch.int64)
        one_hot = torch.nn.functional.one_hot(labels, 3).double()
        assert float(reference.ssim(one_hot, one_hot)) == pytest.approx(0.0, abs=1e-12)
        assert float(reference.dice(one_hot, one_hot, epsilon=1e-5)) == pytest.approx(0.0, abs=1e-12)
        uniform = reference.loss_terms(torch.zeros(2, 16, 17, 3, dtype=torch.float64), labels, epsilon=0.0)
        assert float(uniform["cce"]) == pytest.approx(np.log(3))
        # ŷ = 1/3 everywhere: dice of a class with n of N pixels is 2(n/3) / (n + N/3).
        n = one_hot.sum(dim=(1, 2)).numpy()
        assert float(uniform["dice"]) == pytest.approx(1 - np.mean(2 * n / 3 / (n + 16 * 17 / 3)))

    def test_ssim_is_scikit_images(self, torch, reference):
        metrics = pytest.importorskip("skimage.metrics")
        x, y = (0.5 + 0.5 * draw.uniform(name, (1, 19, 23, 1), 0) for name in "xy")
        expected = metrics.structural_similarity(
            x[0, :, :, 0], y[0, :, :, 0], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        assert float(reference.ssim(torch.tensor(x), torch.tensor(y))) == pytest.approx(1 - expected, abs=1e-9)

    @pytest.mark.parametrize(("architecture", "order", "shape"), CASES)
    def test_fixtures_are_what_float32_gives_within_rounding(
        self, torch, reference, architecture, order, shape, fixture
    ):
        stored = fixture(architecture, order)
        seed, classes, width = int(stored["seed"]), int(stored["classes"]), float(stored["width"])
        logits, _, gradients = reference.logits_losses_gradients(
            architecture,
            draw.random_params(draw.network_shapes(architecture, classes=classes, width=width), seed),
            draw.random_images((*shape, 3), seed),
            draw.random_labels(shape, classes, seed),
            order=order,
            epsilon=float(stored["epsilon"]),
            dtype=torch.float32,
        )
        label = "x".join(map(str, shape))
        assert relative_error(logits, stored[f"{label}/logits"]) < 1e-5
        assert relative_error(gradients["images"], stored[f"{label}/images"]) < 1e-4
