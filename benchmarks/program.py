"""The interface of a contestant: the settings and inputs that it receives, and the program that it provides."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Case, case_from

Params = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a contestant's process.

    Attributes:
        contestant: name of the contestant in `contestants.MODULES`.
        variant: variant of the contestant.
        case: the case to compute.
        inputs: file of parameters, images and labels; the reference writes it, the others read it.
        threads: number of processor cores.
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
    """Returns the settings from the output of `Settings.as_dict`."""
    return Settings(**{**fields, "case": case_from(fields["case"]), "inputs": Path(fields["inputs"])})


@dataclasses.dataclass(frozen=True)
class Program:
    """A contestant that is ready to run.

    Attributes:
        step: the function to time. It runs `steps` steps in one call and may return before the results are ready.
        fetch: waits for the results of `step` and returns them as NumPy arrays: `probabilities` of a forward pass,
            `loss` and `gradient_norm` of a training step, and `logits` if available.
        note: remarks for the results, such as versions.
        device_peak: returns the peak memory of the accelerator in bytes. None: there is no accelerator.
        steps: number of steps in one call.
        settle: called after the first step, which compiles, and before the steps whose memory is measured.
    """

    step: Callable[[], Any]
    fetch: Callable[[Any], dict[str, np.ndarray]]
    note: dict[str, Any] = dataclasses.field(default_factory=dict)
    device_peak: Callable[[], int] | None = None
    steps: int = 1
    settle: Callable[[], None] = lambda: None


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The same numbers for all contestants.

    Attributes:
        params: {layer: {"kernel": HWIO, "bias": …}} float32.
        images: (B, H, W, 3) float32.
        labels: (B, H, W) uint8.
    """

    params: Params
    images: np.ndarray
    labels: np.ndarray


def save_inputs(inputs: Inputs, path: Path) -> None:
    """Writes the inputs to an .npz file."""
    leaves: dict[str, Any] = {
        f"{layer}/{leaf}": value for layer, group in inputs.params.items() for leaf, value in group.items()
    }
    np.savez(path, images=inputs.images, labels=inputs.labels, **leaves)


def load_inputs(path: Path) -> Inputs:
    """Reads the inputs from the file of `save_inputs`."""
    with np.load(path) as file:
        arrays = dict(file)
    images, labels = arrays.pop("images"), arrays.pop("labels")
    params: Params = {}
    for name, value in arrays.items():
        layer, leaf = name.split("/")
        params.setdefault(layer, {})[leaf] = value
    return Inputs(params, images, labels)
