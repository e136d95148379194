"""Errors for a wrong command line, with the option or field that was probably meant."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from foanet_jax.jobs import helping
from foanet_jax.jobs.options import JOBS, Option
from foanet_jax.system.errors import InputError, did_you_mean, most_alike


def require_no_job(loose: Sequence[str]) -> None:
    """Checks that the job of run.py is not given as a separate word, as for `foanet`.

    Args:
        loose: the words that are neither options nor their values.

    Raises:
        InputError: the first of them is the name of a job.
    """
    if loose and loose[0] in [job.name for job in JOBS]:
        job = f"{helping.RUN_PY} --mode {loose[0]}"
        raise InputError("arguments", f"left over: {' '.join(loose)}; run.py takes the job as an option: {job}")


def require_no_truth_values(words: Sequence[str], rows: Mapping[str, Option]) -> None:
    """Checks that no switch has its value after a space: `--pages False` would mean True and leave "False" over.

    Raises:
        InputError: a switch has a value after a space.
    """
    for before, word in pairwise(words):
        option = rows.get(before.lstrip("-")) if before.startswith("-") else None
        if option is not None and option.kind == "switch" and word.lower() in ("true", "false"):
            raise left_over([word], words)


def left_over(left: Sequence[str], words: Sequence[str]) -> InputError:
    """Returns the error for words that belong to no option.

    Args:
        left: the words.
        words: the command line without the program.
    """
    write = "write every option as --name=value"
    for before, word in pairwise(words):
        if word == left[0] and before.startswith("--") and before != "--" and "=" not in before:
            write = f"write {before}={word}"
    return InputError("arguments", f"left over: {' '.join(left)}; {write}")


def explained(error: Exception, rows: Mapping[str, Option], found: Sequence[tuple[str, str | None]]) -> InputError:
    """Returns the error for a command line that absl or an experiment refused."""
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    given = [value for name, value in found if name == "config"]
    illegal = re.match(r"flag --(?P<name>[\w.]+)=(?P<value>.*?): ", str(error))
    option = rows.get(illegal["name"]) if illegal else None
    if illegal and option and option.kind != "config":
        expected = {
            "number": "write a whole number",
            "switch": "write True or False",
            "choice": f"choose one of {'|'.join(option.choices)}",
        }.get(option.kind, last)
        meant = did_you_mean(illegal["value"], option.choices)
        return InputError("arguments", f"--{option.name}={illegal['value']}: {meant}{expected}")
    if not given:
        return InputError("arguments", last)
    try:
        fields = _fields(str(given[-1]))
    except Exception as cause:
        return _unloadable(str(given[-1]), cause)
    for name, _ in found:
        field = name.partition(".")[2]
        if field and field not in fields:
            text = f"the configuration has no field {field}; {like_field(field, fields)}see docs/configuration.md"
            return InputError("arguments", f"--{name}: {text}")
    if illegal and illegal["name"].startswith("config."):
        default = fields[illegal["name"].partition(".")[2]]
        return InputError(
            "arguments",
            f"--{illegal['name']}={illegal['value']}: not a value that this field can have; its default is {default!r}",
        )
    return InputError("arguments", last)


def _unloadable(value: str, cause: Exception) -> InputError:
    """Returns the error for an experiment that does not return a configuration."""
    from absl import flags

    lines = str(cause).strip().splitlines() or [""]
    # ml_collections adds the traceback. Its last line is the message of the experiment.
    told = re.sub(r"^[\w.]*(Error|Exception): ", "", lines[-1])
    if isinstance(cause, ValueError | flags.Error):
        return InputError("arguments", f"--config={value}: {told}")
    return InputError(
        "arguments", f"--config={value}: this experiment cannot be loaded: {type(cause).__name__}: {told}"
    )


def _fields(value: str) -> dict[str, Any]:
    """Returns the fields of an experiment with their defaults, by dotted name; also groups of fields."""
    from absl import flags
    from ml_collections import config_flags

    words = ["program", f"--config={value}"]
    holder = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=holder, sys_argv=words)
    holder(words)
    fields: dict[str, Any] = {}

    def add(tree: Mapping[str, Any], before: str) -> None:
        for name, leaf in tree.items():
            fields[before + name] = leaf
            if isinstance(leaf, Mapping):
                add(leaf, f"{before}{name}.")

    config: Any = holder["config"].value
    add(config.to_dict(), "")
    return fields


def like_field(field: str, fields: Mapping[str, Any]) -> str:
    """Returns "did you mean A or B? " with the fields that were meant by an unknown one; "" if none is like it.

    A field is often named without its network, such as train.batch_size. Both networks then have it.

    Args:
        field: the unknown field.
        fields: all fields by their dotted names.
    """
    names = [name for name in fields if not name.startswith("rows.")]
    section, last = field.partition(".")[0], field.rpartition(".")[2]
    meant = [name for name in names if name.startswith(f"{section}.") and name.endswith(f".{last}")]
    if not meant:
        endings: dict[str, list[str]] = {}
        for name in names:
            endings.setdefault(".".join(name.split(".")[-1 - field.count(".") :]), []).append(name)
        # The last name alone is like too many others.
        alike = field if field in endings or "." not in field else most_alike(field, endings)
        meant = endings.get(alike, [])
    return f"did you mean {' or '.join(meant)}? " if meant else did_you_mean(field, names)
