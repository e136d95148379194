"""Memory that a program freed is there for its next arrays, whichever thread makes them."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys, threading
from foanet_jax.system.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in (3 * 2**20, 384 * 2**20):  # of a packed block of a convolution, and of a step's temporary arrays
        array = libc.malloc(size)
        ctypes.memset(array, 1, size)
        libc.free(array)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

for _ in range(2):
    thread = threading.Thread(target=faults)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's mallopt is not there")
def test_a_thread_has_what_another_one_freed():
    def pages(how: str) -> list[int]:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        return [int(line) for line in done.stdout.split()]

    first, second = pages("leave")
    assert second > first / 2  # taken and cleared anew: the test sees what it is about
    first, second = pages("keep")
    assert second < first / 20
