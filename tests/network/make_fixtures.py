"""Write `fixtures/torch_{net}_{order}.npz`, the numbers that `test_against_torch.py` compares with.

Run where PyTorch is (`pip install torch==2.13.0 numpy`): `python tests/network/make_fixtures.py`. About five seconds on
a CPU. Each file holds, for each case "BxHxW": `logits` and `images` (the gradient by the input), `losses` (cce, ssim,
dice), and for the parameters `names`, `gradients` (see `random_params.gradient_sample`, one after the other in the
order of `names`) and `magnitudes` (largest magnitude and Euclidean norm of each whole gradient). Computed in float64
and rounded to float32 once, at the end; parameters, images and labels are drawn again from the seed, not stored.
"""

from pathlib import Path

import numpy as np
import random_params
import torch
import torch_reference

ODD, EVEN, ONE = (2, 37, 50), (1, 32, 48), (1, 37, 50)
NETWORKS = {
    ("net1", "up_conv"): [ODD],
    ("net1", "conv_up"): [ODD],
    ("net2", "up_conv"): [ODD, EVEN],
    ("net2", "conv_up"): [ODD],
    ("net2+top_down", "up_conv"): [ONE],
    ("unet", "none"): [ODD],
}
CLASSES = 3
WIDTH = 1 / 16
SEED = 2020
EPSILON = 1e-5


def case(architecture: str, order: str, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """The fixture's arrays for one network and one (B,H,W)."""
    shapes = random_params.network_shapes(architecture, classes=CLASSES, width=WIDTH)
    logits, losses, gradients = torch_reference.logits_losses_gradients(
        architecture,
        random_params.random_params(shapes, SEED),
        random_params.random_images((*shape, 3), SEED),
        random_params.random_labels(shape, CLASSES, SEED),
        order=order,
        epsilon=EPSILON,
    )
    images = gradients.pop("images")
    samples = [random_params.gradient_sample(gradient, name) for name, gradient in gradients.items()]
    magnitudes = [(np.abs(gradient).max(), np.linalg.norm(gradient)) for gradient in gradients.values()]
    return {
        "logits": logits.astype(np.float32),
        "images": images.astype(np.float32),
        "losses": np.array([losses[term] for term in ("cce", "ssim", "dice")], np.float32),
        "names": np.array(list(gradients)),
        "gradients": np.concatenate(samples).astype(np.float32),
        "magnitudes": np.array(magnitudes, np.float32),
    }


def main() -> None:
    """Write every fixture beside this file."""
    folder = Path(__file__).parent / "fixtures"
    folder.mkdir(exist_ok=True)
    settings = {"classes": CLASSES, "width": WIDTH, "seed": SEED, "epsilon": EPSILON, "torch": torch.__version__}
    for (architecture, order), shapes in NETWORKS.items():
        arrays = {name: np.array(value) for name, value in settings.items()}
        for shape in shapes:
            label = "x".join(map(str, shape))
            arrays |= {f"{label}/{name}": value for name, value in case(architecture, order, shape).items()}
        np.savez_compressed(folder / f"torch_{architecture}_{order}.npz", **arrays)


if __name__ == "__main__":
    main()
