"""Masks, whoever drew them, measured against an independent count of their voxels."""

import csv
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

import foanet_jax
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.readers.folder import list_folder
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.jobs import prediction
from foanet_jax.jobs.studies.measurement import measure
from foanet_jax.measures.indices.counting import Counting
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError

ACDC = Path(__file__).parents[4] / "shared" / "data" / "acdc"
# To the values of M&Ms, 1 cavity, 2 myocardium, 3 right ventricle.
MNMS = np.array([0, 3, 2, 1], np.uint8)


@pytest.fixture(scope="module")
def cine():
    return short_axis_stack(3, size=64, slices=4, frames=3)


def write(cine, folder, *, labels=None, name="p1"):
    """Writes the image and its mask; returns their folders."""
    for part, array in (("in", cine.voxels), ("masks", cine.labels if labels is None else labels)):
        (folder / part).mkdir(exist_ok=True)
        path = folder / part / f"{name}{'_seg' if part == 'masks' else ''}.nii.gz"
        write_nifti(array, affine=cine.affine, spacing_mm=cine.spacing_mm, path=path)
    return folder / "in", folder / "masks"


def counted(path, value):
    """The volume of a label in each frame in ml, from nothing but nibabel's zooms and a count of voxels."""
    image = nib.load(path)
    array = np.asanyarray(image.dataobj)
    array = array[..., None] if array.ndim == 3 else array
    ml = float(np.prod(np.array(image.header.get_zooms()[:3], np.float64))) / 1000
    return np.count_nonzero(array == value, axis=(0, 1, 2)) * ml


def rows(output):
    with (output / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["study"]: row for row in csv.DictReader(file)}


def report(output):
    return json.loads((output / "measurements.json").read_text())


def codes(output, case="p1"):
    return [finding["code"] for finding in report(output)[case]["quality"]["findings"]]


def test_volumes_and_ef_of_a_cine(cine, tmp_path):
    images, masks = write(cine, tmp_path)
    assert measure(images, masks, tmp_path / "out", pages=False) == 0
    volumes = counted(masks / "p1_seg.nii.gz", 3)
    row = rows(tmp_path / "out")["p1"]
    assert float(row["lv_edv_ml"]) == pytest.approx(volumes.max(), abs=1e-9)
    assert float(row["lv_esv_ml"]) == pytest.approx(volumes.min(), abs=1e-9)
    assert float(row["lv_ef_percent"]) == pytest.approx(100 * (1 - volumes.min() / volumes.max()), abs=1e-9)
    entry = report(tmp_path / "out")["p1"]
    # No network has seen these images.
    assert entry["quality"]["confidence"] == {}
    assert "expected_dice" not in entry["quality"]
    assert "box" not in entry
    written = nib.load(tmp_path / "out" / entry["mask"])
    np.testing.assert_array_equal(written.get_fdata().T, cine.labels)


@pytest.mark.parametrize("patient", ["patient001", "patient029", "patient076"])
def test_ground_truth_of_acdc(patient, tmp_path):
    folder = ACDC / patient
    if not folder.is_dir():
        pytest.skip(f"needs ACDC's {patient} in shared/data/acdc")
    assert measure(folder, folder, tmp_path / "out", pages=False) == 0
    row = rows(tmp_path / "out")[patient]
    for value, name in ((1, "rv"), (3, "lv")):
        info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines())
        paths = [folder / f"{patient}_frame{int(info[at]):02d}_gt.nii.gz" for at in ("ED", "ES")]
        (edv,), (esv,) = (counted(path, value) for path in paths)
        expected = {"edv_ml": edv, "esv_ml": esv, "sv_ml": edv - esv, "ef_percent": 100 * (edv - esv) / edv}
        assert {key: float(row[f"{name}_{key}"]) for key in expected} == pytest.approx(expected, abs=1e-9)
    (muscle,) = counted(folder / f"{patient}_frame01_gt.nii.gz", 2)
    assert float(row["lv_mass_g"]) == pytest.approx(1.05 * muscle, abs=1e-9)


