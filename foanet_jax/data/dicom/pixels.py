"""The stored pixels of one image."""

import numpy as np
import pydicom
from pydicom import uid as uids

from foanet_jax.data.dicom.files import guarded, quiet_pydicom
from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.system.errors import InputError

_MOST_BESIDE_PIXELS = 64 * 2**20


def read_pixels(image: DicomImage) -> np.ndarray:
    """(H, W) float64 of stored values, not rescaled.

    Raises:
        InputError: the file is damaged, or its pixels are more or fewer than its header declares.
    """
    path, (rows, columns) = image.path, image.shape
    expected = rows * columns * image.dtype.itemsize
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if size > expected + _MOST_BESIDE_PIXELS:
        raise InputError("too-large", f"{path}: {size} bytes for {expected} bytes of pixels; export the file again")
    with quiet_pydicom():
        if image.syntax == uids.RLELossless:
            stored = guarded(path, lambda: pydicom.dcmread(path).pixel_array)
            if stored.shape != image.shape:
                raise InputError(
                    "size-mismatch", f"{path}: pixels of shape {stored.shape}, but a header of {image.shape}"
                )
            stored = stored.astype(image.dtype.newbyteorder("="))
        else:
            data = guarded(path, lambda: pydicom.dcmread(path, specific_tags=["PixelData"]).get("PixelData"))
            found = len(data) if isinstance(data, bytes) else 0
            # One byte may pad an odd number of them.
            if found < expected or found > expected + 1:
                code = "truncated" if found < expected else "size-mismatch"
                raise InputError(
                    code,
                    f"{path}: {found} bytes of pixels where the header declares {rows} × {columns} of "
                    f"{image.dtype.itemsize}: {expected}; copy or export the file again",
                )
            stored = np.frombuffer(data, image.dtype, rows * columns).reshape(rows, columns)
            stored = stored.astype(image.dtype.newbyteorder("="))
    # Bits above the stored ones may hold an overlay; shifting back repeats the sign.
    spare = 8 * image.dtype.itemsize - image.bits
    return ((stored << spare) >> spare).astype(np.float64)
