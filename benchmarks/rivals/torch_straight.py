"""PyTorch, written as the paper draws it: one layer for each box of Fig. 2, a depthwise convolution for Eq. 2."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.program import Inputs, Program, Settings
from benchmarks.rivals.torch_program import convolution, make_program

STRIDES = (1, 2, 4, 8, 16)
DEPTHS = (2, 2, 3, 3, 3)
WINDOW, SIGMA = 11, 1.5


class FoaNet(nn.Module):
    """Net.1 or Net.2 with its side outputs at full resolution."""

    def __init__(self, inputs: Inputs, settings: Settings):
        super().__init__()
        self.part2 = settings.case.architecture == "net2"
        self.layers = nn.ModuleDict()
        for name in inputs.params:
            dilated = self.part2 and (
                name.endswith(("dilated2", "dilated3")) or name[5:] in ("3_conv3", "4_conv3", "5_conv3")
            )
            self.layers[name] = convolution(inputs, name, dilation=2 if dilated else 1)

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The features of the five stages, each before its pool."""
        found = []
        for stage, depth in enumerate(DEPTHS, start=1):
            if stage > 1:
                x = F.max_pool2d(x, 2)

            def layer(name, x, stage=stage):
                return F.relu(self.layers[f"block{stage}_{name}"](x))

            x = layer("conv2", layer("conv1", x))
            if depth == 3 and self.part2:
                first = layer("conv3", x)
                second = layer("dilated2", first)
                third = layer("dilated3", second)
                x = layer("project", torch.cat([first, second, third], dim=1))
            elif depth == 3:
                x = layer("conv3", x)
            found.append(x)
        return found

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        sides = [
            self.layers[f"side{number}"](upsample(features, stride))
            for number, (features, stride) in enumerate(zip(self.stages(images), STRIDES, strict=True), start=1)
        ]
        return self.layers["score"](torch.cat(sides, dim=1))


def upsample(features: torch.Tensor, stride: int) -> torch.Tensor:
    """The fixed bilinear up-convolution, zero beyond the borders.

    `F.interpolate` of the zero-padded features is the same function as a depthwise `F.conv_transpose2d` with
    bilinear weights, and many times faster on a CPU.
    """
    if stride == 1:
        return features
    padded = F.pad(features, (1, 1, 1, 1))
    wide = F.interpolate(padded, scale_factor=stride, mode="bilinear", align_corners=False)
    return wide[:, :, stride:-stride, stride:-stride]


@functools.lru_cache(maxsize=8)
def window(classes: int, device: torch.device) -> torch.Tensor:
    """(5·classes, 1, 11, 11) Gaussian windows of unit sum."""
    line = torch.exp(-0.5 * ((torch.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    square = line[:, None] * line[None, :]
    return (square / square.sum()).expand(5 * classes, 1, -1, -1).contiguous().to(device)


def moments(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B, 5·C, H−10, W−10) windowed means of x, y, x², y², xy for (B, C, H, W) maps."""
    maps = torch.cat([x, y, x * x, y * y, x * y], dim=1)
    return F.conv2d(maps, window(x.shape[1], x.device), groups=maps.shape[1])


def similarity(found: torch.Tensor) -> torch.Tensor:
    """The fraction of Eq. 2, as a mean over windows, classes and images."""
    mu_x, mu_y, square_x, square_y, product = found.chunk(5, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    covariance = product - mu_x * mu_y
    variances = (square_x - mu_x**2) + (square_y - mu_y**2)
    above = (2 * mu_x * mu_y + c1) * (2 * covariance + c2)
    return (above / ((mu_x**2 + mu_y**2 + c1) * (variances + c2))).mean()


def hybrid_loss(logits: torch.Tensor, labels: torch.Tensor, *, terms: tuple[str, ...], moments=moments) -> torch.Tensor:
    """The sum of the given terms ("cce", "ssim", "dice" with ε = 1), each a mean over images."""
    total = F.cross_entropy(logits, labels) if "cce" in terms else logits.new_zeros(())
    if "ssim" not in terms and "dice" not in terms:
        return total
    predicted = torch.softmax(logits, dim=1)
    truth = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    if "ssim" in terms:
        total = total + 1 - similarity(moments(predicted, truth))
    if "dice" in terms:
        overlap, sizes = (predicted * truth).sum((2, 3)), (predicted + truth).sum((2, 3))
        total = total + 1 - ((1 + 2 * overlap) / (1 + sizes)).mean()
    return total


def make(settings: Settings) -> Program:
    """The program of a case."""
    return make_program(settings, FoaNet, functools.partial(hybrid_loss, terms=settings.case.terms), fused=False)
