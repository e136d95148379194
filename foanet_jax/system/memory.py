"""Settings of glibc for freed memory. On systems other than Linux with glibc, the functions do nothing."""

import ctypes
import sys
from typing import Any


def _glibc(function: str) -> Any:
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next step instead of returning it to Linux.

    XLA frees the temporary arrays of a program after each call. It takes longer to get the memory back from Linux,
    page by page, than to fill it. XLA computes in threads. All arenas of glibc except the main one return memory,
    whatever the settings are. Therefore all threads use one arena. Call this function only in programs, not in a
    library, and before threads start. See mallopt(3).
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        trim_threshold, mmap_max, arena_max = -1, -4, -8
        mallopt(trim_threshold, -1)
        mallopt(mmap_max, 0)
        mallopt(arena_max, 1)


def release_freed_memory() -> None:
    """Returns freed memory to Linux now.

    The compilation of a training step frees more memory than the step itself needs. See malloc_trim(3).
    """
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)
