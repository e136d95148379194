"""A strict reader of numeric arrays in MAT files of versions 5 to 7.3.

The format is described in MathWorks' document "MAT-File Format". scipy.io.loadmat is not used, because a damaged file
can crash the interpreter there. This reader compares each size with the remaining bytes before it reads.
"""

import dataclasses
import math
import os
import zlib
from pathlib import Path

import h5py
import numpy as np

from foanet_jax.system import hdf5
from foanet_jax.system.errors import InputError

DEFAULT_BUDGET_BYTES = 2**30

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
_OTHER_CLASSES = (1, 2, 3, 4, 5, 16, 17, 18)  # cell, struct, object, char, sparse, function, opaque
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX, _LOGICAL = 0x0800, 0x0200
_MAX_DIMENSIONS = 32


def read_mat(path: str | os.PathLike[str], *, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> dict[str, np.ndarray]:
    """Reads the real numeric and logical arrays of a MAT file; everything else is ignored.

    Args:
        path: a MAT file of version 5, 6, 7 or 7.3.
        budget_bytes: limit of the memory that the content may take.

    Returns:
        The arrays by name, with MATLAB's shape (at least two axes) and MATLAB's class as dtype (logical: bool).

    Raises:
        InputError: the file is missing, not a MAT file of these versions, damaged, or too large.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError("missing-file", f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError("not-a-file", f"{path}: is a folder or a device; pass a .mat file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(520)
            is_hdf5 = head.startswith(_HDF5_MAGIC) or head[512:] == _HDF5_MAGIC
            if size > budget_bytes:
                raise _too_large(path, size, budget_bytes)
            content = b"" if is_hdf5 else head + file.read()
    except OSError as error:
        raise InputError(
            "unreadable", f"{path}: cannot be read ({error.strerror or error}); check its permissions and the disk"
        ) from None
    if size == 0:
        raise InputError("empty-file", f"{path}: is empty; copy or export the file again")
    if is_hdf5:
        return _read_hdf5(path, budget_bytes)
    return _read_version5(content, path, budget_bytes)


@dataclasses.dataclass
class _Cursor:
    """A reading position in a byte buffer that cannot move beyond its end."""

    content: memoryview
    endianness: str
    path: Path
    at: int = 0

    @property
    def left(self) -> int:
        return len(self.content) - self.at

    def take(self, count: int, what: str) -> memoryview:
        if count > self.left:
            raise _corrupt(self.path, f"{what} should have {count} bytes, but only {self.left} are left")
        part = self.content[self.at : self.at + count]
        self.at += count
        return part

    def unsigned(self, what: str) -> int:
        order = "little" if self.endianness == "<" else "big"
        return int.from_bytes(self.take(4, what), order)  # type: ignore[arg-type]

    def element(self, what: str) -> tuple[int, memoryview]:
        """Reads the type and the content of the next data element of a matrix and skips its padding."""
        word = self.unsigned(f"the tag of {what}")
        small = word >> 16
        if small:
            if small > 4:
                raise _corrupt(self.path, f"{what}: a small element has {small} bytes, but at most 4 are allowed")
            return word & 0xFFFF, self.take(4, what)[:small]
        size = self.unsigned(f"the tag of {what}")
        part = self.take(size, what)
        self.at = min(len(self.content), self.at + -size % 8)
        return word, part


def _read_version5(content: bytes, path: Path, budget: int) -> dict[str, np.ndarray]:
    endianness = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    version = content[124:126] if endianness == ">" else content[124:126][::-1]
    if endianness is None or version != b"\x01\x00":
        raise InputError(
            "not-mat", f"{path}: is not a MAT file of version 5 to 7.3; save it in MATLAB with save(…, '-v7')"
        )
    arrays: dict[str, np.ndarray] = {}
    cursor = _Cursor(memoryview(content), endianness, path, at=128)
    used = 0
    while cursor.left:
        kind = cursor.unsigned("a tag")
        size = cursor.unsigned("a tag")
        part = cursor.take(size, "an array")
        if kind == _COMPRESSED:
            part = _decompress(part, endianness, path, budget - used)
        elif kind != _MATRIX:
            raise _corrupt(path, f"expected an array, found an element of type {kind}")
        used += len(part)
        name, array = _read_matrix(_Cursor(part, endianness, path), budget - used)
        if array is not None:
            if name in arrays:
                raise _corrupt(path, f"two arrays are named {name!r}")
            used += array.nbytes
            arrays[name] = array
    return arrays


def _decompress(part: memoryview, endianness: str, path: Path, budget: int) -> memoryview:
    """Decompresses an element that holds one matrix, and verifies zlib's checksum."""
    stream = zlib.decompressobj()
    try:
        tag = stream.decompress(part, 8)
        if len(tag) < 8:
            raise _corrupt(path, "a compressed array ends inside its tag")
        inner = _Cursor(memoryview(tag), endianness, path)
        kind, size = inner.unsigned("a tag"), inner.unsigned("a tag")
        if kind != _MATRIX:
            raise _corrupt(path, f"expected a compressed array, found a compressed element of type {kind}")
        if size > budget:
            raise _too_large(path, size, budget)
        # One byte more than declared, to detect longer content, and because zlib reads 0 as "no limit".
        body = stream.decompress(stream.unconsumed_tail, size + 1)
    except zlib.error as error:
        raise _corrupt(path, f"an array cannot be decompressed ({error})") from None
    if len(body) != size or not stream.eof or stream.unused_data:
        raise _corrupt(path, f"a compressed array does not have the {size} bytes that it declares")
    return memoryview(body)


def _read_matrix(cursor: _Cursor, budget: int) -> tuple[str, np.ndarray | None]:
    """Reads the name and the values of a matrix; the values are None if its class is not real and numeric."""
    path = cursor.path
    if not cursor.left:
        return "", None  # MATLAB's way to write an empty cell
    kind, flags = cursor.element("array flags")
    if kind != 6 or len(flags) != 8:
        raise _corrupt(path, f"the array flags have type {kind} and {len(flags)} bytes")
    word = _Cursor(flags, cursor.endianness, path).unsigned("array flags")
    array_class = word & 0xFF
    if array_class in _OTHER_CLASSES:
        return "", None
    if array_class not in _CLASSES:
        raise _corrupt(path, f"an array has the unknown class {array_class}")

    kind, sizes = cursor.element("dimensions")
    if kind != 5 or len(sizes) % 4 or not 2 <= len(sizes) // 4 <= _MAX_DIMENSIONS:
        raise _corrupt(path, f"the dimensions have type {kind} and {len(sizes)} bytes")
    shape = [int(size) for size in np.frombuffer(sizes, f"{cursor.endianness}i4")]
    if min(shape) < 0:
        raise _corrupt(path, f"an array has the shape {shape}")

    kind, text = cursor.element("a name")
    if kind not in (1, 2, 16) or len(text) > 1024:
        raise _corrupt(path, f"a name has type {kind} and {len(text)} bytes")
    name = bytes(text).rstrip(b"\0").decode("utf-8", errors="replace")
    # MATLAB stores its function workspace as an array without a name.
    if word & _COMPLEX or not name:
        return name, None

    kind, values = cursor.element(f"the values of {name!r}")
    if kind not in _STORED:
        raise _corrupt(path, f"{name!r}: the values have the unknown type {kind}")
    stored = np.dtype(f"{cursor.endianness}{_STORED[kind]}")
    count = math.prod(shape)
    if count * stored.itemsize != len(values):
        raise _corrupt(path, f"{name!r}: {len(values)} bytes of values do not fit the shape {shape} of type {stored}")
    wanted = np.dtype(_CLASSES[array_class])
    if count * wanted.itemsize > budget:
        raise _too_large(path, count * wanted.itemsize, budget)
    array = np.frombuffer(values, stored)
    if wanted.kind != "f" and array.size:
        # MATLAB stores an array in the smallest type that holds its values, so that they always fit the array's class.
        limits = np.iinfo(wanted)
        if stored.kind == "f" or int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise _corrupt(path, f"{name!r}: the stored values of type {stored} do not fit the class {wanted}")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(wanted).reshape(shape, order="F")
    return name, converted != 0 if word & _LOGICAL else converted


def _read_hdf5(path: Path, budget: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    used = 0
    try:
        with h5py.File(path, "r", locking=False) as file:
            for name in file:
                # Soft and external links, and external and virtual storage, refer to other places and are ignored.
                if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                    continue
                dataset = file[name]
                if not isinstance(dataset, h5py.Dataset) or hdf5.leads_elsewhere(dataset):
                    continue
                # Each is looked up only once, because h5py is slow.
                attributes, dtype, shape = dataset.attrs, dataset.dtype, dataset.shape
                matlab_class = attributes.get("MATLAB_class", b"")
                matlab_class = matlab_class.decode() if isinstance(matlab_class, bytes) else str(matlab_class)
                if dtype.kind not in "iuf" or matlab_class in ("char", "cell", "struct", "function_handle"):
                    continue
                if "MATLAB_empty" in attributes or shape is None:
                    continue
                if filters := hdf5.refused_filters(dataset):
                    raise InputError(
                        "hdf5-filter",
                        f"{path}: {name!r} uses the HDF5 filters {filters}, but only 1 (deflate) and 2 (shuffle) can "
                        "be read; save it again with these",
                    )
                unpacked = hdf5.unpacked_bytes(dataset)
                if unpacked > budget - used:
                    raise _too_large(path, unpacked, budget - used)
                if (stored := hdf5.stored_bytes_lacking(dataset)) is not None:
                    raise _corrupt(path, f"{name!r}: has {unpacked} bytes of values, but only {stored} are stored")
                used += math.prod(shape) * dtype.itemsize
                # In HDF5, MATLAB's axes are in reverse order. Files of other programs can have fewer than two axes.
                array = np.atleast_2d(np.asarray(dataset[()])).T
                array = array.astype(array.dtype.newbyteorder("="))
                arrays[name] = array != 0 if matlab_class == "logical" else array
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, NotImplementedError) as error:
        raise _corrupt(path, f"HDF5 cannot read it ({str(error).splitlines()[0] if str(error) else error!r})") from None
    return arrays


def _corrupt(path: Path, what: str) -> InputError:
    return InputError("corrupt", f"{path}: {what}; the file is damaged: copy or export it again")


def _too_large(path: Path, size: int, budget: int) -> InputError:
    return InputError(
        "too-large",
        f"{path}: needs {size} bytes, more than the {max(0, budget)} that are left of the memory limit; raise the "
        "limit or crop the study",
    )
