"""Compares each 3×3 convolution of base network and decoder, forward and both gradients, with XLA's own form.

python -m benchmarks.convolutions [--size 160] [--batch 1] [--width 1.0]

The thresholds in foanet_jax/network/convolution.py come from these measurements. Times are CPU seconds of the process,
because other work on the machine affects them less than wall time. The two forms take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks.report import markdown_table, say, seconds_text, write_json, write_text
from foanet_jax.network.convolution import convolve, convolve_plainly, images_gradient, kernel_gradient
from foanet_jax.system.memory import keep_freed_memory

# (stride, input maps, output maps, dilation): first the layers of both networks, then the other layers of the decoder.
LAYERS = (
    (1, 3, 64, 1),
    (1, 64, 64, 1),
    (2, 64, 128, 1),
    (2, 128, 128, 1),
    (4, 128, 256, 1),
    (4, 256, 256, 1),
    (4, 256, 256, 2),
    (8, 256, 512, 1),
    (8, 512, 512, 1),
    (8, 512, 512, 2),
    (16, 512, 512, 1),
    (16, 512, 512, 2),
    (8, 1024, 512, 1),
    (4, 512, 256, 1),
    (2, 256, 128, 1),
    (1, 128, 64, 1),
)
Form = Callable[..., jax.Array]


def forms(dilation: int) -> dict[str, tuple[Form, Form]]:
    """Returns our form and XLA's form of each of the three operations, as functions of (images, kernel, gradient)."""

    def plain_images_gradient(images, kernel, gradient):
        return jax.vjp(lambda images: convolve_plainly(images, kernel, dilation), images)[1](gradient)[0]

    def plain_kernel_gradient(images, kernel, gradient):
        return jax.vjp(lambda kernel: convolve_plainly(images, kernel, dilation), kernel)[1](gradient)[0]

    return {
        "forward": (
            lambda images, kernel, gradient: convolve(images, kernel, dilation=dilation),
            lambda images, kernel, gradient: convolve_plainly(images, kernel, dilation),
        ),
        "images": (
            lambda images, kernel, gradient: images_gradient(gradient, kernel, dilation),
            plain_images_gradient,
        ),
        "kernel": (
            lambda images, kernel, gradient: kernel_gradient(images, gradient, dilation),
            plain_kernel_gradient,
        ),
    }


def measure(layer: tuple[int, int, int, int], *, size: int, batch: int, width: float, rounds: int) -> dict[str, Any]:
    """Measures each operation of a layer in both forms: the seconds, and the largest relative difference."""
    stride, inputs, outputs, dilation = layer
    inputs, outputs = inputs if inputs == 3 else round(inputs * width), round(outputs * width)
    generator = np.random.default_rng(0)
    side = size // stride
    shapes = ((batch, side, side, inputs), (3, 3, inputs, outputs), (batch, side, side, outputs))
    arrays = [jnp.asarray(generator.normal(size=shape).astype(np.float32)) for shape in shapes]
    record: dict[str, Any] = {"side": side, "inputs": inputs, "outputs": outputs, "dilation": dilation}
    for job, both in forms(dilation).items():
        compiled = [jax.jit(form) for form in both]
        ours, plain = (np.asarray(form(*arrays)) for form in compiled)
        seconds: list[list[float]] = [[], []]
        for _ in range(rounds):
            for form, taken in zip(compiled, seconds, strict=True):
                start = time.process_time()
                form(*arrays).block_until_ready()
                taken.append(time.process_time() - start)
        record[job] = {
            "ours_seconds": statistics.median(seconds[0]),
            "plain_seconds": statistics.median(seconds[1]),
            "ratio": statistics.median(a / b for a, b in zip(*seconds, strict=True)),
            "difference": float(np.abs(ours - plain).max() / np.abs(plain).max()),
        }
    return record


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; writes convolutions.json and convolutions.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convolutions", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=160, help="rows and columns of the network's input")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--tiny", action="store_true", help="use the sizes of a test")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    options = {"size": given.size, "batch": given.batch, "width": given.width, "rounds": given.rounds}
    if given.tiny:
        options = {"size": 16, "batch": 1, "width": 1 / 32, "rounds": 1}
    described = machine.describe()
    say(machine.in_words(described))
    records = []
    for layer in LAYERS[:2] if given.tiny else LAYERS:
        records.append(measure(layer, **options))
        say(_row(records[-1])[0])
    header = ("layer", *(f"{job} {what}" for job in forms(1) for what in ("ours", "ratio")), "largest difference")
    table = markdown_table(header, [_row(record) for record in records])
    write_json({"machine": described, "options": options, "layers": records}, given.out / "convolutions.json")
    write_text(f"{machine.in_words(described)}.\n\n{table}\n", given.out / "convolutions.md")
    say(f"\n{table}\nresults are in {given.out}")
    return 0


def _row(record: dict[str, Any]) -> list[str]:
    dilated = f", dilation {record['dilation']}" if record["dilation"] > 1 else ""
    cells = [f"{record['side']}², {record['inputs']} → {record['outputs']}{dilated}"]
    for job in forms(1):
        cells += [seconds_text(record[job]["ours_seconds"]), f"{record[job]['ratio']:.2f}"]
    return [*cells, f"{max(record[job]['difference'] for job in forms(1)):.0e}"]


if __name__ == "__main__":
    raise SystemExit(main())
