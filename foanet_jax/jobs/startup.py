"""Set-up of a program before its job: messages, warnings, and the cache of compiled programs."""

import contextlib
import logging
import os
import signal
import stat
import sys
import tempfile
import warnings
from pathlib import Path

from foanet_jax.system.memory import keep_freed_memory

LOGGER = logging.getLogger(__name__)
CACHE = "JAX_COMPILATION_CACHE_DIR"
KEEP_FROM = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def set_up(*, deterministic: bool = False) -> None:
    """Sets up messages in the terminal, the cache of compiled programs, and the reuse of freed memory.

    Args:
        deterministic: see `determinism.make_deterministic`.
    """
    import jax

    from foanet_jax.system.determinism import make_deterministic, use_single_precision

    show_messages()
    if deterministic:
        make_deterministic()
    use_single_precision()
    keep_freed_memory()
    cache, note = cache_folder()
    if note:
        LOGGER.info(note)
    jax.config.update("jax_compilation_cache_dir", cache)
    if KEEP_FROM not in os.environ:
        # A prediction needs thirty small programs. By default JAX does not keep them, but reading them is quicker.
        jax.config.update(KEEP_FROM.lower(), 0)


def answer_interrupts() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt; see `console.start`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def show_messages() -> None:
    """Writes the messages of this package to standard output, without warnings of other packages."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stdout, force=True)
    logging.getLogger("foanet_jax").setLevel(logging.INFO)
    # Orbax logs its options at every start. It also logs its errors, but it raises them as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def hide_warnings() -> None:
    """Hides the warnings of other packages, unless the user asked for them with -W or PYTHONWARNINGS."""
    logging.raiseExceptions = False  # A closed terminal is not an error of the program.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's errors, not its warnings
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def cache_folder() -> tuple[str | None, str]:
    """Returns the folder for compiled programs, and a note for the user if it is not the usual one.

    Returns:
        The folder, or None if no folder can be written to; and the note, or "".
    """
    wanted = os.environ.get(CACHE) or _usual_cache()
    if wanted and ("://" in wanted or _writable(Path(wanted))):
        return wanted, ""
    usual = short_path(wanted) if wanted else "no home folder"
    temporary = _temporary_cache()
    if temporary is None:
        return None, f"{usual}: cannot be written to, so compiled programs are not kept"
    return str(temporary), f"{usual}: cannot be written to, so compiled programs are kept in {temporary}"


def short_path(path: str | Path) -> str:
    """Returns a path with ~ for the home folder, for messages that people publish."""
    home = _home()
    path = Path(path)
    if home is None or not path.is_relative_to(home):
        return str(path)
    return str("~" / path.relative_to(home))


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_dir() and home != Path("/") else None


def _usual_cache() -> str:
    home = _home()
    return str(home / ".cache" / "foanet_jax") if home else ""


def _writable(folder: Path) -> bool:
    """Returns whether files can be written to a folder. A missing folder is created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_cache() -> Path | None:
    """Returns a folder to which only this user can write, because the contents of a cache are executed."""
    with contextlib.suppress(OSError):
        user = os.getuid() if hasattr(os, "getuid") else 0
        folder = Path(tempfile.gettempdir()) / f"foanet_jax-{user}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        mine = stat.S_ISDIR(status.st_mode) and status.st_uid == user and not status.st_mode & 0o077
        return folder if mine and _writable(folder) else Path(tempfile.mkdtemp(prefix="foanet_jax-"))
    return None
