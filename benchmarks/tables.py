"""The table of a comparison."""

from collections.abc import Sequence
from typing import Any

from benchmarks.contestants import TITLES
from benchmarks.report import markdown_table, seconds_text

HEADER = (
    "case",
    "contestant",
    "variant",
    "step",
    "rounds",
    "time / ours",
    "range",
    "GFLOP/s",
    "share of product",
    "peak MiB",
    "first step",
    "largest difference",
)


def comparison_table(records: Sequence[dict[str, Any]]) -> str:
    """Returns the table of all cases and their contestants."""
    return markdown_table(HEADER, [_row(record, result) for record in records for result in record["contestants"]])


def _row(record: dict[str, Any], result: dict[str, Any]) -> list[str]:
    low, high = result["ratio_range"]
    memory = result["memory"]
    peak = memory["peak_mib"] if memory["device_peak_mib"] is None else memory["device_peak_mib"]
    found = result["agreement"]
    worst = max(found["differences"].values(), default=0.0)
    return [
        record["case"]["name"],
        TITLES[result["name"]],
        result["variant"] or "–",
        seconds_text(result["median_seconds"]),
        f"{seconds_text(min(result['seconds']))}–{seconds_text(max(result['seconds']))}",
        f"{result['ratio']:.2f}",
        f"{low:.2f}–{high:.2f}",
        f"{result['flops_per_second'] / 1e9:.0f}",
        f"{result['share_of_product']:.0%}",
        f"{peak:.0f}",
        seconds_text(result["first_step_seconds"]),
        f"{worst:.0e}" + ("" if found["agrees"] else " DISAGREES"),
    ]
