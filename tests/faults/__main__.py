"""The command line of the fault campaign."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

import tests.conftest
from tests.faults.corruption import corrupt
from tests.faults.trainings import EXITS, FAULTS, PER_TRAINING, Trainings, kill, leave, lose_some, terminate

BAD = ("disorderly", "different", "wrong", "failures")


def main(arguments: list[str] | None = None) -> int:
    """Prints a table and writes results.json; 1 where anything was not as promised, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=tests.faults.__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terms", type=int, default=10)
    parser.add_argument("--corruptions", type=int, default=1000)
    parser.add_argument(
        "--exits", action=argparse.BooleanOptionalAction, default=True, help="errors and signals in saves"
    )
    parser.add_argument("--peers", type=int, default=4, help="losses of one of two processes that train together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="for results.json and what went wrong")
    options = parser.parse_args(arguments)
    place = options.out / f"{int(time.time())}-{os.getpid()}"
    place.mkdir(parents=True)
    trainings = Trainings(place, options.out / "cache")
    results: dict[str, Any] = {"seed": options.seed}
    sys.stdout.write(f"{'what':<14}{'times':>7}  outcome\n")

    def tell(name: str, found: dict[str, Any]) -> None:
        results[name] = found
        counts = ", ".join(f"{key} {value}" for key, value in found.items() if key not in ("times", "found"))
        sys.stdout.write(f"{name:<14}{found['times']:>7}  {counts}\n")
        sys.stdout.flush()
        (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")

    if options.corruptions:
        tell("corruptions", corrupt(options.corruptions, options.seed, place / "corruptions"))
    if options.kills or options.terms or options.exits or options.peers:
        for faults in FAULTS:
            trainings.reference(faults)
    disturbing = (
        ("kills", kill, options.kills),
        ("terms", terminate, options.terms),
        ("peers", lose_some, options.peers),
    )
    for name, disturb, count in disturbing:
        total: Counter[str] = Counter()
        found: list[Any] = []
        for number, start in enumerate(tqdm(range(0, count, PER_TRAINING), desc=name, unit="training", leave=False)):
            outcome = disturb(trainings, number, options.seed, min(PER_TRAINING, count - start))
            found += outcome.pop("found", [])
            total.update(outcome)
        if count:
            tell(name, {**total, "found": found})
    if options.exits:
        for name in EXITS:
            tell(name, leave(trainings, name))
    return int(any(found.get(bad) for found in results.values() if isinstance(found, dict) for bad in BAD))


if __name__ == "__main__":
    sys.exit(main())
