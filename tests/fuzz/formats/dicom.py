"""DICOM series, and Sunnybrook's contours on them."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid as uids

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.phantom.writers import write_dicom, write_sunnybrook
from foanet_jax.data.readers.sunnybrook import list_sunnybrook
from foanet_jax.data.study import LV_CLASSES, Study
from tests.fuzz.readings import check_studies
from tests.fuzz.seeds import Seed, Target, some, words

_AFFINE = np.array([[-1.5, 0, 0, 10], [0, 0, -8, -20], [0, -2, 0, 30], [0, 0, 0, 1.0]])


def dicom_seeds() -> list[Seed]:
    """A slice of two frames, a stack of two slices and two single images: each transfer syntax that is read."""
    seeds = []
    for number, (syntax, shape) in enumerate(
        (
            (uids.ExplicitVRLittleEndian, (2, 1, 4, 5)),
            (uids.ImplicitVRLittleEndian, (1, 2, 4, 5)),
            (uids.ExplicitVRBigEndian, (1, 1, 4, 5)),
            (uids.RLELossless, (1, 1, 4, 5)),
        )
    ):
        voxels = some(*shape, high=900).astype(np.float32)
        study = Study("p", f"p{number}", voxels, (8.0, 2.0, 1.5), LV_CLASSES, affine=_AFFINE)
        files = {}
        with tempfile.TemporaryDirectory() as folder:
            for path in write_dicom(study, folder):
                files[f"anna/{path.name}"] = _in_syntax(path, syntax)
        order = ">" if syntax == uids.ExplicitVRBigEndian else "<"
        name, content = next(iter(files.items()))
        target = Target(name, words(content, step=2, letters="HI", order=order))
        seeds.append(Seed(files, [target], _read_dicom, check_studies))
    return seeds


def _in_syntax(path: Path, syntax: uids.UID) -> bytes:
    image = pydicom.dcmread(path)
    stream = io.BytesIO()
    if syntax == uids.RLELossless:
        image.compress(syntax, generate_instance_uid=False)
    elif syntax == uids.ExplicitVRBigEndian:
        image.PixelData = image.pixel_array.astype(">i2").tobytes()
        image["PixelData"].VR = "OW"
    image.file_meta.TransferSyntaxUID = syntax
    little, implicit = syntax != uids.ExplicitVRBigEndian, syntax == uids.ImplicitVRLittleEndian
    pydicom.dcmwrite(stream, image, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
    return stream.getvalue()


def _read_dicom(folder: Path) -> list[Study]:
    return [ref.load() for ref in read_input(folder)]


def sunnybrook_seeds() -> list[Seed]:
    """A patient of one labelled slice: contours and the table that ties them to images; its images are DICOM."""
    rows, columns = np.mgrid[:16, :18]
    radius = np.hypot(rows - 7.2, columns - 8.7)
    labels = np.where(radius < 3.5, 2, np.where(radius < 6, 1, 0)).astype(np.uint8)[None, None]
    study = Study("p", "p", labels * np.float32(100), (8.0, 1.2, 1.4), LV_CLASSES, labels, np.diag([-1.4, -1.2, 8, 1]))
    with tempfile.TemporaryDirectory() as folder:
        write_sunnybrook(study, folder, patient="SCD0000101", original="SC-HF-I-1")
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    targets = [Target(name, text=True) for name in files if name.endswith((".txt", ".csv"))]
    return [Seed(files, targets, _read_sunnybrook, check_studies)]


def _read_sunnybrook(folder: Path) -> list[Study]:
    return [ref.load() for ref in list_sunnybrook(folder)]
