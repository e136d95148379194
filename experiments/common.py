"""The configuration from which every experiment starts: the paper's settings (Sec. III-D)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.pages.report.rows import Row
from foanet_jax.settings import BoxSpec, defaults, with_overrides
from foanet_jax.system.errors import did_you_mean
from foanet_jax.system.nesting import dotted, nested
from foanet_jax.training.losses import TERMS, LossSpec
from foanet_jax.training.spec import TrainSpec
from foanet_jax.training.step import OptimiserSpec


def without_terms(*kept: str) -> dict[str, float]:
    """Returns weight 0 for all terms of the loss that are not kept, also for terms that are added later."""
    return {term: 0.0 for term in TERMS if term not in kept}


def loss_of(*kept: str) -> dict[str, float]:
    """Returns the change of a row in which the loss of Net.2 has only these terms."""
    return {f"segmentation.loss.{term}": weight for term, weight in without_terms(*kept).items()}


CCE_ONLY = loss_of("cce")
NO_FOA = {"segmentation.prepare.foa": False}


def measured(dc: float, hd95_mm: float, bdc: float) -> dict[str, float]:
    """Returns the results of the paper for one row of Table I."""
    return {"dc": dc, "hd95_mm": hd95_mm, "bdc": bdc}


# The rows of Table I. The paper has no rows f, g and h; here they are the pairs of losses.
ROWS = {
    "a": Row(
        "B+CCE",
        {
            "localization.enabled": False,
            "segmentation.network.architecture": "net1",
            "segmentation.prepare.spacing_mm": 0.0,
            **NO_FOA,
            **CCE_ONLY,
        },
        measured(0.842, 3.186, 0.269),
    ),
    "b": Row(
        "B+L+CCE", {"segmentation.network.architecture": "net1", **NO_FOA, **CCE_ONLY}, measured(0.867, 2.209, 0.281)
    ),
    "c": Row("BLP+CCE", {**NO_FOA, **CCE_ONLY}, measured(0.877, 2.019, 0.303)),
    "d": Row(
        "BLP+SSIM",
        {**NO_FOA, **loss_of("ssim")},
        measured(0.873, 2.094, 0.297),
    ),
    "e": Row("BLP+DC", {**NO_FOA, **loss_of("dice")}, measured(0.871, 2.193, 0.295)),
    "f": Row("BLP+CCE+SSIM", {**NO_FOA, **loss_of("cce", "ssim")}),
    "g": Row("BLP+CCE+DC", {**NO_FOA, **loss_of("cce", "dice")}),
    "h": Row("BLP+SSIM+DC", {**NO_FOA, **loss_of("ssim", "dice")}),
    "csd": Row("BLP+CSD", NO_FOA),
    "i": Row("BLP+FOA+CSD", {}, measured(0.879, 1.826, 0.306)),
    "unet": Row("U-Net", {"segmentation.network.architecture": "unet"}, measured(0.862, 3.976, 0.291)),
}


def common(name: str) -> ConfigDict:
    """Returns the configuration of the paper. The experiment sets the data set."""
    network = defaults(NetworkSpec)
    config = ConfigDict(
        {
            "name": name,
            "row": "",  # the experiment itself
            "seed": 0,
            "data": {
                "name": name,
                "root": "",
                "patients": 0,  # 0: all
                "folds": 5,
                "split": "random",  # or hold out by "group", "spacing", "size"
                "fold": 0,
                "folds_file": "",  # empty: made in the workdir
                "validation_fraction": 0.1,
                "cyclic": True,  # the last frame of a cine precedes its first one
                "slice_axis": "axial",  # mmwhs2017
                "phantom": {"size": 256, "frames": 20, "shape": (48, 128, 128)},
            },
            "localization": {
                "enabled": True,
                **defaults(BoxSpec),
                "network": {"architecture": "net1", **network},
                "prepare": defaults(PrepareSpec),
                "augment": defaults(AugmentSpec),
                "loss": defaults(LossSpec, **without_terms("cce")),
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
            "prediction": {
                "memory_mb": 2048,  # MiB
                "tta": "none",  # or "flips", "turns"
                "temporal": "none",  # or "motion"
            },
            "evaluation": {
                "checkpoint": "best",  # or "last"
                "patients": "test",  # of the fold, or "all"
                "overlays": 10,
                "pooled_hd95": False,
                "exclude_empty": False,
            },
            "rows": {},
            "table": {"title": "", "class_name": "myocardium", "reference": "i", "order": ("i",)},
        }
    )
    # The results of the paper are shown only for the experiments of the paper.
    rows = {row: dataclasses.replace(described, paper={}) for row, described in ROWS.items()}
    return with_rows(config, rows, title=f"{name}: the rows of Table I", reference="i")


def with_rows(config: ConfigDict, rows: Mapping[str, Row], *, title: str, reference: str) -> ConfigDict:
    """Returns the configuration with the rows of its table. `--mode ablate` runs them.

    Args:
        config: the experiment.
        rows: the rows, in the order of the table.
        title: title of the table.
        reference: the row that the other rows are compared with.
    """
    config.rows = ConfigDict(
        {
            name: {
                "title": row.title,
                "paper": dict(row.paper),
                "change": nested(row.change),
            }
            for name, row in rows.items()
        }
    )
    config.table.title, config.table.reference = title, reference
    config.table.order = tuple(rows)  # a ConfigDict sorts its fields
    return config


def chosen(config: ConfigDict, names: str, variants: Mapping[str, Mapping[str, Any]] | None = None) -> ConfigDict:
    """Returns the configuration with the variants and rows after the colon of "experiments/acdc.py:small,cce".

    Args:
        config: the experiment.
        names: names of variants and rows, separated by commas. "": the experiment itself.
        variants: named overrides that are not rows of the table, such as smaller networks.

    Raises:
        ValueError: a name is neither a row nor a variant.
    """
    variants = variants or {}
    for name in names.split(",") if names else []:
        if name in variants:
            change = variants[name]
        elif name in config.rows:
            change = dotted(config.rows[name].change.to_dict())
        else:
            known = ", ".join([*config.table.order, *variants])
            meant = did_you_mean(name, [*config.table.order, *variants])
            raise ValueError(f"{config.name}:{name}: there is no such row; {meant}choose one of {known}")
        changed = ConfigDict(with_overrides(config.to_dict(), change))
        changed.name = f"{config.name}-{name}"
        changed.row = config.row if name in variants else name
        config = changed
    return config
