"""The reference speed: the fastest matrix product on this machine, among some libraries and sizes."""

import functools
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.program import Program, Settings

SIZES = {"cpu": (1024, 1536, 2048, 3072), "gpu": (4096, 8192)}
TINY_SIZES = (128,)
TRIALS = 3


def make(settings: Settings) -> Program:
    """Tries products of square matrices with each library and size. The fastest product becomes the program."""
    sizes = TINY_SIZES if settings.variant == "tiny" else SIZES[settings.device]
    best: tuple[float, dict[str, Any], Callable[[], Any]] | None = None
    for library, size, multiply in _products(sizes, settings):
        multiply()
        seconds = []
        for _ in range(TRIALS):
            start = time.perf_counter()
            multiply()
            seconds.append(time.perf_counter() - start)
        rate = 2 * size**3 / min(seconds)
        if best is None or rate > best[0]:
            best = rate, {"library": library, "size": size, "flops": 2 * size**3}, multiply
    assert best is not None
    return Program(best[2], lambda _: {}, best[1])


def _products(sizes: tuple[int, ...], settings: Settings) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    import jax
    import jax.numpy as jnp

    dot = jax.jit(jnp.dot)
    try:
        torch = importlib.import_module("torch") if settings.device == "cpu" else None
    except ModuleNotFoundError:
        torch = None
    for size in sizes:
        a, b = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
        x, y = (jnp.asarray(matrix, settings.case.dtype) for matrix in (a, b))
        yield "jax", size, functools.partial(_wait, dot, x, y)
        if settings.device == "cpu":
            yield "numpy", size, functools.partial(np.matmul, a, b)
        if torch is not None:
            torch.set_num_threads(settings.threads)
            yield "torch", size, functools.partial(torch.matmul, torch.from_numpy(a), torch.from_numpy(b))


def _wait(dot: Callable[..., Any], x: Any, y: Any) -> Any:
    return dot(x, y).block_until_ready()
