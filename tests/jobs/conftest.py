"""A prediction with networks that are made up: everything in every study is class 1."""

from types import SimpleNamespace

import numpy as np
import pytest

from foanet_jax.image.boxes import Box
from foanet_jax.jobs import prediction
from foanet_jax.jobs.studies import writing
from foanet_jax.pipeline import Prediction


@pytest.fixture
def made_up(monkeypatch):
    """`predict(source, output, **options)`, as `--mode predict` does it, without networks and without pictures."""

    def predict_study(study, model, **_):
        mask = np.ones(study.voxels.shape, np.uint8)
        return Prediction(mask, [None], None, Box(0, 0, *study.voxels.shape[2:]), ())

    classes = ("background", "heart muscle")
    described = {"config": {"prediction": {}}, "slice_axis": None, "classes": list(classes)}
    monkeypatch.setattr(prediction, "load_model", lambda _: SimpleNamespace(classes=classes))
    monkeypatch.setattr(prediction, "load_description", lambda _: described)
    monkeypatch.setattr(prediction, "predict_study", predict_study)
    monkeypatch.setattr(writing, "draw_prediction", lambda study, found, path, view: path.write_bytes(b"a picture"))

    def predict(source, output, *, checkpoint=None, **options):
        options = {"third_axis": "slice", "overwrite": False, "pages": False} | options
        return prediction.predict(checkpoint or output.parent / "run", source, output, **options)

    return predict
