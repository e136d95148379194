"""Prediction as in `foanet_jax.pipeline`, with untrained networks.

Untrained networks find no heart, but the cost of the second network depends on the size of its crop. Therefore the
result of the first network is discarded. The second network gets the box of the true labels, which is about the box
that a trained network finds.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from benchmarks.cases import Case
from benchmarks.inputs import initialise
from foanet_jax.data.phantom.short_axis import short_axis_study
from foanet_jax.data.study import Study
from foanet_jax.image.boxes import Box, slice_boxes, union_box, whole_image
from foanet_jax.image.prepare import PrepareSpec, open_source
from foanet_jax.network import NetworkSpec
from foanet_jax.pipeline import MEMORY_BYTES, Model, Network, localize, segment

MARGIN_PX = 10


def model_of(
    classes: tuple[str, ...],
    *,
    cyclic: bool,
    width: float = 1.0,
    localization_width: float | None = None,
    localization: PrepareSpec | None = None,
    segmentation: PrepareSpec | None = None,
    dtype: str = "float32",
) -> Model:
    """Returns both networks with random parameters. The default preprocessing is that of the paper."""
    if localization_width is None:
        localization_width = width
    specs = (
        NetworkSpec("net1", 2, width=localization_width, dtype=dtype),
        NetworkSpec("net2", len(classes), width=width, dtype=dtype),
    )
    prepares = (localization or PrepareSpec(), segmentation or PrepareSpec(spacing_mm=0.65, foa=True))
    networks = [
        Network(spec, prepare, initialise(jax.random.key(number), dataclasses.replace(spec, dtype="float32")))
        for number, (spec, prepare) in enumerate(zip(specs, prepares, strict=True))
    ]
    return Model(classes, (networks[0],), (networks[1],), MARGIN_PX, cyclic)


def true_box(study: Study) -> Box:
    """Returns the bounding box of a study's labels with the margin."""
    shape = study.voxels.shape[-2:]
    box = None if study.labels is None else union_box(slice_boxes(study.labels > 0))
    return whole_image(shape) if box is None else box.widen(MARGIN_PX, shape)


def predict_in(study: Study, model: Model, box: Box) -> np.ndarray:
    """Returns the (T, Z, H, W) mask. It does all the work of `pipeline.predict_study`, but with a given crop."""
    source = open_source(study.voxels)
    localize(study, model.localization, cyclic=model.cyclic, memory_bytes=MEMORY_BYTES, source=source)
    return segment(study, box, model, memory_bytes=MEMORY_BYTES, source=source)[0]


def make_predict(case: Case) -> Callable[[], np.ndarray]:
    """Returns a function that predicts a phantom cine of `case.frames` frames. The cine repeats 20 frames."""
    study = short_axis_study(0, size=case.size, frames=min(case.frames, 20))
    order = np.arange(case.frames) % len(study.voxels)
    labels = study.labels[order] if study.labels is not None else None
    long = Study("p", "c", study.voxels[order], study.spacing_mm, study.classes, labels)
    model, box = model_of(long.classes, cyclic=True, width=case.width), true_box(long)
    return lambda: predict_in(long, model, box)
