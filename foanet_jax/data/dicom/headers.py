"""The header of one image: every tag that counts, checked."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from foanet_jax.data.dicom.files import guarded, quiet_pydicom, read_meta, readable_syntax
from foanet_jax.data.nifti.file import DEFAULT_BUDGET_BYTES
from foanet_jax.data.nifti.header import SPACING_RANGE_MM
from foanet_jax.system.errors import InputError

_ENHANCED = (uids.EnhancedMRImageStorage, uids.EnhancedMRColorImageStorage, uids.LegacyConvertedEnhancedMRImageStorage)
_NAMES = (
    "SOPClassUID",
    "SOPInstanceUID",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelSpacing",
    "SliceThickness",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "InstanceNumber",
    "AcquisitionTime",
)
# As numbers, which pydicom finds several times faster than names.
_TAGS: list[BaseTag] = [Tag(name) for name in _NAMES]
# What orders frames in time, best first.
TIMES = ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "AcquisitionTime")
_FURTHEST_MM = 1e5


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """One single-frame image, as its header has it; patient, study and series stay in memory.

    Attributes:
        path: the file.
        syntax: UID of the transfer syntax.
        instance: UID of the image.
        patient: the patient's id, "" where the image is anonymous.
        study: UID of the examination.
        series: UID of the series.
        series_number: where there is one.
        frame_of_reference: UID, "" where there is none.
        kind: the words of ImageType.
        shape: rows and columns.
        dtype: of a stored pixel, in the file's byte order.
        bits: how many of a pixel's bits count.
        slope: what stored values are multiplied by.
        intercept: what is added to them then.
        spacing_mm: (row, column).
        thickness_mm: of the slice, None where the header has none that can be.
        orientation: (6,) direction cosines along a row, then down a column, in LPS+.
        position: (3,) the first pixel's centre in LPS+, in mm.
        times: those of TIMES that the header has.
    """

    path: Path
    syntax: str
    instance: str
    patient: str
    study: str
    series: str
    series_number: int | None
    frame_of_reference: str
    kind: tuple[str, ...]
    shape: tuple[int, int]
    dtype: np.dtype
    bits: int
    slope: float
    intercept: float
    spacing_mm: tuple[float, float]
    thickness_mm: float | None
    orientation: np.ndarray
    position: np.ndarray
    times: dict[str, float]

    @property
    def normal(self) -> np.ndarray:
        """(3,) row direction × column direction, the way that slices follow each other."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def patient_key(self) -> tuple[str, str]:
        """Equal for images of one patient; anonymous images belong together only within an examination."""
        return (self.patient, "") if self.patient else ("", self.study)


def read_headers(
    paths: Sequence[Path], *, unusable: dict[Path, InputError] | None = None
) -> tuple[list[DicomImage], dict[Path, str]]:
    """The images of the files and, of the others, why they are none.

    Args:
        paths: the files.
        unusable: where given, the errors of files that cannot be used are added here instead of raised.

    Raises:
        InputError: of the one file that cannot be used, or "incomplete" with every such file named.
    """
    images: list[DicomImage] = []
    notes: dict[Path, str] = {}
    problems: dict[Path, InputError] = {}
    with quiet_pydicom():
        for path in paths:
            try:
                image = _guarded_header(path)
            except InputError as error:
                problems[path] = error
                continue
            if isinstance(image, str):
                notes[path] = image
            else:
                images.append(image)
    if unusable is not None:
        unusable.update(problems)
    elif problems:
        raise together(problems, len(paths))
    return images, notes


def together(problems: Mapping[Path, InputError], count: int) -> InputError:
    """One error of the problems with some of `count` DICOM files: the one there is, or all of them listed."""
    if len(problems) == 1:
        return next(iter(problems.values()))
    listed = "\n".join(f"- {line}" for line in counted({path: str(error) for path, error in problems.items()}))
    return InputError("incomplete", f"{len(problems)} of {count} DICOM files cannot be used:\n{listed}")


def counted(messages: Mapping[Path, str]) -> list[str]:
    """A line for each message that files have, such as "a.dcm and 2 more: no Rows"."""
    files: dict[str, list[Path]] = {}
    for path, message in messages.items():
        files.setdefault(message.removeprefix(f"{path}: "), []).append(path)
    return [f"{paths[0]}{f' and {len(paths) - 1} more' if paths[1:] else ''}: {text}" for text, paths in files.items()]


def _guarded_header(path: Path) -> DicomImage | str:
    try:
        return _header(path)
    except InputError:
        raise
    except Exception as error:
        # Values are parsed when they are asked for, so that reading a tag can fail like reading the file.
        raise InputError(
            "corrupt", f"{path}: damaged DICOM header ({type(error).__name__}); copy or export the file again"
        ) from None


