"""One mutation after the other through the real readers, and what came of each."""

import contextlib
import dataclasses
import logging
import os
import random
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from foanet_jax.system.errors import InputError
from tests.fuzz.formats import FORMATS
from tests.fuzz.mutations import damage
from tests.fuzz.readings import fingerprint
from tests.fuzz.seeds import Seed, Target, gunzip

EQUAL, DIFFERENT, FAILED = "equal", "different", "failed"


@dataclasses.dataclass
class Tally:
    """How many mutations came to what; `refused` is by InputError's code."""

    equal: int = 0
    different: int = 0
    refused: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        """All mutations that were tried."""
        return self.equal + self.different + self.refused.total() + len(self.failures)

    def add(self, other: "Tally") -> None:
        """Counts what another tally counted."""
        self.equal += other.equal
        self.different += other.different
        self.refused += other.refused
        self.failures += other.failures


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One damaged file of one seed.

    Attributes:
        seed: number of the seed.
        target: the file.
        content: its damaged bytes.
        packed: whether the bytes of a packed file were damaged, rather than what they unpack to.
    """

    seed: int
    target: Target
    content: bytes
    packed: bool


class Bench:
    """A format's seeds on disk, ready to be damaged; `place` is a folder that no one else uses."""

    def __init__(self, name: str, place: Path):
        self.name = name
        self.seeds = FORMATS[name]()
        self.folders = [place / str(number) for number in range(len(self.seeds))]
        self.sound: list[bytes] = []
        self.others: dict[str, list[bytes]] = {}
        self._damaged: dict[int, str] = {}
        for seed, folder in zip(self.seeds, self.folders, strict=True):
            for file, content in seed.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
                self.others.setdefault(Path(file).suffix, []).append(content)
            reading = seed.read(folder)
            seed.check(reading, place / "scratch")
            self.sound.append(fingerprint(reading))
        self.place = place

    def mutation(self, run_seed: int, index: int) -> Mutation:
        """The mutation of this number: the same in every run."""
        rng = random.Random(f"{self.name}/{run_seed}/{index}")
        number = rng.randrange(len(self.seeds))
        seed = self.seeds[number]
        target = rng.choice(seed.targets)
        content = seed.files[target.name]
        packed = target.packing is not None and rng.random() < 0.6
        if target.packing is None or packed:
            fields = () if packed else target.fields
            others = self.others[Path(target.name).suffix]
            damaged = damage(content, fields=fields, others=others, text=target.text, rng=rng)
            return Mutation(number, target, damaged, packed)
        parts = target.packing.unpack(content)
        place = rng.choice((0, 0, rng.randrange(len(parts))))
        parts[place] = damage(
            parts[place], fields=target.fields if place == 0 else (), others=(), text=target.text, rng=rng
        )
        return Mutation(number, target, target.packing.pack(parts), packed)

    def attempt(self, mutation: Mutation) -> tuple[str, str]:
        """EQUAL, DIFFERENT, a code of InputError, or FAILED with a traceback."""
        seed, folder = self.seeds[mutation.seed], self.folders[mutation.seed]
        # The file damaged last is made whole only now, because as a rule it is the one to damage next.
        before = self._damaged.get(mutation.seed, mutation.target.name)
        if before != mutation.target.name:
            (folder / before).write_bytes(seed.files[before])
        (folder / mutation.target.name).write_bytes(mutation.content)
        self._damaged[mutation.seed] = mutation.target.name
        try:
            return self._read(mutation, seed, folder)
        except Exception:
            return FAILED, traceback.format_exc()

    def _read(self, mutation: Mutation, seed: Seed, folder: Path) -> tuple[str, str]:
        try:
            reading = seed.read(folder)
        except InputError as error:
            message = str(error)
            message.encode()
            if str(folder) not in message:
                raise AssertionError(f"the message does not name the file: {message}") from None
            return error.code, message
        if fingerprint(reading) == self.sound[mutation.seed]:
            return EQUAL, ""
        seed.check(reading, self.place / "scratch")
        if mutation.packed and mutation.target.checksummed:
            # A splice can be another seed's file, whole; that is no damage that a checksum could show.
            held = gunzip(mutation.content)
            others = self.others[Path(mutation.target.name).suffix]
            assert held in [gunzip(other) for other in others], (
                "a damaged file with a checksum was read as something else"
            )
        return DIFFERENT, ""


def run(at: Bench, run_seed: int, indices: range, *, started: Callable[[int], None] = lambda index: None) -> Tally:
    """Tries the mutations of these numbers; `started` is told each number before its file is read."""
    tally = Tally()
    for index in indices:
        started(index)
        mutation = at.mutation(run_seed, index)
        outcome, detail = at.attempt(mutation)
        if outcome == EQUAL:
            tally.equal += 1
        elif outcome == DIFFERENT:
            tally.different += 1
        elif outcome == FAILED:
            where = {"seed": mutation.seed, "file": mutation.target.name}
            tally.failures.append({"index": index, **where, "traceback": detail})
        else:
            tally.refused[outcome] += 1
    return tally


def temporary_place() -> str | None:
    """Where temporary folders go: into memory where there is a file system for that, unless TMPDIR says otherwise."""
    return "/dev/shm" if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def bench(name: str) -> Iterator[Bench]:
    """A bench in a temporary folder; warnings are errors while it lasts."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=temporary_place()))
    logging_below = logging.root.manager.disable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            logging.disable(logging.CRITICAL)
            yield Bench(name, place)
    finally:
        logging.disable(logging_below)
        shutil.rmtree(place, ignore_errors=True)
