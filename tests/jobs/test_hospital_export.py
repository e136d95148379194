"""A hospital's export of two patients: one command segments exactly the short-axis cines and tells all the rest."""

import json
import shutil
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import uid as uids
from pydicom.fileset import FileSet

from foanet_jax.data.dicom import find_dicom
from tests.data.dicom import export
from tests.data.dicom.compressed import rewrite
from tests.data.dicom.enhanced import write_enhanced
from tests.data.dicom.test_dicom import edit, edit_all

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "sunnybrook" / "dicoms" / "SCD0000101"
LEFT_OUT = {
    "cine in another plane": 1,
    "cine of a few slices": 1,
    "late enhancement": 1,
    "localizer": 1,
    "long-axis cine": 3,
    "parametric map": 1,
    "phase images": 1,
    "stack of one moment": 1,
}


def medium(folder):
    """Writes the export as a medium with a DICOMDIR."""
    made = folder.with_name("made")
    export.patient(made / "eva", "eva")
    for path in export.series(made / "eva", "eva", 15, seed=4):
        rewrite(path, uids.JPEG2000Lossless)
    write_enhanced(export.series(folder.with_name("other"), "eva", 14, seed=4), made / "enhanced")
    export.series(made / "bob", "bob", 2)
    export.series(made / "bob", "bob", 3, export.FOUR_CHAMBERS, (6, 1, 8, 9))
    shared = {"StudyDate": "20240101", "StudyTime": "120000", "StudyID": "1", "Modality": "MR"}
    files = FileSet()
    for path in sorted(path for path in made.rglob("*") if path.is_file()):
        edit(path, PatientName="Xaver^Quentin", **shared)
        files.add(pydicom.dcmread(path))
    files.write(folder)
    files._stage["t"].cleanup()  # It would be left to the garbage collector, with a warning.
    first = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "DICOMDIR")
    for number in range(3):
        report = first.with_name(f"REPORT{number}")
        shutil.copy(first, report)
        edit(report, SOPClassUID=uids.BasicTextSRStorage, SOPInstanceUID=f"2.999.44.{number}")
    first.with_name("DAMAGED").write_bytes(first.read_bytes()[:200])


def test_an_export_of_two_patients(made_up, tmp_path, caplog):
    caplog.set_level("INFO")
    medium(tmp_path / "medium")
    out = tmp_path / "out"
    assert made_up(tmp_path / "medium", out) == 1
    report = json.loads((out / "predictions.json").read_text())
    failed = {case: entry for case, entry in report.items() if "error" in entry}
    assert [entry["error"] for entry in failed.values()] == ["missing-tag"]
    assert "DAMAGED" in next(iter(failed.values()))["message"]
    done = {case: nib.load(out / entry["image"]) for case, entry in report.items() if case not in failed}
    patients = Counter(case.split("_")[0] for case in done)
    assert sorted(patients.values()) == [1, 3]
    assert {image.shape for image in done.values()} == {(9, 8, 6, 6)}
    # The cine, its copy as JPEG 2000 and its copy as one enhanced object hold the same.
    same = [np.asarray(image.dataobj) for case, image in done.items() if patients[case.split("_")[0]] == 3]
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])

    left_out = [other for entry in report.values() for other in entry.get("left_out", ())]
    assert Counter(other["seems"] for other in left_out) == LEFT_OUT
    assert all(other["why"] for other in left_out)
    told = [text for text in caplog.messages if text.startswith("left out: ")]
    assert len(told) == sum(LEFT_OUT.values()) + 1
    assert told[-1].startswith("left out: 10 DICOM series (cine in another plane 1, ")
    (passed_over,) = [text for text in caplog.messages if text.startswith("passed over ")]
    assert passed_over.endswith("REPORT0 and 2 more: Basic Text SR Storage, no MR image")
    assert caplog.messages[-1].startswith("4 of 5 studies segmented")
    written = b"".join(
        path.read_bytes() for path in out.rglob("*") if path.suffix in (".json", ".csv", ".html", ".txt")
    )
    assert b"Xaver" not in written + caplog.text.encode()

    assert made_up(tmp_path / "medium" / "DICOMDIR", tmp_path / "listed") == 0
    assert len(json.loads((tmp_path / "listed" / "predictions.json").read_text())) == 4


@pytest.mark.skipif(not REAL.is_dir(), reason="the Sunnybrook data are not beside the project")
def test_real_images(tmp_path):
    """Six slices and frames of a real cine, with a four-chamber view and late enhancement made of some of them."""
    for z in range(6):
        for t in range(6):
            shutil.copy(REAL / f"{20 * (z + 3) + t + 1}.dcm", tmp_path / f"IM{z}{t}")
        shutil.copy(tmp_path / f"IM{z}0", tmp_path / f"LATE{z}")
        edit(tmp_path / f"LATE{z}", SeriesInstanceUID="2.999.3", SeriesNumber=3, InversionTime=280)
        edit(tmp_path / f"LATE{z}", SOPInstanceUID=f"2.999.3.{z}")
    for t in range(6):
        shutil.copy(tmp_path / f"IM3{t}", tmp_path / f"LONG{t}")
        edit(tmp_path / f"LONG{t}", SOPInstanceUID=f"2.999.4.{t}")
    turned = [-0.6719, 0.6665, 0.3230, -0.1046, 0.3464, -0.9322]
    edit_all(tmp_path.glob("LONG*"), SeriesInstanceUID="2.999.4", SeriesNumber=4, ImageOrientationPatient=turned)
    found = find_dicom(tmp_path)
    (ref,) = found.refs
    assert ref.load().voxels.shape == (6, 6, 256, 256)
    ((_, others),) = found.left_out.items()
    assert {other.series: other.seems for other in others} == {3: "late enhancement", 4: "long-axis cine"}
