"""Reads the header of an image and checks all tags that are used."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid as uids
from pydicom.tag import BaseTag, Tag

from foanet_jax.data.dicom.files import COMPRESSED_SYNTAXES, quiet_pydicom, read_header, read_meta, readable_syntax
from foanet_jax.data.dicom.frames import FRAME_TAGS, MULTI_FRAME, single_frames
from foanet_jax.data.dicom.technique import TAGS as TECHNIQUE_TAGS
from foanet_jax.data.dicom.technique import Technique, read_technique
from foanet_jax.data.nifti.file import DEFAULT_BUDGET_BYTES
from foanet_jax.data.nifti.header import SPACING_RANGE_MM
from foanet_jax.data.patients.body import NOTHING, Body
from foanet_jax.data.patients.tags import TAGS as BODY_TAGS
from foanet_jax.data.patients.tags import body_of_tags
from foanet_jax.system.errors import InputError

_IMAGES = (uids.MRImageStorage, *MULTI_FRAME)
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
    *TECHNIQUE_TAGS,
)
# Tags are given as numbers, because pydicom finds them several times faster than names.
_TAGS: list[BaseTag] = [*(Tag(name) for name in (*_NAMES, *BODY_TAGS)), *FRAME_TAGS]
# The tags that order frames in time, the best one first.
TIMES = ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "AcquisitionTime")
_FURTHEST_MM = 1e5
# The largest ratio of an image's size to the size of its file. Two bytes of an RLE run encode at most 128 bytes, a
# compressed image of one colour takes a few hundred bytes, and deflate packs at most 1032 bytes into one.
_MOST_RATIO = {uids.RLELossless: 64, uids.DeflatedExplicitVRLittleEndian: 1032}
_MOST_RATIO |= {syntax: 4096 for syntax in COMPRESSED_SYNTAXES}


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """The header of one image: of a single-frame file, or of one frame of a multi-frame file.

    Each frame of a multi-frame file is an image of its own, as if it were a file of its own. `path` and `frame`
    together identify an image. Patient, study and series are kept in memory only.

    Attributes:
        path: the file.
        frame: number of the frame in a multi-frame file, from 1, as in ReferencedFrameNumber; None for a
            single-frame file.
        frames_in_file: number of frames in the file; 1 for a single-frame file.
        syntax: UID of the transfer syntax.
        instance: UID of the object, the same for all frames of a file.
        patient: the patient's id, "" if the image is anonymous.
        study: UID of the examination.
        series: UID of the series.
        series_number: number of the series; None if there is none.
        frame_of_reference: UID, "" if there is none.
        kind: the words of ImageType.
        shape: rows and columns.
        dtype: data type of a stored pixel, in the file's byte order.
        bits: number of bits of a pixel that are used.
        slope: the factor of the stored values.
        intercept: the number that is added after the multiplication.
        spacing_mm: (row, column).
        thickness_mm: thickness of the slice; None if the header has no plausible one.
        orientation: (6,) direction cosines along a row, then down a column, in LPS+.
        position: (3,) centre of the first pixel in LPS+, in mm.
        times: the values of those TIMES that the header has.
        technique: the acquisition technique.
        body: what the header says of the patient's body.
    """

    path: Path
    frame: int | None
    frames_in_file: int
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
    technique: Technique
    body: Body = NOTHING

    @property
    def normal(self) -> np.ndarray:
        """The row direction × the column direction, (3,). Slices are ordered along it."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def identity(self) -> tuple[str, int | None]:
        """A key that is equal only for copies of one image."""
        return (self.instance, self.frame)

    @property
    def name(self) -> str:
        """The start of messages: the file and, in a multi-frame file, the frame."""
        return str(self.path) if self.frame is None else f"{self.path}: frame {self.frame}"

    @property
    def patient_key(self) -> tuple[str, str]:
        """A key that is equal for images of one patient. For anonymous images, it is equal within an examination."""
        return (self.patient, "") if self.patient else ("", self.study)


def read_headers(
    paths: Sequence[Path], *, unusable: dict[Path, InputError] | None = None
) -> tuple[list[DicomImage], dict[Path, str]]:
    """Reads the headers of files.

    Args:
        paths: the files.
        unusable: if given, the errors of files that cannot be used are added to it instead of being raised.

    Returns:
        The images; and for each file that has no MR image, the reason.

    Raises:
        InputError: the error of the only file that cannot be used, or "incomplete", which lists all such files.
    """
    images: list[DicomImage] = []
    notes: dict[Path, str] = {}
    problems: dict[Path, InputError] = {}
    with quiet_pydicom():
        for path in paths:
            try:
                found = _guarded_header(path)
            except InputError as error:
                problems[path] = error
                continue
            if isinstance(found, str):
                notes[path] = found
            else:
                images += found
    if unusable is not None:
        unusable.update(problems)
    elif problems:
        raise together(problems, len(paths))
    return images, notes


