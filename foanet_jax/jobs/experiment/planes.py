"""Choice of the image planes of an evaluated study that the report shows."""

from typing import Any

import numpy as np

from foanet_jax.data.study import Study
from foanet_jax.image.stack import neighbours
from foanet_jax.image.window import intensity_window
from foanet_jax.pages.gallery import Plane
from foanet_jax.pipeline import Model, Prediction

SEVERAL = 6


def choose_planes(study: Study, prediction: Prediction, model: Model | None, *, several: bool = False) -> list[Plane]:
    """Returns the plane with the largest true object and the plane with the worst prediction.

    Args:
        study: the labelled study.
        prediction: its prediction.
        model: the model that predicted it; None if no model of this project did.
        several: also return planes evenly spread over the object, with their neighbours and δ.
    """
    assert study.labels is not None
    shape = study.voxels.shape
    images, truths, masks = (array.reshape(-1, *shape[2:]) for array in (study.voxels, study.labels, prediction.mask))
    true_pixels = np.count_nonzero(truths, axis=(1, 2))
    wrong = np.count_nonzero(truths != masks, axis=(1, 2)) / (true_pixels + np.count_nonzero(masks, axis=(1, 2)) + 1)
    indices = [int(np.argmax(true_pixels)), int(np.argmax(wrong))]
    spread: list[int] = []
    if several:
        there = np.flatnonzero(true_pixels)
        spread = [int(there[round(place)]) for place in np.linspace(0, max(len(there) - 1, 0), SEVERAL) if len(there)]
    box = prediction.box
    planes = []
    for index in dict.fromkeys([*indices, *spread]):
        beside: dict[str, Any] = {}
        if index in spread and model is not None:
            prepare = model.segmentation[0].prepare
            before, _, after = neighbours(*shape[:2], cyclic=model.cyclic, along=prepare.neighbours)[index]
            beside = {"before": grey_levels(study.voxels, images[before])}
            beside["after"] = grey_levels(study.voxels, images[after])
            beside["delta"] = prepare.delta_ratio * sum(box.shape) / 2 if prepare.foa else None
        planes.append(
            Plane(
                patient=study.patient,
                case=study.case,
                frame=index // shape[1],
                slice_=index % shape[1],
                classes=tuple(study.classes),
                spacing_mm=(float(study.spacing_mm[1]), float(study.spacing_mm[2])),
                image=grey_levels(study.voxels, images[index]),
                truth=truths[index].astype(np.uint8),
                prediction=masks[index].astype(np.uint8),
                object_box=prediction.object_box,
                box=box,
                **beside,
            )
        )
    return planes


def grey_levels(voxels: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Converts a plane to uint8 grey levels, in the intensity window of the whole study."""
    low, high = intensity_window(voxels)
    return np.clip(np.round((plane - low) * (255 / max(high - low, 1e-12))), 0, 255).astype(np.uint8)
