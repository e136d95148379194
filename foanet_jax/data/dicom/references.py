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
    """Returns the images that a segmentation refers to, as data sets of single-frame files, which highdicom requires.

    A frame of a multi-frame object gets the class of single-frame images and a new UID, because highdicom identifies
    images by their UIDs.

    Args:
        files: the file of each image.
        numbers: the frame number of each image in a multi-frame file, or None for a single-frame file; None if all
            files are single-frame.

    Returns:
        The images; and for `refer_to_frames`, by the new UID of a frame, its object's class and UID and its number.

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
            image[tag] = copy.copy(element)  # A copy, because values that are set below must not change other images.
    del image.NumberOfFrames
    frames = single_frames(whole, dict.fromkeys(_OF_A_FRAME), str(path))
    values = next(values for place, values in enumerate(frames, 1) if place == number)
    for name in _OF_A_FRAME:
        if values[name] is not None:
            setattr(image, name, values[name])
    return image


def refer_to_frames(segmentation: Dataset, frame_of: FrameOf) -> None:
    """Replaces the new UIDs of frames in a segmentation by references to the objects and the numbers of their frames.

    Args:
        segmentation: changed in place.
        frame_of: the second result of `source_images`.
    """
    for item in _references(segmentation):
        found = frame_of.get(str(item.ReferencedSOPInstanceUID))
        if found:
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, item.ReferencedFrameNumber = found
    # The list of objects contains each object once, without frame numbers.
    for series in segmentation.get("ReferencedSeriesSequence") or ():
        objects = {str(item.ReferencedSOPInstanceUID): item for item in series.ReferencedInstanceSequence}
        for item in objects.values():
            if "ReferencedFrameNumber" in item:
                del item.ReferencedFrameNumber
        series.ReferencedInstanceSequence = list(objects.values())


def _references(dataset: Dataset) -> Iterator[Dataset]:
    """Yields all items in a data set that have a ReferencedSOPInstanceUID."""
    if "ReferencedSOPInstanceUID" in dataset:
        yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _references(item)
