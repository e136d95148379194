"""Times of frames: believed where they make a heartbeat, from the header or from dcm2niix's file beside it."""

import json

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.inputs import OTHER, find_studies
from foanet_jax.data.nifti import timing
from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.studies import study_from_volume
from foanet_jax.data.nifti.write import write_mask, write_nifti
from foanet_jax.data.study import LV_CLASSES


def cine(path, frames=20, step=0.003349, unit="sec", sidecar=None):
    """A file as dcm2niix writes it: the repetition time of the sequence, 3.3 ms, in the place of the step."""
    image = nib.Nifti1Image(np.arange(12 * frames, dtype=np.int16).reshape(2, 3, 2, frames), np.diag([1.4, 1.4, 10, 1]))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = step
    nib.save(image, path)
    if sidecar is not None:
        text = sidecar if isinstance(sidecar, bytes) else json.dumps(sidecar).encode()
        path.with_name("cine.json").write_bytes(text)
    return path


@pytest.mark.parametrize(
    ("frames", "step", "unit", "seconds"),
    [
        (20, 0.003349, "sec", None),  # a beat of 67 ms, 896 beats a minute
        (25, 0.0456, "sec", 0.0456),
        (25, 45.6, "msec", 0.0456),
        (25, 45_600, "usec", 0.0456),
        (10, 0.025, "sec", 0.025),  # 250 ms exactly
        (10, 0.024, "sec", None),
        (50, 0.05, "sec", 0.05),  # 2,500 ms exactly
        (50, 0.051, "sec", None),
        (30, 45.6, "sec", None),
        (30, 0.0456, "msec", None),
        (30, 45.6, "unknown", None),
        (2, 0.2, "sec", 0.2),
    ],
)
def test_steps_that_make_a_heartbeat(tmp_path, frames, step, unit, seconds):
    volume = read_nifti(cine(tmp_path / "cine.nii.gz", frames, step, unit))
    assert volume.frame_seconds == (None if seconds is None else pytest.approx(seconds))
    if seconds is None:
        assert volume.remarks == ((timing.NO_UNIT if unit == "unknown" else timing.NO_HEARTBEAT),)
    else:
        assert volume.remarks == ()


@pytest.mark.parametrize("step", [0, 1])
def test_placeholders_are_no_news(tmp_path, step):
    volume = read_nifti(cine(tmp_path / "cine.nii.gz", step=step))
    assert (volume.frame_seconds, volume.remarks) == (None, ())


@pytest.mark.parametrize(
    ("sidecar", "seconds"),
    [
        # What dcm2niix wrote of two cines of Sunnybrook whose trigger times in DICOM are 46.1 ms apart, from 10 to 886
        # ms, and 36.6 to 40 ms apart, from 18.75 to 780 ms.
        ({"TriggerDelayTime": 876, "RepetitionTime": 0.003821}, 0.0461053),
        ({"TriggerDelayTime": 761.25, "RepetitionTime": 0.003349}, 0.0400658),
        ({"FrameTimesStart": [0.02 + 0.045 * t for t in range(20)]}, 0.045),
        ({"FrameTimesStart": [0.02 + 0.045 * t for t in range(20)], "TriggerDelayTime": 876}, 0.045),
        ({"TriggerDelayTime": 20}, None),  # of the first frame
        ({"TriggerDelayTime": 40_000}, None),
        ({"TriggerDelayTime": -876}, None),
        ({"FrameTimesStart": [*np.linspace(0, 0.3, 19), 0.9]}, None),  # uneven
        ({"RepetitionTime": 0.003349}, None),
    ],
)
def test_the_file_that_dcm2niix_writes(tmp_path, sidecar, seconds):
    path = cine(tmp_path / "cine.nii.gz", sidecar=sidecar)
    volume = read_nifti(path)
    if seconds is None:
        assert (volume.frame_seconds, volume.remarks) == (None, (timing.NO_HEARTBEAT,))
        return
    assert volume.frame_seconds == pytest.approx(seconds, rel=1e-5)
    assert volume.remarks == (timing.FROM_SIDECAR,)
    study = study_from_volume(volume, patient="p", case="c", classes=LV_CLASSES)
    write_mask(np.zeros(study.voxels.shape, np.uint8), study, tmp_path / "mask.nii.gz")
    written = nib.load(tmp_path / "mask.nii.gz").header
    assert written.get_zooms()[3] == pytest.approx(seconds, rel=1e-5)
    assert written.get_xyzt_units() == ("mm", "sec")
    assert read_nifti(tmp_path / "mask.nii.gz").frame_seconds == pytest.approx(seconds, rel=1e-5)


