"""Handles slices that were acquired more than once."""

from collections import Counter
from collections.abc import Sequence

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.dicom.wanted import Repeats

_TIMES = ("TriggerTime", "TemporalPositionIdentifier")  # start again with each acquisition; other tags count on


def usual_counts(places: Sequence[Sequence[DicomImage]]) -> list[int]:
    """Returns the most frequent number of images at a place. Equally frequent numbers are all returned, in order."""
    counts = Counter(len(place) for place in places)
    return sorted(count for count in counts if counts[count] == max(counts.values()))


def without_repeats(
    places: Sequence[list[DicomImage]], repeats: Repeats = "last"
) -> tuple[list[list[DicomImage]], list[str]]:
    """Keeps one acquisition of each slice of a stack.

    A slice was acquired more than once if it has more images than most others, or several images with the same trigger
    time. Acquisitions are distinguished by their series. Within a series, an acquisition begins where the time in the
    beat starts again. Acquisitions are ordered by series time, then acquisition time, series number and instance
    number. An incomplete acquisition is not chosen if its slice has one with more images.

    Args:
        places: the images at each place.
        repeats: whether the last or the first acquisition is kept.

    Returns:
        The images at each place, and a sentence about each slice that was acquired more than once.
    """
    usual = usual_counts(places)[0]
    kept, told = [], []
    for number, place in enumerate(places, 1):
        acquisitions = _acquisitions(place, usual)
        # An acquisition that was broken off is not used, even if it is the last one.
        enough = min(usual, max(map(len, acquisitions)))
        whole = [acquisition for acquisition in acquisitions if len(acquisition) >= enough]
        chosen = whole[-1 if repeats == "last" else 0]
        kept.append(chosen)
        if len(acquisitions) > 1:
            which = {0: "first", len(acquisitions) - 1: "last"}.get(acquisitions.index(chosen), "last complete")
            told.append(
                f"slice {number} was acquired {_often(len(acquisitions))}: the {which} acquisition is used, that of "
                f"{chosen[0].path.name}"
            )
    return kept, told


def _acquisitions(place: list[DicomImage], usual: int) -> list[list[DicomImage]]:
    """Groups the images at a place by acquisition, the earliest first."""
    ordered = sorted(place, key=_moment)
    times = _times_in_beat(ordered)
    if len(place) <= usual and len(set(times)) == len(times):
        return [place]
    series = list(dict.fromkeys(image.series for image in ordered))
    if len(series) > 1:
        return [[image for image in ordered if image.series == one] for one in series]
    starts = [n for n in range(1, len(times)) if times[n] <= times[n - 1]]
    # If the times start again this often, the frames are out of order, and there are no separate acquisitions.
    if len(starts) >= max(2, len(place) // 2):
        return [place]
    return [ordered[start:end] for start, end in zip([0, *starts], [*starts, len(ordered)], strict=True)]


def _times_in_beat(images: Sequence[DicomImage]) -> list[float]:
    """Returns the time of each image in its beat, from a tag whose values differ; else the indices of the images."""
    for tag in _TIMES:
        times = [image.times[tag] for image in images if tag in image.times]
        if len(times) == len(images) and len(set(times)) > 1:
            return times
    return [float(number) for number in range(len(images))]


def _moment(image: DicomImage) -> tuple[float, ...]:
    series, acquisition = image.technique.acquired
    return (series, acquisition, float(image.series_number or 0), image.times.get("InstanceNumber", 0.0))


def _often(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"
