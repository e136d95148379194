"""Net.1, Net.2, U-Net and the losses in plain PyTorch: the slow, literal reading that the JAX code is held against.

Nothing here is shared with `foanet_jax`, on purpose. Parameters come as {layer: {"kernel", "bias"}} of numpy arrays,
kernels HWIO; images as (B,H,W,3). Everything computes in the dtype that `tensors` is given.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

TorchParams = dict[str, dict[str, torch.Tensor]]


def tensors(params: Mapping[str, Mapping[str, np.ndarray]], dtype: torch.dtype) -> TorchParams:
    """The parameters as leaf tensors that collect gradients, still in the HWIO layout."""
    return {
        layer: {
            leaf: torch.tensor(np.asarray(value), dtype=dtype, requires_grad=True) for leaf, value in leaves.items()
        }
        for layer, leaves in params.items()
    }


def conv(params: TorchParams, layer: str, x: torch.Tensor, *, dilation: int = 1) -> torch.Tensor:
    """Zero-padded "same" convolution of x (B,C,H,W) with bias, no activation."""
    kernel = params[layer]["kernel"].permute(3, 2, 0, 1)
    padding = dilation * (kernel.shape[-1] // 2)
    return F.conv2d(x, kernel, params[layer]["bias"], padding=padding, dilation=dilation)


def pool(x: torch.Tensor) -> torch.Tensor:
    """2×2 max-pool; an odd last row or column is pooled with what is there."""
    return F.max_pool2d(x, kernel_size=2, stride=2, ceil_mode=True)


def bilinear_kernel(stride: int) -> np.ndarray:
    """The triangle (2r,) of a half-pixel-centred bilinear up-convolution of stride r."""
    return 1.0 - np.abs(np.arange(2 * stride) + 0.5 - stride) / stride


def upsample(x: torch.Tensor, stride: int, height: int, width: int) -> torch.Tensor:
    """Fixed bilinear transposed convolution, channel by channel, cropped to (height, width); zero beyond borders."""
    if stride == 1:
        return x
    channels = x.shape[1]
    line = torch.tensor(bilinear_kernel(stride), dtype=x.dtype)
    kernel = (line[:, None] * line[None, :]).expand(channels, 1, -1, -1)
    up = F.conv_transpose2d(x, kernel, stride=stride, padding=stride // 2, groups=channels)
    return up[:, :, :height, :width]


def join(params: TorchParams, name: str, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """One level up: transposed 2×2 convolution of x, cropped to `skip`, behind it, and two convolutions with ReLU."""
    up = F.conv_transpose2d(x, params[name]["kernel"].permute(2, 3, 0, 1), params[name]["bias"], stride=2)
    x = torch.cat([skip, up[:, :, : skip.shape[2], : skip.shape[3]]], dim=1)
    x = F.relu(conv(params, f"{name}_conv1", x))
    return F.relu(conv(params, f"{name}_conv2", x))


def foanet(params: TorchParams, images: torch.Tensor, *, part2: bool, order: str, decoder: bool) -> torch.Tensor:
    """Logits (B,H,W,C) of Net.1, or with `part2` of Net.2, for images (B,H,W,3); the decoder is "top_down"."""
    x = images.permute(0, 3, 1, 2)
    height, width = x.shape[2:]
    stages = {}
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        if stage > 1:
            x = pool(x)
        for n in (1, 2):
            x = F.relu(conv(params, f"block{stage}_conv{n}", x))
        if depth == 3 and not part2:
            x = F.relu(conv(params, f"block{stage}_conv3", x))
        elif depth == 3:
            first = F.relu(conv(params, f"block{stage}_conv3", x, dilation=2))
            second = F.relu(conv(params, f"block{stage}_dilated2", first, dilation=2))
            third = F.relu(conv(params, f"block{stage}_dilated3", second, dilation=2))
            x = F.relu(conv(params, f"block{stage}_project", torch.cat([first, second, third], dim=1)))
        stages[stage] = x
    for stage in (4, 3, 2, 1) if decoder else ():
        stages[stage] = join(params, f"top{stage}", stages[stage + 1], stages[stage])
    sides = []
    for stage, x in stages.items():
        stride = 2 ** (stage - 1)
        if order == "up_conv":
            sides.append(conv(params, f"side{stage}", upsample(x, stride, height, width)))
        elif order == "conv_up":
            sides.append(upsample(conv(params, f"side{stage}", x), stride, height, width))
        else:
            raise ValueError(f"order is {order!r}, not 'up_conv' or 'conv_up'")
    return conv(params, "score", torch.cat(sides, dim=1)).permute(0, 2, 3, 1)


def unet(params: TorchParams, images: torch.Tensor) -> torch.Tensor:
    """Logits (B,H,W,C) of the U-Net for images (B,H,W,3)."""
    x = images.permute(0, 3, 1, 2)
    skips = {}
    for level in (1, 2, 3, 4):
        x = F.relu(conv(params, f"down{level}_conv1", x))
        x = F.relu(conv(params, f"down{level}_conv2", x))
        skips[level] = x
        x = pool(x)
    x = F.relu(conv(params, "bottom_conv1", x))
    x = F.relu(conv(params, "bottom_conv2", x))
    for level in (4, 3, 2, 1):
        x = join(params, f"up{level}", x, skips[level])
    return conv(params, "score", x).permute(0, 2, 3, 1)


def apply(architecture: str, params: TorchParams, images: torch.Tensor, *, order: str = "up_conv") -> torch.Tensor:
    """Logits (B,H,W,C) of "net1", "net2", "net2+top_down" or "unet" (which has no side outputs, hence no order)."""
    if architecture == "unet":
        return unet(params, images)
    architecture, _, decoder = architecture.partition("+")
    return foanet(params, images, part2=architecture == "net2", order=order, decoder=bool(decoder))


def cce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Categorical cross-entropy, mean over the pixels; logits (B,H,W,C), labels (B,H,W)."""
    return F.cross_entropy(logits.permute(0, 3, 1, 2), labels)