def test_a_header_that_makes_a_heartbeat_counts_more(tmp_path):
    volume = read_nifti(cine(tmp_path / "cine.nii.gz", step=0.04, sidecar={"TriggerDelayTime": 876}))
    assert (volume.frame_seconds, volume.remarks) == (pytest.approx(0.04), ())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b'{"TriggerDelayTime": "876"}',
        b'{"TriggerDelayTime": true}',
        b'{"TriggerDelayTime": [876]}',
        b'{"TriggerDelayTime": 1' + 400 * b"0" + b"}",
        b'{"FrameTimesStart": 3}',
        b'{"FrameTimesStart": [0, 1]}',
        b'{"FrameTimesStart": [' + b",".join(20 * [b"null"]) + b"]}",
        b"[" * 100_000,
        b'{"TriggerDelayTime": 876, "x": "' + 2**20 * b"x" + b'"}',
    ],
)
def test_files_beside_it_that_cannot_be_used(tmp_path, content):
    volume = read_nifti(cine(tmp_path / "cine.nii.gz", sidecar=content))
    assert volume.frame_seconds is None
    assert volume.remarks == (timing.SIDECAR_REFUSED, timing.NO_HEARTBEAT)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "0"])
def test_numbers_that_are_no_time(tmp_path, value):
    volume = read_nifti(cine(tmp_path / "cine.nii.gz", sidecar=f'{{"TriggerDelayTime": {value}}}'.encode()))
    assert (volume.frame_seconds, volume.remarks) == (None, (timing.NO_HEARTBEAT,))


def test_a_folder_or_a_link_to_nothing_in_its_place(tmp_path):
    path = cine(tmp_path / "cine.nii.gz")
    (tmp_path / "cine.json").mkdir()
    assert read_nifti(path).frame_seconds is None
    (tmp_path / "cine.json").rmdir()
    (tmp_path / "cine.json").symlink_to(tmp_path / "nowhere.json")
    assert read_nifti(path).frame_seconds is None


@pytest.mark.parametrize("name", ["a.b.nii.gz", "a.b.nii", "a.b.NII.GZ", "a.b.nrrd", "a.b.hdr"])
def test_the_name_of_the_file_beside_it(tmp_path, name):
    assert timing.sidecar(tmp_path / name) == tmp_path / "a.b.json"


def test_it_is_not_passed_over(tmp_path):
    cine(tmp_path / "cine.nii.gz", sidecar={})
    (tmp_path / "other.json").write_text("{}")
    found = find_studies(tmp_path)
    assert (len(found.refs), found.passed_over[OTHER]) == (1, 1)


def test_a_third_axis_of_frames(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 3, 20), np.int16), np.diag([1.4, 1.4, 0.04, 1]))
    nib.save(image, tmp_path / "cine.nii.gz")
    (tmp_path / "cine.json").write_text('{"TriggerDelayTime": 876}')
    assert read_nifti(tmp_path / "cine.nii.gz", third_axis="time").frame_seconds == pytest.approx(0.876 / 19)
    assert read_nifti(tmp_path / "cine.nii.gz").frame_seconds is None


@pytest.mark.parametrize(("seconds", "written"), [(0.045, ("mm", "sec")), (None, ("mm", "unknown"))])
def test_a_time_that_nobody_knows_has_no_unit(tmp_path, seconds, written):
    data = np.zeros((20, 2, 3, 4), np.uint8)
    write_nifti(data, affine=np.eye(4), spacing_mm=(1, 1, 1), path=tmp_path / "m.nii", frame_seconds=seconds)
    assert nib.load(tmp_path / "m.nii").header.get_xyzt_units() == written
    volume = read_nifti(tmp_path / "m.nii")
    assert volume.frame_seconds == (None if seconds is None else pytest.approx(seconds))
    assert volume.remarks == ()
