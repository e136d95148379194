"""Groups images into stacks."""

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.data.dicom.stacks.assembly import assemble
from foanet_jax.data.dicom.stacks.grid import near_view, places_of, same_view
from foanet_jax.data.dicom.technique import same_technique
from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
_SERIES_OF_A_STACK = 5  # at least so many series of one slice each can be a stack with a missing slice or frame
_SAME_SLICE = 0.1  # the largest distance, relative to a pixel's side


def group_stacks(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """Groups images into stacks; each stack is a study.

    The images of a series with the same size, pixel spacing, orientation and image type make a stack. A slice that is
    slightly turned against a stack of its series belongs to this stack. Series of one slice each, of one examination,
    are joined if they make an even stack. This is tried first for series with the same frame of reference, then for the
    others, because each anonymised image may have its own. A series of one slice that repeats a slice of a stack is
    joined to that stack.
    """
    stacks: list[list[DicomImage]] = []
    for series in _sorted_by(images, lambda image: (image.patient_key, image.study, image.series, *_format(image))):
        stacks += _with_turned_slices(_alike(series, same_view))
    singles = [stack for stack in stacks if len(places_of(stack)) == 1]
    stacks = [stack for stack in stacks if len(places_of(stack)) > 1]
    for examination in _sorted_by([stack[0] for stack in singles], lambda image: (image.patient_key, image.study)):
        heads = {id(image) for image in examination}
        stacks += _joined([stack for stack in singles if id(stack[0]) in heads])
    stacks = _with_repeats(stacks)
    order = {(image.path, image.frame): place for place, image in enumerate(images)}
    return sorted(stacks, key=lambda stack: min(order[image.path, image.frame] for image in stack))


def _sorted_by(images: Iterable[DicomImage], key: Callable[[DicomImage], object]) -> list[list[DicomImage]]:
    sorted_: dict[object, list[DicomImage]] = {}
    for image in images:
        sorted_.setdefault(key(image), []).append(image)
    return list(sorted_.values())


def _format(image: DicomImage) -> tuple[object, ...]:
    return (image.shape, image.kind)


def _alike(images: Iterable[DicomImage], same: Callable[[DicomImage, DicomImage], bool]) -> list[list[DicomImage]]:
    """Groups images. All images of a group are the same as its first one, according to `same`."""
    groups: list[list[DicomImage]] = []
    for image in images:
        group = next((group for group in groups if same(group[0], image)), None)
        if group is None:
            groups.append([image])
        else:
            group.append(image)
    return groups


def _with_turned_slices(groups: list[list[DicomImage]]) -> list[list[DicomImage]]:
    """Joins each group of one slice to a stack of its series if it is only slightly turned against that stack."""
    stacks = [group for group in groups if len(places_of(group)) > 1]
    alone = []
    for group in groups:
        if len(places_of(group)) == 1:
            stack = next((stack for stack in stacks if near_view(stack[0], group[0])), None)
            if stack is None:
                alone.append(group)
            else:
                stack.extend(group)
    return stacks + alone


def _joined(singles: list[list[DicomImage]]) -> list[list[DicomImage]]:
    """Joins series of one slice each if they make a stack."""
    joined, left = _join(singles, lambda stack: {image.frame_of_reference for image in stack})
    more, left = _join(left, lambda _: set())
    return joined + more + left


def _join(
    singles: list[list[DicomImage]], reference: Callable[[list[DicomImage]], set[str]]
) -> tuple[list[list[DicomImage]], list[list[DicomImage]]]:
    """Joins series of one slice within a frame of reference.

    Returns:
        The stacks, and the series that are not part of one.
    """
    families: list[list[list[DicomImage]]] = []
    left = []
    for single in singles:
        its = reference(single)
        if len(its) > 1 or "" in its:
            left.append(single)
            continue
        family = next((f for f in families if reference(f[0]) == its and _alike_series(f[0], single)), None)
        if family is None:
            families.append([single])
        else:
            family.append(single)
    joined = []
    for family in families:
        together = [image for series in family for image in series]
        try:
            if len(family) > 1:
                assemble(together)
        except InputError as error:
            if _lacks_something(together):
                joined.append(together)
                continue
            # Each series becomes a study of its own, which may be readable or may have its own error.
            LOGGER.info(
                "%d series of one slice each make no even stack and are separate studies: %s", len(family), error
            )
            left += family
        else:
            (joined if len(family) > 1 else left).append(together)
    return joined, left


def _alike_series(first: list[DicomImage], second: list[DicomImage]) -> bool:
    """Whether two series of one slice can belong to one stack.

    A still image and a cine cannot, nor can images of two kinds.
    """
    return (
        _format(first[0]) == _format(second[0])
        and (len(first) > 1) == (len(second) > 1)
        and near_view(first[0], second[0])
        and same_technique(first[0].technique, second[0].technique)
    )


def _lacks_something(together: list[DicomImage]) -> bool:
    """Whether series would make an even stack if nothing were missing or slightly turned."""
    if len(places_of(together)) < _SERIES_OF_A_STACK:
        return False
    try:
        assemble(together, Wanted(incomplete=True))
    except InputError:
        return False
    return True


def _with_repeats(stacks: list[list[DicomImage]]) -> list[list[DicomImage]]:
    """Joins each series of one slice to the stack of which it repeats a slice."""
    whole = [stack for stack in stacks if len(places_of(stack)) > 1]
    others = []
    for stack in stacks:
        if any(stack is other for other in whole):
            continue
        home = next((other for other in whole if _repeats(stack, other)), None)
        if home is None:
            others.append(stack)
        else:
            home.extend(stack)
    return whole + others


def _repeats(single: list[DicomImage], stack: list[DicomImage]) -> bool:
    first = single[0]
    if (first.patient_key, first.study) != (stack[0].patient_key, stack[0].study):
        return False
    if not (_format(first) == _format(stack[0]) and same_view(stack[0], first)):
        return False
    for place in places_of(stack):
        aside = float(np.linalg.norm(place[0].position - first.position))
        if aside <= _SAME_SLICE * min(first.spacing_mm):
            return len(place) == len(single) and same_technique(place[0].technique, first.technique)
    return False
