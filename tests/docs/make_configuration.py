"""Makes docs/configuration.md from the docstrings of the settings: `python -m tests.docs.make_configuration`."""

import re
from pathlib import Path

from experiments.common import common
from foanet_jax.network import NetworkSpec
from foanet_jax.settings import NETWORK_PARTS, BoxSpec
from foanet_jax.system.nesting import dotted
from foanet_jax.training.spec import NETWORKS

PATH = Path(__file__).parents[2] / "docs" / "configuration.md"
INTRODUCTION = """# Configuration

This page lists every field of the configuration in `experiments/common.py`. Set a field on the command line with
`--config.NAME=VALUE`. The fields of the second section exist once for each network: write them as
`localization.PART.FIELD` and `segmentation.PART.FIELD`. The defaults are the paper's. Options that the paper does not
have are off by default. The file of an experiment may change some defaults. This page is generated from the code by
`python -m tests.docs.make_configuration`.
"""
# The fields that belong to no settings class.
OTHERS = {
    "name": "name of the experiment, and of its folder in `runs/`",
    "row": "row of the table that was chosen. Empty: the experiment itself",
    "seed": "random seed of folds, initialization, order of the slices and augmentation",
    "data.name": "data set: acdc, lvquan19, mmwhs2017, sunnybrook, nnunet, folder, phantom, phantom_stack or "
    "phantom_whole_heart",
    "data.root": "folder of the data set",
    "data.patients": "use only this number of patients, the first ones. 0: all",
    "data.folds": "number of folds. 1: no test patients; all patients are used for training or validation",
    "data.fold": "fold to train and test on",
    "data.folds_file": "file with existing folds. Empty: new folds are made in the workdir",
    "data.split": 'how the test patients of a fold are chosen: "random", or held out by "group", "spacing" or "size"',
    "data.validation_fraction": "share of a fold's training patients that is used for validation, which selects the "
    "best checkpoint",
    "data.cyclic": "treat a cine as cyclic: its last frame comes before its first",
    "data.slice_axis": "slice orientation of mmwhs2017: axial, coronal or sagittal",
    "data.phantom.size": "image size of the short-axis phantoms, in px",
    "data.phantom.frames": "number of frames of the short-axis phantom",
    "data.phantom.shape": "shape of the whole-heart phantom: slices, rows, columns",
    "localization.enabled": "False: no localization; whole images are segmented",
    "localization.network.architecture": 'architecture of the localization network: "net1", "net2" or "unet"',
    "segmentation.network.architecture": 'architecture of the segmentation network: "net1", "net2" or "unet"',
    "prediction.memory_mb": "memory budget of a forward pass, in MiB",
    "prediction.temporal": "what is done with the class probabilities of a cine of at least five frames. "
    '"motion": they are averaged over up to two frames before and after, moved along the motion of the heart '
    '(`image/motion.py`). "none": each frame stands for itself',
    "prediction.tta": "test-time augmentation (TTA) of both networks. Probabilities are averaged over: the image alone "
    "(none), the image and its mirror images, 4 in total (flips), or these and their quarter turns, 8 in total (turns)",
    "evaluation.checkpoint": 'checkpoint to evaluate: "best" by validation Dice, or "last"',
    "evaluation.patients": 'patients to evaluate: "test" (test patients of the fold) or "all"',
    "evaluation.overlays": "number of studies to draw",
    "evaluation.pooled_hd95": "compute 95HD as one percentile over the distances of both directions together",
    "evaluation.exclude_empty": "exclude structures that are missing in both truth and prediction",
    "table.title": "title of the table of `--mode ablate`",
    "table.class_name": "class that the table reports",
    "table.reference": "row that the other rows are compared with",
    "table.order": "order of the rows",
}


def described(part: type) -> dict[str, str]:
    """The description of each attribute, from the docstring of a settings class."""
    _, attributes = re.split(r"\n *Attributes:\n", part.__doc__ or "")
    texts: dict[str, str] = {}
    for entry in re.split(r"\n {8}(?! )", "\n" + attributes.rstrip())[1:]:
        names, text = entry.split(": ", 1)
        texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts


def table(rows: dict[str, tuple[str, str]]) -> str:
    """A Markdown table of fields, defaults and descriptions."""
    lines = [f"| `{name}` | {default} | {text.rstrip('.')} |" for name, (default, text) in rows.items()]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *lines]) + "\n"


def page() -> str:
    """The text of the whole page.

    Raises:
        KeyError: a field has no description.
    """
    others = OTHERS | {f"localization.{name}": text for name, text in described(BoxSpec).items()}
    fields = {name: value for name, value in dotted(common("NAME").to_dict()).items() if not name.startswith("rows.")}
    classes = {"network": NetworkSpec, **NETWORK_PARTS}
    parts = {part: described(kind) for part, kind in classes.items()}
    shown: dict[str, tuple[str, str]] = {}
    sections: dict[str, dict[str, tuple[str, str]]] = {part: {} for part in parts}
    for name, value in fields.items():
        stage, _, rest = name.partition(".")
        part, _, field = rest.partition(".")
        if name in others:
            shown[name] = (f"`{value!r}`", others[name])
        elif stage in NETWORKS:
            values = [fields[f"{each}.{rest}"] for each in NETWORKS]
            default = f"`{values[0]!r}`" if values[0] == values[1] else f"`{values[0]!r}`, segmentation `{values[1]!r}`"
            sections[part][field] = (default, parts[part][field])
        else:
            raise KeyError(f"{name} has no description; add one to OTHERS in {__file__}")
    text = (
        INTRODUCTION + "\n## Data, prediction, evaluation\n\n" + table(shown) + "\n## The networks and their training\n"
    )
    for part, rows in sections.items():
        first = (classes[part].__doc__ or "").split("\n")[0]
        text += f"\n### `{part}`\n\n{first}\n\n" + table(rows)
    return text


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
