"""Reads a DICOMDIR, the list of the files on an exported medium."""

from pathlib import Path

from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from foanet_jax.data.dicom.files import guarded, is_dicom, quiet_pydicom, read_header, read_meta, readable_syntax
from foanet_jax.system.errors import InputError

_RECORDS = Tag("DirectoryRecordSequence")
_MOST_BYTES = 64 * 2**20


def is_directory_file(path: Path) -> bool:
    """Whether a file is a DICOMDIR."""
    if path.name.upper() != "DICOMDIR" or not is_dicom(path):
        return False
    try:
        with quiet_pydicom():
            meta = read_meta(path)
            stored = guarded(path, lambda: str(meta.get("MediaStorageSOPClassUID") or ""))
    except InputError:
        return False
    return bool(stored == uids.MediaStorageDirectoryStorage)


def listed_images(path: Path) -> dict[Path, str]:
    """Returns the images that a DICOMDIR lists, each with the UID of its series ("" if it has none).

    The files may be missing. Names are relative to the folder of the DICOMDIR. They are in capitals, but files with
    small letters match too. Names that lead out of the folder are ignored.

    Raises:
        InputError: the file is damaged.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise InputError("too-large", f"{path}: a DICOMDIR of more than 64 MiB; pass the folder of fewer patients")
    with quiet_pydicom():
        syntax = readable_syntax(read_meta(path), path)
        tags = read_header(path, syntax, [_RECORDS])
        return guarded(path, lambda: _images(path.parent, list(tags.get("DirectoryRecordSequence") or [])))


def _images(folder: Path, records: list[Dataset]) -> dict[Path, str]:
    series = _series_of_records(records)
    names: dict[Path, dict[str, str]] = {}
    images = {}
    for number, record in enumerate(records):
        parts = _parts(record) if record.get("DirectoryRecordType") == "IMAGE" else []
        if parts:
            images[_found(folder, parts, names)] = series.get(number, "")
    return images


def _series_of_records(records: list[Dataset]) -> dict[int, str]:
    """Returns the UID of the series of each record, by the record's number.

    A record refers to the next one by its offset in the file.
    """
    numbers = {int(record.seq_item_tell): number for number, record in enumerate(records)}
    series: dict[int, str] = {}
    for record in records:
        if record.get("DirectoryRecordType") != "SERIES":
            continue
        offset = int(record.get("OffsetOfReferencedLowerLevelDirectoryEntity") or 0)
        # A record that already has a series ends the loop, so that a circle of offsets cannot be endless.
        while offset in numbers and numbers[offset] not in series:
            series[numbers[offset]] = str(record.get("SeriesInstanceUID") or "")
            offset = int(records[numbers[offset]].get("OffsetOfTheNextDirectoryRecord") or 0)
    return series


def _parts(record: Dataset) -> list[str]:
    value = record.get("ReferencedFileID") or []
    parts = [value] if isinstance(value, str) else [str(part) for part in value]
    safe = all(part not in ("", ".", "..") and not set(part) & set("/\\:\0") for part in parts)
    return parts if safe else []


def _found(folder: Path, parts: list[str], folders: dict[Path, dict[str, str]]) -> Path:
    """Returns the path of a listed file, with upper and lower case as on the disk."""
    for part in parts:
        if folder not in folders:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            folders[folder] = {name.upper(): name for name in names} | {name: name for name in names}
        known = folders[folder]
        folder /= known.get(part, known.get(part.upper(), part))
    return folder
