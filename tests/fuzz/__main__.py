"""The command line of the fuzzing."""

import argparse
import json
import sys
from pathlib import Path

from tests.fuzz.attempts import FAILED, bench
from tests.fuzz.campaign import campaign
from tests.fuzz.formats import FORMATS


def main(arguments: list[str] | None = None) -> int:
    """Prints a table and writes results.json; 1 where a reader failed or crashed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Damages files and reads them.")
    parser.add_argument("--format", action="append", choices=FORMATS, help="repeatable; all formats by default")
    parser.add_argument("--mutations", type=int, default=10_000, help="for each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="for results.json and files that fail")
    parser.add_argument("--replay", type=int, metavar="INDEX", help="run one mutation of one format again")
    options = parser.parse_args(arguments)
    names = options.format or list(FORMATS)
    if options.replay is not None:
        if len(names) != 1:
            parser.error("--replay takes one --format")
        return _replay(names[0], options.seed, options.replay, options.out)
    results = []
    sys.stdout.write(f"{'format':<18}{'mutations':>10}{'equal':>9}{'different':>10}{'refused':>9}")
    sys.stdout.write(f"{'failures':>9}{'crashes':>8}{'seconds':>9}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        result = campaign(
            name,
            run_seed=options.seed,
            start=options.start,
            mutations=options.mutations,
            jobs=options.jobs,
            out=options.out,
        )
        results.append(result)
        sys.stdout.write(
            f"{name:<18}{result['mutations']:>10}{result['equal']:>9}{result['different']:>10}"
            f"{sum(result['refused'].values()):>9}{len(result['failures']):>9}{len(result['crashes']):>8}"
            f"{result['seconds']:>9}\n"
        )
        sys.stdout.flush()
        (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for result in results:
        refused = ", ".join(f"{code} {count}" for code, count in result["refused"].items())
        sys.stdout.write(f"{result['format']}: refused as {refused}\n")
        for found in (*result["failures"], *result["crashes"]):
            last = found.get("traceback", found.get("ended", "")).strip().splitlines()[-1]
            sys.stdout.write(f"{result['format']}: mutation {found['index']}: {last}\n")
    return int(any(result["failures"] or result["crashes"] for result in results))


def _replay(name: str, run_seed: int, index: int, out: Path) -> int:
    with bench(name) as at:
        mutation = at.mutation(run_seed, index)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{name}-{run_seed}-{index}-{mutation.target.name.replace('/', '_')}"
        path.write_bytes(mutation.content)
        outcome, detail = at.attempt(mutation)
    sys.stdout.write(f"seed file {mutation.seed}, {mutation.target.name}, saved as {path}\n{outcome}\n{detail}\n")
    return int(outcome == FAILED)


if __name__ == "__main__":
    sys.exit(main())
