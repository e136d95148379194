"""What a prediction leaves of inputs of every kind: names, tables, labels and links."""

import csv
import json
from html.parser import HTMLParser
from urllib.parse import unquote

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES, Study
from foanet_jax.pages.drawing.style import class_colours
from foanet_jax.pages.label_files import label_entries, write_label_files
from foanet_jax.system.errors import InputError
from tests.data.dicom import export

AFFINE = np.array([[-1.2, 0.5, 0, 10], [-0.375, -1.6, 0, 20], [0, 0, 8, -30], [0, 0, 0, 1]])


def image(path, seed=0):
    voxels = np.random.default_rng(seed).normal(size=(1, 3, 4, 5)).astype(np.float32)
    write_nifti(voxels, affine=np.eye(4), spacing_mm=(1.0, 1.0, 1.0), path=path)
    return path


def report(folder):
    return json.loads((folder / "predictions.json").read_text())


def summary(folder):
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["study"]: row for row in csv.DictReader(file)}


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name == "href" and value.startswith("./")]


def links(page):
    parser = _Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def test_names_of_every_script(made_up, tmp_path):
    names = ["患者一", "患者二", "Иванов", "Müller 50% #1?"]
    for number, name in enumerate(names):
        image(tmp_path / "in" / f"{name}.nii.gz", number)
    image(tmp_path / "in" / "sub-01" / "anat" / "sub-01_cine.nii.gz")
    out = tmp_path / "out"
    assert made_up(tmp_path / "in", out, pages=True) == 0
    cases = ["Müller_50_1", "Иванов", "患者一", "患者二", "sub-01_cine"]
    assert list(report(out)) == cases
    assert {path.name for path in out.glob("*_seg.nii.gz")} == {f"{case}_seg.nii.gz" for case in cases}
    sources = {row["study"]: row["source"] for row in summary(out).values()}
    assert sources == {
        **{case: f"{name}.nii.gz" for case, name in zip(cases, [names[3], names[2], *names[:2]], strict=False)},
        "sub-01_cine": "sub-01/anat/sub-01_cine.nii.gz",
    }
    found = links(out / "index.html")
    assert all(link.isascii() for link in found)
    assert "./%E6%82%A3%E8%80%85%E4%B8%80.html" in found
    assert all((out / unquote(link)).is_file() for link in found)
    assert len(found) == 5
    beside = links(out / "患者一.html")
    assert [unquote(link) for link in beside] == [
        f"./{name}" for name in ("患者一_seg.nii.gz", "患者一_volumes.csv", "predictions.json", "index.html")
    ]
    assert all((out / unquote(link)).is_file() for link in beside)


def test_what_cannot_be_read_is_reported(made_up, tmp_path, caplog):
    caplog.set_level("INFO")
    source, out = tmp_path / "in", tmp_path / "out"
    image(source / "a.nii.gz")
    image(source / "a_seg.nii.gz")
    (source / "away.nii.gz").symlink_to(source / "nowhere")
    (source / "b.nrrd").write_bytes(b"NRRD0005\nno\n\n")
    (source / "notes.txt").write_text("")
    (source / ".DS_Store").write_text("")
    assert made_up(source, out) == 2
    assert {case: entry.get("error") for case, entry in report(out).items()} == {
        "a": None,
        "away": "missing-file",
        "b": "header",
    }
    assert report(out)["away"]["source"] == "away.nii.gz"
    closing = [text for text in caplog.messages if text.startswith("passed over: ")]
    assert len(closing) == 1
    for told in ("1 hidden files", "1 label files", "1 other kinds of files (.txt 1)"):
        assert told in closing[0]
    assert caplog.messages[-1].startswith("1 of 3 studies segmented")


def test_a_dicom_file_that_cannot_be_read_fails_alone(made_up, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 900, (3, 2, 4, 5)).astype(np.float32)
    paths = write_dicom(Study("p", "p", voxels, (8.0, 1.0, 1.0), LV_CLASSES), tmp_path / "in")
    (tmp_path / "in" / "lost.dcm").write_bytes(paths[0].read_bytes()[:200])
    out = tmp_path / "out"
    assert made_up(tmp_path / "in", out) == 1
    assert {case: entry.get("error") for case, entry in report(out).items()} == {"in": None, "in_lost": "missing-tag"}
    assert "lost.dcm" in report(out)["in_lost"]["message"]
    (tmp_path / "in" / "lost.dcm").unlink()
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    assert made_up(tmp_path / "in", tmp_path / "none") == 1
    assert report(tmp_path / "none")["in"]["error"] == "incomplete"


def test_what_is_left_out_of_an_export_is_reported(made_up, tmp_path, caplog):
    caplog.set_level("INFO")
    export.series(tmp_path / "in" / "eva", "eva", 3, export.FOUR_CHAMBERS, (6, 1, 8, 9))
    export.series(tmp_path / "in" / "eva", "eva", 4)
    assert made_up(tmp_path / "in", tmp_path / "out") == 0
    (entry,) = report(tmp_path / "out").values()
    (other,) = entry["left_out"]
    assert (other["series"], other["images"], other["seems"]) == (3, 6, "long-axis cine")
    assert other["folder"].endswith("eva/s3")
    assert "left out: 1 DICOM series (long-axis cine 1); --series chooses them" in caplog.messages
    assert made_up(tmp_path / "in", tmp_path / "asked", dicom=Wanted(tuple(["3"]))) == 0
    assert list(report(tmp_path / "asked")) == ["eva_s3"]
    with pytest.raises(InputError, match=r"--series=9: .* 3 \(long-axis cine\), 4 \(short-axis cine\)"):
        made_up(tmp_path / "in", tmp_path / "none", dicom=Wanted(tuple(["9"])))


