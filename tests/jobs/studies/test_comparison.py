"""Two sets of masks of the same images: scores and agreement against hand-worked values."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.jobs.studies import comparison
from foanet_jax.jobs.studies.measurement import measure
from foanet_jax.system.errors import InputError


def write(study, array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(array, affine=study.affine, spacing_mm=study.spacing_mm, path=path)


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def shifted(labels):
    """Another observer: everything one column to the right."""
    return np.roll(labels, 1, axis=-1)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Three patients, two as cines and one as single frames. The reference of one cine shows two of its frames."""
    folder = tmp_path_factory.mktemp("compared")
    cines = {f"p{number}": short_axis_stack(number, size=64, slices=4, frames=3) for number in (1, 2, 3)}
    for name, cine in cines.items():
        truth = cine.labels.copy()
        if name == "p2":
            truth[1] = 0
        parts = {name: slice(None)} if name != "p3" else {f"p3_frame{t + 1:02d}": slice(t, t + 1) for t in (0, 2)}
        for case, place in parts.items():
            write(cine, cine.voxels[place], folder / "in" / f"{case}.nii.gz")
            write(cine, shifted(cine.labels)[place], folder / "masks" / f"{case}_seg.nii.gz")
            write(cine, truth[place], folder / "truth" / f"{case}_gt.nii.gz")
    assert measure(folder / "in", folder / "masks", folder / "out", reference=folder / "truth", pages=False) == 0
    return folder, cines


def test_every_drawn_frame_is_scored_for_its_patient(compared):
    folder, cines = compared
    rows = table(folder / "out" / "evaluation" / "scores.csv")
    frames = {(row["patient"], row["case"], row["frame"]) for row in rows}
    expected = {("p1", "p1", str(t)) for t in range(3)} | {("p2", "p2", "0"), ("p2", "p2", "2")}
    assert frames == expected | {("p3", "p3_frame01", "0"), ("p3", "p3_frame03", "0")}
    for row in rows:
        cine = cines[row["patient"]]
        frame = int(row["case"][-2:]) - 1 if "_frame" in row["case"] else int(row["frame"])
        truth = cine.labels[frame] == cine.classes.index(row["class_name"])
        assert float(row["dc"]) == pytest.approx(dice(shifted(truth), truth), abs=1e-12)
        # A shift by one column: the boundaries are one pixel apart.
        assert float(row["hd95_mm"]) <= cine.spacing_mm[2] + 1e-6


def test_volumes_agree_as_a_shift_does_not_change_them(compared):
    """The indices pair masks with the reference, for cines and for patients whose frames are files."""
    folder, _ = compared
    rows = table(folder / "out" / "evaluation" / "indices.csv")
    beats = [row for row in rows if row["index"] == "lv_ef_percent"]
    assert {row["case"] for row in beats} == {"p1", "p2", "p3"}
    for row in beats:
        assert float(row["prediction"]) == pytest.approx(float(row["truth"]))
    assert json.loads((folder / "out" / "evaluation" / "indices.json").read_text())["lv_edv_ml"]["n"] == 3


def test_the_report_is_there_without_a_training(compared):
    folder, _ = compared
    text = (folder / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Masks against a reference" in text
    assert "Predicted and true LV ejection fraction" in text
    figures = {path.name for path in (folder / "out" / "report" / "figures").glob("*.png")}
    assert {"agreement_lv_ef_percent.png", "fig8b_difference.png"} <= figures
    # No network: there is nothing to say about confidence.
    assert "confidence.png" not in figures
    assert table(folder / "out" / "evaluation" / "quality.csv") == []
    record = json.loads((folder / "out" / "run.json").read_text())["config"]["comparison"]
    assert record == {"masks": [str(folder / "masks")], "reference": [str(folder / "truth")]}


def test_only_classes_of_both_are_compared(compared, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(comparison, "make_report", lambda _: None)
    folder, _ = compared
    path = folder / "truth" / "p1_gt.nii.gz"
    labels = nib.load(path)
    (tmp_path / "truth").mkdir()
    left = np.where(np.asarray(labels.dataobj) == 1, 0, labels.dataobj).astype(np.uint8)
    nib.save(nib.Nifti1Image(left, None, labels.header), tmp_path / "truth" / "p1.nii.gz")
    description = {"labels": {"background": 0, "MYO": 2, "LV": 3}}
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps(description))
    out = tmp_path / "out"
    assert measure(folder / "in", folder / "masks", out, reference=tmp_path / "truth", pages=False) == 0
    rows = table(out / "evaluation" / "scores.csv")
    assert {(row["case"], row["class_name"]) for row in rows} == {("p1", "myocardium"), ("p1", "cavity")}
    assert any("not compared: right ventricle" in text for text in caplog.messages)
    assert any("have no reference" in text and "p2" in text for text in caplog.messages)
    description["labels"] = {"background": 0, "LA": 1, "RA": 2, "aorta": 3}
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="none is in both"):
        measure(folder / "in", folder / "masks", tmp_path / "no", reference=tmp_path / "truth", pages=False)
