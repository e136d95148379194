"""InputError, the only exception type that bad input raises."""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class InputError(ValueError):
    """The error for input that cannot be used. The message says what is wrong, where, and how to correct it.

    File names can contain bytes that are not UTF-8, and control characters that change the state of a terminal. The
    message has escape sequences instead, so that it can always be printed and saved.

    Attributes:
        code: a short stable word for programs ("missing-file", "zero-sigma", …).
    """

    def __init__(self, code: str, message: str):
        super().__init__(printable(message))
        self.code = code


@contextlib.contextmanager
def as_input_error(make_error: Callable[[str], InputError]) -> Iterator[None]:
    """Turns every exception of a block that reads a possibly damaged file into an InputError.

    Args:
        make_error: makes the error to raise from the type and the first line of the original exception.

    Raises:
        InputError: the block raised an exception.
    """
    try:
        yield
    except InputError:
        raise
    # Orbax, TensorStore, safetensors and json raise many types of exceptions, RecursionError among them.
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise make_error(f"{type(error).__name__}: {lines[0][:200]}") from error


def printable(text: str) -> str:
    """Returns a text with control characters, and bytes that are not UTF-8, replaced by escape sequences."""
    return text.translate(_CONTROL).encode("utf-8", errors="backslashreplace").decode()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean NAME? " with the known name most similar to a mistyped name; "" if none is similar."""
    close = most_alike(name, known)
    return f"did you mean {close}? " if close else ""


def most_alike(name: str, known: Iterable[str]) -> str:
    """Returns the known name that is most similar to a mistyped name, but not equal to it; "" if none is similar."""
    close = difflib.get_close_matches(name, [word for word in known if word != name], n=1)
    return close[0] if close else ""
