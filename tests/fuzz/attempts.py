"""One mutation after the other through the real readers, and what came of each."""

import contextlib
import dataclasses
import logging
import random
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from foanet_jax.errors import InputError
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
        for seed, folder in zip(self.seeds, self.folders, strict=True):
            for file, content in seed.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
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
            others = self._others(target)
            damaged = damage(content, fields=fields, others=others, text=target.text, rng=rng)
            return Mutation(number, target, damaged, packed)
        parts = target.packing.unpack(content)
        place = rng.choice((0, 0, rng.randrange(len(parts))))
        parts[place] = damage(
            parts[place], fields=target.fields if place == 0 else (), others=(), text=target.text, rng=rng
        )
        return Mutation(number, target, target.packing.pack(parts), packed)

    def _others(self, target: Target) -> list[bytes]:
        return [
            content
            for seed in self.seeds
            for name, content in seed.files.items()
            if Path(name).suffix == Path(target.name).suffix
        ]

    def attempt(self, mutation: Mutation) -> tuple[str, str]:
        """EQUAL, DIFFERENT, a code of InputError, or FAILED with a traceback."""
        seed, folder = self.seeds[mutation.seed], self.folders[mutation.seed]
        path = folder / mutation.target.name
        path.write_bytes(mutation.content)
        try:
            with warnings.catch_warnings(), _without_logs():
                warnings.simplefilter("error")
                return self._read(mutation, seed, folder)
        except Exception:
            return FAILED, traceback.format_exc()
        finally:
            path.write_bytes(seed.files[mutation.target.name])

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
            assert held in [gunzip(other) for other in self._others(mutation.target)], (
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


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def bench(name: str) -> Iterator[Bench]:
    """A bench in a temporary folder."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        yield Bench(name, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
