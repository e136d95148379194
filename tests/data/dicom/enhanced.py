"""Enhanced MR objects made of single-frame images."""

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.tag import Tag


def write_enhanced(files: Sequence[Path], path: Path, *, times: str = "trigger", shared: bool = True) -> Path:
    """Writes one enhanced object of uncompressed single-frame images, a frame for each, in their order.

    Args:
        files: the images.
        path: the file to write.
        times: how frames are told apart in time: by the delay after the R wave ("trigger"), by temporal position with
            its offset ("temporal"), by the index of a dimension ("dimension"), or by their order alone ("none").
        shared: put what all frames have in common, orientation and spacing, into the shared groups.
    """
    images = [pydicom.dcmread(file) for file in files]
    first = images[0]
    whole = Dataset()
    for element in first:
        if element.keyword not in (
            *("TriggerTime", "TemporalPositionIdentifier", "ImagePositionPatient", "ImageOrientationPatient"),
            *("PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept"),
            *("RescaleType", "PixelData"),
        ):
            whole.add(element)
    whole.SOPClassUID, whole.SOPInstanceUID = (
        uids.EnhancedMRImageStorage,
        uids.generate_uid(entropy_srcs=[first.SOPInstanceUID]),
    )
    whole.NumberOfFrames = len(images)
    whole.SharedFunctionalGroupsSequence = [_shared(first) if shared else Dataset()]
    whole.PerFrameFunctionalGroupsSequence = [
        _frame(image, times) if shared else _joined(_shared(image), _frame(image, times)) for image in images
    ]
    if times == "dimension":
        whole.DimensionIndexSequence = [_of(DimensionIndexPointer=Tag(name)) for name in ("StackID", "TriggerTime")]
        whole.DimensionIndexSequence[1].DimensionIndexPointer = Tag("NominalPercentageOfCardiacPhase")
    whole.PixelData = b"".join(image.PixelData for image in images)
    whole["PixelData"].VR = "OW"
    whole.file_meta = first.file_meta
    whole.file_meta.MediaStorageSOPClassUID = whole.SOPClassUID
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    whole.save_as(path, enforce_file_format=True)
    return path


def _of(**values: object) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def _joined(one: Dataset, other: Dataset) -> Dataset:
    one.update(other)
    return one


def _shared(image: Dataset) -> Dataset:
    names = ("PixelSpacing", "SliceThickness")
    return _of(
        PixelMeasuresSequence=[_of(**{name: image[name].value for name in names})],
        PlaneOrientationSequence=[_of(ImageOrientationPatient=image.ImageOrientationPatient)],
        MRImageFrameTypeSequence=[_of(FrameType=image.ImageType, ComplexImageComponent="MAGNITUDE")],
    )


def _frame(image: Dataset, times: str) -> Dataset:
    frame = _of(
        PlanePositionSequence=[_of(ImagePositionPatient=image.ImagePositionPatient)],
        PixelValueTransformationSequence=[
            _of(RescaleSlope=image.RescaleSlope, RescaleIntercept=image.RescaleIntercept, RescaleType="US")
        ],
        FrameVOILUTSequence=[_of(WindowCenter=100, WindowWidth=200)],
        FrameContentSequence=[_of(StackID="1", FrameAcquisitionNumber=1)],
    )
    position = int(image.TemporalPositionIdentifier)
    if times == "trigger":
        frame.CardiacSynchronizationSequence = [_of(NominalCardiacTriggerDelayTime=float(image.TriggerTime))]
    elif times == "temporal":
        frame.FrameContentSequence[0].TemporalPositionIndex = position
        frame.TemporalPositionSequence = [_of(TemporalPositionTimeOffset=float(image.TriggerTime) / 1000)]
    elif times == "dimension":
        frame.FrameContentSequence[0].DimensionIndexValues = [1, position]
    return frame
