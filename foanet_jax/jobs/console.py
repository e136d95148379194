"""The console command `foanet`, which `pip install` adds; `python -m foanet_jax` is the same."""

import sys

from foanet_jax.jobs import commandline, dispatch, helping


def main() -> None:
    """Runs the job that the first word names."""
    commandline.start(sys.argv, dispatch.work, program=helping.FOANET)


if __name__ == "__main__":
    main()
