"""`python -m tests.commands`: command lines of run.py from standard input, each in a fork of one process.

JAX and all readers are imported once. It ends with the first command that fails.
"""

import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, os.getcwd())

import run
from foanet_jax.jobs import commandline


def main():
    for line in sys.stdin.read().splitlines():
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            sys.argv = shlex.split(line)
            commandline.start(run.main, default=Path("experiments/phantom.py"))
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{line}: ended with {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
