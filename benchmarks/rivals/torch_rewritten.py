"""PyTorch with this project's equivalent forms: side outputs at low resolution, windows as band matrices."""

import functools

import torch
import torch.nn.functional as F

from benchmarks.program import Inputs, Program, Settings
from benchmarks.rivals import torch_straight
from benchmarks.rivals.torch_program import make_program
from benchmarks.rivals.torch_straight import SIGMA, STRIDES, WINDOW, hybrid_loss


def tap_matrix(size: int, stride: int) -> torch.Tensor:
    """(size·stride, 3·size): bilinear up-convolution along an axis, then the shift of each tap of a 3-tap kernel."""
    fine = (torch.arange(size * stride) + 0.5) / stride - 0.5
    up = (1 - (fine[:, None] - torch.arange(size)[None, :]).abs()).clamp(min=0)
    padded = F.pad(up, (0, 0, 1, 1))
    return torch.cat([padded[tap : tap + len(up)] for tap in range(3)], dim=1)


class FoaNet(torch_straight.FoaNet):
    """Net.1 or Net.2. The 1×1 convolution is multiplied into the kernel of each side; up-sampling comes last."""

    def __init__(self, inputs: Inputs, settings: Settings):
        super().__init__(inputs, settings)
        for stride in STRIDES[1:]:
            matrix = tap_matrix(settings.case.size // stride, stride)
            self.register_buffer(f"taps{stride}", matrix)
        self.matrices = {stride: f"taps{stride}" for stride in STRIDES[1:]}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = self.layers["score"]
        weights = score.weight[:, :, 0, 0].chunk(len(STRIDES), dim=1)
        logits = score.bias
        sides = []
        for number, (features, stride, weight) in enumerate(
            zip(self.stages(images), STRIDES, weights, strict=True), start=1
        ):
            side = self.layers[f"side{number}"]
            kernel = torch.einsum("lk,kcyx->lcyx", weight, side.weight)
            logits = logits + weight @ side.bias
            if stride == 1:
                sides.append(F.conv2d(features, kernel, padding=1))
            else:
                sides.append(up_then_convolve(features, kernel, getattr(self, self.matrices[stride])))
        return sum(sides[1:], sides[0]) + logits[:, None, None]


def up_then_convolve(features: torch.Tensor, kernel: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Up-convolution, then a 3×3 convolution: nine products over channels, then a matrix product along each axis.

    Args:
        features: (B, C, h, w).
        kernel: (L, C, 3, 3).
        taps: `tap_matrix`, the same for both axes.
    """
    batch, channels, height, width = features.shape
    classes = kernel.shape[0]
    taps = taps.to(features.dtype)
    # (B, h, w, C) is a view where the layout is channels_last.
    flat = features.permute(0, 2, 3, 1).reshape(-1, channels)
    products = flat @ kernel.to(features.dtype).permute(1, 0, 2, 3).reshape(channels, -1)
    products = products.reshape(batch, height, width, classes, 3, 3)
    # b i j l y x -> b l y i (x j), times (x j) -> p, then (y i) -> q.
    lines = products.permute(0, 3, 4, 1, 5, 2).reshape(batch, classes, 3 * height, 3 * width)
    return taps @ (lines @ taps.T)


@functools.lru_cache(maxsize=8)
def window_matrix(size: int, device: torch.device) -> torch.Tensor:
    """(size − 10, size) band matrix whose rows are the Gaussian window at each valid position."""
    line = torch.exp(-0.5 * ((torch.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    matrix = torch.zeros(size - WINDOW + 1, size)
    for row in range(len(matrix)):
        matrix[row, row : row + WINDOW] = line / line.sum()
    return matrix.to(device)


def moments(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The moments of `torch_straight`, by a product with a band matrix along each axis."""
    maps = torch.cat([x, y, x * x, y * y, x * y], dim=1).contiguous()
    rows, columns = window_matrix(maps.shape[2], maps.device), window_matrix(maps.shape[3], maps.device)
    return rows @ (maps @ columns.T)


def make(settings: Settings) -> Program:
    """The program of a case."""
    loss = functools.partial(hybrid_loss, terms=settings.case.terms, moments=moments)
    return make_program(settings, FoaNet, loss, fused=True)
