"""The help texts of both programs, made from the table of options."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping

from foanet_jax.jobs.options import GROUPS, JOBS, Job, Option, job_named, options_of

FOANET = "foanet"
RUN_PY = "python run.py"
COLUMN = 28  # column at which the texts of options start
OVERRIDES = "Set a field of the experiment. docs/configuration.md lists them all."


def spelt(program: str, job: str) -> str:
    """Returns the command that starts a job."""
    return f"{program} {job}" if program == FOANET else f"{program} --mode {job}"


def example(program: str, job: Job) -> str:
    """Returns an example command for the job."""
    named = job.arguments if program == FOANET else ()
    words = [value for name, value in job.example if name in named]
    for name, value in job.example:
        if name not in named:
            words.append(f"--{name}={value}" if "." in name else f"--{name} {value}")
    return " ".join([spelt(program, job.name), *words])


def overview(program: str) -> str:
    """Returns the list of the jobs, each with a summary and an example."""
    lines = ["FOANet: segmentation of the heart in cardiac MR.", "", *_usage(program), "", "Jobs:"]
    for job in JOBS:
        lines += _row(f"  {job.name}", job.summary, column=12)
        lines += command_lines(example(program, job), column=12)
    show = f"{FOANET} JOB --help" if program == FOANET else f"{RUN_PY} --mode JOB --help"
    return "\n".join([*lines, "", f"Options of one job: {show}", "All options: docs/command-line.md", ""])


def _usage(program: str) -> list[str]:
    if program == FOANET:
        return ["Usage: foanet JOB [ARGUMENTS] [--OPTION=VALUE …]", "       foanet --version"]
    return [
        "Usage: python run.py [--mode JOB] [--OPTION=VALUE …]",
        "       python run.py --version",
        "",
        *_row("", "Without any option, python run.py runs the experiment on the built-in phantom.", column=0),
    ]


def job_help(program: str, name: str) -> str:
    """Returns the help of one job: its options, by group."""
    job = job_named(name)
    given = list(job.arguments) if program == FOANET else []
    rows = options_of(name)
    positional = "".join(f" {argument.upper()}" for argument in given)
    lines = [*_row("", job.summary, column=0), "", f"Usage: {spelt(program, name)}{positional} [--OPTION=VALUE …]"]
    lines += ["", "Example:", *command_lines(example(program, job), column=2)]
    if given:
        lines += ["", "Arguments:"]
        for argument in given:
            lines += _row(f"  {argument.upper()}", described(rows[argument], default=False))
    return "\n".join([*lines, *options_text({name: row for name, row in rows.items() if name not in given}), ""])


def options_text(rows: Mapping[str, Option]) -> list[str]:
    """Returns the lines of the options, with a heading for each group."""
    lines: list[str] = []
    for group in GROUPS:
        members = [option for option in rows.values() if option.group == group]
        if members:
            lines += ["", f"{group}:"]
        for option in members:
            lines += _row(f"  {form(option)}", described(option))
            if option.kind == "config":
                lines += _row("  --config.FIELD=VALUE", OVERRIDES)
    return lines


def command_lines(command: str, *, column: int) -> list[str]:
    """Splits a command into lines of the width of the terminal. A shell reads them as one command."""
    lines = textwrap.wrap(
        command, _width(column) - column - 2, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )
    return [f"{'':{column}}{line} \\" for line in lines[:-1]] + [f"{'':{column}}{lines[-1]}"]


def _width(column: int) -> int:
    """Returns the width of the terminal, within limits that are easy to read."""
    return max(min(shutil.get_terminal_size().columns, 100), column + 24)


def whole_help(program: str) -> str:
    """Returns the overview and the options of all jobs."""
    return "\n\n".join([overview(program), *(f"{job.name.upper()}\n{job_help(program, job.name)}" for job in JOBS)])


def form(option: Option) -> str:
    """Returns the way to write an option, such as --output=FOLDER."""
    if option.kind == "switch":
        return f"--{option.name}=False" if option.default else f"--{option.name}"
    return f"--{option.name}={'|'.join(option.choices) or option.value}"


def described(option: Option, *, default: bool = True) -> str:
    """Returns what an option does, and its default."""
    if not default or (option.default is None and not option.default_text):
        return option.text
    value = option.default_text or f"{option.default}"
    return f"{option.text} [default: {value}]"


def _row(name: str, text: str, *, column: int = COLUMN) -> list[str]:
    """Returns a name and its text, wrapped to the width of the terminal."""
    lines = textwrap.wrap(text, _width(column) - column, break_on_hyphens=False) or [""]
    beside = len(name) <= max(column - 2, 0)
    first: Iterable[str] = [f"{name:{column}}{lines[0]}"] if beside else [name, f"{'':{column}}{lines[0]}"]
    return [*first, *(f"{'':{column}}{line}" for line in lines[1:])]