def frames_by_file(images: Sequence[DicomImage]) -> dict[Path, frozenset[int]]:
    """Returns the frame numbers of the images, by multi-frame file."""
    numbers: dict[Path, set[int]] = {}
    for image in images:
        if image.frame is not None:
            numbers.setdefault(image.path, set()).add(image.frame)
    return {path: frozenset(found) for path, found in numbers.items()}


def together(problems: Mapping[Path, InputError], count: int) -> InputError:
    """Joins the errors of some of `count` DICOM files into one. A single error is returned as it is."""
    if len(problems) == 1:
        return next(iter(problems.values()))
    listed = "\n".join(f"- {line}" for line in counted({path: str(error) for path, error in problems.items()}))
    return InputError("incomplete", f"{len(problems)} of {count} DICOM files cannot be used:\n{listed}")


def counted(messages: Mapping[Path, str]) -> list[str]:
    """Returns a line for each different message, such as "a.dcm and 2 more: no Rows"."""
    files: dict[str, list[Path]] = {}
    for path, message in messages.items():
        files.setdefault(message.removeprefix(f"{path}: "), []).append(path)
    return [f"{paths[0]}{f' and {len(paths) - 1} more' if paths[1:] else ''}: {text}" for text, paths in files.items()]


def _guarded_header(path: Path) -> list[DicomImage] | str:
    try:
        return _headers(path)
    except InputError:
        raise
    except Exception as error:
        # pydicom parses a value when it is accessed, so that each access can fail on a damaged file.
        raise InputError(
            "corrupt", f"{path}: damaged DICOM header ({type(error).__name__}); copy or export the file again"
        ) from None


def _headers(path: Path) -> list[DicomImage] | str:
    """Returns the header of each image in a file, or the reason why the file has no MR image."""
    meta = read_meta(path)
    stored = str(meta.get("MediaStorageSOPClassUID") or "")
    # The meta information is checked before the transfer syntax, because reports and films may have any syntax.
    if stored and stored not in _IMAGES:
        return f"{path}: {_class_name(stored)}, no MR image"
    syntax = readable_syntax(meta, path)
    tags = read_header(path, syntax, _TAGS)
    kind = str(tags.get("SOPClassUID") or "")
    if not kind or (stored in _IMAGES and kind not in uids.UID_dictionary):
        raise InputError("missing-tag", f"{path}: no SOPClassUID that is known; the file is damaged: copy it again")
    if kind not in _IMAGES:
        return f"{path}: {_class_name(kind)}, no MR image"
    count = int(tags.get("NumberOfFrames") or 1)
    values = {name: tags.get(name) for name in _NAMES}
    body = body_of_tags(tags.get)
    if kind not in MULTI_FRAME:
        if count != 1:
            return f"{path}: {count} frames in one object; convert it to single frames, or to NIfTI"
        return [_header(values, path, syntax, None, 1, body)]
    frames = single_frames(tags, values, str(path))
    return [_header(frame, path, syntax, number, count, body) for number, frame in enumerate(frames, 1)]


