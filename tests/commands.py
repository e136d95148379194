"""`python -m tests.commands`: command lines of run.py from standard input, each in a fork of one process.

JAX and all readers are imported once. It ends with the first command that fails.
"""

import importlib
import os
import shlex
import sys

sys.path.insert(0, os.getcwd())

import run

for name in ("export", "prediction", "sweep.work", "experiment.release"):
    importlib.import_module(f"foanet_jax.jobs.{name}")


def main():
    for line in sys.stdin.read().splitlines():
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            sys.argv = shlex.split(line)
            run.main()
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{line}: ended with {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
