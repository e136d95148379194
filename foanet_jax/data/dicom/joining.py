"""Joins the segmentations of the frames of a cine to one DICOM object with a dimension of time."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.tag import BaseTag, Tag

_FRAME_CONTENT = Tag("FrameContentSequence")
_TEMPORAL_POSITION = Tag("TemporalPositionIndex")


def join_frames(segmentations: Mapping[int, Dataset], slice_of: Mapping[str, int]) -> Dataset:
    """Joins the segmentations of single frames in time, which hold several planes each, to one object.

    The planes of different frames lie at the same position. What tells them apart is the dimension "Temporal Position
    Index" (PS3.3 C.7.6.16.2.2 and C.7.6.17), between those of the segment and of the position, and the source image of
    each plane. Planes are sorted by segment, time and position. The references of all objects are collected.

    Args:
        segmentations: binary segmentations of the same segments, by the number of the frame from 0; there must be one
            at least. They are used up.
        slice_of: the number of the slice of each source image, by its SOP instance UID.

    Returns:
        The first data set, with the planes of all.
    """
    planes = []
    for t, segmentation in segmentations.items():
        pixels = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
        for item, mask in zip(segmentation.PerFrameFunctionalGroupsSequence, pixels, strict=True):
            source = item.DerivationImageSequence[0].SourceImageSequence[0]
            segment = item.get("SegmentIdentificationSequence") or (
                segmentation.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence
            )
            place = (segment[0].ReferencedSegmentNumber, t, slice_of[str(source.ReferencedSOPInstanceUID)])
            planes.append((place, item, mask))
    planes.sort(key=lambda plane: plane[0])
    # The index of a dimension counts the values that occur, from 1 (C.7.6.17.1).
    numbers = [
        {value: number for number, value in enumerate(sorted(set(values)), 1)}
        for values in zip(*(place for place, _, _ in planes), strict=True)
    ]
    numbers[0] = {segment: segment for segment in numbers[0]}
    for place, item, _ in planes:
        content = item.FrameContentSequence[0]
        content.TemporalPositionIndex = place[1] + 1
        content.DimensionIndexValues = [known[value] for known, value in zip(numbers, place, strict=True)]
    joined, *others = segmentations.values()
    joined.PerFrameFunctionalGroupsSequence = [item for _, item, _ in planes]
    joined.NumberOfFrames = len(planes)
    joined.InstanceNumber = 1
    joined.PixelData = pack_bits(np.stack([mask for _, _, mask in planes]).astype(np.uint8), pad=True)
    joined.DimensionIndexSequence = _with_time(joined.DimensionIndexSequence)
    if "DimensionOrganizationType" in joined:
        del joined.DimensionOrganizationType  # "3D" is for planes without time.
    (listed,) = joined.ReferencedSeriesSequence
    every = [segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence for segmentation in (joined, *others)]
    listed.ReferencedInstanceSequence = _once(item for items in every for item in items)
    sources = [segmentation.SourceImageSequence for segmentation in (joined, *others)]
    joined.SourceImageSequence = _once(item for items in sources for item in items)
    return joined


def _with_time(dimensions: Sequence[Dataset]) -> list[Dataset]:
    """Returns the dimensions segment and position with the temporal position between them."""
    segment, position = dimensions
    time = Dataset()
    time.DimensionOrganizationUID = segment.DimensionOrganizationUID
    time.DimensionIndexPointer = BaseTag(_TEMPORAL_POSITION)
    time.FunctionalGroupPointer = BaseTag(_FRAME_CONTENT)
    time.DimensionDescriptionLabel = "Temporal Position Index"
    return [segment, time, position]


def _once(items: Iterable[Dataset]) -> list[Dataset]:
    """Returns the references without repeated ones."""
    by_image = {(str(item.ReferencedSOPInstanceUID), str(item.get("ReferencedFrameNumber"))): item for item in items}
    return list(by_image.values())
