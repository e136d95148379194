"""Findings about the shapes in a mask: structures that are missing, in pieces, open or with holes."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from foanet_jax.image.boxes import bounding_box
from foanet_jax.measures.indices.labels import MYOCARDIUM
from foanet_jax.measures.indices.study import is_short_axis
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.plausible import FRAMES_OF_A_BEAT

# In ACDC's ground truth, the largest second piece has 11 mm², in one of 200 stacks. There are no holes and no gaps.
PIECE_MM2 = 10.0
HOLE_MM2 = 10.0
# A class that comes and goes at an end of the ventricle is small before and after: at most 33 mm² in predictions of two
# Sunnybrook cines.
BLINK_MM2 = 100.0
# In ACDC's ground truth, the share is below 0.02 in all slices but one: the most basal slice of a stack has 0.16.
OPEN_SHARE = 0.1
# The outflow tract or the plane of the valve may cut the first and the last slice with a cavity.
OPEN_SHARE_AT_ENDS = 0.5
# The median over the slices, above which the cavity has no ring of myocardium at all.
EXCHANGED_SHARE = 0.5

_WITH_CORNERS = np.ones((3, 3), bool)


def check_shapes(mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]) -> list[Finding]:
    """Finds shapes that no heart has. Checks of the ring of myocardium are made for short-axis hearts only.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, background first.
        spacing_mm: between slices, rows and columns.
    """
    box = bounding_box(np.any(mask > 0, axis=(0, 1)))
    if box is None:
        return []
    # The heart is a small part of the image, and the time of the checks grows with the number of pixels.
    mask = mask[(..., *box.slices)]
    present = np.stack([(mask == index).any((2, 3)) for index in range(len(classes))])
    pixel_mm2 = float(spacing_mm[1]) * float(spacing_mm[2])
    findings = [*_absent(present, classes), *_gaps(present, classes), *_blinks(mask, classes, pixel_mm2)]
    if is_short_axis(classes):
        findings += _rings(mask, classes.index(MYOCARDIUM), classes.index("cavity"), pixel_mm2)
    return findings


def open_shares(cavity: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Returns the share of each cavity's outline that does not touch the wall.

    The outline consists of the pixel sides between the cavity and the rest. There is no wall outside the image.

    Args:
        cavity, wall: boolean (…, H, W).

    Returns:
        (…) shares in [0, 1]; NaN without a cavity.
    """
    sides = [(0, 0)] * (cavity.ndim - 2) + [(1, 1), (1, 1)]
    cavity, wall = np.pad(cavity, sides), np.pad(wall, sides)
    outline, walled = np.zeros(cavity.shape[:-2]), np.zeros(cavity.shape[:-2])
    for axis in (-2, -1):
        for step in (1, -1):
            beside = np.roll(cavity, step, axis) & ~cavity
            outline += beside.sum((-2, -1))
            walled += (beside & wall).sum((-2, -1))
    return np.divide(outline - walled, outline, out=np.full(outline.shape, np.nan), where=outline > 0)


def exchanged_classes(labels: np.ndarray, classes: Sequence[str]) -> tuple[str, str] | None:
    """Returns the names of the classes that lie where the cavity and the myocardium should be; None if they do.

    In a short-axis heart, the myocardium surrounds the cavity. If it does not, but another pair of classes has this
    shape, the label values of the file have another order than its classes.

    Args:
        labels: (T, Z, H, W) class indices.
        classes: names by index, background first.
    """
    if not is_short_axis(classes):
        return None
    box = bounding_box(np.any(labels > 0, axis=(0, 1)))
    if box is None:
        return None
    labels = labels[(..., *box.slices)]

    def share(inner: str, outer: str) -> float:
        shares = open_shares(labels == classes.index(inner), labels == classes.index(outer))
        known = shares[np.isfinite(shares)]
        return float(np.median(known)) if len(known) else 1.0

    # The median of ACDC's ground truth is 0 in every study; that of exchanged classes is at least 0.5.
    if share("cavity", MYOCARDIUM) < EXCHANGED_SHARE:
        return None
    return next(
        (pair for pair in itertools.permutations(classes[1:], 2) if share(*pair) < OPEN_SHARE),
        None,
    )


