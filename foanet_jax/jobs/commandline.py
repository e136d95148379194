"""How a program starts and ends: its arguments read, its messages shown, bad input told in one line."""

import contextlib
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import jax
from absl import app, flags

from foanet_jax.system import distributed, interruption
from foanet_jax.system.determinism import make_deterministic
from foanet_jax.system.diskspace import disk_full, is_full
from foanet_jax.system.errors import InputError
from foanet_jax.system.memory import keep_freed_memory

BY_CHECKPOINT = ("predict", "export", "release")  # the jobs that read no experiment


def start(main: Callable[[list[str]], None], *, default: Path) -> None:
    """Reads the flags, calls `main` with what was no flag, and ends with status 2 on bad input.

    Args:
        main: of a program that has defined its flags, `--config` among them.
        default: the experiment of arguments that name none.
    """
    app.run(_guarded(main), flags_parser=_guarded(functools.partial(_parse, default=default)))


def set_up(*, deterministic: bool = False) -> None:
    """Messages to the terminal, compiled programs to a cache that later runs read, freed memory kept.

    Args:
        deterministic: see `determinism.make_deterministic`.
    """
    if deterministic:
        make_deterministic()
    keep_freed_memory()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout, force=True)
    logging.getLogger("foanet_jax").setLevel(logging.INFO)
    # Orbax tells its options at every start, and its errors twice: they are raised as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "foanet_jax"))
    jax.config.update("jax_compilation_cache_dir", cache)


def with_experiment(argv: list[str], default: Path) -> list[str]:
    """The arguments with the default experiment added where they name none.

    An experiment is a program, and what a checkpoint does must not depend on one, nor run it: there it is refused.

    Raises:
        InputError: "missing-file" where the experiment that they name is no file; "arguments" where the job reads
            none.
    """
    names = [argument.lstrip("-").partition("=")[0] if argument.startswith("-") else "" for argument in argv]
    mode = _value(argv, names, "mode")
    if mode in BY_CHECKPOINT:
        given = [name for name in names if name.partition(".")[0] == "config"]
        if given:
            raise InputError(
                "arguments", f"--{given[0]} is not read by --mode {mode}: the checkpoint has its own configuration"
            )
        return argv
    if "config" not in names:
        return [argv[0], f"--config={default}", *argv[1:]]
    value = _value(argv, names, "config")
    if not Path(value.partition(":")[0]).is_file():
        raise InputError("missing-file", f"--config={value}: no such file; name one such as experiments/phantom.py")
    return argv


def _value(argv: list[str], names: list[str], name: str) -> str:
    """The value of an option as --name=value or --name value; empty without it."""
    if name not in names:
        return ""
    place = names.index(name)
    _, assigned, value = argv[place].partition("=")
    return value if assigned else "".join(argv[place + 1 : place + 2])


def refuse_unread(mode: str, read_by: Iterable[tuple[Iterable[flags.FlagHolder], Sequence[str]]]) -> None:
    """Checks that no option was given that this job would not read.

    Raises:
        InputError: one was.
    """
    for options, modes in read_by:
        for option in options:
            if option.present and mode not in modes:
                raise InputError(
                    "arguments", f"--{option.name} is not read by --mode {mode}, only by {', '.join(modes)}"
                )


def paths(mode: str, *options: flags.FlagHolder) -> list[Path]:
    """The paths that a job needs.

    Raises:
        InputError: one was not given.
    """
    require(mode, *options)
    return [Path(option.value) for option in options]


def require(mode: str, *options: flags.FlagHolder) -> None:
    """Checks that the options that a job needs were given.

    Raises:
        InputError: one was not given.
    """
    missing = [f"--{option.name}" for option in options if not option.value]
    if missing:
        raise InputError("arguments", f"--mode {mode} also needs {', '.join(missing)}")


def inputs(values: Sequence[str]) -> list[Path]:
    """The files, folders and patterns of an option that can be given several times.

    Commas separate them, but a file or folder whose name has a comma is one.
    """
    found: list[Path] = []
    for value in values:
        names = [value] if os.path.lexists(value) else value.split(",")
        found += [Path(name) for name in names if name]
    return found


def whole_numbers(option: str, values: Sequence[str]) -> list[int]:
    """The values of an option as whole numbers.

    Raises:
        InputError: one is none.
    """
    try:
        return [int(value) for value in values]
    except ValueError:
        raise InputError("arguments", f"--{option}={','.join(values)}: write whole numbers with commas") from None


def folders(value: str) -> list[Path]:
    """The folders of an option, with commas between them."""
    return [Path(name) for name in value.split(",") if name]


@contextlib.contextmanager
def ending_in_order(go_on: str) -> Iterator[None]:
    """Ends a program that is told to in order, with a line that tells how to go on; see `interruption`."""
    try:
        with interruption.ending_in_order():
            yield
    except interruption.Interrupted as end:
        sys.stdout.write(f"{end.message}; go on with {go_on}\n")
        raise


@contextlib.contextmanager
def training_together(coordinator: str, processes: int, process: int | None) -> Iterator[None]:
    """A block that several processes do together, see `distributed.join`; a single one is on its own.

    One that fails ends at once, so that the others, who wait for it, notice.
    """
    distributed.join(coordinator, processes, process)
    if not distributed.joined():
        yield
        return
    if not distributed.is_first():
        logging.getLogger("foanet_jax").setLevel(logging.ERROR)  # The first one tells what all of them do.
    try:
        yield
    except BaseException as error:
        if not distributed.joined():
            raise  # All have parted.
        status = _tell(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    distributed.part()


def _parse(_: list[str], *, default: Path) -> list[str]:
    """Reads the flags and the experiment file; returns what was not a flag."""
    sys.argv = with_experiment(sys.argv, default)  # config_flags looks for overrides there.
    try:
        return flags.FLAGS(sys.argv)
    except (AttributeError, KeyError) as error:
        raise InputError("arguments", f"the configuration has no field {error}; see experiments/common.py") from None
    except (flags.Error, TypeError, ValueError) as error:
        what = str(error).strip().splitlines()[-1]  # An experiment's own error comes with its traceback.
        raise InputError("arguments", f"{what}; --helpfull lists the options") from None


def _guarded(function: Callable) -> Callable:
    """The function with bad input ending the program in one line and status 2."""

    def call(argv: list[str]):
        try:
            return function(argv)
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and not is_full(error):
                raise
            sys.exit(_tell(error))

    return call


def _tell(error: BaseException) -> int:
    """Tells what ends the program, and returns its exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, OSError) and is_full(error):
        error = disk_full(Path(os.fsdecode(error.filename or Path.cwd())))
    elif distributed.is_lost(error):
        error = InputError(
            "lost-process",
            f"process {jax.process_index()} has lost another one, which has died or failed; its own messages say why. "
            "Start all of them again with --resume",
        )
    if not isinstance(error, InputError):
        traceback.print_exception(error)
        return 1
    sys.stderr.write(f"error: {error.code}: {error}\n")
    return 2
