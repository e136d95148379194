"""Reads the stored pixels of images."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.tag import Tag

from foanet_jax.data.dicom.decoding import Decoder, decode_frame, frame_format
from foanet_jax.data.dicom.files import MOST_BESIDE_PIXELS, NATIVE_SYNTAXES, guarded, quiet_pydicom, read_dataset
from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.system.errors import InputError

_PIXEL_TAGS = [Tag(name) for name in ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")]


def read_pixels(images: Sequence[DicomImage]) -> Iterator[np.ndarray]:
    """Yields the stored values of each image, (H, W) float64, not rescaled.

    Consecutive frames of one file are read together. One child process decodes all compressed images.

    Raises:
        InputError: a file is damaged, or it has more or fewer pixels than its header declares.
    """
    with Decoder() as decoder:
        for path, of_file in itertools.groupby(images, key=lambda image: image.path):
            yield from _of_file(path, list(of_file), decoder)


def _of_file(path: Path, images: Sequence[DicomImage], decoder: Decoder) -> Iterator[np.ndarray]:
    first = images[0]
    expected = first.frames_in_file * first.shape[0] * first.shape[1] * first.dtype.itemsize
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if size > expected + MOST_BESIDE_PIXELS:
        raise InputError("too-large", f"{path}: {size} bytes for {expected} bytes of pixels; export the file again")
    with quiet_pydicom():
        dataset = read_dataset(path, tags=_PIXEL_TAGS, most_bytes=expected + MOST_BESIDE_PIXELS)
        if first.syntax in NATIVE_SYNTAXES:
            frames = _native_frames(dataset, first, expected)
    for image in images:
        number = (image.frame or 1) - 1
        if image.syntax in NATIVE_SYNTAXES:
            stored = frames[number]
        else:
            stored = _decode(_codestream(dataset, image, number), image, decoder)
        stored = stored.astype(image.dtype.newbyteorder("="))
        # Unused high bits may hold an overlay. Shifting left removes them; shifting back restores the sign.
        spare = 8 * image.dtype.itemsize - image.bits
        yield ((stored << spare) >> spare).astype(np.float64)


def _native_frames(dataset: Dataset, first: DicomImage, expected: int) -> np.ndarray:
    """Returns the uncompressed pixels of a file, (frames, H, W)."""
    path, (rows, columns), count = first.path, first.shape, first.frames_in_file
    element = guarded(path, lambda: dataset.get(_PIXEL_TAGS[0]))
    if element is not None and element.is_undefined_length:
        raise InputError(
            "transfer-syntax",
            f"{path}: its pixels are compressed, but its transfer syntax is not; convert the file, for example with "
            "gdcmconv --raw, or export it again",
        )
    data = b"" if element is None or not isinstance(element.value, bytes) else element.value
    found = len(data)
    # An odd number of bytes may be padded by one byte.
    if found < expected or found > expected + 1:
        many = "" if first.frame is None else f"{count} frames of "
        raise InputError(
            "truncated" if found < expected else "size-mismatch",
            f"{path}: {found} bytes of pixels where the header declares {many}{rows} × {columns} of "
            f"{first.dtype.itemsize}: {expected}; copy or export the file again",
        )
    return np.frombuffer(data, first.dtype, count * rows * columns).reshape(count, rows, columns)


def _codestream(dataset: Dataset, image: DicomImage, number: int) -> bytes:
    """Returns the compressed data of the frame with this number, from 0."""

    def read() -> bytes:
        offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
        return get_frame(
            dataset.PixelData,
            number,
            number_of_frames=image.frames_in_file,
            extended_offsets=offsets if all(offsets) else None,
        )

    with quiet_pydicom():
        return guarded(image.path, read)


def _decode(codestream: bytes, image: DicomImage, decoder: Decoder) -> np.ndarray:
    if image.syntax != uids.RLELossless:
        return decoder.decode(codestream, image)
    with quiet_pydicom():
        return guarded(image.path, lambda: decode_frame(codestream, **frame_format(image), plugin="pydicom"))
