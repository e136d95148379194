"""What patients are compared by is what is trained on; who shares what is in test_folds.py."""

import dataclasses
import json

import numpy as np
import pytest

from foanet_jax.data.catalogue import CATALOGUES, open_catalogue
from foanet_jax.data.identical import identical_patients, voxel_digest
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.phantom.writers import (
    write_acdc,
    write_folder,
    write_lvquan19,
    write_mmwhs2017,
    write_sunnybrook,
)
from foanet_jax.data.study import LV_CLASSES

STACK = short_axis_stack(1, size=64, slices=3)


def acdc(root, number):
    patient = f"patient{number:03d}"
    write_acdc([dataclasses.replace(STACK, patient=patient, case=f"{patient}_frame{n:02d}") for n in (1, 8)], root)


def folder(root, number):
    # Turned to the world's axes when it is read.
    slice_mm, row_mm, column_mm = STACK.spacing_mm
    turned = np.array([[0, 0, slice_mm, 0], [-column_mm, 0, 0, 0], [0, -row_mm, 0, 0], [0, 0, 0, 1]])
    studies = [dataclasses.replace(STACK, patient=f"p{n}", case=f"p{n}", affine=turned) for n in range(1, number + 1)]
    path = write_folder(studies, root)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"slice_axis": "axial"}))


def nnunet(root, number):
    for place, array, channel in (("imagesTr", STACK.voxels, "_0000"), ("labelsTr", STACK.labels, "")):
        path = root / place / f"p{number}{channel}.nii.gz"
        write_nifti(array, affine=STACK.affine, spacing_mm=STACK.spacing_mm, path=path)
    labels = {name: value for value, name in enumerate(STACK.classes)}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))


def sunnybrook(root, number):
    left = np.array([0, 0, 1, 2], np.uint8)[STACK.labels]
    study = dataclasses.replace(STACK, labels=left, classes=LV_CLASSES)
    write_sunnybrook(study, root, patient=f"SCD000010{number}", original=f"SC-N-{number}")


WRITE = {
    "acdc": acdc,
    "folder": folder,
    "lvquan19": lambda root, number: write_lvquan19(short_axis_study(1, size=64, frames=3), root, number),
    "mmwhs2017": lambda root, number: write_mmwhs2017(whole_heart_study(1, shape=(8, 40, 48)), root, 1000 + number),
    "nnunet": nnunet,
    "sunnybrook": sunnybrook,
}


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_reader_tells_patients_with_the_same_image(name, tmp_path):
    for number in (1, 2):
        WRITE[name](tmp_path, number)
    refs = open_catalogue(name, tmp_path)
    assert len({ref.patient for ref in refs}) == 2
    for ref in refs:
        np.testing.assert_array_equal(ref.load_voxels(), ref.load().voxels)
    assert identical_patients(refs) == (tuple(dict.fromkeys(ref.patient for ref in refs)),)


def test_digests():
    array = np.arange(6.0).reshape(2, 3)
    assert voxel_digest(array) == voxel_digest(np.asfortranarray(array))
    others = [array.reshape(3, 2), array.astype(np.float32), -array, array + np.eye(2, 3) * 1e-9]
    assert len({voxel_digest(other) for other in [array, *others]}) == 5
