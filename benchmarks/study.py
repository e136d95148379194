"""Measures the time that a user waits: for a study from its file to its mask, and for the start of a training.

python -m benchmarks.study
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.predict import model_of, predict_in, true_box
from benchmarks.report import markdown_table, say, seconds_text, write_json, write_text
from benchmarks.timing import timed
from foanet_jax.data.catalogue import read_input
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.phantom.short_axis import short_axis_study
from foanet_jax.data.phantom.writers import write_lvquan19
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.pipeline import Model

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Size:
    """The widths of both networks, and their grids, which are those of the paper or of experiments/acdc.py:small."""

    width: float
    localization_width: float
    localization: PrepareSpec | None = None
    segmentation: PrepareSpec | None = None

    def model(self) -> Model:
        return model_of(
            LV_CLASSES,
            cyclic=True,
            width=self.width,
            localization_width=self.localization_width,
            localization=self.localization,
            segmentation=self.segmentation,
        )


SIZES = {
    "full": Size(1.0, 1.0),
    "small": Size(
        0.375,
        0.125,
        PrepareSpec(spacing_mm=2.5, bucket=64),
        PrepareSpec(spacing_mm=1.25, bucket=64, foa=True),
    ),
}
TINY = Size(1 / 32, 1 / 32)


def files_to_masks(source: Path, folder: Path, study: Study, model: Model, rounds: int) -> dict[str, Any]:
    """Times three parts: reading the file, segmentation in the box of the true labels, and writing the mask."""
    box = true_box(study)
    kept: dict[str, Any] = {}

    def read() -> None:
        (ref,) = read_input(source, classes=model.classes)
        kept["study"] = ref.load()

    def segment() -> None:
        kept["mask"] = predict_in(kept["study"], model, box)

    def write() -> None:
        write_mask(kept["mask"], kept["study"], folder / "mask.nii.gz")

    return timed([("read", read), ("segment", segment), ("write", write)], rounds)


def start_to_first_step(options: Sequence[str], rounds: int) -> dict[str, Any]:
    """Times `run.py` in seconds, from its start to the end of its first step, with an empty and with a warm cache.

    Args:
        options: options of `run.py`.
        rounds: number of warm starts. 0: the first start counts as the warm one.
    """
    seconds = []
    with tempfile.TemporaryDirectory() as temporary:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{temporary}/cache", "JAX_PLATFORMS": "cpu"}
        for number in range(rounds + 1):
            command = [sys.executable, "-m", "benchmarks.first_step", "--mode=train"]
            start = time.time()
            done = subprocess.run(
                [*command, f"--workdir={temporary}/run{number}", *options],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"run.py failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            seconds.append(float(done.stdout.split()[-1]) - start)
    warm = seconds[1:] or seconds
    return {"cold_seconds": seconds[0], "seconds": warm, "median_seconds": statistics.median(warm)}


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; writes study.json and study.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--tiny", action="store_true", help="use the sizes of a test")
    given = parser.parse_args(arguments)
    described = machine.describe()
    say(machine.in_words(described))
    size, frames = (64, 2) if given.tiny else (256, 20)
    study = short_axis_study(0, size=size, frames=frames)
    record: dict[str, Any] = {"machine": described, "studies": {}, "shape": list(study.voxels.shape)}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        source = write_lvquan19(study, temporary, 0)
        for name, networks in ({"tiny": TINY} if given.tiny else SIZES).items():
            found = files_to_masks(source, Path(temporary), study, networks.model(), given.rounds)
            record["studies"][name] = found
            parts = ", ".join(f"{part} {seconds_text(seconds)}" for part, seconds in found["parts"].items())
            rows.append(_row(f"{frames} × {size}², file to mask, {name} networks ({parts})", found))
    # These are the networks of the phantom experiment. There are few patients, so that their drawing takes little time.
    options = ["--config.data.patients=6", "--config.data.phantom.frames=4"]
    if given.tiny:
        options += [
            f"--config.{stage}.{field}"
            for stage in ("localization", "segmentation")
            for field in ("network.width=0.03125", "prepare.spacing_mm=5.0", "train.batch_size=1")
        ]
    record["start"] = start_to_first_step(options, 0 if given.tiny else min(given.rounds, 3))
    rows.append(_row("start of `run.py` to the end of its first step, phantom of 6 patients", record["start"]))
    write_json(record, given.out / "study.json")
    table = markdown_table(("what", "warm", "rounds", "first time"), rows)
    write_text(f"{machine.in_words(described)}.\n\n{table}\n", given.out / "study.md")
    say(f"\n{table}\n\nresults are in {given.out}")
    return 0


def _row(what: str, found: dict[str, Any]) -> list[str]:
    spread = f"{seconds_text(min(found['seconds']))}–{seconds_text(max(found['seconds']))}"
    return [what, seconds_text(found["median_seconds"]), spread, seconds_text(found["cold_seconds"])]


if __name__ == "__main__":
    sys.exit(main())
