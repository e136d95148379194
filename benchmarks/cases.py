"""The cases to measure: a training step or a forward pass of a network at one size."""

import dataclasses
from collections.abc import Mapping
from typing import Any

TERMS = {"net1": ("cce",), "net2": ("cce", "ssim", "dice")}


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        name: name on the command line and in the results.
        kind: "train" (forward, loss, backward, norm of the gradients, Adam), "forward" (to probabilities) or
            "predict" (arrays to masks through both networks; only ours).
        architecture: "net1" or "net2"; "predict" uses both.
        size: rows and columns of the images, px.
        batch: number of images in each step.
        classes: number of classes; the default is that of LVQuan19.
        width: fraction of the full number of feature maps.
        frames: number of frames of the study in "predict".
        devices: number of host devices that share a batch; only ours.
        dtype: data type of the base network.
    """

    name: str
    kind: str
    architecture: str
    size: int
    batch: int = 1
    classes: int = 3
    width: float = 1.0
    frames: int = 0
    devices: int = 1
    dtype: str = "float32"

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the loss: only cross entropy for Net.1, all three for Net.2 (Sec. II-D)."""
        return TERMS[self.architecture]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def case_from(fields: Mapping[str, Any]) -> Case:
    """Returns the case from the output of `Case.as_dict`."""
    return Case(**fields)


NETWORK_CASES = (
    Case("train-net1-160", "train", "net1", 160),
    Case("train-net2-160", "train", "net2", 160),
    Case("forward-net1-256", "forward", "net1", 256),
    Case("forward-net2-256", "forward", "net2", 256),
    Case("forward-net1-160x20", "forward", "net1", 160, batch=20),
)


def tiny(case: Case) -> Case:
    """Returns the same case at a size for tests."""
    return dataclasses.replace(case, size=32, width=1 / 32, batch=min(case.batch, 2))
