"""VGG16's weights from every layout, into Net.1 and Net.2, and never a line of a file's code."""

import importlib.util
import itertools
import pickle
import sys
import types
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

from foanet_jax.network.pretrained import VGG16_KERNELS, load_pretrained, read_vgg16
from foanet_jax.system.errors import InputError

HERE = Path(__file__).parent
REAL = HERE.parents[1].parent / "shared" / "data" / "vgg16" / "vgg16_blocks1_2.npz"
FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
BLOCKS_1_2 = ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2")

_spec = importlib.util.spec_from_file_location("random_params", HERE / "random_params.py")
draw = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(draw)


def random_weights(layers=BLOCKS_1_2):
    return draw.random_params({n: {"kernel": VGG16_KERNELS[n], "bias": VGG16_KERNELS[n][-1:]} for n in layers}, 0)


def torchvision_names(weights):
    """{"features.0.weight": OIHW, …}, with one of the fully connected layers."""
    numbers = dict(zip(VGG16_KERNELS, FEATURES, strict=True))
    state = {"classifier.6.bias": np.zeros(1000, np.float32)}
    for layer, leaves in weights.items():
        state[f"features.{numbers[layer]}.weight"] = np.ascontiguousarray(leaves["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{numbers[layer]}.bias"] = leaves["bias"]
    return state


def zero_params(architecture, width=1.0):
    """Parameters of a network, all zero: what is not zero afterwards came from the file."""
    shapes = draw.network_shapes(architecture, classes=3, width=width)
    return {layer: {leaf: np.zeros(s, np.float32) for leaf, s in leaves.items()} for layer, leaves in shapes.items()}


def assert_same(actual, expected):
    assert {layer: set(leaves) for layer, leaves in actual.items()} == {n: set(v) for n, v in expected.items()}
    for layer, leaves in expected.items():
        for leaf, value in leaves.items():
            np.testing.assert_array_equal(actual[layer][leaf], value)
            assert actual[layer][leaf].dtype == np.float32


def refused(path, code):
    """The message of the InputError that reading raises: of this code, and naming the file."""
    with pytest.raises(InputError) as error:
        read_vgg16(path)
    assert error.value.code == code
    assert str(path) in str(error.value)
    return str(error.value)


H5_NAMES = {
    "the published file": ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),
    "Keras 2": ("{0}/{0}/kernel:0", "{0}/{0}/bias:0"),
    "a whole model": ("model_weights/{0}/{0}/kernel:0", "model_weights/{0}/{0}/bias:0"),
    "a nested model": ("model_weights/vgg16/{0}/kernel:0", "model_weights/vgg16/{0}/bias:0"),
    "Keras 3": ("layers/{0}/vars/0", "layers/{0}/vars/1"),
    "plain": ("{0}/kernel", "{0}/bias"),
}


