"""The images of a study as WebP files, small enough for all of them to be on its page."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from foanet_jax.image.window import intensity_window
from foanet_jax.pages.drawing.sheet import evenly

TYPE = "image/webp"

# A cine of 13 slices and 20 frames of 256 × 256 px gets 5 MB, which are 7 MB in base64. Of larger studies, a pixel gets
# as much, up to three times that size.
_LEAST_BYTES, _MOST_BYTES, _BYTES_PER_PIXEL = 5_000_000, 15_000_000, 0.29
# WebP at 90 changes the greys of a cine by less than its noise. Noise needs many bits, so the quality has to be lower.
_QUALITIES = range(90, 29, -5)
_SAMPLE = 8
_MOST_SIDE = 16_383  # px of a WebP file


class Greys(NamedTuple):
    """The images of a study.

    Attributes:
        files: the WebP files by frame and slice.
        window: the intensities that are black and white.
        reduced: how many rows and columns of the study are one row or column of the files.
    """

    files: list[list[bytes]]
    window: tuple[float, float]
    reduced: int


def encode_greys(voxels: np.ndarray) -> Greys:
    """Encodes every image of a study, with the best quality for which the files together are small enough.

    Args:
        voxels: (T, Z, H, W) intensities.
    """
    window = intensity_window(voxels)
    flat = voxels.reshape(-1, *voxels.shape[2:])
    room = min(max(_LEAST_BYTES, _BYTES_PER_PIXEL * voxels.size), _MOST_BYTES)
    quality, reduced = _chosen(evenly(list(flat), _SAMPLE), window, room / len(flat))
    files = [[encode_grey(image, window, quality, reduced) for image in frame] for frame in voxels]
    return Greys(files, window, reduced)


def _chosen(sample: Sequence[np.ndarray], window: tuple[float, float], room: float) -> tuple[int, int]:
    """Returns the quality and the reduction with which the images of a sample have at most `room` bytes on average."""
    longest = max(sample[0].shape)
    reduced = math.ceil(longest / _MOST_SIDE)
    while True:
        for quality in _QUALITIES:
            size = sum(len(encode_grey(image, window, quality, reduced)) for image in sample) / len(sample)
            if size <= room:
                return quality, reduced
        if longest <= reduced:
            return quality, reduced
        reduced *= 2


def encode_grey(image: np.ndarray, window: tuple[float, float], quality: int = 80, reduced: int = 1) -> bytes:
    """Returns an image as a WebP file.

    Args:
        image: (H, W) intensities.
        window: the intensities that are black and white.
        quality: of the compression, up to 100.
        reduced: how many rows and columns become one.
    """
    low, high = window
    grey = np.clip((image - low) * (255 / (high - low)), 0, 255)
    picture = Image.fromarray(grey.round().astype(np.uint8))
    if reduced > 1:
        picture = picture.reduce(reduced)
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=quality, method=0)
    return file.getvalue()
