"""Checks that a contestant computes the same numbers as ours."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# TF32, the default of GPUs for float32, keeps 10 bits of the mantissa; bfloat16 keeps 7.
TOLERANCES = {("cpu", "float32"): 1e-4, ("gpu", "float32"): 1e-2, ("gpu", "bfloat16"): 5e-2, ("cpu", "bfloat16"): 5e-2}


def differences(numbers: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the largest difference of each array from the reference, relative to the largest reference magnitude."""
    return {
        name: float(np.abs(value - reference[name]).max() / np.abs(reference[name]).max())
        for name, value in numbers.items()
        if name in reference
    }


def agreement(
    numbers: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], *, device: str, dtype: str
) -> dict[str, Any]:
    """Returns the differences, the allowed tolerance, and whether all differences are within it."""
    found, allowed = differences(numbers, reference), TOLERANCES[device, dtype]
    return {"differences": found, "tolerance": allowed, "agrees": all(value <= allowed for value in found.values())}
