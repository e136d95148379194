"""FOANet from the command line: `python run.py --help` lists the jobs, and README.md describes them."""

from pathlib import Path

from foanet_jax.jobs import console


def main() -> None:
    """Runs the job that the command line names, by default the whole experiment on the phantom."""
    console.start("python run.py", default=Path(__file__).parent / "experiments" / "phantom.py")


if __name__ == "__main__":
    main()
