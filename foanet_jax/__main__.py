"""`python -m foanet_jax JOB …` is the command `foanet JOB …`."""

from foanet_jax.jobs.console import main

if __name__ == "__main__":
    main()
