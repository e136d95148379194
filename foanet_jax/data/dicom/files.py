"""Finds DICOM files on the disk, and reads them safely even if they are damaged."""

import contextlib
import io
import logging
import os
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom import filereader
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from foanet_jax.data.nifti.file import DEFAULT_BUDGET_BYTES
from foanet_jax.data.refs import natural_key
from foanet_jax.system.errors import InputError

_QUIET = threading.RLock()
MOST_FILES = 100_000
# The largest size of all data in a file except its pixels.
MOST_BESIDE_PIXELS = 64 * 2**20
_MOST_HEADER = 16 * 2**20
_MOST_BEFORE_CLASS = 4096

# In these syntaxes, the pixels are not encoded. A deflated file only has to be inflated.
NATIVE_SYNTAXES = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.DeflatedExplicitVRLittleEndian,
)
# A C++ library decodes these syntaxes in a child process.
COMPRESSED_SYNTAXES = (
    uids.JPEGBaseline8Bit,
    uids.JPEGLossless,
    uids.JPEGLosslessSV1,
    uids.JPEGLSLossless,
    uids.JPEGLSNearLossless,
    uids.JPEG2000Lossless,
    uids.JPEG2000,
)
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # the tags of pixels as floats, doubles and integers
_STORED_OBJECTS = "1.2.840.10008.5.1.4.1.1."
_EXPLICIT_VR = {str(vr) for vr in EXPLICIT_VR_LENGTH_16 | EXPLICIT_VR_LENGTH_32}


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file is DICOM. Its name does not matter.

    A DICOM file has "DICM" after a preamble of 128 bytes. A file without preamble is accepted if it starts with DICOM
    elements in their order, and its SOPClassUID (or MediaStorageSOPClassUID) is a class of stored objects. No text and
    no other kind of image can meet this by accident.
    """
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            start = file.read(_MOST_BEFORE_CLASS)
    except OSError:
        return False
    return start[128:132] == b"DICM" or _is_bare(start)


def _is_bare(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a stored object without preamble."""
    # The first tag must have group 2 or 8, little or big endian. Most other files are therefore not parsed.
    if start[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return False
    try:
        with quiet_pydicom():
            file = io.BytesIO(start)
            meta = _read_start(file)
            found = str(meta.get("MediaStorageSOPClassUID") or "")
            if not found:
                syntax = uids.UID(meta.TransferSyntaxUID)
                tags = _parse(file, syntax, stop_when=lambda tag, vr, length: tag > 0x00080016)
                found = str(tags.get("SOPClassUID") or "")
    except Exception:
        return False
    return found.startswith(_STORED_OBJECTS)


def holds_dicom(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder, or one below it, has a DICOM file."""
    return any(is_dicom(path) for path in walk(Path(folder)))


def walk(folder: Path) -> Iterator[Path]:
    """Yields the files in a folder and below, in order. Hidden files are left out; links to folders are not followed.

    Raises:
        InputError: "too-many-files" after MOST_FILES of them.
    """
    count = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted((name for name in names if not name.startswith(".")), key=natural_key):
            count += 1
            if count > MOST_FILES:
                raise InputError(
                    "too-many-files", f"{folder}: more than {MOST_FILES} files; pass the folder of fewer patients"
                )
            yield Path(parent) / name


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Turns off the warnings and the log of pydicom, because they contain values of tags.

    The switches are global, so that only one thread at a time can be in this context.
    """
    with _QUIET:
        logger = logging.getLogger("pydicom")
        disabled = logger.disabled
        logger.disabled = True
        try:
            with warnings.catch_warnings(), pydicom.config.disable_value_validation():
                warnings.simplefilter("ignore")
                yield
        finally:
            logger.disabled = disabled


def guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Calls `read` and returns its result.

    Raises:
        InputError: `read` raised an error, such as one of pydicom's on a damaged file. The message has no values of
            the file.
    """
    try:
        return read()
    except OSError as error:
        raise InputError(
            "unreadable", f"{path}: cannot be read ({error.strerror or 'damaged'}); check its permissions and the disk"
        ) from None
    except Exception as error:
        # The errors of pydicom have no common base class, and their texts may quote the patient's tags.
        raise InputError(
            "corrupt", f"{path}: damaged DICOM ({type(error).__name__}); copy or export the file again"
        ) from None


def read_meta(path: Path) -> FileMetaDataset:
    """Reads only the meta information of a file. If there is none, the transfer syntax is guessed.

    Raises:
        InputError: the file is missing, not DICOM, or damaged.
    """
    if not is_dicom(path):
        if not path.exists():
            raise InputError("missing-file", f"{path}: no such file; check the path")
        raise InputError(
            "not-dicom", f"{path}: not DICOM (no DICM after 128 bytes, nor an image without it); pass a DICOM file"
        )

    def read() -> FileMetaDataset:
        with open(path, "rb") as file:
            return _read_start(file)

    return guarded(path, read)


def _read_start(file: BinaryIO) -> FileMetaDataset:
    """Reads the meta information at the start of a file. The file is then positioned at the start of the data set.

    A file that has neither preamble nor TransferSyntaxUID is uncompressed. Its first element shows its encoding.
    """
    has_preamble = file.read(132)[128:] == b"DICM"
    file.seek(132 if has_preamble else 0)
    meta = FileMetaDataset(
        filereader.read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag >> 16 != 2
        )
    )
    if not has_preamble and not meta.get("TransferSyntaxUID"):
        first = file.read(6)
        file.seek(-len(first), os.SEEK_CUR)
        explicit = first[4:].decode("latin-1") in _EXPLICIT_VR
        big = explicit and first[:1] == b"\0"
        meta.TransferSyntaxUID = (
            uids.ExplicitVRBigEndian
            if big
            else uids.ExplicitVRLittleEndian
            if explicit
            else uids.ImplicitVRLittleEndian
        )
    return meta


def _parse(
    file: BinaryIO,
    syntax: uids.UID,
    *,
    stop_when: Callable[[BaseTag, str | None, int], bool] | None = None,
    tags: Sequence[BaseTag] | None = None,
) -> Dataset:
    return filereader.read_dataset(
        file,
        is_implicit_VR=syntax == uids.ImplicitVRLittleEndian,
        is_little_endian=syntax != uids.ExplicitVRBigEndian,
        stop_when=stop_when,
        specific_tags=None if tags is None else list(tags),
    )


def readable_syntax(meta: FileMetaDataset, path: Path) -> uids.UID:
    """Returns the transfer syntax of a file if it can be read.

    Raises:
        InputError: the file has no transfer syntax, or there is no decoder for it.
    """
    syntax = guarded(path, lambda: uids.UID(str(meta.get("TransferSyntaxUID") or "")))
    if not syntax:
        raise InputError("missing-tag", f"{path}: no TransferSyntaxUID; export the file again")
    if syntax not in (*NATIVE_SYNTAXES, uids.RLELossless, *COMPRESSED_SYNTAXES):
        raise InputError(
            "transfer-syntax",
            f"{path}: transfer syntax {syntax} ({syntax_name(syntax)}) cannot be read; convert the file, for example "
            "with gdcmconv --raw or dcmdjpeg",
        )
    return syntax


def syntax_name(syntax: str) -> str:
    """Returns the name of a transfer syntax in the standard."""
    return uids.UID(syntax).name if syntax in uids.UID_dictionary else "not in the standard"


def read_header(path: Path, syntax: uids.UID, tags: Sequence[BaseTag]) -> Dataset:
    """Reads those of the tags that are before the pixels. A deflated file is inflated to at most 16 MiB.

    Raises:
        InputError: "corrupt" or "unreadable".
    """

    def read() -> Dataset:
        with open(path, "rb") as file:
            _read_start(file)
            source: BinaryIO = file
            if syntax == uids.DeflatedExplicitVRLittleEndian:
                source = io.BytesIO(
                    zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_MOST_HEADER), _MOST_HEADER)
                )
            return _parse(source, syntax, stop_when=lambda tag, vr, length: tag in _PIXELS, tags=tags)

    return guarded(path, read)


def read_dataset(
    path: Path, *, tags: Sequence[BaseTag] | None = None, most_bytes: int = DEFAULT_BUDGET_BYTES + MOST_BESIDE_PIXELS
) -> Dataset:
    """Reads the whole file with its pixels.

    Args:
        path: the file.
        tags: the elements to keep; by default, all.
        most_bytes: the largest size of a deflated file after inflation.

    Raises:
        InputError: the errors of `read_meta` and `readable_syntax`; "corrupt" or "unreadable"; or "too-large" if a
            deflated file inflates to more than `most_bytes`.
    """
    syntax = readable_syntax(read_meta(path), path)

    def read() -> Dataset | None:
        with open(path, "rb") as file:
            meta = _read_start(file)
            source: BinaryIO = file
            if syntax == uids.DeflatedExplicitVRLittleEndian:
                inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                source = io.BytesIO(inflater.decompress(file.read(), most_bytes))
                # Only one more byte is inflated to detect a larger file, so that it takes no more memory.
                if inflater.unconsumed_tail or (not inflater.eof and inflater.decompress(b"", 1)):
                    return None
            dataset = _parse(source, syntax, tags=tags)
            dataset.file_meta = meta
            return dataset

    dataset = guarded(path, read)
    if dataset is None:
        raise InputError(
            "too-large",
            f"{path}: inflates to more than {most_bytes} bytes, which its header does not need; export it again",
        )
    return dataset
