"""Makes a program from a PyTorch network and loss; shared by both PyTorch contestants."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.program import Inputs, Program, Settings, load_inputs

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def convolution(inputs: Inputs, layer: str, *, dilation: int = 1) -> nn.Conv2d:
    """A zero-padded "same" convolution with the parameters of a layer."""
    kernel, bias = inputs.params[layer]["kernel"], inputs.params[layer]["bias"]
    size, _, maps_in, maps_out = kernel.shape
    made = nn.Conv2d(maps_in, maps_out, size, padding=dilation * (size // 2), dilation=dilation)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(kernel).permute(3, 2, 0, 1))
        made.bias.copy_(torch.from_numpy(bias))
    return made


def make_program(
    settings: Settings, network: Callable[[Inputs, Settings], nn.Module], loss: Loss, *, fused: bool
) -> Program:
    """The program of a case; the variant may name "channels_last" and "compiled".

    Args:
        settings: what to compute and how.
        network: makes the network, (B, 3, H, W) images to (B, C, H, W) logits.
        loss: of logits and (B, H, W) int64 labels.
        fused: whether Adam updates all parameters in one kernel.
    """
    torch.set_num_threads(settings.threads)
    case, variant = settings.case, settings.variant.split()
    device = "cuda" if settings.device == "gpu" else "cpu"
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if "channels_last" in variant else torch.contiguous_format
    inputs = load_inputs(settings.inputs)
    module = network(inputs, settings).to(device, memory_format=layout)
    images = torch.from_numpy(inputs.images).permute(0, 3, 1, 2).contiguous(memory_format=layout).to(device)
    labels = torch.from_numpy(inputs.labels.astype(np.int64)).to(device)
    del inputs
    autocast = torch.autocast(device, torch.bfloat16, enabled=case.dtype == "bfloat16")
    wrap = torch.compile if "compiled" in variant else lambda function: function

    def logits_of(images: torch.Tensor) -> torch.Tensor:
        with autocast:
            return module(images).float()

    @wrap
    def probabilities(images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(logits_of(images), dim=1)

    @wrap
    def objective(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = logits_of(images)
        return loss(logits, labels), logits

    def forward():
        with torch.inference_mode():
            return {"probabilities": probabilities(images).permute(0, 2, 3, 1)}

    parameters = list(module.parameters())
    # The paper's Adam; PyTorch adds ε after the bias correction, as Optax does.
    adam = torch.optim.Adam(parameters, lr=0.002, betas=(0.9, 0.999), eps=0.001, fused=fused)

    def train():
        adam.zero_grad()
        value, logits = objective(images, labels)
        value.backward()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        adam.step()
        return {"loss": value.detach(), "gradient_norm": norm, "logits": logits.detach().permute(0, 2, 3, 1)}

    def fetch(outcome: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        return {name: value.cpu().numpy() for name, value in outcome.items()}

    note = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    peak = torch.cuda.max_memory_allocated if device == "cuda" else None
    return Program(train if case.kind == "train" else forward, fetch, note, peak)
