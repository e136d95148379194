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

import jax  # noqa: E402  the flags come first

ROOT = Path(__file__).parents[1]

# A cache for each process that tests run in: entries are not written atomically.
CACHE = ROOT / ".cache" / "jax" / os.environ.get("PYTEST_XDIST_WORKER", "main")

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data(name)`: a folder of real studies beside the checkout; the test is skipped where it is not."""

    def folder(name: str) -> Path:
        path = ROOT.parent / "shared" / "data" / name
        if not path.is_dir():
            pytest.skip(f"{path} is not there")
        return path

    return folder
