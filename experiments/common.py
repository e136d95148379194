"""The configuration that every experiment starts from: the paper's numbers, Sec. III-D."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.losses import LossSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.settings import TrainSpec, defaults, with_overrides
from foanet_jax.training.step import OptimiserSpec

CCE_ONLY = {"segmentation.loss.ssim": 0.0, "segmentation.loss.dice": 0.0}
NO_FOA = {"segmentation.prepare.foa": False}

# Table I. The letters f, g and h are missing from the paper; here they are the pairs of losses.
ROWS: dict[str, dict[str, Any]] = {
    "a": {
        "localization.enabled": False,
        "segmentation.network.architecture": "net1",
        "segmentation.prepare.spacing_mm": 0.0,
        **NO_FOA,
        **CCE_ONLY,
    },
    "b": {"segmentation.network.architecture": "net1", **NO_FOA, **CCE_ONLY},
    "c": {**NO_FOA, **CCE_ONLY},
    "d": {**NO_FOA, "segmentation.loss.cce": 0.0, "segmentation.loss.dice": 0.0},
    "e": {**NO_FOA, "segmentation.loss.cce": 0.0, "segmentation.loss.ssim": 0.0},
    "f": {**NO_FOA, "segmentation.loss.dice": 0.0},
    "g": {**NO_FOA, "segmentation.loss.ssim": 0.0},
    "h": {**NO_FOA, "segmentation.loss.cce": 0.0},
    "csd": NO_FOA,
    "i": {},
    "unet": {"segmentation.network.architecture": "unet"},
}


def common(name: str) -> ConfigDict:
    """The paper's configuration with the data set left to choose."""
    network = defaults(NetworkSpec)
    return ConfigDict(
        {
            "name": name,
            "row": "i",
            "seed": 0,
            "data": {
                "name": name,
                "root": "",
                "patients": 0,  # 0: all
                "folds": 5,
                "fold": 0,
                "folds_file": "",  # made in the workdir where empty
                "validation_fraction": 0.1,
                "cyclic": True,  # a cine's last frame precedes its first
                "slice_axis": "axial",  # mmwhs2017
                "phantom": {"size": 256, "frames": 20, "shape": (48, 128, 128)},
            },
            "localization": {
                "enabled": True,
                "margin_px": 10,
                "network": {"architecture": "net1", **network},
                "prepare": defaults(PrepareSpec),
                "augment": defaults(AugmentSpec),
                "loss": defaults(LossSpec, ssim=0.0, dice=0.0),
                "optimiser": defaults(OptimiserSpec),
                "train": defaults(TrainSpec),
            },
            "segmentation": {
                "network": {"architecture": "net2", **network},
                "prepare": defaults(PrepareSpec, spacing_mm=0.65, foa=True),
                "augment": defaults(AugmentSpec),
                "loss": defaults(LossSpec),
                "optimiser": defaults(OptimiserSpec),
                "train": defaults(TrainSpec),
            },
            "prediction": {"memory_mb": 2048},  # MiB for a forward pass
            "evaluation": {
                "checkpoint": "best",  # or "last"
                "patients": "test",  # the fold's, or "all"
                "overlays": 10,
                "pooled_hd95": False,
                "exclude_empty": False,
            },
        }
    )


def with_row(config: ConfigDict, row: str, rows: Mapping[str, Mapping[str, Any]] = ROWS) -> ConfigDict:
    """The configuration of one of the named rows of an experiment; "" is the experiment itself.

    Raises:
        ValueError: there is no such row.
    """
    if not row:
        return config
    if row not in rows:
        raise ValueError(f"{config.name}:{row}: there is no such row; choose one of {', '.join(rows)}")
    changed = ConfigDict(with_overrides(config.to_dict(), rows[row]))
    changed.name, changed.row = f"{config.name}-{row}", row
    return changed
