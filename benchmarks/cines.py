"""Cines of the whole beat, and what is known of them: ACDC's 4D files, Sunnybrook's cines, beating phantoms."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.coherence import Truth
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.readers.sunnybrook import fill_contour, list_sunnybrook, read_contours, read_sunnybrook_cine
from foanet_jax.data.study import ACDC_CLASSES, Study


@dataclasses.dataclass(frozen=True)
class Cine:
    """A cine without labels, and what is known of some or all of its frames."""

    study: Study
    truths: tuple[Truth, ...]


def phantom_cine(patient: int, *, frames: int, size: int) -> Cine:
    """Draws a beating phantom from base to apex, of which everything is known; see `short_axis_stack`."""
    study = short_axis_stack(patient, frames=frames, size=size)
    assert study.labels is not None
    truths = [truth for t, labels in enumerate(study.labels) for truth in _whole(t, labels)]
    return Cine(dataclasses.replace(study, labels=None), tuple(truths))


def acdc_cines(root: Path) -> Iterator[Cine]:
    """Yields the patients of ACDC with a 4D file; end diastole and end systole are known.

    Args:
        root: ACDC's folder, as `list_acdc` reads it.

    Raises:
        InputError: a file cannot be used.
    """
    labelled = list_acdc(root)
    for ref in list_acdc(root, frames="cine"):
        truths: list[Truth] = []
        for other in labelled:
            number = re.search(r"frame(\d+)", other.case)
            if other.patient == ref.patient and number is not None:
                labels = other.load().labels
                assert labels is not None
                truths += _whole(int(number[1]) - 1, labels[0])
        yield Cine(dataclasses.replace(ref.load(), case=ref.patient), tuple(truths))


def sunnybrook_cines(root: Path) -> Iterator[Cine]:
    """Yields the cines of Sunnybrook; contours at end diastole and end systole are known.

    Args:
        root: Sunnybrook's folder, as `list_sunnybrook` reads it.

    Raises:
        InputError: a file cannot be used.
    """
    for ref in list_sunnybrook(root, frames="cine"):
        study = read_sunnybrook_cine(root, ref.patient)
        shape = (study.voxels.shape[2], study.voxels.shape[3])
        inner: dict[int, dict[int, np.ndarray]] = {}
        outer: dict[int, dict[int, np.ndarray]] = {}
        for contour in read_contours(root, ref.patient):
            kind = inner if contour.kind == "endocardium" else outer
            kind.setdefault(contour.frame, {})[contour.slice] = fill_contour(contour.points, shape)
        truths = []
        for frame, cavities in inner.items():
            truths.append(_stacked(frame, "cavity", cavities))
            walls = outer.get(frame, {})
            both = {z: walls[z] & ~cavities[z] for z in cavities if z in walls}
            if both:
                truths.append(_stacked(frame, "myocardium", both))
        yield Cine(dataclasses.replace(study, case=ref.patient, classes=ACDC_CLASSES), tuple(truths))


def _stacked(frame: int, class_name: str, masks: dict[int, np.ndarray]) -> Truth:
    slices = tuple(sorted(masks))
    return Truth(frame, class_name, slices, np.stack([masks[z] for z in slices]))


def _whole(frame: int, labels: np.ndarray) -> list[Truth]:
    """Returns what is known of a frame whose slices are all labelled, (Z, H, W)."""
    slices = tuple(range(len(labels)))
    return [Truth(frame, name, slices, labels == index) for index, name in enumerate(ACDC_CLASSES) if index]
