"""What is measured: a training step or a forward pass of a network at one size."""

import dataclasses
from collections.abc import Mapping
from typing import Any

TERMS = {"net1": ("cce",), "net2": ("cce", "ssim", "dice")}


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        name: how the command line and the results call it.
        kind: "train" (forward, loss, backward, norm of the gradients, Adam), "forward" (to probabilities) or
            "predict" (arrays to masks through both networks; ours alone).
        architecture: "net1" or "net2"; of "predict" both.
        size: rows and columns of the images, px.
        batch: images a step.
        classes: as LVQuan19 has them.
        width: fraction of the full number of feature maps.
        frames: of the study in "predict".
        devices: host devices that share a batch; ours alone.
        dtype: what the base network computes in.
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
        """The loss's terms: Net.1 trains on the cross entropy alone, Net.2 on all three (Sec. II-D)."""
        return TERMS[self.architecture]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def case_from(fields: Mapping[str, Any]) -> Case:
    """The case that `Case.as_dict` wrote down."""
    return Case(**fields)


NETWORK_CASES = (
    Case("train-net1-160", "train", "net1", 160),
    Case("train-net2-160", "train", "net2", 160),
    Case("forward-net1-256", "forward", "net1", 256),
    Case("forward-net2-256", "forward", "net2", 256),
    Case("forward-net1-160x20", "forward", "net1", 160, batch=20),
)


def tiny(case: Case) -> Case:
    """The case small enough for a test."""
    return dataclasses.replace(case, size=32, width=1 / 32, batch=min(case.batch, 2))
