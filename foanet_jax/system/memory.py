"""What glibc does with memory that the process frees; elsewhere than on Linux with glibc nothing happens."""

import ctypes
import sys
from typing import Any


def _glibc(function: str) -> Any:
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None


def keep_freed_memory() -> None:
    """Lets glibc keep what is freed, for the next step, instead of giving it back to Linux.

    XLA frees a program's temporary arrays after each call, and they would come from Linux anew, page by page, which
    takes longer than to fill them. One arena serves all threads: those of any but the first one give memory back
    whatever they are told, and XLA computes in threads. For whole programs, not for a library's users, and before
    threads start. See mallopt(3).
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        trim_threshold, mmap_max, arena_max = -1, -4, -8
        mallopt(trim_threshold, -1)
        mallopt(mmap_max, 0)
        mallopt(arena_max, 1)


def release_freed_memory() -> None:
    """Gives back what is free now: compiling a training step leaves more behind than the step itself needs.

    See malloc_trim(3).
    """
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)
