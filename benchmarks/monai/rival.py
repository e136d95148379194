"""A 2D U-Net of MONAI, with the preparation, augmentation, loss and inference that MONAI offers for it.

The recipe follows nnU-Net's 2D recipe as far as MONAI has its parts: DynUNet with instance norm and deep supervision,
one slice at a time at a common pixel size, z-scores of the whole volume, Dice + cross entropy, and sliding windows with
Gaussian weights over the whole image. Adam with a cosine schedule over the time budget replaces the thousand epochs of
SGD, which do not fit into an hour. There is no localization; that is part of our method.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.inferers import sliding_window_inference
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.networks.nets import DynUNet
from monai.transforms import (
    Compose,
    NormalizeIntensity,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandSpatialCropd,
    Resize,
    SpatialPadd,
)

from foanet_jax.data.study import Study
from foanet_jax.image.components import keep_greatest
from foanet_jax.measures.metrics import dice

CLIP_NORM = 12.0  # of the gradients, as in nnU-Net


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Options of the rival.

    Attributes:
        minutes: time for training and validation together, in minutes, after the studies are read.
        filters: feature maps of the first level; they double at each level, up to 16 times that.
        spacing_mm: pixel side in mm to which images are resampled.
        patch: rows and columns of a training patch and of a window, in px.
        batch: patches in each step.
        rate: highest learning rate of Adam.
        validations: number of validations; the best weights are kept.
        seed: random seed of weights and draws.
    """

    minutes: float = 60.0
    filters: int = 32
    spacing_mm: float = 1.25
    patch: int = 192
    batch: int = 8
    rate: float = 1e-3
    validations: int = 8
    seed: int = 0


def build(recipe: Recipe, classes: int) -> DynUNet:
    """Five levels of two 3×3 convolutions, instance norm and leaky ReLU; two extra outputs for deep supervision."""
    filters = [recipe.filters * 2**level for level in range(5)]
    return DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=classes,
        kernel_size=[3] * 5,
        strides=[1, 2, 2, 2, 2],
        upsample_kernel_size=[2] * 4,
        filters=filters,
        deep_supervision=True,
        deep_supr_num=2,
    )


def resampled(frame: np.ndarray, study: Study, recipe: Recipe) -> torch.Tensor:
    """A frame's slices (Z, H, W) as z-scores on the recipe's grid, (Z, h, w)."""
    _, row_mm, column_mm = study.spacing_mm
    shape = [
        max(1, round(n * mm / recipe.spacing_mm)) for n, mm in zip(frame.shape[1:], (row_mm, column_mm), strict=True)
    ]
    return NormalizeIntensity()(Resize(shape, mode="bilinear")(torch.as_tensor(frame))).as_tensor()


def examples(studies: Sequence[Study], recipe: Recipe) -> list[dict[str, torch.Tensor]]:
    """All slices of the studies with their labels, each (1, h, w), on the recipe's grid."""
    found = []
    for study in studies:
        assert study.labels is not None
        for voxels, labels in zip(study.voxels, study.labels, strict=True):
            images = resampled(voxels, study, recipe)
            resize = Resize(images.shape[1:], mode="nearest-exact")
            masks = resize(torch.as_tensor(labels.astype(np.float32))).as_tensor()
            found += [{"image": image[None], "label": mask[None]} for image, mask in zip(images, masks, strict=True)]
    return found


def augmentation(recipe: Recipe) -> Compose:
    """Random patches with the augmentation ranges of experiments/acdc.py, and with noise."""
    both, patch = ["image", "label"], (recipe.patch, recipe.patch)
    return Compose(
        [
            SpatialPadd(both, patch),
            RandAffined(
                both,
                prob=1.0,
                rotate_range=np.pi / 6,
                scale_range=0.15,
                mode=["bilinear", "nearest"],
                padding_mode=["border", "zeros"],
            ),
            RandSpatialCropd(both, patch, random_size=False),
            RandFlipd(both, prob=0.5, spatial_axis=0),
            RandFlipd(both, prob=0.5, spatial_axis=1),
            RandAdjustContrastd("image", prob=0.5, gamma=(float(np.exp(-0.3)), float(np.exp(0.3))), retain_stats=True),
            RandGaussianNoised("image", prob=0.15, std=0.1),
        ]
    )


