"""Which slices count, from the options of a prediction to its masks, tables, JSON and pages; networks are made up."""

import csv
import html
import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.jobs import prediction
from foanet_jax.measures.indices.counting import OPEN, counting_of
from foanet_jax.pipeline import Prediction
from tests.measures.indices.test_counting import APEX, CLOSED, HALF_OPEN, plane

SMALL, SMALLER = plane(radius=9, right=True), plane(radius=3, wall=5)
OPEN_SMALL = plane(240, radius=9, right=True)
ML = 8.0 / 1000  # of a voxel


def cine():
    """Four frames: end diastole, the base open in systole from frame 1 to 2, end systole at frame 2."""
    diastole = np.stack([CLOSED, CLOSED, CLOSED, CLOSED, APEX])
    moving = np.stack([HALF_OPEN, CLOSED, CLOSED, CLOSED, APEX])
    systole = np.stack([OPEN_SMALL, SMALL, SMALL, SMALL, SMALLER])
    filling = np.stack([CLOSED, SMALL, CLOSED, CLOSED, APEX])
    return np.stack([diastole, moving, systole, filling])


@pytest.fixture
def predict(monkeypatch, tmp_path):
    """`predict(mask, **options)`: a prediction whose network draws this mask; returns the folder."""
    described = {"config": {"prediction": {}}, "slice_axis": None, "classes": list(ACDC_CLASSES)}
    monkeypatch.setattr(prediction, "load_model", lambda _: SimpleNamespace(classes=ACDC_CLASSES))
    monkeypatch.setattr(prediction, "load_description", lambda _: described)

    def run(mask, *, name="out", **options):
        voxels = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32) + 2 * mask
        (tmp_path / "in").mkdir(exist_ok=True)
        source = tmp_path / "in" / "heart.nii.gz"
        write_nifti(voxels, affine=np.eye(4), spacing_mm=(8.0, 1.0, 1.0), path=source)
        found = Prediction(mask, [None], None, Box(0, 0, *mask.shape[2:]), ())
        monkeypatch.setattr(prediction, "predict_study", lambda study, model, **_: found)
        options = {"third_axis": "slice", "overwrite": True, "pages": False} | options
        assert prediction.predict(tmp_path / "run", source, tmp_path / name, **options) == 0
        return tmp_path / name

    return run


def entry(folder):
    return json.loads((folder / "predictions.json").read_text())["heart"]


def on_disk(path):
    return np.asanyarray(nib.load(path).dataobj).T.reshape(-1, 5, 64, 64)


def ml(mask, index, slices):
    return float((mask[slices] == index).sum()) * ML


def test_the_base_moves_out_of_the_volumes_in_systole_and_everything_says_so(predict, caplog):
    caplog.set_level("INFO")
    mask = cine()
    folder = predict(mask, pages=True)
    told = entry(folder)
    assert told["indices"]["lv_edv_ml"] == pytest.approx(ml(mask[0], 3, slice(None)))
    assert told["indices"]["lv_esv_ml"] == pytest.approx(ml(mask[2], 3, slice(1, None)))
    assert told["slices"]["ed"] == {
        "frame": 0,
        "counted": {"left ventricle": [0, 1, 2, 3, 4], "right ventricle": [0, 1, 2, 3]},
        "left_out": [],
    }
    left_out = {"slice": 0, "structure": "left ventricle", "reason": OPEN, "share": pytest.approx(1 / 3, abs=0.04)}
    assert (told["slices"]["es"]["frame"], told["slices"]["es"]["left_out"]) == (2, [left_out])
    assert told["slices"]["images_left_out"] == {"left ventricle": 2, "right ventricle": 0}
    written = on_disk(folder / "heart_seg.nii.gz")
    assert np.isin(written[[1, 2], 0], (0, 1)).all()
    written[[1, 2], 0] = mask[[1, 2], 0]
    np.testing.assert_array_equal(written, mask)
    with (folder / "heart_indices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["counts"] for row in rows if row["slice"] == "0"] == ["1", "0", "0", "1"]
    assert {row["counts"] for row in rows if row["slice"] != "0"} == {"1"}
    page = (folder / "heart.html").read_text()
    assert "End systole (frame 3): slices 2–5 count for the left ventricle, and slices 1–4 for the right one." in page
    assert f"The left ventricle in slice 1 does not count: {html.escape(OPEN)}" in page
    assert page.count("Slice 1 ✓") == page.count("Slice 1 ✗") == 1
    assert page.count("Slice 2 ✓") == 2
    assert any("slice 1 does not count" in line for line in caplog.messages)


def test_all_slices_count_on_demand_and_the_mask_is_the_same_file(predict):
    mask = cine()
    everything = predict(mask, name="all", counting=counting_of("all"))
    assert entry(everything)["indices"]["lv_esv_ml"] == pytest.approx(ml(mask[2], 3, slice(None)))
    np.testing.assert_array_equal(on_disk(everything / "heart_seg.nii.gz"), mask)
    # Where every slice counts, the rule changes no byte.
    closed = np.stack([mask[0], mask[3]])
    first, second = (predict(closed, name=rule, counting=counting_of(rule)) for rule in ("scmr", "all"))
    names = [path.name for path in first.iterdir() if path.name != "predictions.json"]
    assert "heart_seg.nii.gz" in names
    assert {name for name in names if (first / name).read_bytes() != (second / name).read_bytes()} == set()


def test_chosen_slices_and_frames_overrule(predict):
    mask = cine()
    told = entry(predict(mask, counting=counting_of(slices="2-3", ed=2, es=4)))
    assert (told["slices"]["rule"], told["slices"]["ed"]["frame"], told["slices"]["es"]["frame"]) == ("slices", 1, 3)
    assert told["indices"]["lv_edv_ml"] == pytest.approx(ml(mask[1], 3, slice(1, 3)))
    assert told["indices"]["lv_esv_ml"] == pytest.approx(ml(mask[3], 3, slice(1, 3)))
    assert told["indices"]["rv_edv_ml"] == pytest.approx(ml(mask[1], 1, slice(1, 3)))


def test_a_single_mask_file_has_the_rule_too(predict, tmp_path, caplog):
    caplog.set_level("INFO")
    mask = np.stack([HALF_OPEN, CLOSED, CLOSED, CLOSED, APEX])[None]
    path = predict(mask, name="mask.nii.gz")
    assert not np.isin(on_disk(path)[0, 0], (2, 3)).any()
    assert any(f"slice 1 does not count: {OPEN}" in line for line in caplog.messages)


def test_a_slice_that_does_not_exist_is_an_error_of_its_study(predict, tmp_path):
    with pytest.raises(AssertionError):
        predict(cine(), counting=counting_of(slices="2-6"))
    told = entry(tmp_path / "out")
    assert told["error"] == "slices"
    assert "there are 5 slices, counted from 1" in told["message"]
