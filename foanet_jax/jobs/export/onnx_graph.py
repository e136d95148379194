"""Conversion of the networks to ONNX graphs, layer by layer, from their parameters. It needs the optional package onnx.

Inside the graph, channels come first, as ONNX requires. The project has its own faster forms of some operations. The
graph uses standard ONNX operators for them: the bilinear up-convolution is a transposed convolution, and the padding of
an image is multiplied by zero.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from foanet_jax.network import COARSEST, NetworkSpec
from foanet_jax.network.modules import VARIANCE_FLOOR
from foanet_jax.network.primitives import bilinear_kernel
from foanet_jax.network.vgg import STRIDES

OPSET = 17
IR_VERSION = 8
CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Graph:
    """A graph under construction. Each method adds nodes and returns the name of their output."""

    def __init__(self, variables: Mapping[str, Any]):
        self.parameters = variables["params"]
        self.statistics = variables.get("statistics", {})
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.masks: dict[int, str] = {}

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array) -> str:
        name = f"constant{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def mask_images(self, images: str, extent: str) -> str:
        """Sets the padding of the images to zero and creates the `masks` of all strides."""
        shape, sizes = self.add("Shape", images), self.add("Cast", extent, to=TensorProto.INT64)
        inside = []
        for axis, lead in ((2, (1, 1, -1, 1)), (3, (1, 1, 1, -1))):
            side = self.add("Gather", shape, self.constant(np.int64(axis)))
            places = self.add("Range", self.constant(np.int64(0)), side, self.constant(np.int64(1)))
            size = self.add("Gather", sizes, self.constant(np.array([axis - 2])), axis=1)
            places = self.add("Reshape", places, self.constant(np.array(lead)))
            size = self.add("Reshape", size, self.constant(np.array([-1, 1, 1, 1])))
            inside.append(self.add("Less", places, size))
        self.masks[1] = self.add("Cast", self.add("And", *inside), to=TensorProto.FLOAT)
        for stride in STRIDES[1:]:
            self.masks[stride] = self.pool(self.masks[stride // 2])  # The image size is halved and rounded up.
        return self.clear(images, 1)

    def clear(self, maps: str, stride: int) -> str:
        return self.add("Mul", maps, self.masks[stride])

    def pool(self, maps: str) -> str:
        return self.add("MaxPool", maps, kernel_shape=[2, 2], strides=[2, 2])

    def convolve(self, maps: str, kernel: np.ndarray, bias: np.ndarray | None = None, dilation: int = 1) -> str:
        """Adds a zero-padded convolution with a kernel (h, w, I, O)."""
        pad = dilation * (kernel.shape[0] // 2)
        weights = [self.constant(kernel.transpose(3, 2, 0, 1))] + ([] if bias is None else [self.constant(bias)])
        return self.add("Conv", maps, *weights, pads=[pad] * 4, dilations=[dilation] * 2)

    def conv_relu(self, maps: str, name: str, stride: int, dilation: int = 1) -> str:
        """Adds a layer of the base network, with batch normalisation merged into kernel and bias."""
        layer = {key: np.asarray(value) for key, value in self.parameters[name].items()}
        kernel, bias = layer["kernel"], layer["bias"]
        if name in self.statistics:
            mean, variance = (np.asarray(self.statistics[name][key]) for key in ("mean", "variance"))
            gain = layer["scale"] / np.sqrt(variance + np.float32(VARIANCE_FLOOR))
            kernel, bias = kernel * gain, bias - mean * gain
        return self.clear(self.add("Relu", self.convolve(maps, kernel, bias, dilation)), stride)

    def upsample(self, maps: str, kernel: np.ndarray, stride: int) -> str:
        """Adds an up-convolution of each channel separately, with a kernel (2·stride, 2·stride, C)."""
        weights = self.constant(kernel.transpose(2, 0, 1)[:, None])
        pads, channels = [stride // 2] * 4, kernel.shape[-1]
        return self.add("ConvTranspose", maps, weights, strides=[stride] * 2, pads=pads, group=channels)


def network_graph(variables: Mapping[str, Any], spec: NetworkSpec) -> onnx.ModelProto:
    """Builds the ONNX model of a network.

    Inputs of the model: float32 `images` (B, H, W, 3), H and W multiples of 16, and int32 `extent` (B, 2), the rows and
    columns that belong to each image. Output: `probabilities` (B, H, W, classes). The padding outside the extent is
    ignored, and its probabilities are undefined. The model computes in float32, whatever `spec.dtype` is.

    Args:
        variables: the network's variables.
        spec: the network.
    """
    graph = Graph(variables)
    images = graph.mask_images(graph.add("Transpose", "images", perm=CHANNELS_FIRST), "extent")
    logits = _unet(graph, images) if spec.architecture == "unet" else _foanet(graph, images, spec)
    found = graph.add("Softmax", logits, axis=1)
    graph.nodes.append(helper.make_node("Transpose", [found], ["probabilities"], perm=CHANNELS_LAST))
    sides = ["batch", "height", "width"]
    inputs = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [*sides, 3]),
        helper.make_tensor_value_info("extent", TensorProto.INT32, ["batch", 2]),
    ]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [*sides, spec.classes])]
    made = helper.make_graph(graph.nodes, f"foanet_{spec.architecture}", inputs, outputs, graph.tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _foanet(graph: Graph, images: str, spec: NetworkSpec) -> str:
    """Adds `network.foanet.FoaNet`: the stages and the sum of the side outputs. Their kernels include `score`."""
    score = np.asarray(graph.parameters["score"]["kernel"]).reshape(len(STRIDES), spec.side_maps, spec.classes)
    sides = []
    stages = _stages(graph, images, spec)
    if spec.decoder == "top_down":
        stages = _top_down(graph, stages, "top")
    for number, (features, stride) in enumerate(zip(stages, STRIDES, strict=True), start=1):
        layer = {key: np.asarray(value) for key, value in graph.parameters[f"side{number}"].items()}
        sides.append(_side(graph, features, layer["kernel"], layer["bias"], score[number - 1], stride, spec))
    bias = np.asarray(graph.parameters["score"]["bias"])[:, None, None]
    return graph.add("Sum", *sides, graph.constant(bias))


def _stages(graph: Graph, images: str, spec: NetworkSpec) -> list[str]:
    """Adds `network.vgg.vgg16_stages`."""
    stages = []
    features = images
    for stage, stride in enumerate(STRIDES, start=1):
        features = graph.pool(features) if stage > 1 else features
        for layer in ("conv1", "conv2"):
            features = graph.conv_relu(features, f"block{stage}_{layer}", stride)
        if stage > 2 and spec.architecture == "net2":
            dilated = []
            for layer in ("conv3", "dilated2", "dilated3"):
                features = graph.conv_relu(features, f"block{stage}_{layer}", stride, dilation=2)
                dilated.append(features)
            features = graph.conv_relu(graph.add("Concat", *dilated, axis=1), f"block{stage}_project", stride)
        elif stage > 2:
            features = graph.conv_relu(features, f"block{stage}_conv3", stride)
        stages.append(features)
    return stages


def _top_down(graph: Graph, stages: list[str], name: str) -> list[str]:
    """Adds `network.decoder.top_down`."""
    joined = [stages[-1]]
    for number in range(len(stages) - 1, 0, -1):
        layer = {key: np.asarray(value) for key, value in graph.parameters[f"{name}{number}"].items()}
        weights = graph.constant(layer["kernel"].transpose(2, 3, 0, 1)), graph.constant(layer["bias"])
        stride = STRIDES[number - 1]
        fine = graph.clear(graph.add("ConvTranspose", joined[0], *weights, strides=[2, 2]), stride)
        joined.insert(0, _pair(graph, graph.add("Concat", stages[number - 1], fine, axis=1), f"{name}{number}", stride))
    return joined


def _pair(graph: Graph, features: str, name: str, stride: int) -> str:
    for number in (1, 2):
        features = graph.conv_relu(features, f"{name}_conv{number}", stride)
    return features


def _side(graph: Graph, features: str, kernel, bias, score, stride: int, spec: NetworkSpec) -> str:
    """Adds one side's part of the logits at full resolution; `score` (K, classes) is its part of the last kernel."""
    scored, scored_bias = kernel @ score, bias @ score
    if stride == 1:
        return graph.convolve(features, scored, scored_bias)
    if spec.up == "learned":
        up = np.asarray(graph.parameters[f"up{STRIDES.index(stride) + 1}"])
        if spec.order == "up_conv":
            fine = graph.clear(graph.upsample(features, up, stride), 1)
            return graph.convolve(fine, scored, scored_bias)
        maps = graph.clear(graph.convolve(features, kernel, bias), stride)
        return graph.convolve(graph.upsample(maps, up, stride), score[None, None])
    if spec.order == "conv_up":
        low = graph.clear(graph.convolve(features, scored, scored_bias), stride)
        return graph.upsample(low, bilinear_kernel(stride, spec.classes), stride)
    # As in `network.primitives.up_then_convolve`, nine products are computed at low resolution, up-sampled and shifted.
    taps = 9 * spec.classes
    products = graph.convolve(features, scored.transpose(2, 0, 1, 3).reshape(1, 1, -1, taps))
    fine = graph.clear(graph.upsample(products, bilinear_kernel(stride, taps), stride), 1)
    shifts = np.einsum("yv,xw,lm->yxvwlm", np.eye(3), np.eye(3), np.eye(spec.classes))
    return graph.convolve(fine, shifts.reshape(3, 3, taps, spec.classes).astype(np.float32), scored_bias)


def _unet(graph: Graph, images: str) -> str:
    """Adds `network.unet.UNet`."""
    skips = []
    features = images
    for level, stride in enumerate(STRIDES[:-1], start=1):
        skips.append(_pair(graph, features, f"down{level}", stride))
        features = graph.pool(skips[-1])
    features = _top_down(graph, [*skips, _pair(graph, features, "bottom", COARSEST)], "up")[0]
    layer = {key: np.asarray(value) for key, value in graph.parameters["score"].items()}
    return graph.convolve(features, layer["kernel"], layer["bias"])
