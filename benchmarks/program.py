"""What a contestant gives to be measured, and what it is given."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Case, case_from

Params = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a contestant's process is told.

    Attributes:
        contestant: its name in `contestants.MODULES`.
        variant: which of its ways to compute the same.
        case: what to compute.
        inputs: file of parameters, images and labels; the reference writes it, the others read it.
        threads: processor cores.
        device: "cpu" or "gpu".
    """

    contestant: str
    variant: str
    case: Case
    inputs: Path
    threads: int
    device: str = "cpu"

    def as_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "inputs": str(self.inputs)}


def settings_from(fields: Mapping[str, Any]) -> Settings:
    """The settings that `Settings.as_dict` wrote down."""
    return Settings(**{**fields, "case": case_from(fields["case"]), "inputs": Path(fields["inputs"])})


@dataclasses.dataclass(frozen=True)
class Program:
    """A contestant ready to run.

    Attributes:
        step: what is timed, `steps` steps in one call; may return before its numbers are there.
        fetch: waits for what `step` returned and gives it as numpy arrays: `probabilities` of a forward pass,
            `loss` and `gradient_norm` of a training step, `logits` where they are at hand.
        note: what the results should tell of it, versions among them.
        device_peak: bytes of the accelerator's memory that were in use at most, where there is one.
        steps: how many a call makes.
        settle: what follows the first step, which compiled, before the steps whose memory counts.
    """

    step: Callable[[], Any]
    fetch: Callable[[Any], dict[str, np.ndarray]]
    note: dict[str, Any] = dataclasses.field(default_factory=dict)
    device_peak: Callable[[], int] | None = None
    steps: int = 1
    settle: Callable[[], None] = lambda: None


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The same numbers for everyone.

    Attributes:
        params: {layer: {"kernel": HWIO, "bias": …}} float32.
        images: (B, H, W, 3) float32.
        labels: (B, H, W) uint8.
    """

    params: Params
    images: np.ndarray
    labels: np.ndarray


def save_inputs(inputs: Inputs, path: Path) -> None:
    """Writes the numbers to an .npz file."""
    leaves: dict[str, Any] = {
        f"{layer}/{leaf}": value for layer, group in inputs.params.items() for leaf, value in group.items()
    }
    np.savez(path, images=inputs.images, labels=inputs.labels, **leaves)


def load_inputs(path: Path) -> Inputs:
    """Reads what `save_inputs` wrote."""
    with np.load(path) as file:
        arrays = dict(file)
    images, labels = arrays.pop("images"), arrays.pop("labels")
    params: Params = {}
    for name, value in arrays.items():
        layer, leaf = name.split("/")
        params.setdefault(layer, {})[leaf] = value
    return Inputs(params, images, labels)
