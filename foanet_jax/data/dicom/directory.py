"""DICOMDIR: the list of files that comes with an exported medium."""

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
    """The images that a DICOMDIR names, which may be missing, each with the UID of its series ("" where it says none).

    Names are relative to the folder of the DICOMDIR. Media have them in capitals; other letters fit, too. A name that
    leads out of the folder is not followed.

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
    """The UID of the series that each record is of, by the record's number; records point to the next by its offset."""
    numbers = {int(record.seq_item_tell): number for number, record in enumerate(records)}
    series: dict[int, str] = {}
    for record in records:
        if record.get("DirectoryRecordType") != "SERIES":
            continue
        offset = int(record.get("OffsetOfReferencedLowerLevelDirectoryEntity") or 0)
        # Each record is of one series, so that no circle of offsets goes round twice.
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
    """The path of a listed file, with the names as the disk has them."""
    for part in parts:
        if folder not in folders:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            folders[folder] = {name.upper(): name for name in names} | {name: name for name in names}
        known = folders[folder]
        folder /= known.get(part, known.get(part.upper(), part))
    return folder
