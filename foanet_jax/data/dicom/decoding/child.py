"""The program of the child process: decodes compressed images with GDCM, within limits of memory and processor time.

It is started as a script and imports only NumPy, pydicom and GDCM, so that it starts fast and takes little memory.

A request is a line of JSON with {"bytes": n} and the arguments of decode_frame, followed by the n bytes of the
codestream. An answer is one byte, followed by the pixels if this byte is OK. More requests may follow after any answer.
"""

import json
import os
import sys
from typing import Any, BinaryIO

READY, OK, FAILED, NO_MEMORY = b"r", b"o", b"f", b"m"
MEMORY_BYTES = 2**30
SECONDS = 60


def decode_frame(codestream: bytes, *, plugin: str, syntax: str, dtype: str, bits: int, rows: int, columns: int) -> Any:
    """Decodes a compressed frame to its stored values, (rows, columns) in the given dtype.

    Args:
        codestream: the compressed frame.
        plugin: the decoder of pydicom, "gdcm" or "pydicom".
        syntax: UID of the transfer syntax.
        dtype: data type of the result.
        bits: number of bits of a pixel that are used.
        rows: number of rows of the image.
        columns: number of columns of the image.

    Raises:
        Exception: of any kind, if the frame is damaged.
    """
    import numpy as np
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    wanted = np.dtype(dtype)
    header: dict[str, Any] = {
        "number_of_frames": 1,
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 8 * wanted.itemsize,
        "bits_stored": bits,
        "pixel_representation": int(wanted.kind == "i"),
        "pixel_keyword": "PixelData",
    }
    array, _ = get_decoder(syntax).as_array(
        encapsulate([codestream]), index=0, raw=True, decoding_plugin=plugin, **header
    )
    pixels = array.astype(wanted)
    if array.shape != (rows, columns) or not np.array_equal(pixels, array):
        raise ValueError("another image than was asked for")
    return pixels


def main() -> None:
    """Answers requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Output of the library must not get between the answers.
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    import pydicom.pixels  # noqa: F401 - loads NumPy and all other modules for decoding before memory is limited

    _limit()
    _answer(answers, READY)
    while line := sys.stdin.buffer.readline(4096):
        request = json.loads(line)
        codestream = sys.stdin.buffer.read(request.pop("bytes"))
        _limit_seconds()
        try:
            pixels = decode_frame(codestream, plugin="gdcm", **request).tobytes()
        except MemoryError:
            _answer(answers, NO_MEMORY)
        except Exception:
            # The library may raise any error. Its text is not sent, because it may quote the file.
            _answer(answers, FAILED)
        else:
            _answer(answers, OK + pixels)


def _answer(answers: BinaryIO, content: bytes) -> None:
    answers.write(content)
    answers.flush()


def _limit() -> None:
    """Limits memory, and forbids files and core dumps, if the system supports it."""
    try:
        import resource
    except ImportError:
        return
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(limit, (most, most))
        except (OSError, ValueError):
            continue


def _limit_seconds() -> None:
    """Ends this process after SECONDS more of processor time, even if the parent no longer waits for it."""
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    seconds = int(usage.ru_utime + usage.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard == resource.RLIM_INFINITY else min(seconds, hard), hard))


if __name__ == "__main__":
    main()