def test_nothing_but_failures_is_reported_too(made_up, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").write_bytes(b"no")
    assert made_up(tmp_path / "in", tmp_path / "out") == 1
    assert report(tmp_path / "out")["a"]["error"] == "not-nifti"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.json"]


def test_an_unexpected_error_of_the_last_study_is_not_lost(made_up, tmp_path, monkeypatch):
    from foanet_jax.jobs import prediction

    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(prediction, "review_study", broken)
    image(tmp_path / "in" / "a.nii.gz")
    with pytest.raises(ZeroDivisionError):
        made_up(tmp_path / "in", tmp_path / "out")
    assert list(report(tmp_path / "out")) == ["a"]


@pytest.mark.parametrize("frames", [1, 3])
def test_dicom_opens_in_viewers(made_up, tmp_path, frames):
    """The image and its mask lie on one grid for another reader, which takes either of NIfTI's affines."""
    voxels = np.random.default_rng(0).integers(0, 900, (frames, 2, 4, 5)).astype(np.float32)
    spacing = (8.0, float(np.hypot(0.5, 1.6)), float(np.hypot(1.2, 0.375)))
    study = Study("p", "p", voxels, spacing, LV_CLASSES, affine=AFFINE, frame_seconds=0.04 if frames > 1 else None)
    write_dicom(study, tmp_path / "in" / "eva")
    image(tmp_path / "in" / "other.nii.gz")
    out = tmp_path / "out"
    assert made_up(tmp_path / "in", out) == 0
    (case,) = set(report(out)) - {"other"}
    entry = report(out)[case]
    assert (entry["image"], entry["mask"]) == (f"{case}.nii.gz", f"{case}_seg.nii.gz")
    assert not (out / "other.nii.gz").exists()
    both = [SimpleITK.ReadImage(str(out / entry[kind])) for kind in ("image", "mask")]
    assert both[0].GetSize() == both[1].GetSize() == ((5, 4, 2, 3) if frames > 1 else (5, 4, 2))
    for read in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_array_equal(getattr(both[0], read)(), getattr(both[1], read)())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(both[0]).reshape(voxels.shape), voxels)
    for kind in ("image", "mask"):
        header = nib.load(out / entry[kind]).header
        assert int(header["qform_code"]) > 0
        assert int(header["sform_code"]) > 0
        np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-3)
        np.testing.assert_allclose(header.get_sform(), AFFINE, atol=1e-3)
        if frames > 1:
            assert header.get_zooms()[3] == pytest.approx(0.04)
    assert summary(out)[case]["source"] in ("eva", str(tmp_path / "in"))
    assert [label["name"] for label in entry["labels"]] == ["background", "heart muscle"]


@pytest.mark.parametrize("classes", [LV_CLASSES, ACDC_CLASSES, WHOLE_HEART_CLASSES])
def test_label_files(tmp_path, classes):
    write_label_files(classes, tmp_path)
    colours = class_colours(classes)
    snap = [line for line in (tmp_path / "labels.txt").read_text().splitlines() if not line.startswith("#")]
    slicer = [line for line in (tmp_path / "labels.ctbl").read_text().splitlines() if not line.startswith("#")]
    assert len(snap) == len(slicer) == len(classes)
    # As ITK-SNAP reads it: seven numbers and a name in quotes.
    assert snap[0].split(maxsplit=7) == ["0", "0", "0", "0", "0", "0", "0", '"Clear Label"']
    for value, (name, line, row) in enumerate(zip(classes, snap, slicer, strict=True)):
        if value == 0:
            continue
        red, green, blue = bytes.fromhex(colours[name][1:])
        assert line.split(maxsplit=7) == [*map(str, (value, red, green, blue, 1, 1, 1)), f'"{name}"']
        assert row.split() == [str(value), name.replace(" ", "_"), *map(str, (red, green, blue, 255))]
        assert label_entries(classes)[value] == {"value": value, "name": name, "colour": colours[name]}


def test_a_class_of_any_name(tmp_path):
    write_label_files(("background", 'a "b"\n c', "Herz mußkel"), tmp_path)
    lines = (tmp_path / "labels.ctbl").read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in lines if not line.startswith("#")] == ["background", "a__b___c", "Herz_mußkel"]


def test_several_inputs(made_up, tmp_path):
    first, second = image(tmp_path / "x" / "a.nii"), image(tmp_path / "y" / "b.nii")
    assert made_up([tmp_path / "x", second], tmp_path / "out") == 0
    assert {case: row["source"] for case, row in summary(tmp_path / "out").items()} == {
        "a": str(first),
        "b": str(second),
    }
    with pytest.raises(InputError, match="no file or folder fits"):
        made_up(tmp_path / "*.nii", tmp_path / "other")