class TestLayouts:
    @pytest.mark.parametrize("names", H5_NAMES.values(), ids=H5_NAMES)
    def test_keras_h5(self, names, tmp_path):
        weights = random_weights()
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file["fc1/fc1_W_1:0"] = np.zeros((4, 4), np.float32)
            file["optimizer_weights/Adam/m/block1_conv1/kernel:0"] = np.zeros(3, np.float32)
            for layer, leaves in weights.items():
                file[names[0].format(layer)] = leaves["kernel"]
                file[names[1].format(layer)] = leaves["bias"]
        assert_same(read_vgg16(tmp_path / "w.h5"), weights)

    @pytest.mark.parametrize("separator", ["/", "_", "."])
    def test_npz(self, separator, tmp_path):
        weights = random_weights()
        np.savez(
            tmp_path / "w.npz",
            **{
                f"{layer}{separator}{leaf}": value
                for layer, leaves in weights.items()
                for leaf, value in leaves.items()
            },
        )
        assert_same(read_vgg16(str(tmp_path / "w.npz")), weights)

    def test_safetensors_of_all_thirteen_layers(self, tmp_path):
        weights = random_weights(VGG16_KERNELS)
        safetensors.numpy.save_file(torchvision_names(weights), tmp_path / "w.safetensors")
        assert_same(read_vgg16(tmp_path / "w.safetensors"), weights)

    def test_safetensors_in_keras_names_and_half_precision(self, tmp_path):
        kernel = random_weights(["block1_conv1"])["block1_conv1"]["kernel"].astype(np.float16)
        safetensors.numpy.save_file({"block1_conv1.kernel": kernel}, tmp_path / "w.safetensors")
        assert_same(read_vgg16(tmp_path / "w.safetensors"), {"block1_conv1": {"kernel": kernel.astype(np.float32)}})

    @pytest.mark.parametrize("legacy", [True, False])
    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_torchvision_pth(self, prefix, legacy, tmp_path):
        torch = pytest.importorskip("torch", reason="writes a .pth")
        weights = random_weights()
        state = {prefix + name: torch.from_numpy(value) for name, value in torchvision_names(weights).items()}
        state = {"epoch": 3, "state_dict": state} if prefix else state
        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
        assert_same(read_vgg16(tmp_path / "w.pth"), weights)

    def test_oihw_becomes_hwio_by_hand(self, tmp_path):
        kernel = np.zeros((64, 3, 3, 3), np.float32)
        kernel[41, 2, 0, 1] = 7.0  # output 41, input 2, row 0, column 1
        safetensors.numpy.save_file({"features.0.weight": kernel}, tmp_path / "w.safetensors")
        read = read_vgg16(tmp_path / "w.safetensors")["block1_conv1"]["kernel"]
        assert read.shape == (3, 3, 3, 64)
        assert read[0, 1, 2, 41] == 7.0
        assert np.count_nonzero(read) == 1


