"""Trainings that something happens to, each compared with one that nothing happened to."""

import dataclasses
import random
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foanet_jax.training.checkpoint import open_checkpoints
from tests.faults import child
from tests.faults.child import READY, Faults
from tests.programs import CONTEXT

EXIT_S = 30.0  # longest time from a signal or an error to the end of the process
LONG_S = 600.0
INTERRUPTED, ALL_STEPS = "to continue, use", "(100 %)"  # what a process says
# Every epoch has steps that are skipped; some of the device's blocks hold several steps, some epochs no validation.
FAULTS = (Faults(nan=((0, 1), (1, 3)), together=3, validate_epochs=3), Faults(nan=((0, 1), (1, 3))))
PER_TRAINING = 5


@dataclasses.dataclass
class Result:
    """What a training left behind: arrays by step and name, and its log."""

    arrays: dict[tuple[str, int, str], bytes]
    log: bytes
    seconds: float = 0.0

    def same(self, other: "Result") -> bool:
        """Whether both are the same, to the last bit."""
        return (self.arrays, self.log) == (other.arrays, other.log)


@dataclasses.dataclass
class Trainings:
    """Where trainings run, and what each should leave behind."""

    place: Path
    cache: Path
    sound: dict[Faults, Result] = dataclasses.field(default_factory=dict)

    def start(self, folder: Path, faults: Faults, together: tuple[str, int, int] = ("", 1, 0)):
        """A process that trains in a folder, on its own or together with others."""
        output = output_of(folder, together[2])
        process = CONTEXT.Process(
            target=child.train, args=(str(folder), str(output), str(self.cache), faults, together), daemon=True
        )
        output.unlink(missing_ok=True)
        process.start()
        return process

    def start_together(self, folder: Path, faults: Faults, processes: int = 2):
        """Processes that train together in a folder."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        return [self.start(folder, faults, (coordinator, processes, number)) for number in range(processes)]

    def finish_together(self, folder: Path, faults: Faults) -> Result:
        """As `finish`, by two processes."""
        statuses = [ended(process, LONG_S) for process in self.start_together(folder, faults)]
        assert statuses == [0, 0], [output_of(folder, number).read_text()[-3000:] for number in range(2)]
        return result(folder)

    def finish(self, folder: Path, faults: Faults) -> Result:
        """Goes on with a training up to its end."""
        start = time.monotonic()
        status = ended(self.start(folder, faults), LONG_S)
        seconds = time.monotonic() - start
        assert status == 0, f"status {status}: {output_of(folder).read_text()[-3000:]}"
        found = result(folder)
        found.seconds = seconds
        return found

    def reference(self, faults: Faults) -> Result:
        """What a training leaves behind that only these faults happen to; the second one, which compiles nothing."""
        if faults not in self.sound:
            first, second = (self.finish(self.place / f"sound-{len(self.sound)}-{n}", faults) for n in range(2))
            assert first.same(second), "two trainings that nothing happened to differ"
            self.sound[faults] = second
        return self.sound[faults]


def output_of(folder: Path, process: int = 0) -> Path:
    """What the last process that trained in a folder said, of several the one of this number."""
    return folder.with_name(f"{folder.name}-{process}.txt")


def ended(process, seconds: float) -> int | None:
    """The exit status of a process; None where it had to be killed after that time."""
    process.join(seconds)
    status = process.exitcode
    if status is None:
        process.kill()
        process.join()
    return status


def result(folder: Path) -> Result:
    """What a finished training left behind."""
    arrays = {}
    with open_checkpoints(folder, write=False) as checkpoints:
        for which in ("best", "last"):
            found = checkpoints.read(which, training=True)
            arrays |= {(which, found.step, name): array.tobytes() for name, array in found.arrays.items()}
    return Result(arrays, (folder / "log.jsonl").read_bytes())


def kill(trainings: Trainings, number: int, seed: int, count: int) -> dict[str, Any]:
    """Kills a training some times, and those after it; "different" are those that do not end as they should."""
    return _disturb(
        trainings, f"killed-{number}", number, seed, count, lambda process, _: process.kill() or -signal.SIGKILL
    )


def terminate(trainings: Trainings, number: int, seed: int, count: int) -> dict[str, Any]:
    """As `kill`, with SIGTERM; "disorderly" counts the processes that did not end in order."""

    def tell(process, output: Path) -> int:
        process.terminate()
        status = ended(process, EXIT_S)
        text = output.read_text() if output.exists() else ""
        # Before it can answer, and after the last step, there is nothing to save.
        idle = READY not in text or ALL_STEPS in text
        return 0 if (status == 0 and INTERRUPTED in text) or (status in (0, -signal.SIGTERM) and idle) else 1

    return _disturb(trainings, f"ended-{number}", number, seed, count, tell)


def _disturb(
    trainings: Trainings, name: str, number: int, seed: int, count: int, tell: Callable[[Any, Path], int]
) -> dict[str, Any]:
    rng = random.Random(f"{seed} {name}")
    faults = FAULTS[number % len(FAULTS)]
    sound = trainings.reference(faults)
    done = disorderly = different = rounds = 0
    while done < count:
        folder = trainings.place / f"{name}-{rounds}"
        process = trainings.start(folder, faults)
        process.join(rng.uniform(0, sound.seconds))
        disturbed = process.exitcode is None
        if disturbed:
            status = tell(process, output_of(folder))
            process.join()
            done += 1
            disorderly += status not in (0, -signal.SIGKILL)
        if done == count or not disturbed:
            different += not trainings.finish(folder, faults).same(sound)
            rounds += 1
    return {"times": done, "trainings": rounds, "disorderly": disorderly, "different": different}


# What becomes of one of two processes in a save: the status that it ends with, None where it does not.
LOSSES = {"SIGKILL": -signal.SIGKILL, "SIGSTOP": None, "error": 1, "SIGTERM": 0}
LOST_S = 60.0  # longest time from then to the end of the other process
TELLING = ("lost-process", "lost another one", "detected fatal errors")  # what it says


def lose(trainings: Trainings, folder: Path, faults: Faults, what: str, process: int, save: int) -> bool:
    """Two processes train together, and something happens to one; whether both end as they should.

    Args:
        trainings: where.
        folder: of the network; what was trained there before is gone on with.
        faults: of both.
        what: of LOSSES.
        process: the one that it happens to.
        save: the how-manieth save it happens in.
    """
    faulty = dataclasses.replace(faults, save=save, happening=(what,), process=process)
    both = trainings.start_together(folder, faulty)
    one, other = both[process], both[1 - process]
    if LOSSES[what] is None:
        _wait_for_stop(one)
        status = ended(other, LOST_S)
        one.kill()
        one.join()
    else:
        one.join(LONG_S)
        status = ended(other, LOST_S)
        if ended(one, 0) != LOSSES[what]:
            return False
    said = [output_of(folder, number).read_text() for number in range(2)]
    if what == "SIGTERM":
        saved = {match[1] for text in said if (match := re.search(r"saved after step (\d+) ", text))}
        return status == 0 and len(saved) == 1 and all(INTERRUPTED in text for text in said)
    return status not in (0, None, -signal.SIGKILL) and any(text in said[1 - process] for text in TELLING)


def _wait_for_stop(process) -> None:
    """Returns once the system has stopped a process, or it has ended."""
    state = Path(f"/proc/{process.pid}/stat")
    while process.exitcode is None and state.read_text().rpartition(") ")[2][0] != "T":
        time.sleep(0.1)


def lose_some(trainings: Trainings, number: int, seed: int, count: int) -> dict[str, Any]:
    """Losses of one of two processes, one after the other in one training; "different" is 1 where it ends otherwise."""
    rng = random.Random(f"{seed} lost-{number}")
    faults = FAULTS[number % len(FAULTS)]
    folder = trainings.place / f"lost-{number}"
    wrong = []
    for _ in range(count):
        case = rng.choice(list(LOSSES)), rng.randrange(2), rng.randint(1, 4)
        if not lose(trainings, folder, faults, *case):
            wrong.append(case)
    different = not trainings.finish_together(folder, faults).same(trainings.reference(faults))
    return {"times": count, "disorderly": len(wrong), "different": int(different), "found": wrong}


EXITS = {
    "error": (("error",), 1),
    "SIGINT": (("SIGINT",), 0),
    "SIGTERM": (("SIGTERM",), 0),
    "SIGUSR1": (("SIGUSR1", "SIGUSR1"), 0),
    "SIGTERM twice": (("SIGTERM", "SIGTERM"), -signal.SIGTERM),
}


def leave(trainings: Trainings, name: str) -> dict[str, Any]:
    """One training that something happens to in the middle of its third save, and that then goes on to its end."""
    happening, expected = EXITS[name]
    faults = FAULTS[0]
    folder = trainings.place / f"left-{name.replace(' ', '-')}"
    faulty = dataclasses.replace(faults, save=3, happening=happening)
    start = time.monotonic()
    process = trainings.start(folder, faulty)
    status = ended(process, LONG_S)
    seconds = time.monotonic() - start
    wrong = status != expected or (expected == 0) != (INTERRUPTED in output_of(folder).read_text())
    different = not trainings.finish(folder, faults).same(trainings.reference(faults))
    return {"times": 1, "disorderly": int(wrong), "different": int(different), "seconds": round(seconds, 1)}
