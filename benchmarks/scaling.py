"""Measures how the cost grows with frames, pixels, classes, batch size and devices, for our networks only.

python -m benchmarks.scaling                     every axis
python -m benchmarks.scaling --axes frames batch
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.arena import Contestant, closing, enter, play
from benchmarks.cases import Case
from benchmarks.contestants import OURS
from benchmarks.plots import draw_scaling
from benchmarks.program import Settings
from benchmarks.report import markdown_table, say, seconds_text, write_json, write_text

QUARTER = 0.25


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis along which the cost grows.

    Attributes:
        case: returns the case for a value.
        values: the values to measure; `tiny` has the values for tests.
        unit: unit of the cost; `units` returns the number of units of a case.
        what: description of the cases.
    """

    case: Callable[[int], Case]
    values: tuple[int, ...]
    tiny: tuple[int, ...]
    unit: str
    units: Callable[[Case], float]
    what: str


def _megapixels(case: Case) -> float:
    return case.batch * case.size**2 / 1e6


AXES = {
    "frames": Axis(
        lambda n: Case(f"frames-{n}", "predict", "net2", 128, frames=n, width=0.125),
        (20, 50, 100, 200, 500, 1000, 2000),
        (2, 4),
        "frame",
        lambda case: case.frames,
        "arrays to masks through both networks, 128² px, an eighth of the width",
    ),
    "pixels": Axis(
        lambda n: Case(f"pixels-{n}", "forward", "net2", n),
        (64, 128, 192, 256, 384, 512),
        (32, 48),
        "megapixel",
        _megapixels,
        "forward Net.2, full width; the axis is the side in px",
    ),
    "classes": Axis(
        lambda n: Case(f"classes-{n}", "train", "net2", 160, classes=n, width=QUARTER),
        (2, 3, 5, 8, 16, 32),
        (2, 3),
        "step",
        lambda case: 1,
        "training step of Net.2, 160² px, a quarter of the width",
    ),
    "batch": Axis(
        lambda n: Case(f"batch-{n}", "train", "net2", 160, batch=n, width=QUARTER),
        (1, 2, 4, 8, 16),
        (1, 2),
        "image",
        lambda case: case.batch,
        "training step of Net.2, 160² px, a quarter of the width",
    ),
    "devices": Axis(
        lambda n: Case(f"devices-{n}", "train", "net2", 160, batch=4, width=QUARTER, devices=n),
        (1, 2, 4),
        (1, 2),
        "step",
        lambda case: 1,
        "training step of Net.2, batch 4, 160² px, a quarter of the width, on host devices that share the cores",
    ),
}


def measure(axis: Axis, value: int, given: argparse.Namespace) -> dict[str, Any]:
    """Measures one point of an axis in a separate process."""
    case = axis.case(value)
    if given.tiny:
        case = dataclasses.replace(case, size=case.size if case.kind == "forward" else 64, width=1 / 32)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={case.devices}"
    environment = {"JAX_ENABLE_COMPILATION_CACHE": str(given.tiny), "XLA_FLAGS": flags.strip()}
    log = given.out / "logs" / f"{case.name}.log"
    with tempfile.TemporaryDirectory() as temporary:
        settings = Settings(OURS, "", case, Path(temporary) / "inputs.npz", given.threads)
        contestant = Contestant(settings, python=sys.executable, log=log, environment=environment)
        with closing([contestant]):
            entry = enter(contestant, Path(temporary), turn_s=given.turn)
            play([entry], given.rounds)
            memory = contestant.ask("memory")
    units = axis.units(case)
    return {
        "value": value,
        "unit": axis.unit,
        "case": case.as_dict(),
        "seconds": entry.seconds,
        "median_seconds": entry.median,
        "seconds_per_unit": entry.median / units,
        "first_step_seconds": entry.first,
        "memory": memory,
    }


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; writes scaling.json, scaling.md and scaling.png."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=1.0, help="approximate length of a turn in s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--tiny", action="store_true", help="use the sizes of a test")
    given = parser.parse_args(arguments)
    described = machine.describe()
    say(machine.in_words(described))
    found: dict[str, list[dict[str, Any]]] = {}
    text = [f"{machine.in_words(described)}. {given.threads} threads."]
    for name in given.axes:
        axis = AXES[name]
        say(f"\n{name}: {axis.what}")
        found[name] = []
        for value in axis.tiny if given.tiny else axis.values:
            point = measure(axis, value, given)
            found[name].append(point)
            say(f"  {value}: {seconds_text(point['seconds_per_unit'])} per {axis.unit}")
            write_json({"machine": described, "threads": given.threads, "axes": found}, given.out / "scaling.json")
        text.append(f"**{name}**: {axis.what}.\n\n{_table(name, found[name])}")
    write_text("\n\n".join(text) + "\n", given.out / "scaling.md")
    draw_scaling(found, given.out / "scaling.png")
    say("\n" + "\n\n".join(text[1:]) + f"\n\nresults are in {given.out}")
    return 0


def _table(name: str, points: list[dict[str, Any]]) -> str:
    header = (name, f"per {points[0]['unit']}", "step", "rounds", "peak MiB", "first step")
    rows = [
        [
            str(point["value"]),
            seconds_text(point["seconds_per_unit"]),
            seconds_text(point["median_seconds"]),
            f"{seconds_text(min(point['seconds']))}–{seconds_text(max(point['seconds']))}",
            f"{point['memory']['peak_mib']:.0f}",
            seconds_text(point["first_step_seconds"]),
        ]
        for point in points
    ]
    return markdown_table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
