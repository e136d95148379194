"""The one error that bad input raises."""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class InputError(ValueError):
    """Input that cannot be used, with what is wrong, where, and what to do about it.

    `code` is a short stable word for programs ("missing-file", "zero-sigma", …); the message is for
    people and names the file, the value and the remedy. It can be printed and saved whatever the file is called:
    bytes of a name that are not UTF-8, and control characters that a terminal would obey, stand in it as escapes.
    """

    def __init__(self, code: str, message: str):
        super().__init__(printable(message))
        self.code = code


@contextlib.contextmanager
def telling_damage(told: Callable[[str], InputError]) -> Iterator[None]:
    """A block that reads what may be damaged: whatever it raises is told as an InputError.

    Args:
        told: the error to raise, from the first words of the other one.
    """
    try:
        yield
    except InputError:
        raise
    # Orbax, TensorStore, safetensors and json raise a dozen kinds, RecursionErrors among them.
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise told(f"{type(error).__name__}: {lines[0][:200]}") from error


def printable(text: str) -> str:
    """A text of others with bytes that are not UTF-8 and control characters as escapes."""
    return text.translate(_CONTROL).encode("utf-8", errors="backslashreplace").decode()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean NAME? " with the known name that is most like a mistyped one; "" where none is like it."""
    close = difflib.get_close_matches(name, [word for word in known if word != name], n=1)
    return f"did you mean {close[0]}? " if close else ""