def ssim(probabilities: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
    """1 − mean SSIM of maps (B,H,W,C) over samples, classes and the (H−10)×(W−10) windows inside the image."""
    x, y = probabilities.permute(0, 3, 1, 2), one_hot.permute(0, 3, 1, 2)
    line = torch.exp(-0.5 * ((torch.arange(11, dtype=x.dtype) - 5.0) / 1.5) ** 2)
    window = line[:, None] * line[None, :]
    window = (window / window.sum()).expand(x.shape[1], 1, 11, 11)

    def mean(a: torch.Tensor) -> torch.Tensor:
        return F.conv2d(a, window, groups=a.shape[1])

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, covariance = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return 1.0 - (luminance * structure).mean()


def dice(probabilities: torch.Tensor, one_hot: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    """1 − mean over samples and classes of (ε + 2Σyŷ) / (ε + Σy + Σŷ), sums over each whole image; (B,H,W,C)."""
    overlap = (probabilities * one_hot).sum(dim=(1, 2))
    sizes = probabilities.sum(dim=(1, 2)) + one_hot.sum(dim=(1, 2))
    return 1.0 - ((epsilon + 2 * overlap) / (epsilon + sizes)).mean()


def loss_terms(logits: torch.Tensor, labels: torch.Tensor, *, epsilon: float) -> dict[str, torch.Tensor]:
    """The three terms "cce", "ssim", "dice" for logits (B,H,W,C) and integer labels (B,H,W)."""
    probabilities = torch.softmax(logits, dim=-1)
    one_hot = F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    return {
        "cce": cce(logits, labels),
        "ssim": ssim(probabilities, one_hot),
        "dice": dice(probabilities, one_hot, epsilon=epsilon),
    }


def logits_losses_gradients(
    architecture: str,
    params: Mapping[str, Mapping[str, np.ndarray]],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    order: str,
    epsilon: float,
    dtype: torch.dtype = torch.float64,
) -> tuple[np.ndarray, dict[str, float], dict[str, np.ndarray]]:
    """Logits, loss terms, and the gradients of their sum by "layer/leaf" and "images", computed in `dtype`."""
    leaves = tensors(params, dtype)
    x = torch.tensor(images, dtype=dtype, requires_grad=True)
    logits = apply(architecture, leaves, x, order=order)
    terms = loss_terms(logits, torch.tensor(labels, dtype=torch.int64), epsilon=epsilon)
    sum(terms.values()).backward()
    gradients = {f"{layer}/{leaf}": t.grad.numpy() for layer, group in leaves.items() for leaf, t in group.items()}
    gradients["images"] = x.grad.numpy()
    return logits.detach().numpy(), {name: term.item() for name, term in terms.items()}, gradients
