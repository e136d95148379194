"""FOANet from the command line: `python run.py --help` lists the jobs, and README.md describes them."""

import sys
from pathlib import Path

from foanet_jax.jobs import commandline, dispatch, helping


def main() -> None:
    """Runs the job that the command line names, by default the whole experiment on the phantom."""
    default = Path(__file__).parent / "experiments" / "phantom.py"
    commandline.start(sys.argv, dispatch.work, program=helping.RUN_PY, default=default)


if __name__ == "__main__":
    main()