def _batches(items: Sequence[dict[str, torch.Tensor]], recipe: Recipe) -> Iterator[dict[str, torch.Tensor]]:
    """An endless series of batches."""
    transform = augmentation(recipe)
    transform.set_random_state(recipe.seed)
    loader = DataLoader(
        Dataset(items, transform),
        batch_size=recipe.batch,
        shuffle=True,
        drop_last=len(items) >= recipe.batch,
        generator=torch.Generator().manual_seed(recipe.seed),
    )
    while True:
        yield from loader


def train(
    training: Sequence[Study],
    validation: Sequence[Study],
    recipe: Recipe,
    *,
    device: str,
    log: Callable[[dict], None],
    progress: Callable[[float], None],
) -> tuple[DynUNet, dict[str, float]]:
    """Trains until the time is up. Keeps the weights of the best validation; without validation, the last weights.

    Args:
        training, validation: studies with labels.
        recipe: options.
        device: device of PyTorch.
        log: called with records in the format of our training log.
        progress: called with the share of the time that has passed.

    Returns:
        The network, and the number of steps, the seconds and the best validation Dice.
    """
    torch.manual_seed(recipe.seed)
    network = build(recipe, len(training[0].classes)).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=1e-4)
    criterion = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, batch=True))
    items = examples(training, recipe)
    best, kept, validated, steps, losses = -1.0, None, 0, 0, []
    start = time.monotonic()
    for batch in _batches(items, recipe):
        share = (time.monotonic() - start) / (60 * recipe.minutes)
        if share >= 1:
            break
        progress(share)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * 0.5 * (1 + np.cos(np.pi * share))
        network.train()
        optimiser.zero_grad(set_to_none=True)
        outputs = network(batch["image"].as_subclass(torch.Tensor).to(device))
        target = batch["label"].as_subclass(torch.Tensor).to(device)
        loss = criterion(list(torch.unbind(outputs, dim=1)), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimiser.step()
        steps += 1
        losses.append(loss.item())
        # The last validation starts early enough to fit into the budget.
        if validation and share * (recipe.validations + 0.5) >= validated + 1:
            score = validation_dice(network, validation, recipe, device=device)
            log({"kind": "train", "step": steps, "epoch": validated, "loss": float(np.mean(losses))})
            log({"kind": "validation", "step": steps, "epoch": validated, "dice": score})
            validated, losses = validated + 1, []
            if score > best:
                best, kept = score, {name: value.clone() for name, value in network.state_dict().items()}
    progress(1.0)
    if kept is not None:
        network.load_state_dict(kept)
    return network, {"steps": steps, "seconds": time.monotonic() - start, "validation_dice": best}


def validation_dice(network: DynUNet, studies: Sequence[Study], recipe: Recipe, *, device: str) -> float:
    """Mean Dice over studies and foreground classes, on their own grids."""
    values = []
    for study in studies:
        mask = predict(network, study, recipe, device=device)
        values += [dice(mask == index, study.labels == index) for index in range(1, len(study.classes))]
    return float(np.mean(values))


@torch.inference_mode()
def predict(network: DynUNet, study: Study, recipe: Recipe, *, device: str) -> np.ndarray:
    """(T, Z, H, W) uint8 on the study's own grid: resized probabilities, argmax, largest component as in ours."""
    network.eval()
    masks = []
    for frame in study.voxels:
        images = resampled(frame, study, recipe)[:, None].to(device)
        logits = sliding_window_inference(
            images, (recipe.patch, recipe.patch), recipe.batch, network, overlap=0.25, mode="gaussian"
        )
        maps = torch.nn.functional.interpolate(torch.softmax(logits, 1), frame.shape[1:], mode="bilinear")
        masks.append(maps.argmax(1).to(torch.uint8).cpu().numpy())
    return keep_greatest(np.stack(masks))
