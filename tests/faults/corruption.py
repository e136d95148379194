"""Checkpoints that are damaged and read: what comes back must be what was saved at the step that it claims."""

import contextlib
import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from foanet_jax.system.errors import InputError
from foanet_jax.training.checkpoint import FOLDER, Checkpoint, open_checkpoints
from foanet_jax.training.step import OptimiserSpec, TrainState, init_state, make_optimiser

SCORES = {4: 0.9, 7: None, 8: 0.5}  # best is 4, last 8; 7 was saved in the middle of an epoch
REFUSALS = ("damaged-checkpoint", "missing-checkpoint")
KINDS = ("bit flip", "bit flip", "truncation", "deletion", "zeros", "other step's part", "other step's folder")


def state_of(step: int) -> TrainState:
    """A training state in which every number tells its step."""
    rng = np.random.default_rng(step)
    layers = {name: {"kernel": rng.normal(size=(3, 3, 4, 8)), "bias": rng.normal(size=8)} for name in ("a", "b")}
    params = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), layers)
    optimiser = make_optimiser(OptimiserSpec(), 10)
    state = init_state({"params": params, "statistics": {"a": {"mean": jnp.full(8, step, jnp.float32)}}}, optimiser)
    _, moved = optimiser.update(params, state.optimiser, params)
    return state.replace(step=jnp.int32(step), optimiser=moved)


def write(folder: Path) -> dict[int, Checkpoint]:
    """Checkpoints of some steps, and what each holds."""
    kept = {}
    with open_checkpoints(folder, write=True, keep_last=2) as checkpoints:
        for step, score in SCORES.items():
            description = {"step": step, "config": {"a": [1, 2.5, "µ"]}}
            checkpoints.save(state_of(step), description, epoch=step // 4, score=score)
            kept[step] = checkpoints.read("last", training=True)
    return kept


def _damage(folder: Path, kind: str, rng: random.Random) -> None:
    """One fault in one of the checkpoints."""
    steps = sorted(path for path in folder.iterdir() if path.is_dir())
    step = rng.choice(steps)
    if kind == "other step's part":
        part = rng.choice(sorted(path for path in rng.choice(steps).iterdir() if path.is_dir()))
        if part.parent != step:
            shutil.rmtree(step / part.name, ignore_errors=True)
            shutil.copytree(part, step / part.name)
        return
    if kind == "other step's folder":
        other = rng.choice([path for path in steps if path != step] or steps)
        between = folder / "between"
        step.rename(between)
        if other != step:
            other.rename(step)
        between.rename(other)
        return
    path = rng.choice(sorted(path for path in step.rglob("*") if path.is_file()))
    content = path.read_bytes()
    if kind == "deletion" or not content:
        path.unlink()
    elif kind == "truncation":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "bit flip":
        flipped = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
    else:
        start = rng.randrange(len(content))
        length = min(rng.choice((1, 16, 512)), len(content) - start)
        path.write_bytes(content[:start] + bytes(length) + content[start + length :])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("foanet_jax.training.checkpoint")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def corrupt(count: int, seed: int, place: Path) -> dict[str, Any]:
    """Damages copies of some checkpoints and reads the best or the last; counts what comes of it.

    "wrong" are those whose values are not what was saved at the step they claim, "failures" those that end in
    anything but InputError. Every fourth reading is a training's, which sets damaged checkpoints aside: after it there
    must be room for the same step.
    """
    sound, copy = place / "sound", place / "copy"
    kept = write(sound)
    tally: Counter[str] = Counter({name: 0 for name in ("sound", "fallback", "refused", "wrong", "failures")})
    found: list[str] = []
    for index in range(count):
        rng = random.Random(f"{seed} {index}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(sound, copy)
        kinds = [rng.choice(KINDS) for _ in range(rng.choice((1, 1, 2, 4)))]
        for kind in kinds:
            _damage(copy / FOLDER, kind, rng)
        try:
            with _quiet():
                outcome = _read(copy, kept, rng, training=index % 4 == 0)
        except Exception as error:  # Anything but InputError is what is looked for.
            outcome = "failures"
            found.append(f"{index} ({', '.join(kinds)}): {type(error).__name__}: {error}")
        tally[outcome] += 1
        if outcome == "wrong":
            found.append(f"{index} ({', '.join(kinds)}): values that were not saved")
    return {"times": count, **tally, "found": found}


def _read(folder: Path, kept: dict[int, Checkpoint], rng: random.Random, *, training: bool) -> str:
    which = "last" if training else rng.choice(("best", "last"))
    try:
        with open_checkpoints(folder, write=training, keep_last=2) as checkpoints:
            read = checkpoints.read(which, training=training)
            if training:
                assert read.step == max(checkpoints.steps("last"))
                checkpoints.save(state_of(9), {}, epoch=2, score=None)
    except InputError as error:
        if error.code not in REFUSALS:
            raise
        return "refused"
    expected = kept.get(read.step)
    arrays = {name: array for name, array in expected.arrays.items() if name in read.arrays} if expected else {}
    same = (
        expected is not None
        and read.description == expected.description
        and arrays.keys() == read.arrays.keys()
        and ("step" in arrays or not training)
        and all(
            a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            for a, b in ((read.arrays[name], arrays[name]) for name in arrays)
        )
    )
    if not same:
        return "wrong"
    return "sound" if read.step == (4 if which == "best" else 8) else "fallback"
