"""Writes docs/configuration.md from the settings' docstrings: `python -m tests.docs.make_configuration`."""

import re
from pathlib import Path

from experiments.common import common
from foanet_jax.network import NetworkSpec
from foanet_jax.settings import STAGE_PARTS, BoxSpec
from foanet_jax.system.nesting import dotted
from foanet_jax.training.spec import STAGES

PATH = Path(__file__).parents[2] / "docs" / "configuration.md"
INTRODUCTION = """# Configuration

Every field that `experiments/common.py` has, set with `--config.NAME=VALUE`. Both networks have those of the second
section, as `localization.PART.FIELD` and `segmentation.PART.FIELD`. Defaults are the paper's, and what the paper does
not have is off; an experiment's file changes some. Made from the code by `python -m tests.docs.make_configuration`.
"""
# What stands in no settings class.
OTHERS = {
    "name": "of the experiment, and of its folder below `runs/`",
    "row": "of the table that was chosen; empty: the experiment itself",
    "seed": "of folds, initialisation, order and random changes",
    "data.name": "acdc, lvquan19, mmwhs2017, sunnybrook, nnunet, folder, phantom, phantom_stack, phantom_whole_heart",
    "data.root": "folder of the data set",
    "data.patients": "only the first so many; 0: all",
    "data.folds": "how many folds are made; 1: nobody is tested, all are trained or validated with",
    "data.fold": "which one is trained and tested on",
    "data.folds_file": "folds that were made before; empty: made in the workdir",
    "data.split": '"random", or what each fold\'s test patients are held out by: "group", "spacing", "size"',
    "data.validation_fraction": "share of a fold's training patients that chooses the best checkpoint",
    "data.cyclic": "whether a cine's last frame precedes its first",
    "data.slice_axis": "mmwhs2017: axial, coronal or sagittal",
    "data.phantom.size": "of phantoms: px",
    "data.phantom.frames": "of the short-axis phantom",
    "data.phantom.shape": "of the whole-heart phantom: slices, rows, columns",
    "localization.enabled": "False segments whole frames",
    "localization.network.architecture": '"net1", "net2" or "unet"',
    "segmentation.network.architecture": '"net1", "net2" or "unet"',
    "prediction.memory_mb": "MiB for a forward pass",
    "prediction.tta": "both networks: mean of the probabilities over the image alone (none), its 4 flips, or its 8 "
    "turns (flips and quarter turns)",
    "evaluation.checkpoint": '"best" by validation Dice, or "last"',
    "evaluation.patients": '"test": the fold\'s, or "all"',
    "evaluation.overlays": "studies that are drawn",
    "evaluation.pooled_hd95": "95HD as one percentile of both directions' distances",
    "evaluation.exclude_empty": "leave out structures that are missing in truth and prediction",
    "table.title": "over the table of `--mode ablate`",
    "table.class_name": "the class that the table is about",
    "table.reference": "the row that the others are compared with",
    "table.order": "of the rows",
}


def described(part: type) -> dict[str, str]:
    """What a settings class's docstring says of each attribute."""
    _, attributes = re.split(r"\n *Attributes:\n", part.__doc__ or "")
    texts: dict[str, str] = {}
    for entry in re.split(r"\n {8}(?! )", "\n" + attributes.rstrip())[1:]:
        names, text = entry.split(": ", 1)
        texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts


def table(rows: dict[str, tuple[str, str]]) -> str:
    """Markdown of fields, defaults and descriptions."""
    lines = [f"| `{name}` | {default} | {text.rstrip('.')} |" for name, (default, text) in rows.items()]
    return "\n".join(["| field | default | |", "|---|---|---|", *lines]) + "\n"


def page() -> str:
    """The whole page.

    Raises:
        KeyError: a field is described nowhere.
    """
    others = OTHERS | {f"localization.{name}": text for name, text in described(BoxSpec).items()}
    fields = {name: value for name, value in dotted(common("NAME").to_dict()).items() if not name.startswith("rows.")}
    classes = {"network": NetworkSpec, **STAGE_PARTS}
    parts = {part: described(kind) for part, kind in classes.items()}
    shown: dict[str, tuple[str, str]] = {}
    sections: dict[str, dict[str, tuple[str, str]]] = {part: {} for part in parts}
    for name, value in fields.items():
        stage, _, rest = name.partition(".")
        part, _, field = rest.partition(".")
        if name in others:
            shown[name] = (f"`{value!r}`", others[name])
        elif stage in STAGES:
            values = [fields[f"{each}.{rest}"] for each in STAGES]
            default = f"`{values[0]!r}`" if values[0] == values[1] else f"`{values[0]!r}`, segmentation `{values[1]!r}`"
            sections[part][field] = (default, parts[part][field])
        else:
            raise KeyError(f"{name}: describe it in {__file__}")
    text = (
        INTRODUCTION + "\n## Data, prediction, evaluation\n\n" + table(shown) + "\n## The networks and their training\n"
    )
    for part, rows in sections.items():
        first = (classes[part].__doc__ or "").split("\n")[0]
        text += f"\n### `{part}`\n\n{first}\n\n" + table(rows)
    return text


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
