"""Reads the size of a compressed image from its codestream, before a decoder reads it."""

import struct

_START = b"\xff\xd8"  # SOI of JPEG and JPEG-LS
_START_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ of JPEG 2000
# The SOF markers of JPEG (without DHT, JPG and DAC, whose codes lie between them) and of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def codestream_shape(codestream: bytes) -> tuple[int, int, int] | None:
    """Returns rows, columns and samples per pixel of a JPEG, JPEG-LS or JPEG 2000 codestream; None for other data."""
    try:
        if codestream.startswith(_START_2000):
            return _shape_2000(codestream)
        if codestream.startswith(_START):
            return _shape(codestream)
    except struct.error:
        return None
    return None


def _shape_2000(codestream: bytes) -> tuple[int, int, int]:
    right, below, left, above = struct.unpack_from(">4I", codestream, 8)
    (samples,) = struct.unpack_from(">H", codestream, 40)
    return below - above, right - left, samples


def _shape(codestream: bytes) -> tuple[int, int, int] | None:
    at = 2
    while True:
        lead, marker, length = struct.unpack_from(">BBH", codestream, at)
        if lead != 0xFF:
            return None
        if marker == 0xFF:  # Any number of fill bytes may precede a marker.
            at += 1
        elif marker in _FRAMES:
            rows, columns, samples = struct.unpack_from(">HHB", codestream, at + 5)
            return rows, columns, samples
        else:
            at += 2 + length
