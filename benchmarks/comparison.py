"""Compares all contestants on one case: finds the fastest variant of each, then runs rounds with one turn for each."""

import dataclasses
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.agreement import agreement
from benchmarks.arena import Contestant, Entry, LeftOut, closing, enter, play, ratios
from benchmarks.cases import Case
from benchmarks.contestants import OURS, PRODUCT, REFERENCE, variants_of
from benchmarks.flops import step_flops
from benchmarks.program import Settings
from benchmarks.report import say, seconds_text


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a comparison.

    Attributes:
        rivals: names of the contestants other than ours.
        rounds: number of turns of each contestant.
        turn_s: approximate length of a turn in s.
        threads: number of processor cores.
        device: "cpu" or "gpu".
        pythons: interpreter of each contestant.
        logs: folder for the standard error of the processes.
        tiny: use the sizes of a test.
    """

    rivals: Sequence[str]
    rounds: int
    turn_s: float
    threads: int
    device: str
    pythons: Mapping[str, str]
    logs: Path
    tiny: bool = False

    def start(self, name: str, variant: str, case: Case, inputs: Path) -> Contestant:
        """Starts the process of a contestant.

        Raises:
            LeftOut: it cannot take part.
        """
        settings = Settings(name, variant, case, inputs, self.threads, self.device)
        # Compilation caches are off, so that the time of the first step includes all compilation.
        environment = {
            **({"TF_ENABLE_ONEDNN_OPTS": "1"} if "onednn" in variant else {}),
            "JAX_ENABLE_COMPILATION_CACHE": str(self.tiny),
            "TORCHINDUCTOR_CACHE_DIR": tempfile.mkdtemp(dir=inputs.parent),
        }
        label = "-".join([case.name, name, *variant.split()])
        return Contestant(settings, python=self.pythons[name], log=self.logs / f"{label}.log", environment=environment)


def compare(case: Case, options: Options) -> dict[str, Any]:
    """Measures a case.

    Returns:
        The record of the case: `product` (FLOP/s of the matrix product in the same rounds), `contestants` (ours
        first), `heats` (seconds of every variant that was tried) and `left_out` (contestants that could not take part,
        with the reasons).

    Raises:
        LeftOut: ours cannot take part.
    """
    say(f"\n{case.name}: {case.batch} × {case.size}², {case.classes} classes, {case.dtype}")
    heats: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary, closing([]) as running:
        inputs = Path(temporary) / "inputs.npz"
        reference = options.start(REFERENCE, "", case, inputs)
        with closing([reference]):
            truth = enter(reference, Path(temporary), turn_s=0).numbers
        product_case = dataclasses.replace(case, name=f"product-{case.dtype}")
        product = options.start(PRODUCT, "tiny" if options.tiny else "", product_case, inputs)
        running.append(product)
        yardstick = enter(product, Path(temporary), turn_s=options.turn_s / 2)
        entries: list[Entry] = []
        for name in (OURS, *options.rivals):
            found = _heats(name, case, inputs, options, heats, left_out)
            if found is not None:
                running.append(found.contestant)
                entries.append(found)
            elif name == OURS:
                raise LeftOut(f"ours: {left_out}")
        play([yardstick, *entries], options.rounds)
        rates = [yardstick.note["flops"] / seconds for seconds in yardstick.seconds]
        limit = statistics.median(rates)
        record = {
            "case": case.as_dict(),
            "flops": step_flops(case),
            "product": {**yardstick.note, "flops_per_second": limit, "rounds": rates},
            "contestants": [_result(entry, entries[0], case, limit, truth, options) for entry in entries],
            "heats": heats,
            "left_out": left_out,
        }
    for name, reason in left_out.items():
        say(f"  left out: {name}: {reason}")
    return record


def _heats(
    name: str,
    case: Case,
    inputs: Path,
    options: Options,
    heats: dict[str, dict[str, float]],
    left_out: dict[str, str],
) -> Entry | None:
    """Returns the running process of the fastest variant. Stores all times and errors in the two dictionaries."""
    best: tuple[float, Entry] | None = None
    for variant in variants_of(name, options.device):
        label = f"{name} {variant}".strip()
        try:
            contestant = options.start(name, variant, case, inputs)
        except LeftOut as reason:
            left_out[name] = str(reason)
            break
        try:
            entry = enter(contestant, inputs.parent, turn_s=options.turn_s)
            seconds = contestant.ask("run", steps=entry.steps)["seconds"]
        except LeftOut as reason:
            left_out[label] = str(reason)
            continue
        except BaseException:
            contestant.close()
            raise
        heats.setdefault(name, {})[variant] = seconds
        say(f"  {label}: {seconds_text(seconds)}, first step {seconds_text(entry.first)}")
        if best is None or seconds < best[0]:
            if best is not None:
                best[1].contestant.close()
            best = seconds, entry
        else:
            contestant.close()
    return None if best is None else best[1]


def _result(
    entry: Entry, ours: Entry, case: Case, limit: float, truth: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    median_ratio, lowest, highest = ratios(entry.seconds, ours.seconds)
    rate = step_flops(case) / entry.median
    return {
        "name": entry.contestant.settings.contestant,
        "variant": entry.contestant.settings.variant,
        "seconds": entry.seconds,
        "median_seconds": entry.median,
        "ratio": median_ratio,
        "ratio_range": [lowest, highest],
        "flops_per_second": rate,
        "share_of_product": rate / limit,
        "first_step_seconds": entry.first,
        "memory": entry.contestant.ask("memory"),
        "agreement": agreement(entry.numbers, truth, device=options.device, dtype=case.dtype),
        "note": entry.note,
    }
