"""Reads DICOM segmentations: each plane is put where its position and its references say."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from foanet_jax.data.dicom.files import (
    guarded,
    is_dicom,
    quiet_pydicom,
    read_dataset,
    read_header,
    read_meta,
    readable_syntax,
)
from foanet_jax.data.dicom.reader import DicomSource
from foanet_jax.data.formats.description import lps_to_ras
from foanet_jax.data.masks.placing import TOLERANCE, describe_grid, scaled
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError

_CLASSES = (uids.SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")  # the second one: label maps, of 2024
_MOST_BYTES = 2**30
# (frame in time, slice) by the UID of an image and its frame number in a multi-frame file, from 1.
_Places = dict[tuple[str, int | None], tuple[int, int]]


def is_dicom_seg(path: Path) -> bool:
    """Whether a file is a DICOM segmentation."""
    if not is_dicom(path):
        return False
    try:
        with quiet_pydicom():
            meta = read_meta(path)
            found = str(meta.get("MediaStorageSOPClassUID") or "") or str(_header(path, "SOPClassUID"))
    except InputError:
        return False
    return found in _CLASSES


def dicom_seg_names(path: Path) -> dict[int, str]:
    """Returns the labels of the segments by number.

    Raises:
        InputError: the file cannot be read.
    """
    with quiet_pydicom():
        return guarded(
            path, lambda: {int(item.SegmentNumber): str(item.SegmentLabel) for item in _header(path, "SegmentSequence")}
        )


def read_dicom_seg(path: Path, study: Study, frame: int | None) -> np.ndarray:
    """Reads a DICOM segmentation onto the grid of a study.

    Every plane is put on the slice at its position. If the study was read from the images to which the planes refer,
    the references say to which frame in time they belong.

    Args:
        path: the file.
        study: the study on whose images the segments were drawn.
        frame: the frame in time of planes without such a reference, from 0; None if the name does not say it.

    Returns:
        (T, Z, H, W) int32 segment numbers; 0 is the background.

    Raises:
        InputError: the file cannot be read; it has probabilities; two segments overlap ("overlapping"); a plane is not
            on the grid of the study; or its frame is not known ("frame").
    """
    try:
        import highdicom
    except ImportError:
        raise InputError("missing-package", "DICOM segmentations need highdicom: pip install highdicom") from None
    with quiet_pydicom():
        dataset = read_dataset(path, most_bytes=_MOST_BYTES)
        if guarded(path, lambda: str(dataset.get("SegmentationType"))) == "FRACTIONAL":
            raise InputError("dtype", f"{path}: has probabilities (FRACTIONAL); export it as a binary segmentation")
        _require_size(dataset, path)
        segmentation = guarded(path, lambda: highdicom.seg.Segmentation.from_dataset(dataset, copy=False))
        planes = guarded(path, lambda: np.atleast_3d(np.asarray(segmentation.pixel_array)))
        if int(segmentation.get("NumberOfFrames") or 1) == 1:
            planes = planes.reshape(1, int(dataset.Rows), int(dataset.Columns))
        places = _places(study)
        values = np.zeros(study.voxels.shape, np.int32)
        labelmap = str(dataset.get("SegmentationType")) == "LABELMAP"
        names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in dataset.SegmentSequence}
        functional = guarded(path, lambda: list(dataset.PerFrameFunctionalGroupsSequence))
        if len(functional) != len(planes):
            raise InputError(
                "corrupt", f"{path}: {len(planes)} planes, but {len(functional)} positions; export it again"
            )
        for plane, own in zip(planes, functional, strict=True):
            number, to_ras, referred = guarded(path, functools.partial(_plane, own, dataset, labelmap=labelmap))
            drawn = np.argwhere(plane > 0)
            if not len(drawn):
                continue
            rows, columns = drawn.T
            index = _voxels(np.stack([columns, rows]), to_ras, study, path)
            found = {places[key] for key in referred if key in places}
            time = _time(found, frame, study, path)
            at = (time, index[2], index[1], index[0])
            new = plane[rows, columns].astype(np.int32) if labelmap else np.full(len(rows), number, np.int32)
            both = (values[at] != 0) & (values[at] != new)
            if both.any():
                one, other = (names.get(int(value), str(value)) for value in (values[at][both][0], new[both][0]))
                raise InputError(
                    "overlapping",
                    f"{path}: the segments {one} and {other} overlap; a mask has one class for each voxel: remove the "
                    "overlap where they were drawn, and export them again",
                )
            values[at] = new
    return values


def _header(path: Path, keyword: str) -> Any:
    return read_header(path, readable_syntax(read_meta(path), path), [Tag(keyword)]).get(keyword, "")


def _require_size(dataset: Dataset, path: Path) -> None:
    """Refuses sizes that the file cannot hold, before memory is allocated: a plane of one bit is unpacked to bytes."""
    count, rows, columns = (int(dataset.get(name) or 1) for name in ("NumberOfFrames", "Rows", "Columns"))
    if count * rows * columns > _MOST_BYTES:
        raise InputError("too-large", f"{path}: {count} planes of {rows} × {columns}; split the segmentation")


def _plane(own: Dataset, whole: Dataset, *, labelmap: bool) -> tuple[int, np.ndarray, list[tuple[str, int | None]]]:
    """Returns the segment of a plane, its affine from (column, row, 1) to RAS+ mm, and the images it refers to."""
    shared = whole.SharedFunctionalGroupsSequence[0]

    def group(name: str) -> Dataset:
        return (own.get(name) or shared.get(name))[0]

    number = 0 if labelmap else int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
    row_mm, column_mm = map(float, group("PixelMeasuresSequence").PixelSpacing)
    direction = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, np.float64)
    origin = np.array(group("PlanePositionSequence").ImagePositionPatient, np.float64)
    directions = np.column_stack([direction[:3] * column_mm, direction[3:] * row_mm, np.zeros(3)])
    to_ras = lps_to_ras(directions, origin)[:, [0, 1, 3]]
    referred: list[tuple[str, int | None]] = []
    for derivation in own.get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            frames = source.get("ReferencedFrameNumber")
            numbers = [None] if frames is None else list(frames) if isinstance(frames, list) else [int(frames)]
            referred += [(str(source.ReferencedSOPInstanceUID), None if n is None else int(n)) for n in numbers]
    return number, to_ras, referred


def _voxels(points: np.ndarray, to_ras: np.ndarray, study: Study, path: Path) -> np.ndarray:
    """Returns the voxels (column, row, slice) of the study at points (column, row) of a plane.

    Raises:
        InputError: "affine-mismatch" if the points are not at voxels of the study.
    """
    affine = scaled(study.affine, study.spacing_mm)
    world = to_ras @ np.vstack([points, np.ones(points.shape[1])])
    index = np.linalg.solve(affine, world)[:3]
    nearest = np.rint(index).astype(int)
    off = np.linalg.norm(affine[:3, :3] @ (index - nearest), axis=0).max()
    sizes = np.array(study.voxels.shape[:0:-1])[:, None]
    outside = ((nearest < 0) | (nearest >= sizes)).any()
    # The next pixel of the plane must be the next voxel: pixels of twice the size would leave gaps.
    steps = np.rint(np.linalg.solve(affine[:3, :3], to_ras[:3, :2]))
    if off > TOLERANCE * min(study.spacing_mm) or outside or (np.abs(steps).sum(axis=0) != 1).any():
        raise InputError(
            "affine-mismatch",
            f"{path}: its planes are not on the slices of {study.name}, which has "
            f"{describe_grid(study.voxels.shape, affine)}"
            f"{'' if outside else f' (they are up to {off:.3g} mm beside its voxels)'}; use the segmentation that was "
            "drawn on these images",
        )
    return nearest


def _time(found: set[tuple[int, int]], frame: int | None, study: Study, path: Path) -> int:
    """Returns the frame in time of a plane."""
    times = {time for time, _ in found}
    if len(times) == 1:
        return times.pop()
    if study.voxels.shape[0] == 1 and frame is None:
        return 0
    if frame is None or not 0 <= frame < len(study.voxels):
        raise InputError(
            "frame",
            f"{path}: refers to no single frame of {study.name}, which has {study.voxels.shape[0]} frames; call the "
            "file CASE_frameNN, with frames counted from 1, or measure it with the images to which it refers",
        )
    return frame


def _places(study: Study) -> _Places:
    """Returns the frame and slice of each image of a study that was read from DICOM; empty for other studies."""
    if not isinstance(study.header, DicomSource):
        return {}
    uid_of: dict[Path, str] = {}
    places: _Places = {}
    for time, slice_, file, number in _images(study.header):
        if file not in uid_of:
            uid_of[file] = str(_header(file, "SOPInstanceUID"))
        places[uid_of[file], number] = time, slice_
    return places


def _images(source: DicomSource) -> Iterator[tuple[int, int, Path, int | None]]:
    for time, row in enumerate(source.files):
        for slice_, file in enumerate(row):
            if slice_ not in source.made:
                number = source.frame_numbers[time][slice_] if source.frame_numbers else None
                yield time, slice_, file, number
