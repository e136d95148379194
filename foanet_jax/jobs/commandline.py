"""Start and end of a program: it reads the options, and reports wrong input in one line."""

import contextlib
import dataclasses
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import foanet_jax
from foanet_jax.jobs import explaining, helping, startup
from foanet_jax.jobs.options import DEFAULT_JOB, JOBS, OPTIONS, Option, job_named, options_of, readers_of
from foanet_jax.system import interruption
from foanet_jax.system.diskspace import disk_full, is_full
from foanet_jax.system.errors import InputError, did_you_mean, printable

HELP = ("--help", "-help", "-h", "--helpshort", "-?")
WHOLE_HELP = ("--helpfull", "-helpfull")
INTERRUPTED = 128  # plus the number of the signal, as in shells
BAD_INPUT = 2
EXPERIMENTS = "experiment files are in the folder experiments/ of the project's source code"


@dataclasses.dataclass(frozen=True)
class Given:
    """The contents of a command line.

    Attributes:
        job: the name of the job.
        values: the values of all options that the job reads, with their defaults.
        config: the experiment with its overrides; None if none was read.
        command: what the user typed, for the record of a run. With Python before it, it starts the program again.
    """

    job: str
    values: Mapping[str, Any]
    config: dict[str, Any] | None
    command: list[str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def start(
    words: Sequence[str], work: Callable[[Given], int | None], *, program: str, default: Path | None = None
) -> NoReturn:
    """Runs a program and exits with its status: 0, 1 if a part failed, 2 for wrong input, 130 after Ctrl-C.

    Args:
        words: sys.argv.
        work: the job; it returns the exit status.
        program: `helping.FOANET` or `helping.RUN_PY`.
        default: the experiment for a command that does not name one.
    """

    def run() -> int | None:
        text = information(words, program=program)
        if text:
            sys.stdout.write(text)
            return 0
        startup.show_messages()
        return work(read(words, program=program, default=default))

    end(run)


def end(work: Callable[[], int | None]) -> NoReturn:
    """Runs the work of a program and exits with its status; see `start`."""
    try:
        startup.hide_warnings()
        status = work() or 0
    except BaseException as error:
        status = _report(error)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):  # The reader has gone, as after `| head -1`.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    sys.exit(status)


def information(words: Sequence[str], *, program: str) -> str:
    """Returns the help or the version if the command line asks for them; else ""."""
    given = list(words[1:])
    given = given[: given.index("--")] if "--" in given else given
    if "--version" in given:
        return f"foanet-jax {foanet_jax.__version__}\n"
    asked = next((word for word in given if word in (*HELP, *WHOLE_HELP)), "")
    if not asked and (given or program != helping.FOANET):
        return ""
    if asked in WHOLE_HELP:
        return helping.whole_help(program)
    name = _job_of(given, program)
    return helping.job_help(program, name) if name else helping.overview(program)


def _job_of(words: Sequence[str], program: str) -> str:
    """Returns the job in a command line that asks for help, or ""."""
    words = [word for word in words if word not in (*HELP, *WHOLE_HELP)]
    if program == helping.FOANET:
        first = next((word for word in words if not word.startswith("-")), "")
    else:
        first = next((value for name, value in _scan(words)[0] if name == "mode"), "") or ""
    return _require_job(first, program) if first else ""


def _require_job(name: str, program: str) -> str:
    names = [job.name for job in JOBS]
    if name not in names:
        what = f"--mode={name}" if program != helping.FOANET else name
        raise InputError(
            "arguments", f"{what}: there is no such job; {did_you_mean(name, names)}choose one of {'|'.join(names)}"
        )
    return name