def _absent(present: np.ndarray, classes: Sequence[str]) -> Iterator[Finding]:
    for name, places in zip(classes[1:], present[1:], strict=True):
        if not places.any():
            yield Finding("class-absent", f"the {name} is missing in the whole study", class_name=name)
            continue
        shown = places.any(1)
        for frame in np.flatnonzero(~shown):
            message = f"the {name} is missing in this frame; {shown.sum()} of {len(shown)} frames have it"
            yield Finding("class-vanishes", message, int(frame), class_name=name)


def _gaps(present: np.ndarray, classes: Sequence[str]) -> Iterator[Finding]:
    """Finds slices without a class that both an earlier and a later slice have."""
    before = np.logical_or.accumulate(present, axis=2)
    after = np.logical_or.accumulate(present[..., ::-1], axis=2)[..., ::-1]
    for index, frame, slice_ in np.argwhere(~present & before & after):
        if index:
            message = f"the {classes[index]} is missing between slices that have it"
            yield Finding("class-gap", message, int(frame), int(slice_), classes[index])


def _blinks(mask: np.ndarray, classes: Sequence[str], pixel_mm2: float) -> Iterator[Finding]:
    """Finds slices without a class in a single frame of a heartbeat, with BLINK_MM2 of it before and after."""
    if len(mask) < FRAMES_OF_A_BEAT:
        return
    for index, name in enumerate(classes[1:], start=1):
        areas = (mask == index).sum((2, 3)) * pixel_mm2
        beside = np.minimum(np.roll(areas, 1, 0), np.roll(areas, -1, 0))
        for frame, slice_ in np.argwhere((areas == 0) & (areas.any(1)[:, None]) & (beside > BLINK_MM2)):
            lost = float(beside[frame, slice_])
            message = f"the {name} is missing in this frame; the frames before and after have {lost:.0f} mm² and more"
            yield Finding("class-vanishes", message, int(frame), int(slice_), name, lost, BLINK_MM2)


def _rings(mask: np.ndarray, wall_index: int, cavity_index: int, pixel_mm2: float) -> Iterator[Finding]:
    walls, cavities = mask == wall_index, mask == cavity_index
    shares = open_shares(cavities, walls)
    for frame, slice_ in np.argwhere((walls | cavities).any((2, 3))):
        wall, cavity = walls[frame, slice_], cavities[frame, slice_]
        place = int(frame), int(slice_)
        for name, part in ((MYOCARDIUM, wall), ("cavity", cavity)):
            pieces, second = _pieces(part)
            if second * pixel_mm2 > PIECE_MM2:
                message = f"the {name} is in {pieces} pieces; the second has {second * pixel_mm2:.0f} mm²"
                yield Finding("fragmented", message, *place, name, second * pixel_mm2, PIECE_MM2)
        heart = wall | cavity
        hole = (np.count_nonzero(ndimage.binary_fill_holes(heart)) - np.count_nonzero(heart)) * pixel_mm2
        if hole > HOLE_MM2:
            yield Finding("hole", f"the heart has a hole of {hole:.0f} mm²", *place, None, float(hole), HOLE_MM2)
        slices = np.flatnonzero(cavities[frame].any((1, 2)))
        at_end = len(slices) > 2 and slice_ in (slices[0], slices[-1])
        limit, share = OPEN_SHARE_AT_ENDS if at_end else OPEN_SHARE, float(shares[frame, slice_])
        if share > limit:
            message = f"{share:.0%} of the cavity's outline does not touch myocardium"
            yield Finding("open-myocardium", message, *place, None, share, limit)


def _pieces(part: np.ndarray) -> tuple[int, int]:
    """Returns the number of pieces and the pixels of the second largest. Pixels that touch at a corner are joined."""
    labels, count = ndimage.label(part, _WITH_CORNERS)
    if count < 2:
        return count, 0
    return count, int(np.sort(np.bincount(labels.ravel())[1:])[-2])