def _header(path: Path) -> DicomImage | str:
    """The image's header, or why the file holds no single-frame MR image."""
    meta = read_meta(path)
    stored = str(meta.get("MediaStorageSOPClassUID") or "")
    # Told from the meta information where that is possible: reports and films may come in any transfer syntax.
    if stored in _ENHANCED:
        return f"{path}: a multi-frame (enhanced) MR object; convert it to single frames, or to NIfTI"
    if stored and stored != uids.MRImageStorage:
        return f"{path}: {_class_name(stored)}, no MR image"
    syntax = str(readable_syntax(meta, path))
    tags = guarded(path, lambda: pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS))
    if str(tags.get("SOPClassUID") or "") != uids.MRImageStorage:
        return f"{path}: {_class_name(str(tags.get('SOPClassUID') or ''))}, no MR image"
    if int(tags.get("NumberOfFrames") or 1) != 1:
        return f"{path}: {int(tags.NumberOfFrames)} frames in one object; convert it to single frames, or to NIfTI"

    for tag in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not tags.get(tag):
            raise InputError("missing-tag", f"{path}: no {tag}; export the file again")
    rows, columns = (int(_numbers(tags, tag, 1, path)[0]) for tag in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise InputError("dimensions", f"{path}: {rows} rows × {columns} columns; export the file again")
    dtype, bits = _pixel_format(tags, path)
    if 4 * rows * columns > DEFAULT_BUDGET_BYTES:
        raise InputError("too-large", f"{path}: {rows} rows × {columns} columns; over the budget: crop the image")
    # Before the memory is taken: two bytes of a run stand for 128 at most.
    most = path.stat().st_size * (64 if syntax == uids.RLELossless else 1)
    if rows * columns * dtype.itemsize > most:
        raise InputError(
            "truncated",
            f"{path}: {path.stat().st_size} bytes for {rows} × {columns} pixels of {dtype.itemsize} bytes; "
            "copy the file again",
        )
    if syntax == uids.ExplicitVRBigEndian:
        dtype = dtype.newbyteorder(">")
    row_mm, column_mm = (float(value) for value in _numbers(tags, "PixelSpacing", 2, path))
    low, high = SPACING_RANGE_MM
    if not low <= row_mm <= high or not low <= column_mm <= high:
        raise InputError(
            "spacing",
            f"{path}: PixelSpacing {row_mm:g}, {column_mm:g}; both must be from {low:g} to {high:g} mm: "
            "correct the header",
        )
    thickness = _number(tags, "SliceThickness")
    orientation = _numbers(tags, "ImageOrientationPatient", 6, path)
    along, down = orientation[:3], orientation[3:]
    off = max(abs(float(along @ along) - 1), abs(float(down @ down) - 1), abs(float(along @ down)))
    if not off <= 0.02:
        raise InputError(
            "orientation",
            f"{path}: ImageOrientationPatient {', '.join(f'{value:g}' for value in orientation)} is not two unit "
            "vectors at right angles; correct the header",
        )
    position = _numbers(tags, "ImagePositionPatient", 3, path)
    if np.abs(position).max() > _FURTHEST_MM:
        raise InputError(
            "position",
            f"{path}: ImagePositionPatient {', '.join(f'{value:g}' for value in position)} mm; correct the header",
        )
    slope, intercept = (
        _number(tags, tag, absent) for tag, absent in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not slope or intercept is None:
        raise InputError(
            "scaling", f"{path}: RescaleSlope and RescaleIntercept must be numbers, the slope not 0; correct the header"
        )
    times = {tag: value for tag in TIMES if (value := _number(tags, tag)) is not None}
    kind = tags.get("ImageType") or ()
    number = _number(tags, "SeriesNumber")
    return DicomImage(
        path=path,
        syntax=syntax,
        instance=str(tags.SOPInstanceUID),
        patient=str(tags.get("PatientID") or "").strip(),
        study=str(tags.StudyInstanceUID),
        series=str(tags.SeriesInstanceUID),
        series_number=None if number is None else int(number),
        frame_of_reference=str(tags.get("FrameOfReferenceUID") or ""),
        kind=(kind,) if isinstance(kind, str) else tuple(str(word) for word in kind),
        shape=(rows, columns),
        dtype=dtype,
        bits=bits,
        slope=slope,
        intercept=intercept,
        spacing_mm=(row_mm, column_mm),
        thickness_mm=thickness if thickness is not None and low <= thickness <= high else None,
        orientation=orientation,
        position=position,
        times=times,
    )


def _class_name(value: str) -> str:
    return uids.UID(value).name if value in uids.UID_dictionary else "an object of no known class"


def _number(tags: Dataset, tag: str, absent: float | None = None) -> float | None:
    """A finite number; `absent` where the tag is missing or empty, None where it is something else."""
    value = tags.get(tag)
    if value is None or value == "":
        return absent
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _numbers(tags: Dataset, tag: str, count: int, path: Path) -> np.ndarray:
    value = tags.get(tag)
    if value is None or value == "":
        raise InputError("missing-tag", f"{path}: no {tag}; export the file again, or convert the series to NIfTI")
    try:
        numbers = np.atleast_1d(np.array(value, np.float64))
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError("tag-value", f"{path}: {tag} is not {count} finite numbers; correct the header")
    return numbers


def _pixel_format(tags: Dataset, path: Path) -> tuple[np.dtype, int]:
    """The little-endian type of a stored pixel and how many of its bits count."""
    samples = int(_number(tags, "SamplesPerPixel", 1.0) or 0)
    photometric = str(tags.get("PhotometricInterpretation") or "")
    if samples != 1 or photometric != "MONOCHROME2":
        known = photometric if photometric in ("MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL") else "another"
        raise InputError(
            "pixel-format", f"{path}: {samples} samples a pixel, {known} colours; only MONOCHROME2 can be read"
        )
    allocated, signed = (int(_numbers(tags, tag, 1, path)[0]) for tag in ("BitsAllocated", "PixelRepresentation"))
    bits = int(_number(tags, "BitsStored", float(allocated)) or 0)
    high = int(_number(tags, "HighBit", float(bits - 1)) or 0)
    if allocated not in (8, 16, 32) or not 1 <= bits <= allocated or high != bits - 1 or signed not in (0, 1):
        raise InputError(
            "pixel-format",
            f"{path}: {allocated} bits allocated, {bits} stored, high bit {high}, representation {signed}; "
            "8, 16 or 32 bits with the stored ones lowest can be read: export the file again",
        )
    return np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}"), bits