def read(words: Sequence[str], *, program: str, default: Path | None = None) -> Given:
    """Reads the command line of a job.

    Args:
        words: sys.argv.
        program: `helping.FOANET`, whose first word is the job, or `helping.RUN_PY`.
        default: the experiment for a command that does not name one.

    Raises:
        InputError: an option is missing, misspelt, left over or not read by this job, or the experiment is wrong.
    """
    rest = _expanded(words[1:])
    before = ["-m", "foanet_jax"] if Path(words[0]).name == "__main__.py" else [words[0]]
    command = [*before, *words[1:]]
    if program == helping.FOANET:
        if not rest or rest[0].startswith("-"):
            raise InputError("arguments", f"write the job first, such as {helping.example(program, JOBS[0])}")
        name = _require_job(rest.pop(0), program)
        positional: tuple[str, ...] = job_named(name).arguments
    else:
        rest, chosen = _without_mode(rest)
        explaining.require_no_job(_scan(rest)[1])
        name = _require_job(chosen or DEFAULT_JOB, program)
        positional = ()
    job = job_named(name)
    spelt = helping.spelt(program, name)
    short = spelt.removeprefix(f"{helping.RUN_PY} ")
    found, _ = _scan(rest)
    rows = options_of(name)
    if program == helping.RUN_PY:
        rows.setdefault("workdir", KNOWN["workdir"])  # run.py has always accepted this option for every job.
    _require_read([option for option, _ in found], name, rows, short=short, spelt=spelt)
    if job.config != "refused" and "config" not in [option for option, _ in found]:
        needed = job.config == "required" or not _names_all(found, rest, job.arguments)
        if needed and default is None:
            wanted = (
                f"--config=FILE, such as --config=experiments/acdc.py; {EXPERIMENTS}"
                if job.config == "required"
                else f"{', '.join(job.arguments).upper()}, for example: {helping.example(program, job)}"
            )
            raise InputError("arguments", f"{short} also needs {wanted}")
        if needed:
            rest, command = [f"--config={default}", *rest], [*before, f"--config={default}", *words[1:]]
    values, config = read_options(rows, rest, positional=positional)
    missing = [option for option in job.needs if not values[option]]
    if missing:
        named = [option.upper() if option in positional else f"--{option}" for option in missing]
        raise InputError(
            "arguments", f"{short} also needs {', '.join(named)}, for example: {helping.example(program, job)}"
        )
    return Given(name, values, config, command)


