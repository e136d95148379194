"""The acquisition technique in the header of an image. It distinguishes the series of one heart."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

TAGS = (
    "ScanningSequence",
    "SequenceVariant",
    "EchoTime",
    "FlipAngle",
    "InversionTime",
    "SeriesTime",
    "AcquisitionTime",
    "SeriesDescription",
    "ProtocolName",
)
_SAME = 1.3  # the largest ratio of two values of the same technique, because scanners adapt angles and times to slices


@dataclasses.dataclass(frozen=True)
class Technique:
    """How an image was acquired.

    Attributes:
        sequence: the words of ScanningSequence and SequenceVariant.
        echo_ms, flip_degrees, inversion_ms: None if the header does not have it.
        words: the descriptions of the series and the protocol in lower case. They are kept in memory only, because
            they may contain anything.
        acquired: the times at which the series and the image were acquired, in seconds since midnight; -1 if unknown.
    """

    sequence: frozenset[str] = frozenset()
    echo_ms: float | None = None
    flip_degrees: float | None = None
    inversion_ms: float | None = None
    words: str = ""
    acquired: tuple[float, float] = (-1.0, -1.0)


def read_technique(tags: Mapping[str, Any]) -> Technique:
    """Reads the technique of an image. Values that cannot be understood are left out."""
    return Technique(
        sequence=frozenset(_texts(tags, "ScanningSequence") + _texts(tags, "SequenceVariant")),
        echo_ms=_positive(tags, "EchoTime"),
        flip_degrees=_positive(tags, "FlipAngle"),
        inversion_ms=_positive(tags, "InversionTime"),
        words=" ".join(_texts(tags, "SeriesDescription") + _texts(tags, "ProtocolName")).lower(),
        acquired=(seconds_of_day(tags.get("SeriesTime")), seconds_of_day(tags.get("AcquisitionTime"))),
    )


def same_technique(first: Technique, second: Technique) -> bool:
    """Whether two images can be slices of one stack. Values that are unknown for one of them are not compared."""
    if first.sequence and second.sequence and first.sequence != second.sequence:
        return False
    numbers = (
        (first.echo_ms, second.echo_ms),
        (first.flip_degrees, second.flip_degrees),
        (first.inversion_ms, second.inversion_ms),
    )
    return all(a is None or b is None or max(a, b) <= _SAME * min(a, b) for a, b in numbers)


def seconds_of_day(value: object) -> float:
    """Returns the seconds since midnight of a DICOM time, HHMMSS.FFFFFF; -1 for any other value."""
    match = re.fullmatch(r"(\d\d)(\d\d)(\d\d(?:\.\d{1,6})?)", str(value or "").strip())
    return 3600 * float(match[1]) + 60 * float(match[2]) + float(match[3]) if match else -1.0


def _texts(tags: Mapping[str, Any], tag: str) -> list[str]:
    value = tags.get(tag)
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(word) for word in value]


def _positive(tags: Mapping[str, Any], tag: str) -> float | None:
    try:
        number = float(tags.get(tag) or 0)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
