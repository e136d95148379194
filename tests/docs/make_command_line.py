"""Writes docs/command-line.md from the table of options: `python -m tests.docs.make_command_line`."""

from pathlib import Path

from foanet_jax.jobs.helping import FOANET, OVERRIDES, RUN_PY, example
from foanet_jax.jobs.options import GROUPS, JOBS, Job, Option, options_of

PATH = Path(__file__).parents[2] / "docs" / "command-line.md"
INTRODUCTION = """# Command line

There are two programs with the same jobs and options:

- `python run.py --mode JOB` runs in a copy of the source code. Without `--mode` the job is `run`. Without
  `--config` the experiment is `experiments/phantom.py`.
- `foanet JOB` runs anywhere after `pip install .`; `python -m foanet_jax JOB` is the same program. It has no default
  experiment. The experiment files are in the folder `experiments/` of the source code.

`--help` after a job shows its options, `--version` the version. Write options as `--name=value`. Write switches as
`--name` or `--name=False`. A job refuses options that it does not read.

The exit status is 0 if all went well, 1 if a part failed (a study, a run of a cross-validation, a check with errors),
and 2 for wrong input, with one line on standard error. After Ctrl-C it is 0 in `train`, `cv`, `ablate` and the training
part of `run`, which can be continued, and 130 everywhere else; [survival.md](survival.md#signals) describes all
signals. [troubleshooting.md](troubleshooting.md) lists the error codes.

In a terminal, progress is shown as a bar. In a file or a pipe it is one line every 10 seconds.
Warnings of other packages are hidden; `PYTHONWARNINGS=default` shows them.

This page is made from the code by `python -m tests.docs.make_command_line`.
"""


def page() -> str:
    """The whole page."""
    lines = ["| job | what it does |", "|---|---|"]
    lines += [f"| [`{job.name}`](#{job.name}) | {job.summary.rstrip('.')} |" for job in JOBS]
    return "\n".join([INTRODUCTION, *lines, "", *(section(job) for job in JOBS)]).rstrip("\n") + "\n"


def section(job: Job) -> str:
    """The part of the page about one job."""
    rows = options_of(job.name)
    lines = [f"## {job.name}", "", job.summary, "", "```", example(FOANET, job), example(RUN_PY, job), "```", ""]
    if job.arguments:
        names = " and ".join(f"`--{name}`" for name in job.arguments)
        what = f"{names} without {'its name' if len(job.arguments) == 1 else 'their names'}"
        values_alone = " ".join(name.upper() for name in job.arguments)
        lines += [f"With `foanet`, you can give {what}: `foanet {job.name} {values_alone}`.", ""]
    if not rows:
        return "\n".join([*lines, "It has no options.", ""]).rstrip("\n") + "\n"
    lines += ["| option | default | |", "|---|---|---|"]
    for group in GROUPS:
        members = [option for option in rows.values() if option.group == group]
        lines += [f"| **{group}** | | |"] if members else []
        for option in members:
            needed = "needed" if option.name in job.needs else default(option)
            lines.append(f"| `--{option.name}{values(option)}` | {needed} | {option.text.rstrip('.')} |")
            if option.kind == "config":
                lines.append(f"| `--config.FIELD=VALUE` | as the experiment has it | {OVERRIDES.rstrip('.')} |")
    text = "\n".join([*lines, ""])
    return text.replace("docs/configuration.md", "[configuration.md](configuration.md)").replace(
        "docs/clusters.md", "[clusters.md](clusters.md)"
    )


def values(option: Option) -> str:
    """What stands behind an option's name."""
    if option.kind == "switch":
        return "=False" if option.default else ""
    bar = "\\|"  # A plain one would end the cell.
    return f"={bar.join(option.choices) or option.value}"


def default(option: Option) -> str:
    """What holds without an option."""
    if option.default_text:
        return option.default_text
    return "none" if option.default is None else f"`{option.default}`"


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
