"""Compares our networks with PyTorch and Keras, case by case, in one run.

python -m benchmarks.networks                                      all cases, all contestants that are installed
python -m benchmarks.networks --keras-python /tmp/vkeras/bin/python --cases train-net2-160
"""

import argparse
import sys
from pathlib import Path

from benchmarks import machine
from benchmarks.cases import NETWORK_CASES, tiny
from benchmarks.comparison import Options, compare
from benchmarks.contestants import OURS, PRODUCT, REFERENCE, RIVALS
from benchmarks.plots import draw_comparison
from benchmarks.report import say, write_json, write_text
from benchmarks.tables import comparison_table


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; writes networks.json, .md and .png. Returns 1 if a contestant disagrees with ours, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__.splitlines()[0])
    names = [case.name for case in NETWORK_CASES]
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--turn", type=float, default=2.0, help="approximate length of a turn in s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--keras-python", default=sys.executable, help="interpreter with TensorFlow")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--tiny", action="store_true", help="use the sizes of a test")
    given = parser.parse_args(arguments)
    options = Options(
        rivals=given.rivals,
        rounds=given.rounds,
        turn_s=given.turn,
        threads=given.threads,
        device="cpu",
        pythons={
            **dict.fromkeys((OURS, PRODUCT, REFERENCE), sys.executable),
            **dict.fromkeys(("torch", "torch-rewritten"), given.torch_python),
            **dict.fromkeys(("keras", "keras-tuned"), given.keras_python),
        },
        logs=given.out / "logs",
        tiny=given.tiny,
    )
    described = machine.describe()
    say(machine.in_words(described))
    chosen = [case for case in NETWORK_CASES if case.name in given.cases]
    records = []
    for case in chosen:
        records.append(compare(tiny(case) if given.tiny else case, options))
        # The results are written after every case, so that an interrupted run keeps them.
        write_json(
            {"machine": described, "rounds": given.rounds, "threads": given.threads, "cases": records},
            given.out / "networks.json",
        )
    table = comparison_table(records)
    limits = ", ".join(f"{r['product']['flops_per_second'] / 1e9:.0f}" for r in records)
    best = records[0]["product"]
    words = (
        f"{machine.in_words(described)}. {given.threads} threads, {given.rounds} rounds in turns. Matrix product: "
        f"{limits} GFLOP/s in the rounds of each case ({best['library']}, {best['size']}²)."
    )
    write_text(f"{words}\n\n{table}\n", given.out / "networks.md")
    draw_comparison(records, given.out / "networks.png")
    say(f"\n{words}\n\n{table}\n\nresults are in {given.out}")
    return int(not all(result["agreement"]["agrees"] for record in records for result in record["contestants"]))


if __name__ == "__main__":
    sys.exit(main())
