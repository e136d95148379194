"""Times the parts of a job over several rounds."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any


def timed(parts: Sequence[tuple[str, Callable[[], Any]]], rounds: int) -> dict[str, Any]:
    """Returns the times of the parts in seconds, for the first (cold) round and for the later (warm) rounds."""
    seconds: dict[str, list[float]] = {name: [] for name, _ in parts}
    for _ in range(rounds + 1):
        for name, part in parts:
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    warm = {name: values[1:] for name, values in seconds.items()}
    totals = [sum(values) for values in zip(*warm.values(), strict=True)]
    return {
        "cold_seconds": sum(values[0] for values in seconds.values()),
        "parts": {name: statistics.median(values) for name, values in warm.items()},
        "seconds": totals,
        "median_seconds": statistics.median(totals),
    }
