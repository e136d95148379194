"""The parent process: sends compressed images to the child process and reads the decoded pixels."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from foanet_jax.data.dicom.decoding import child
from foanet_jax.data.dicom.decoding.codestream import codestream_shape
from foanet_jax.data.dicom.files import syntax_name
from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.system.errors import InputError

_START_SECONDS = 120.0  # A slow disk may take this long to load the libraries.


def frame_format(image: DicomImage) -> dict[str, Any]:
    """Returns the arguments of `decode_frame` that describe an image."""
    rows, columns = image.shape
    return {
        "syntax": image.syntax,
        "dtype": image.dtype.str,
        "bits": image.bits,
        "rows": rows,
        "columns": columns,
    }


class Decoder:
    """A child process that decodes many images. It starts with the first image and ends when the context is left.

    A malicious file cannot harm the program through the decoder: memory and time of the child are limited, and the
    parent reads only as many bytes from it as the image has.
    """

    def __init__(self, *, seconds: float = child.SECONDS):
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()

    def decode(self, codestream: bytes, image: DicomImage) -> np.ndarray:
        """Decodes an image to its stored values, (H, W) in the image's dtype.

        Raises:
            InputError: "size-mismatch" if the codestream does not have the size in the header; "corrupt" if it is not
                a valid image; "decoder" if decoding takes too much memory or time, or ends the child.
        """
        rows, columns = image.shape
        shape = codestream_shape(codestream)
        named = f"{image.name}: its pixels ({syntax_name(image.syntax)})"
        if shape is not None and shape != (rows, columns, 1):
            raise InputError(
                "size-mismatch",
                f"{named} are {shape[0]} × {shape[1]} with {shape[2]} samples each where the header declares "
                f"{rows} × {columns} with 1; export the file again",
            )
        request = {"bytes": len(codestream), **frame_format(image)}
        try:
            answer = b"" if shape is None else self._ask(request, codestream, rows * columns * image.dtype.itemsize)
        except (TimeoutError, OSError, EOFError, MemoryError) as error:
            self.close()
            reasons = {TimeoutError: f"took more than {self._seconds:g} s", MemoryError: "took more than 1 GiB"}
            raise InputError(
                "decoder",
                f"{named} could not be decoded: the decoder {reasons.get(type(error), 'broke down')}; convert the file "
                "with gdcmconv --raw or export it again",
            ) from None
        if not answer:
            raise InputError("corrupt", f"{named} are damaged and cannot be decoded; copy or export the file again")
        return np.frombuffer(answer, image.dtype).reshape(rows, columns)

    def _ask(self, request: dict[str, Any], codestream: bytes, expected: int) -> bytes:
        """Returns the bytes of the pixels; b"" if the codestream cannot be decoded."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        until = time.monotonic() + self._seconds
        _write(process.stdin, json.dumps(request).encode() + b"\n" + codestream, until)
        kind = _read(process.stdout, 1, until)
        if kind == child.NO_MEMORY:
            raise MemoryError
        return _read(process.stdout, expected, until) if kind == child.OK else b""

    def _start(self) -> subprocess.Popen[bytes]:
        # Linear algebra gets one thread, because more would only take address space. With -P, no module can be imported
        # from the folder of the script.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(child.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            start_new_session=True,  # Ctrl-C must reach only the parent, which finishes its study.
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        _read(process.stdout, len(child.READY), time.monotonic() + _START_SECONDS)
        return process


def _write(pipe: IO[bytes], content: bytes, until: float) -> None:
    left = memoryview(content)
    while left:
        _wait(pipe, until, write=True)
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(pipe.fileno(), left) :]


def _read(pipe: IO[bytes], count: int, until: float) -> bytes:
    parts: list[bytes] = []
    while count:
        _wait(pipe, until, write=False)
        part = os.read(pipe.fileno(), min(count, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _wait(pipe: IO[bytes], until: float, *, write: bool) -> None:
    """Raises TimeoutError if nothing can be read, or written, in time."""
    seconds = max(0.0, until - time.monotonic())
    poll = select.poll()
    poll.register(pipe, select.POLLOUT if write else select.POLLIN)
    if not poll.poll(1000 * seconds):
        raise TimeoutError