def read_options(
    rows: Mapping[str, Option], words: Sequence[str], *, positional: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Reads the values of options, and the experiment if one is named.

    Args:
        rows: the known options, by name.
        words: the words of the command line, without the program.
        positional: options whose values may be given without their names, in this order.

    Raises:
        InputError: an option is misspelt, left over or has a value that is not allowed, or the experiment is wrong.
    """
    from absl import flags

    found, _ = _scan(words, rows)
    explaining.require_no_truth_values(words, rows)
    for name, value in found:
        option = rows.get(name)
        if value is None and option is not None and option.kind != "switch":
            raise InputError("arguments", f"--{name}: the value is missing; write {helping.form(option)}")
        if name == "config":
            _require_experiment(value or "")
    holder = flags.FlagValues()
    for option in rows.values():
        _define(option, holder, words)
    holder.set_gnu_getopt(bool(positional))
    try:
        left = holder(["program", *words])[1:]
    except InputError:
        raise
    except Exception as error:  # An experiment is a program: it may raise anything.
        raise explaining.explained(error, rows, found) from None
    values = {name: holder[name].value for name in rows}
    places = [name for name in positional if not holder[name].present]
    for place, name in enumerate(places):
        if left and rows[name].kind == "many":  # It takes all words that the options after it do not need.
            count = max(1, len(left) - len(places[place + 1 :]))
            values[name], left = left[:count], left[count:]
        elif left:
            values[name] = left.pop(0)
    if left:
        # `--config.foa false` would mean True and leave "false" behind.
        raise explaining.left_over(left, words)
    config = values.pop("config", None)
    return values, config and config.to_dict()


def _define(option: Option, holder: Any, words: Sequence[str]) -> None:
    """Defines an option as an absl flag."""
    from absl import flags
    from ml_collections import config_flags

    named = (option.name, option.default)
    if option.kind == "config":
        config_flags.DEFINE_config_file(
            option.name, None, option.text, flag_values=holder, sys_argv=["program", *words]
        )
    elif option.kind == "choice":
        flags.DEFINE_enum(*named, option.choices, option.text, flag_values=holder)
    else:
        define: dict[str, Callable] = {
            "text": flags.DEFINE_string,
            "many": flags.DEFINE_multi_string,
            "number": flags.DEFINE_integer,
            "list": flags.DEFINE_list,
            "switch": flags.DEFINE_bool,
        }
        define[option.kind](*named, option.text, flag_values=holder)


def _expanded(words: Sequence[str]) -> list[str]:
    """Returns the words, with each --flagfile replaced by the words in this file."""
    from absl import flags

    try:
        return flags.FlagValues().read_flags_from_files(list(words), force_gnu=False)
    except (flags.Error, OSError) as error:
        raise InputError("arguments", f"--flagfile: {error}") from None


KNOWN = {option.name: option for option in OPTIONS}


def _scan(
    words: Sequence[str], rows: Mapping[str, Option] | None = None
) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Returns the options with their values, and the words that are not options. It does not run the experiment."""
    rows = KNOWN if rows is None else rows
    found: list[tuple[str, str | None]] = []
    left: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word == "--":
            left += words[place:]
            break
        if not word.startswith("-") or word == "-":
            left.append(word)
            continue
        name, assigned, value = word.lstrip("-").partition("=")
        if assigned:
            found.append((name, value))
        elif _is_switch(name, rows) or place == len(words) or ("." in name and words[place].startswith("--")):
            found.append((name.removeprefix("no") if name not in rows and _is_switch(name, rows) else name, None))
        else:
            found.append((name, words[place]))
            place += 1
    return found, left


def _is_switch(name: str, rows: Mapping[str, Option]) -> bool:
    option = rows.get(name) or rows.get(name.removeprefix("no"))
    return option is not None and option.kind == "switch"


def _without_mode(words: Sequence[str]) -> tuple[list[str], str]:
    """Returns the words without --mode, and the last value of --mode."""
    kept, chosen, place = [], "", 0
    while place < len(words):
        name, assigned, value = words[place].lstrip("-").partition("=")
        if name == "mode" and words[place].startswith("-"):
            chosen = value if assigned else "".join(words[place + 1 : place + 2])
            if not chosen:
                raise InputError("arguments", f"--mode: the job is missing; {helping.RUN_PY} --help lists the jobs")
            place += 1 if assigned else 2
        else:
            kept.append(words[place])
            place += 1
    return kept, chosen


def _names_all(found: Sequence[tuple[str, str | None]], words: Sequence[str], names: Sequence[str]) -> bool:
    """Returns whether a command line has the values of all these options, with or without their names."""
    named = {name for name, _ in found}
    return len(_scan(words)[1]) >= len([name for name in names if name not in named])


def _require_read(names: Sequence[str], job: str, own: Mapping[str, Option], *, short: str, spelt: str) -> None:
    """Checks that the job reads all of the options.

    Raises:
        InputError: the job does not read an option, or there is no such option.
    """
    for full in names:
        name = full.partition(".")[0]
        if name in own:
            continue
        if name == "config":
            reason = "" if job == "doctor" else ": the checkpoint has its own configuration"
            raise InputError("arguments", f"--{full} is not read by {short}{reason}")
        if name in KNOWN:
            instead = "; for one row, write --config=FILE.py:ROW" if name == "rows" else ""
            readers = ", ".join(readers_of(name))
            raise InputError("arguments", f"--{full} is not read by {short}, only by {readers}{instead}")
        known = did_you_mean(f"--{name}", [f"--{option}" for option in own])
        raise InputError("arguments", f"--{full}: there is no such option; {known}see {spelt} --help")


def _require_experiment(value: str) -> None:
    """Checks that an experiment file exists, and makes its package importable.

    Raises:
        InputError: "missing-file" if there is no such file.
    """
    path = Path(value.partition(":")[0])
    if not path.is_file():
        beside = [str(other) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise InputError(
            "missing-file",
            f"--config={value}: no such file; {did_you_mean(str(path), beside)}name one such as "
            f"experiments/phantom.py; {EXPERIMENTS}",
        )
    root = str(path.absolute().parents[1])
    if (path.parent / "__init__.py").is_file() and root not in sys.path:
        sys.path.append(root)  # The project's experiments import each other as a package.


def paths(value: str | None) -> list[Path]:
    """Returns the paths in the value of an option, which are separated by commas."""
    return [Path(name) for name in (value or "").split(",") if name]


def inputs(values: Sequence[str]) -> list[Path]:
    """Returns the files, folders and patterns of an option that can be given several times.

    They are separated by commas. A file or folder that exists and has a comma in its name is one path.
    """
    found: list[Path] = []
    for value in values:
        names = [value] if os.path.lexists(value) else value.split(",")
        found += [Path(name) for name in names if name]
    return found


def whole_numbers(option: str, values: Sequence[str]) -> list[int]:
    """Returns the values of an option as whole numbers.

    Raises:
        InputError: a value is not a whole number.
    """
    try:
        return [int(value) for value in values]
    except ValueError:
        raise InputError(
            "arguments", f"--{option}={','.join(values)}: write whole numbers, separated by commas"
        ) from None


def spacing(values: Sequence[str]) -> list[float] | None:
    """Returns the values of --spacing_mm: the distances of slices, rows and columns; None without the option.

    Raises:
        InputError: a value is not a number.
    """
    try:
        return [float(value) for value in values] or None
    except ValueError:
        raise InputError(
            "arguments",
            f"--spacing_mm={','.join(values)}: write the distances of slices, rows and columns in mm, such as "
            "--spacing_mm=8,1.25,1.25",
        ) from None


@contextlib.contextmanager
def ending_in_order(go_on: str) -> Iterator[None]:
    """When a signal ends the program: ends in order, with a line that says how to continue; see `interruption`."""
    try:
        with interruption.ending_in_order():
            yield
    except interruption.Interrupted as stop:
        sys.stdout.write(f"{stop.message}; to continue, use {go_on}\n")
        raise


@contextlib.contextmanager
def interruptible(note: str) -> Iterator[None]:
    """When a signal ends the program: ends at once, with a line and the exit status of the signal.

    Args:
        note: which results exist, and how to continue.
    """
    try:
        with interruption.ending_in_order():
            yield
    except BaseException as error:
        stop = _cause(error, interruption.Interrupted)
        if stop is None:
            raise
        sys.stdout.write(f"interrupted; {note}\n")
        raise SystemExit(INTERRUPTED + stop.number) from None


@contextlib.contextmanager
def training_together(coordinator: str, processes: int, process: int | None) -> Iterator[None]:
    """A block that several processes run together, see `distributed.join`; a single process runs it alone.

    A process that fails ends at once, so that the others, which wait for it, notice it.
    """
    from foanet_jax.system import distributed

    distributed.join(coordinator, processes, process)
    if not distributed.joined():
        yield
        return
    if not distributed.is_first():
        logging.getLogger("foanet_jax").setLevel(logging.ERROR)  # The first process writes the messages of all.
    try:
        yield
    except BaseException as error:
        if not distributed.joined():
            raise  # The processes have separated in order.
        status = _report(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    distributed.part()


def _report(error: BaseException) -> int:
    """Reports the error that ends the program, and returns the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if _cause(error, KeyboardInterrupt):
        _say("interrupted")
        return INTERRUPTED + 2
    if isinstance(error, BrokenPipeError):
        return 0
    found = _as_input_error(error)
    if found is None:
        traceback.print_exception(error)
        return 1
    _say(f"error: {found.code}: {found}")
    return BAD_INPUT


Kind = TypeVar("Kind", bound=BaseException)


def _cause(error: BaseException | None, kind: type[Kind]) -> Kind | None:
    """Returns the error of this kind, or an error of this kind that caused it; the import of a module may hide it."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _as_input_error(error: BaseException) -> InputError | None:
    """Returns the error to report in one line; None if the error is a bug in the program."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError):
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        if is_full(error):
            return disk_full(Path(place or Path.cwd()))
        if place and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return InputError("unwritable", f"{place}: {error.strerror}; check its permissions, or name another folder")
        if place and error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
            return InputError("output-path", f"{place}: {error.strerror}; name another path")
    if "jax" in sys.modules:
        import jax

        from foanet_jax.system import distributed

        if distributed.is_lost(error):
            return InputError(
                "lost-process",
                f"process {jax.process_index()} has lost another process, which has failed or was killed; its own "
                "messages say why. Start all of them again with --resume",
            )
    return None


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{printable(line)}\n")
