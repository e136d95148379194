"""JAX as the tests want it: two CPU devices, quick compilation and a cache of what was compiled."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Most functions run once or twice here: unoptimised code takes a fraction of the time to compile.
FLAGS = (
    "--xla_force_host_platform_device_count=2",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

ROOT = Path(__file__).parents[1]

# A cache for each process that tests run in, and the programs that it starts: entries are not written atomically.
CACHE = ROOT / ".cache" / "jax" / os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

# What takes minutes, the longest first: begun last, one of them would leave the other process without work.
LONGEST = (
    "test_readme.py",
    "sweep/test_sweep.py",
    "test_fuzz.py",
    "test_end_to_end.py",
    "benchmarks/test_benchmarks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest at the beginning."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data(name)`: a folder of real studies beside the checkout; the test is skipped where it is not."""

    def folder(name: str) -> Path:
        path = ROOT.parent / "shared" / "data" / name
        if not path.is_dir():
            pytest.skip(f"{path} is not there")
        return path

    return folder
