"""DICOM files on the disk: which there are, and reading them without trust."""

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info

from foanet_jax.data.refs import natural_key
from foanet_jax.system.errors import InputError

_QUIET = threading.RLock()
MOST_FILES = 100_000

# These need no decoder beside NumPy.
_SYNTAXES = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.RLELossless,
)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as DICOM files do, with "DICM" after 128 bytes, whatever its name is."""
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_dicom(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder, or one below it, has a DICOM file."""
    return any(is_dicom(path) for path in walk(Path(folder)))


def walk(folder: Path) -> Iterator[Path]:
    """The files in a folder and below, in order, without hidden ones; links to folders are not followed.

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
    """Keeps pydicom from warning and logging, which it does with the values of tags.

    The switches are the whole process's: of several threads, one at a time is inside.
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
    """What `read` returns; whatever pydicom raises on a damaged file becomes an InputError without its values."""
    try:
        return read()
    except OSError as error:
        raise InputError(
            "unreadable", f"{path}: cannot be read ({error.strerror or 'damaged'}); check its permissions and the disk"
        ) from None
    except Exception as error:
        # pydicom has no common base of errors, and their texts may quote the patient's tags.
        raise InputError(
            "corrupt", f"{path}: damaged DICOM ({type(error).__name__}); copy or export the file again"
        ) from None


def read_meta(path: Path) -> FileMetaDataset:
    """The file's meta information; nothing else is parsed.

    Raises:
        InputError: there is no such file, or it is no DICOM or damaged.
    """
    if not is_dicom(path):
        if not path.exists():
            raise InputError("missing-file", f"{path}: no such file; check the path")
        raise InputError("not-dicom", f"{path}: not DICOM (no DICM after 128 bytes); pass a DICOM file")
    return guarded(path, lambda: read_file_meta_info(path))


def readable_syntax(meta: FileMetaDataset, path: Path) -> uids.UID:
    """The file's transfer syntax, once it is one that can be read.

    Asked for before anything else is parsed: a deflated file could unpack to any size.

    Raises:
        InputError: there is none, or it needs a decoder.
    """
    syntax = guarded(path, lambda: uids.UID(str(meta.get("TransferSyntaxUID") or "")))
    if not syntax:
        raise InputError("missing-tag", f"{path}: no TransferSyntaxUID; export the file again")
    if syntax not in _SYNTAXES:
        name = syntax.name if syntax in uids.UID_dictionary else "not in the standard"
        raise InputError(
            "transfer-syntax",
            f"{path}: transfer syntax {syntax} ({name}); only uncompressed and RLE images can be read: convert the "
            "file, for example with dcmdjpeg or gdcmconv --raw",
        )
    return syntax


def read_dataset(path: Path) -> Dataset:
    """The whole file, pixels and all, once its transfer syntax is one that can be read.

    Raises:
        InputError: as read_meta and readable_syntax, or "corrupt" or "unreadable".
    """
    readable_syntax(read_meta(path), path)
    return guarded(path, lambda: pydicom.dcmread(path))