class TestRefusals:
    def test_no_file(self, tmp_path):
        assert "He initialization" in refused(tmp_path / "none.h5", "missing-file")
        refused(tmp_path, "missing-file")

    def test_unknown_ending(self, tmp_path):
        (tmp_path / "w.onnx").write_bytes(b"?")
        assert ".safetensors" in refused(tmp_path / "w.onnx", "weights-format")

    @pytest.mark.parametrize("ending", ["h5", "npz", "safetensors"])
    @pytest.mark.parametrize("content", [b"", b"not what the ending says" * 9], ids=["empty", "other"])
    def test_broken_files(self, ending, content, tmp_path):
        (tmp_path / f"w.{ending}").write_bytes(content)
        refused(tmp_path / f"w.{ending}", "weights-unreadable")

    def test_truncated_npz(self, tmp_path):
        np.savez(tmp_path / "w.npz", **{"block1_conv1/kernel": random_weights()["block1_conv1"]["kernel"]})
        content = (tmp_path / "w.npz").read_bytes()
        (tmp_path / "w.npz").write_bytes(content[: len(content) // 2])
        refused(tmp_path / "w.npz", "weights-unreadable")

    def test_wrong_shape_names_both(self, tmp_path):
        np.savez(tmp_path / "w.npz", **{"block1_conv1/kernel": np.zeros((64, 3, 3, 3), np.float32)})
        message = refused(tmp_path / "w.npz", "weights-shape")
        assert "(64, 3, 3, 3)" in message
        assert "(3, 3, 3, 64)" in message

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, value, tmp_path):
        weights = random_weights(["block1_conv1"])["block1_conv1"]
        weights["kernel"][1, 1, 0, 5] = value
        np.savez(tmp_path / "w.npz", **{"block1_conv1/kernel": weights["kernel"]})
        assert "block1_conv1/kernel has 1 value" in refused(tmp_path / "w.npz", "weights-not-finite")

    def test_integers_without_their_scale(self, tmp_path):
        np.savez(tmp_path / "w.npz", **{"block1_conv1/bias": np.ones(64, np.int16)})
        assert "int16" in refused(tmp_path / "w.npz", "weights-type")

    @pytest.mark.parametrize("name", ["block3_conv4/kernel", "features.1.running_mean", "features.3.weight"])
    def test_other_networks(self, name, tmp_path):
        safetensors.numpy.save_file({name: np.zeros(3, np.float32)}, tmp_path / "w.safetensors")
        assert name in refused(tmp_path / "w.safetensors", "weights-other-network")

    def test_nothing_of_vgg16(self, tmp_path):
        np.savez(tmp_path / "w.npz", **{"conv1/kernel": np.zeros(3), "block1_conv1/bias": np.zeros(64)})
        refused(tmp_path / "w.npz", "weights-empty")

    def test_two_networks_in_one_file(self, tmp_path):
        bias = np.zeros(64, np.float32)
        np.savez(tmp_path / "w.npz", **{"a/block1_conv1/bias": bias, "b/block1_conv1/bias": bias})
        refused(tmp_path / "w.npz", "weights-twice")

    def test_pth_without_torch_says_how_to_convert(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        (tmp_path / "w.pth").write_bytes(b"?")
        assert "convert it to .safetensors" in refused(tmp_path / "w.pth", "no-torch")

    def test_pth_with_a_torch_that_can_be_tricked(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.9.1+cpu"))
        (tmp_path / "w.pth").write_bytes(b"?")
        assert "2.10" in refused(tmp_path / "w.pth", "old-torch")


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, sprung: Path):
        self.sprung = sprung

    def __reduce__(self):
        return (Path.touch, (self.sprung,))


class TestPickles:
    @pytest.fixture
    def sprung(self, tmp_path):
        """The file that the trap makes; the trap is shown to work first."""
        path = tmp_path / "sprung"
        pickle.loads(pickle.dumps(Trap(path)))
        assert path.exists()
        path.unlink()
        return path

    @pytest.mark.parametrize("ending", ["pth", "pt", "npz", "h5", "safetensors"])
    @pytest.mark.parametrize("zipped", [False, True])
    def test_are_never_executed(self, zipped, ending, sprung, tmp_path):
        content = pickle.dumps({"features.0.weight": Trap(sprung)}, protocol=2)
        path = tmp_path / f"w.{ending}"
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("w/data.pkl", content)
                archive.writestr("w/version", "3\n")
                archive.writestr("block1_conv1/kernel.npy", content)
        else:
            path.write_bytes(content)
        with pytest.raises(InputError) as error:
            read_vgg16(path)
        assert error.value.code in ("weights-unreadable", "no-torch", "weights-empty")
        assert not sprung.exists()

    def test_object_arrays_are_refused(self, sprung, tmp_path):
        trap = np.empty(1, object)
        trap[0] = Trap(sprung)
        np.savez(tmp_path / "w.npz", **{"block1_conv1/kernel": trap})
        refused(tmp_path / "w.npz", "weights-unreadable")
        assert not sprung.exists()


class TestLoading:
    def test_net1_takes_all(self):
        params, weights = zero_params("net1"), random_weights(VGG16_KERNELS)
        filled, report = load_pretrained(params, weights, path="w.h5")
        assert_same({layer: filled[layer] for layer in VGG16_KERNELS}, weights)
        assert len(report.loaded) == 26
        assert report.missing == report.unexpected == report.mismatched == ()
        assert not any(filled[layer][leaf].any() for layer in ("side1", "score") for leaf in ("kernel", "bias"))
        assert not params["block1_conv1"]["kernel"].any(), "the given parameters were changed"

    def test_net2_starts_its_first_dilated_kernels_from_the_third_convolutions(self):
        filled, report = load_pretrained(zero_params("net2"), random_weights(VGG16_KERNELS), path="w.h5")
        assert len(report.loaded) == 26
        for stage in (3, 4, 5):
            assert filled[f"block{stage}_conv3"]["kernel"].any()
            for fresh in ("dilated2", "dilated3", "project"):
                assert not filled[f"block{stage}_{fresh}"]["kernel"].any()

    def test_the_named_diff(self):
        params, weights = zero_params("net1"), random_weights()
        weights["block5_conv3"] = {"bias": np.ones(512, np.float32)}
        weights["block9_conv1"] = {"kernel": np.ones((3, 3, 1, 1), np.float32)}
        weights["block2_conv2"]["kernel"] = weights["block2_conv2"]["kernel"][..., :5]
        del weights["block1_conv2"]["bias"]
        filled, report = load_pretrained(params, weights, path="some.h5")
        assert report.loaded == (
            *("block1_conv1/kernel", "block1_conv1/bias", "block1_conv2/kernel"),
            *("block2_conv1/kernel", "block2_conv1/bias"),
        )
        assert report.mismatched == ("block2_conv2/kernel (file (3, 3, 128, 5), network (3, 3, 128, 128))",)
        assert report.unexpected == (
            *(
                "block2_conv2/bias (without its kernel)",
                "block5_conv3/bias (without its kernel)",
                "block9_conv1/kernel",
            ),
        )
        assert report.missing[:3] == ("block1_conv2/bias", "block3_conv1/kernel", "block3_conv1/bias")
        assert "block5_conv3/bias" not in report.missing
        assert not filled["block5_conv3"]["bias"].any()
        assert not filled["block2_conv2"]["bias"].any()
        text = report.describe()
        assert text.startswith("pre-trained weights from some.h5: 5 of 26 arrays loaded")
        assert all(name in text for name in report.loaded + report.missing + report.unexpected + report.mismatched)

    def test_a_narrower_network_is_refused(self):
        with pytest.raises(InputError, match=r"w\.h5: no kernel fits.*width 1") as error:
            load_pretrained(zero_params("net2", width=0.5), random_weights(), path="w.h5")
        assert error.value.code == "weights-misfit"

    def test_another_architecture_is_refused(self):
        with pytest.raises(InputError, match="use net1 or net2"):
            load_pretrained(zero_params("unet", width=1 / 16), random_weights(), path="w.h5")


def edge_like_filters(kernel) -> int:
    """How many filters of a first layer (3,3,3,64) are edge detectors without colour.

    That is: the same oriented Sobel kernel on all three inputs, at the best of 36 orientations, correlates with the
    filter by more than 0.9 in magnitude (cosine over all 27 weights; the 27-dimensional unit sphere has no room for
    that by chance). Orientations come in pairs mirrored at the diagonal, so that rows and columns may be swapped.
    """
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / np.sqrt(36)
    angles = np.arange(36) * np.pi / 36
    edges = np.cos(angles)[:, None, None] * across + np.sin(angles)[:, None, None] * across.T
    unit = kernel / np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    return int((np.abs(np.einsum("ahw,hwio->ao", edges, unit)).max(axis=0) > 0.9).sum())


@pytest.mark.skipif(not REAL.is_file(), reason="VGG16's real kernels are not beside this checkout")
class TestRealWeights:
    def test_first_layer_detects_edges_in_the_right_axis_order_only(self):
        kernel = read_vgg16(REAL)["block1_conv1"]["kernel"]
        assert edge_like_filters(kernel) >= 12
        for axes in itertools.permutations(range(3)):
            if axes[2] != 2:  # an image axis in the place of the input channels
                assert edge_like_filters(kernel.transpose(*axes, 3)) <= 6
        for axes in ((0, 1, 2, 3), (1, 0, 2, 3), (2, 0, 1, 3), (0, 2, 1, 3)):  # OIHW data taken for HWIO
            misread = kernel.transpose(3, 2, 0, 1).transpose(*axes).reshape(3, 3, 3, 64)
            assert edge_like_filters(misread) <= 6

    @pytest.mark.parametrize("architecture", ["net1", "net2"])
    def test_loads_into_a_network_of_full_width(self, architecture):
        weights = read_vgg16(REAL)
        assert len(weights) == 13
        filled, report = load_pretrained(zero_params(architecture), weights, path=REAL)
        assert_same({n: filled[n] for n in BLOCKS_1_2}, {n: weights[n] for n in BLOCKS_1_2})
        assert report.loaded == tuple(f"{n}/{leaf}" for n in BLOCKS_1_2 for leaf in ("kernel", "bias"))
        late = [n for n in VGG16_KERNELS if n not in BLOCKS_1_2]
        assert report.missing == tuple(f"{n}/kernel" for n in late)
        assert report.unexpected == tuple(f"{n}/bias (without its kernel)" for n in late)
        assert report.mismatched == ()
        assert not any(filled[n]["bias"].any() for n in late)

    def test_biases_are_in_units_of_the_kernels(self):
        """The file's 16-bit fixed point is already scaled back: multiples of 2⁻¹⁴, the largest 9.43 as published."""
        biases = np.concatenate([leaves["bias"] for leaves in read_vgg16(REAL).values()])
        np.testing.assert_array_equal(biases * 2.0**14, np.round(biases * 2.0**14))
        assert np.abs(biases).max() == pytest.approx(9.4312, abs=1e-3)
