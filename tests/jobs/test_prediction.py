"""A folder's prediction when something goes wrong in the middle of it, with networks that are made up."""

import errno
import json
import math
import re
import threading
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from foanet_jax.data.dicom.files import quiet_pydicom
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.image.confidence import Confidence
from foanet_jax.jobs import prediction
from foanet_jax.jobs.experiment.pages import study_result
from foanet_jax.jobs.studies import writing
from foanet_jax.measures.quality.review import Expectations, review_study
from foanet_jax.pipeline import EMPTY, MEMORY_BYTES, Prediction
from foanet_jax.system import diskspace
from foanet_jax.system.errors import InputError

CASES = ("c1", "c2", "c3", "c4", "c5")


@pytest.fixture
def budgets(monkeypatch, tmp_path):
    """Five files and a model that finds a heart in each; holds the memory that every study was given."""
    config: dict = {"prediction": {"batch_size": 8}}  # as version 0.0 had it

    given = []

    def predict_study(study, model, *, memory_bytes, tta, progress):
        assert tta == "none"
        progress("segmenting", 3, 3)
        given.append(memory_bytes)
        mask = np.ones(study.voxels.shape, np.uint8)
        return Prediction(mask, [None], None, Box(0, 0, 4, 5), ())

    classes = ("background", "heart")
    described = {"config": config, "slice_axis": None, "classes": list(classes)}
    monkeypatch.setattr(prediction, "load_model", lambda _: SimpleNamespace(classes=classes))
    monkeypatch.setattr(prediction, "load_description", lambda _: described)
    monkeypatch.setattr(prediction, "predict_study", predict_study)
    monkeypatch.setattr(writing, "draw_prediction", lambda *_: None)
    for number, case in enumerate(CASES):
        voxels = np.random.default_rng(number).normal(size=(1, 3, 4, 5)).astype(np.float32)
        path = tmp_path / "in" / f"{case}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_nifti(voxels, affine=np.eye(4), spacing_mm=(1.0, 1.0, 1.0), path=path)
    return given


def predict(tmp_path, **options):
    options = {"third_axis": "slice", "overwrite": False, "pages": False} | options
    return prediction.predict(tmp_path / "run", tmp_path / "in", tmp_path / "out", **options)


def report(tmp_path):
    return json.loads((tmp_path / "out" / "predictions.json").read_text())


def failing(monkeypatch, error):
    """Writing c3's mask raises."""
    write_mask = writing.write_mask

    def write(mask, study, path):
        if study.case == "c3":
            raise error
        write_mask(mask, study, path)

    monkeypatch.setattr(writing, "write_mask", write)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "unwritable", "c3 cannot be written .No space left"),
        (InputError("output-path", "a folder is in the place of the file"), "output-path", "a folder is in the place"),
    ],
)
def test_what_cannot_be_written_is_reported_and_the_rest_go_on(budgets, monkeypatch, tmp_path, error, code, told):
    failing(monkeypatch, error)
    assert predict(tmp_path) == 1
    found = report(tmp_path)
    assert list(found) == list(CASES)
    assert found["c3"]["error"] == code
    assert found["c5"]["voxels"] == {"background": 0, "heart": 60}
    assert re.search(told, found["c3"]["message"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "predictions.json",
        "summary.csv",
        "summary.schema.json",
        "labels.txt",
        "labels.ctbl",
        *(f"{case}{ending}" for case in CASES if case != "c3" for ending in ("_seg.nii.gz", "_volumes.csv")),
    }


def test_an_interruption_leaves_the_report_of_what_was_done(budgets, monkeypatch, tmp_path):
    predict_study = prediction.predict_study

    def interrupted(study, model, **options):
        if study.case == "c4":
            raise KeyboardInterrupt
        return predict_study(study, model, **options)

    monkeypatch.setattr(prediction, "predict_study", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path)
    assert list(report(tmp_path)) == ["c1", "c2", "c3"]


def test_a_damaged_file_is_reported_in_its_place(budgets, tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "in" / "c2.nii.gz").write_bytes(b"no")
    assert predict(tmp_path) == 1
    assert [text for text in caplog.messages if text.startswith("error: not-nifti: ")]
    assert caplog.messages[-1] == f"4 of 5 studies segmented (4 good); see {tmp_path / 'out'}"
    assert list(report(tmp_path)) == list(CASES)
    assert "error" in report(tmp_path)["c2"]


def test_an_output_that_cannot_be_written_to_is_told_before_anything_is_done(budgets, monkeypatch, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="a file is in the place of the folder"):
        predict(tmp_path)
    (tmp_path / "out").unlink()
    monkeypatch.setattr(diskspace.os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(InputError, match="this folder cannot be written to"):
        predict(tmp_path)
    assert budgets == []


def test_the_memory_is_the_callers_the_trainings_or_the_default(budgets, tmp_path):
    assert predict(tmp_path) == 0
    assert set(budgets) == {MEMORY_BYTES}
    budgets.clear()
    assert predict(tmp_path, overwrite=True, memory_mb=3) == 0
    assert set(budgets) == {3 * 2**20}
    with pytest.raises(InputError, match="memory_mb is 0"):
        predict(tmp_path, overwrite=True, memory_mb=0)


def test_a_mask_without_foreground_has_no_confidence_on_its_page():
    study = Study("p", "c", np.random.default_rng(0).random((1, 3, 8, 9)).astype(np.float32), (1, 1, 1), LV_CLASSES)
    nothing = Confidence({"myocardium": math.nan, "cavity": math.nan}, math.nan, math.nan)
    found = Prediction(np.zeros(study.voxels.shape, np.uint8), [None] * 3, None, Box(0, 0, 8, 9), (EMPTY,), nothing)
    result = study_result(study, found, review_study(study, found, Expectations()), {})
    assert (result.verdict, result.confidence) == ("reject", None)


def test_threads_take_turns_in_keeping_pydicom_quiet():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with quiet_pydicom():
            inside.set()
            leave.wait(10)

    before = pydicom.config.settings.reading_validation_mode
    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    threading.Timer(0.05, leave.set).start()
    with quiet_pydicom():
        assert leave.is_set()
    thread.join()
    assert pydicom.config.settings.reading_validation_mode == before


def test_what_is_wrong_with_the_files_is_said_before_the_networks_are_loaded(budgets, tmp_path, monkeypatch):
    def load_model(runs):
        raise AssertionError("the networks were loaded")

    monkeypatch.setattr(prediction, "load_model", load_model)
    with pytest.raises(AssertionError, match="the networks were loaded"):
        predict(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.json").write_text("{}")
    with pytest.raises(InputError, match=r"predictions\.json: exists"):
        predict(tmp_path)
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    with pytest.raises(InputError) as caught:
        predict(tmp_path)
    assert caught.value.code == "empty-root"
