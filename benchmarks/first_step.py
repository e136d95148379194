"""Runs `run.py` to the end of its first training step, then exits; `benchmarks.study` measures the time.

python -m benchmarks.first_step ARGUMENTS OF run.py
"""

import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

RUN = Path(__file__).parents[1] / "run.py"


def main() -> None:
    """Writes the time at the end of the first step (s since the epoch) as the last line of standard output."""
    sys.argv = [str(RUN), *sys.argv[1:]]
    sys.path.insert(0, str(RUN.parent))
    import jax

    from foanet_jax.training import parallel

    parallelise = parallel.parallelise

    def watched(step: Callable, devices: int) -> Callable:
        compiled = parallelise(step, devices)

        def once(state, batch):
            jax.block_until_ready(compiled(state, batch))
            sys.stdout.write(f"\n{time.time()}\n")
            sys.stdout.flush()
            os._exit(0)

        return once

    parallel.parallelise = watched  # type: ignore[assignment]
    runpy.run_path(str(RUN), run_name="__main__")


if __name__ == "__main__":
    main()
