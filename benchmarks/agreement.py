"""Whether a contestant computes what ours does."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# TF32, which GPUs use for float32 by default, keeps 10 bits of the mantissa, bfloat16 7.
TOLERANCES = {("cpu", "float32"): 1e-4, ("gpu", "float32"): 1e-2, ("gpu", "bfloat16"): 5e-2, ("cpu", "bfloat16"): 5e-2}


def differences(numbers: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest difference in each of a contestant's numbers, relative to the reference's largest magnitude."""
    return {
        name: float(np.abs(value - reference[name]).max() / np.abs(reference[name]).max())
        for name, value in numbers.items()
        if name in reference
    }


def agreement(
    numbers: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], *, device: str, dtype: str
) -> dict[str, Any]:
    """`differences`, what they may be, and whether they are."""
    found, allowed = differences(numbers, reference), TOLERANCES[device, dtype]
    return {"differences": found, "tolerance": allowed, "agrees": all(value <= allowed for value in found.values())}
