"""Studies of a data set as a checkpoint's networks need them."""

import dataclasses
import json

import numpy as np
import pytest

from foanet_jax.data.catalogue import open_catalogue
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.study import ACDC_CLASSES, Study
from foanet_jax.jobs.experiment.studies import with_classes_of
from foanet_jax.system.errors import InputError

NUMBERS = np.array([0, 1, 2, 3] * 6, np.uint8).reshape(1, 2, 3, 4)  # as in M&Ms: cavity, myocardium, right ventricle
CLASSES = {"background": 0, "cavity": 1, "myocardium": 2, "right ventricle": 3}


@pytest.mark.parametrize("name", ["nnunet", "folder"])
def test_labels_in_the_order_of_another_data_set_are_renumbered(tmp_path, name):
    images, labels, case = ("imagesTr", "labelsTr", "a_0000") if name == "nnunet" else ("images", "labels", "a")
    for folder, file, array in ((images, case, NUMBERS.astype(np.float32)), (labels, "a", NUMBERS)):
        path = tmp_path / folder / f"{file}.nii.gz"
        path.parent.mkdir()
        write_nifti(array, affine=np.eye(4), spacing_mm=(1, 1, 1), path=path)
    known = {"labels": CLASSES, "channel_names": {"0": "MRI"}, "file_ending": ".nii.gz", "numTraining": 1}
    if name == "folder":
        known = {"format": "foanet", "classes": CLASSES, "images": "images/{case}.nii.gz"}
        known["labels"] = "labels/{case}.nii.gz"
    (tmp_path / "dataset.json").write_text(json.dumps(known))
    (ref,) = open_catalogue(name, tmp_path)
    study = ref.load()
    assert study.classes == tuple(CLASSES)
    renumbered = with_classes_of(study, ACDC_CLASSES)
    assert renumbered.classes == ACDC_CLASSES
    np.testing.assert_array_equal(renumbered.labels, np.array([0, 3, 2, 1], np.uint8)[NUMBERS])
    assert renumbered.labels.dtype == np.uint8
    assert with_classes_of(renumbered, ACDC_CLASSES) is renumbered
    assert with_classes_of(dataclasses.replace(study, labels=None), ACDC_CLASSES).labels is None


@pytest.mark.parametrize("classes", [("background", "LV", "MYO", "RV"), ACDC_CLASSES[1:], ACDC_CLASSES[::-1]])
def test_other_classes_are_refused_with_the_remedy(classes):
    study = Study("p", "case7", np.zeros((1, 1, 2, 2), np.float32), (1, 1, 1), classes)
    with pytest.raises(InputError, match="name the classes in dataset") as caught:
        with_classes_of(study, ACDC_CLASSES)
    assert caught.value.code == "classes"
    assert str(caught.value).startswith("case7: has the classes")
