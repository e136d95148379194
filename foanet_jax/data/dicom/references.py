"""The source images of a segmentation, and references to frames of multi-frame objects."""

import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import uid as uids
from pydicom.dataset import Dataset

from foanet_jax.data.dicom.files import guarded, read_dataset
from foanet_jax.data.dicom.frames import FRAME_TAGS, single_frames

_OF_A_FRAME = ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient")
_PIXELS = 0x7FE0
FrameOf = dict[str, tuple[str, str, int]]


def source_images(files: Sequence[Path], numbers: Sequence[int | None] | None) -> tuple[list[Dataset], FrameOf]:
    """The images that a segmentation refers to, each as highdicom takes it: as the data set of a single-frame file.

    A frame of a multi-frame object gets a UID of its own, because highdicom tells images apart by their UIDs, and the
    class of single-frame images.

    Args:
        files: of each image.
        numbers: of each image, its frame in a multi-frame file; None of a single-frame file, or if there are no others.

    Returns:
        The images and, by the UID that a frame got, class and UID of its object and its number, for refer_to_frames.

    Raises:
        InputError: as read_dataset.
    """
    images = []
    objects: dict[Path, Dataset] = {}
    frame_of: FrameOf = {}
    for path, number in zip(files, numbers or [None] * len(files), strict=True):
        if path not in objects:
            objects[path] = read_dataset(path)
        whole = objects.pop(path) if number is None else objects[path]
        if number is None:
            images.append(whole)
            continue
        image = guarded(path, functools.partial(_frame, whole, number, path))
        made = uids.generate_uid(entropy_srcs=[str(whole.SOPInstanceUID), str(number)])
        frame_of[str(made)] = (str(whole.SOPClassUID), str(whole.SOPInstanceUID), number)
        image.SOPClassUID, image.SOPInstanceUID = uids.MRImageStorage, made
        images.append(image)
    return images, frame_of


def _frame(whole: Dataset, number: int, path: Path) -> Dataset:
    image = Dataset()
    image.file_meta = whole.file_meta
    for tag, element in whole.items():
        if tag not in FRAME_TAGS and tag.group < _PIXELS:
            image[tag] = copy.copy(element)  # A value that is set below is this image's alone.
    del image.NumberOfFrames
    frames = single_frames(whole, dict.fromkeys(_OF_A_FRAME), str(path))
    values = next(values for place, values in enumerate(frames, 1) if place == number)
    for name in _OF_A_FRAME:
        if values[name] is not None:
            setattr(image, name, values[name])
    return image


def refer_to_frames(segmentation: Dataset, frame_of: FrameOf) -> None:
    """Makes a segmentation refer to the objects, with the numbers of their frames.

    Args:
        segmentation: changed in place.
        frame_of: as source_images returns it.
    """
    for item in _references(segmentation):
        found = frame_of.get(str(item.ReferencedSOPInstanceUID))
        if found:
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, item.ReferencedFrameNumber = found
    # The list of the objects has each of them once, without a frame.
    for series in segmentation.get("ReferencedSeriesSequence") or ():
        objects = {str(item.ReferencedSOPInstanceUID): item for item in series.ReferencedInstanceSequence}
        for item in objects.values():
            if "ReferencedFrameNumber" in item:
                del item.ReferencedFrameNumber
        series.ReferencedInstanceSequence = list(objects.values())


def _references(dataset: Dataset) -> Iterator[Dataset]:
    """Everything in a data set that has a ReferencedSOPInstanceUID."""
    if "ReferencedSOPInstanceUID" in dataset:
        yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _references(item)
