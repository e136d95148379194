"""Splits a multi-frame MR object into frames, each with the tags of a single-frame image."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from foanet_jax.system.errors import InputError

MULTI_FRAME = (uids.EnhancedMRImageStorage, uids.LegacyConvertedEnhancedMRImageStorage)

# The functional groups that are read.
_GROUPS = (
    # Legacy converted objects store tags here that the groups below do not have.
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "CardiacSynchronizationSequence",
    "TemporalPositionSequence",
    "MRImageFrameTypeSequence",
)
FRAME_TAGS: list[BaseTag] = [
    Tag(name)
    for name in (
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "DimensionIndexSequence",
        "ComplexImageComponent",
    )
]
# The elements that are read from the functional groups. Converting all others would take most of the time.
_ELEMENTS = {
    Tag(name)
    for name in (
        "PixelSpacing",
        "SliceThickness",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "RescaleSlope",
        "RescaleIntercept",
        "FrameType",
        "ComplexImageComponent",
        "DimensionIndexValues",
        "TemporalPositionIndex",
        "TemporalPositionTimeOffset",
        "TemporalPositionIdentifier",
        "NominalCardiacTriggerDelayTime",
        "ActualCardiacTriggerDelayTime",
        "TriggerTime",
    )
}
_TRIGGER_DELAYS = ("NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime")
# Dimensions that order frames in time. Their indices are used if the frames do not have the values themselves.
_TIME_DIMENSIONS = [
    Tag(name)
    for name in (
        *_TRIGGER_DELAYS,
        "TriggerTime",
        "NominalPercentageOfCardiacPhase",
        "TemporalPositionIndex",
        "TemporalPositionTimeOffset",
    )
]


def single_frames(tags: Dataset, common: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Yields the values of each frame, by name, as in the header of a single-frame image.

    Position, orientation, spacing and rescaling are those of the frame's functional groups, or else of the groups that
    all frames share. TriggerTime is the delay after the R wave, or else the time of the temporal position.
    TemporalPositionIdentifier is TemporalPositionIndex, or else the index of a dimension of time. InstanceNumber
    counts the frames. ImageType is the frame's type. If the frame is not a magnitude image, its complex component, such
    as PHASE, is added.

    Args:
        tags: of a multi-frame MR object, with FRAME_TAGS.
        common: values that are the same for all frames, such as Rows.
        where: the file, for messages.

    Raises:
        InputError: "dimensions" if the numbers of frames and of functional groups differ.
    """
    count = int(tags.get("NumberOfFrames") or 1)
    groups = tags.get("PerFrameFunctionalGroupsSequence") or ()
    if count != len(groups):
        raise InputError(
            "dimensions", f"{where}: {count} frames, but functional groups for {len(groups)}; export the file again"
        )
    shared = _values(_first(tags.get("SharedFunctionalGroupsSequence")))
    dimensions = [item.get("DimensionIndexPointer") for item in tags.get("DimensionIndexSequence") or ()]
    component = tags.get("ComplexImageComponent")
    for number, group in enumerate(groups, 1):
        values = {"ComplexImageComponent": component, **shared, **_values(group)}
        yield {
            **common,
            **{name: value for name, value in values.items() if name in common},
            "TriggerTime": _trigger_ms(values),
            "TemporalPositionIdentifier": _temporal_position(values, dimensions),
            # If there are several objects, the frames of one come before those of the next.
            "InstanceNumber": count * int(common.get("InstanceNumber") or 0) + number,
            "AcquisitionTime": None,
            "ImageType": _kind(values, common.get("ImageType")),
        }


def _first(sequence: Any) -> Dataset:
    return sequence[0] if sequence else Dataset()


def _values(groups: Dataset) -> dict[str, Any]:
    """Returns the values of the elements in the functional groups, by name. Elements without a value are left out."""
    items = [_first(groups.get(name)) for name in _GROUPS]
    elements = [item[tag] for item in items for tag in _ELEMENTS.intersection(item.keys())]
    return {element.keyword: element.value for element in elements if not element.is_empty}


def _trigger_ms(values: Mapping[str, Any]) -> Any:
    for name in (*_TRIGGER_DELAYS, "TriggerTime"):
        if name in values:
            return values[name]
    offset = values.get("TemporalPositionTimeOffset")
    return None if offset is None else 1000 * float(offset)


def _temporal_position(values: Mapping[str, Any], dimensions: list[Any]) -> Any:
    if "TemporalPositionIndex" in values:
        return values["TemporalPositionIndex"]
    indices = values.get("DimensionIndexValues", ())
    indices = [indices] if isinstance(indices, int) else list(indices)
    for pointer, index in zip(dimensions, indices, strict=False):
        if pointer in _TIME_DIMENSIONS:
            return index
    return values.get("TemporalPositionIdentifier")


def _kind(values: Mapping[str, Any], of_object: Any) -> tuple[str, ...]:
    kind = values.get("FrameType") or of_object or ()
    words = (kind,) if isinstance(kind, str) else tuple(str(word) for word in kind)
    component = str(values.get("ComplexImageComponent") or "MAGNITUDE")
    return words if component == "MAGNITUDE" else (*words, component)