def _header(
    tags: Mapping[str, Any], path: Path, syntax: uids.UID, frame: int | None, count: int, body: Body
) -> DicomImage:
    where = str(path) if frame is None else f"{path}: frame {frame}"
    for tag in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not tags.get(tag):
            raise InputError("missing-tag", f"{where}: no {tag}; export the file again")
    rows, columns = (int(_numbers(tags, tag, 1, where)[0]) for tag in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise InputError("dimensions", f"{where}: {rows} rows × {columns} columns; export the file again")
    dtype, bits = _pixel_format(tags, where)
    # The size of the file is checked before memory is allocated.
    size, many = path.stat().st_size, "" if frame is None else f"{count} frames of "
    if 4 * count * rows * columns > DEFAULT_BUDGET_BYTES:
        raise InputError("too-large", f"{path}: {many}{rows} rows × {columns} columns; over the budget: crop the image")
    if count * rows * columns * dtype.itemsize > size * _MOST_RATIO.get(syntax, 1):
        raise InputError(
            "truncated",
            f"{path}: {size} bytes for {many}{rows} × {columns} pixels of {dtype.itemsize} bytes; copy the file again",
        )
    if syntax == uids.ExplicitVRBigEndian:
        dtype = dtype.newbyteorder(">")
    row_mm, column_mm = (float(value) for value in _numbers(tags, "PixelSpacing", 2, where))
    low, high = SPACING_RANGE_MM
    if not low <= row_mm <= high or not low <= column_mm <= high:
        raise InputError(
            "spacing",
            f"{where}: PixelSpacing {row_mm:g}, {column_mm:g}; both must be from {low:g} to {high:g} mm: "
            "correct the header",
        )
    thickness = _number(tags, "SliceThickness")
    orientation = _numbers(tags, "ImageOrientationPatient", 6, where)
    along, down = orientation[:3], orientation[3:]
    off = max(abs(float(along @ along) - 1), abs(float(down @ down) - 1), abs(float(along @ down)))
    if not off <= 0.02:
        raise InputError(
            "orientation",
            f"{where}: ImageOrientationPatient {', '.join(f'{value:g}' for value in orientation)} is not two unit "
            "vectors at right angles; correct the header",
        )
    position = _numbers(tags, "ImagePositionPatient", 3, where)
    if np.abs(position).max() > _FURTHEST_MM:
        raise InputError(
            "position",
            f"{where}: ImagePositionPatient {', '.join(f'{value:g}' for value in position)} mm; correct the header",
        )
    slope, intercept = (
        _number(tags, tag, absent) for tag, absent in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not slope or intercept is None:
        raise InputError(
            "scaling",
            f"{where}: RescaleSlope and RescaleIntercept must be numbers, the slope not 0; correct the header",
        )
    times = {tag: value for tag in TIMES if (value := _number(tags, tag)) is not None}
    kind = tags.get("ImageType") or ()
    number = _number(tags, "SeriesNumber")
    return DicomImage(
        path=path,
        frame=frame,
        frames_in_file=count,
        syntax=str(syntax),
        instance=str(tags["SOPInstanceUID"]),
        patient=str(tags.get("PatientID") or "").strip(),
        study=str(tags["StudyInstanceUID"]),
        series=str(tags["SeriesInstanceUID"]),
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
        technique=read_technique(tags),
        body=body,
    )


def _class_name(value: str) -> str:
    return uids.UID(value).name if value in uids.UID_dictionary else "an object of no known class"


def _number(tags: Mapping[str, Any], tag: str, absent: float | None = None) -> float | None:
    """Returns a finite number; `absent` if the tag is missing or empty, None if it is something else."""
    value = tags.get(tag)
    if value is None or value == "":
        return absent
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _numbers(tags: Mapping[str, Any], tag: str, count: int, where: str) -> np.ndarray:
    value = tags.get(tag)
    if value is None or value == "":
        raise InputError("missing-tag", f"{where}: no {tag}; export the file again, or convert the series to NIfTI")
    try:
        numbers = np.atleast_1d(np.array(value, np.float64))
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError("tag-value", f"{where}: {tag} is not {count} finite numbers; correct the header")
    return numbers


def _pixel_format(tags: Mapping[str, Any], where: str) -> tuple[np.dtype, int]:
    """Returns the little-endian data type of a stored pixel, and the number of its bits that are used."""
    samples = int(_number(tags, "SamplesPerPixel", 1.0) or 0)
    photometric = str(tags.get("PhotometricInterpretation") or "")
    if samples != 1 or photometric != "MONOCHROME2":
        known = photometric if photometric in ("MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL") else "another"
        raise InputError(
            "pixel-format", f"{where}: {samples} samples a pixel, {known} colours; only MONOCHROME2 can be read"
        )
    allocated, signed = (int(_numbers(tags, tag, 1, where)[0]) for tag in ("BitsAllocated", "PixelRepresentation"))
    bits = int(_number(tags, "BitsStored", float(allocated)) or 0)
    high = int(_number(tags, "HighBit", float(bits - 1)) or 0)
    if allocated not in (8, 16, 32) or not 1 <= bits <= allocated or high != bits - 1 or signed not in (0, 1):
        raise InputError(
            "pixel-format",
            f"{where}: {allocated} bits allocated, {bits} stored, high bit {high}, representation {signed}; "
            "8, 16 or 32 bits with the stored ones lowest can be read: export the file again",
        )
    return np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}"), bits
