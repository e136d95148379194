"""Which images belong together as a stack."""

import logging
from collections.abc import Sequence

from foanet_jax.data.dicom.grid import arrange, geometry, places_of, same_view
from foanet_jax.data.dicom.headers import DicomImage
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)


def group_stacks(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """The images of each study, single-slice series joined where they fit."""
    groups: list[list[DicomImage]] = []
    by_series: dict[tuple[object, ...], list[list[DicomImage]]] = {}
    for image in images:
        key = (image.patient_key, image.study, image.series, image.shape, image.kind)
        for group in by_series.setdefault(key, []):
            if same_view(group[0], image):
                group.append(image)
                break
        else:
            by_series[key].append([image])
            groups.append(by_series[key][-1])

    joined: list[list[DicomImage]] = []
    candidates: dict[tuple[object, ...], list[list[list[DicomImage]]]] = {}
    for group in groups:
        references = {image.frame_of_reference for image in group}
        if len(places_of(group)) > 1 or len(references) > 1 or "" in references:
            joined.append(group)
            continue
        first = group[0]
        families = candidates.setdefault((first.patient_key, first.study, first.frame_of_reference), [])
        for family in families:
            if first.shape == family[0][0].shape and first.kind == family[0][0].kind and same_view(family[0][0], first):
                family.append(group)
                break
        else:
            families.append([group])
    for families in candidates.values():
        for family in families:
            together = [image for group in family for image in group]
            try:
                geometry(arrange(together)[0])
            except InputError as error:
                # One group alone has its own chance, and its own error, when it is loaded.
                if len(family) > 1:
                    LOGGER.info("%d series of one slice each are separate studies: %s", len(family), error)
                joined += family
            else:
                joined.append(together)
    order = {image.path: place for place, image in enumerate(images)}
    return sorted(joined, key=lambda stack: min(order[image.path] for image in stack))