def test_the_page_is_that_of_a_prediction_of_the_same_mask(cine, tmp_path, monkeypatch):
    """The files, the sections and all numbers are the same; a measurement has no box and no confidence."""
    images, masks = write(cine, tmp_path)
    found = Prediction(cine.labels, [None] * 12, None, Box(0, 0, 64, 64), ())
    described = {"config": {"prediction": {}}, "slice_axis": None, "classes": list(ACDC_CLASSES)}
    monkeypatch.setattr(prediction, "load_model", lambda _: SimpleNamespace(classes=ACDC_CLASSES))
    monkeypatch.setattr(prediction, "load_description", lambda _: described)
    monkeypatch.setattr(prediction, "predict_study", lambda *_, **__: found)
    whole = {"third_axis": "slice", "overwrite": False, "counting": Counting("all")}
    assert prediction.predict(tmp_path / "run", images, tmp_path / "a", **whole) == 0
    assert measure(images, masks, tmp_path / "b") == 0
    names = [{path.name for path in (tmp_path / place).iterdir()} for place in "ab"]
    assert names[0] ^ names[1] == {"predictions.json", "measurements.json"}
    pages = [(tmp_path / place / "p1.html").read_text(encoding="utf-8") for place in "ab"]
    start, end = 'id="provenance"', "</html>"
    for page in pages:
        assert start in page
        assert end in page
    assert pages[0].split(start)[0].replace("predictions.json", "measurements.json") == pages[1].split(start)[0]
    for name in ("summary.csv", "p1_indices.csv", "p1_volumes.csv", "labels.txt", "labels.ctbl", "p1_seg.nii.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_not_drawn_is_not_known(cine, tmp_path):
    """An expert has drawn the left ventricle of the first and the last frame."""
    labels = np.where(cine.labels == 1, 0, cine.labels).astype(np.uint8)
    labels[1] = 0
    images, masks = write(cine, tmp_path, labels=labels)
    assert measure(images, masks, tmp_path / "out", pages=False) == 0
    row = rows(tmp_path / "out")["p1"]
    assert {name for name in row if name.startswith("rv_") and row[name]} == set()
    volumes = counted(masks / "p1_seg.nii.gz", 3)[[0, 2]]
    assert float(row["lv_esv_ml"]) == pytest.approx(volumes.min(), abs=1e-9)
    assert row["verdict"] == "check"
    assert "not-drawn" in codes(tmp_path / "out")
    assert not {"class-absent", "class-gap"} & set(codes(tmp_path / "out"))
    assert any("some frames have no mask" in remark for remark in report(tmp_path / "out")["p1"]["remarks"])


def test_cavity_alone(cine, tmp_path):
    """Without myocardium there is no mass, but the cavity has its volumes."""
    images, masks = write(cine, tmp_path, labels=(cine.labels == 3).astype(np.uint8))
    assert measure(images, masks, tmp_path / "out", pages=False, labels=["cavity:1"]) == 0
    row = rows(tmp_path / "out")["p1"]
    volumes = counted(masks / "p1_seg.nii.gz", 1)
    assert float(row["lv_ef_percent"]) == pytest.approx(100 * (1 - volumes.min() / volumes.max()), abs=1e-9)
    assert not row.get("lv_mass_g")


def test_exchanged_values_are_told_and_rejected(cine, tmp_path, caplog):
    images, masks = write(cine, tmp_path, labels=MNMS[cine.labels])
    assert measure(images, masks, tmp_path / "out", pages=False) == 0
    assert "exchanged-classes" in codes(tmp_path / "out")
    assert report(tmp_path / "out")["p1"]["quality"]["verdict"] == "reject"
    assert any("--labels=cavity:1,myocardium:2,rv:3" in text for text in caplog.messages)
    named = ["cavity:1", "myocardium:2", "rv:3"]
    assert measure(images, masks, tmp_path / "named", pages=False, labels=named) == 0
    assert "exchanged-classes" not in codes(tmp_path / "named")
    written = nib.load(tmp_path / "named" / "p1_seg.nii.gz").get_fdata().T
    np.testing.assert_array_equal(written, cine.labels)


def test_one_mask_from_python(cine, tmp_path):
    images, masks = write(cine, tmp_path, labels=MNMS[cine.labels])
    image, mask = images / "p1.nii.gz", masks / "p1_seg.nii.gz"
    found = foanet_jax.measure(image, mask, labels={"lv": 1, "myo": 2, "rv": 3})
    np.testing.assert_array_equal(found.mask, cine.labels)
    assert found.classes == ACDC_CLASSES
    volumes = counted(mask, 1)
    assert found.indices["lv_ef_percent"] == pytest.approx(100 * (1 - volumes.min() / volumes.max()), abs=1e-9)
    assert foanet_jax.measure(image, mask).verdict == "reject"  # The values of M&Ms, without their names.


def test_masks_of_the_user_are_never_replaced(cine, tmp_path):
    images, masks = write(cine, tmp_path)
    before = (masks / "p1_seg.nii.gz").read_bytes()
    with pytest.raises(InputError) as caught:
        measure(images, masks, masks, pages=False, overwrite=True)
    assert caught.value.code == "output-is-input"
    assert (masks / "p1_seg.nii.gz").read_bytes() == before


def test_a_mask_without_an_image_is_an_error_and_the_rest_goes_on(cine, tmp_path, caplog):
    images, masks = write(cine, tmp_path)
    (masks / "p9_seg.nii.gz").write_bytes((masks / "p1_seg.nii.gz").read_bytes())
    assert measure(images, masks, tmp_path / "out", pages=False) == 1
    assert list(report(tmp_path / "out")) == ["p1"]
    assert any("no-image" in text and "p9_seg.nii.gz" in text for text in caplog.messages)


def test_a_training_set(cine, tmp_path):
    """The frames that were drawn are a data set as it is: images, masks, dataset.json, and patients grouped."""
    labels = cine.labels.copy()
    labels[1] = 0
    images, masks = write(cine, tmp_path, labels=labels)
    still = dataclasses.replace(cine, voxels=cine.voxels[:1], labels=cine.labels[:1])
    write(still, tmp_path, name="p2")
    assert measure(images, masks, tmp_path / "out", pages=False, for_training=True) == 0
    refs = {ref.case: ref for ref in list_folder(tmp_path / "out" / "training")}
    assert {case: ref.patient for case, ref in refs.items()} == {"p1_frame01": "p1", "p1_frame03": "p1", "p2": "p2"}
    for case, frame in (("p1_frame01", 0), ("p1_frame03", 2), ("p2", 0)):
        study = refs[case].load()
        assert study.classes == ACDC_CLASSES
        assert study.spacing_mm == pytest.approx(cine.spacing_mm)
        np.testing.assert_array_equal(study.labels[0], cine.labels[frame])
        np.testing.assert_allclose(study.voxels[0], cine.voxels[frame], rtol=1e-6)
    with pytest.raises(InputError, match="never replaced"):
        measure(images, masks, tmp_path / "out", pages=False, for_training=True, overwrite=True)
