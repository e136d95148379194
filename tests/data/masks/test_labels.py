"""Which class a label value is: as the user, the file itself or a file beside it says, in this order."""

import json

import numpy as np
import pytest

from foanet_jax.data.masks import OURS, classes_of, parse_labels
from foanet_jax.data.masks.reading import describe_labels
from foanet_jax.data.study import WHOLE_HEART_CLASSES
from foanet_jax.pages.label_files import write_label_files
from foanet_jax.system.errors import InputError
from tests.data.masks.drawn import mask_of, study, write, write_slicer

MNMS = {1: "cavity", 2: "myocardium", 3: "right ventricle"}


def test_the_user_names_labels():
    assert parse_labels(["rv:1", "MYO:2", "LV cavity:3"]) == OURS
    assert parse_labels(["lv:1", "myocardium:2", "RV:3"]) == MNMS
    assert parse_labels(["cavity:3", "cavity:4", "scar:7"]) == {3: "cavity", 4: "cavity", 7: "scar"}
    assert parse_labels([]) is None


@pytest.mark.parametrize("word", ["rv", "rv:0", "rv:x", ":1", "rv:-1", "rv:1.5"])
def test_words_that_are_no_labels(word):
    with pytest.raises(InputError, match="NAME:VALUE"):
        parse_labels([word])


def test_a_value_with_two_names():
    with pytest.raises(InputError, match="the value 1 has two names"):
        parse_labels(["rv:1", "lv:1"])


def described(path, given=None):
    return describe_labels(path, path.parent, given)


def test_without_names_the_values_are_those_of_this_project(tmp_path):
    path = write(study(), mask_of(study()), tmp_path / "a.nii.gz")
    assert described(path) == (OURS, False)
    assert described(path, MNMS) == (MNMS, True)


def test_names_beside_the_masks(tmp_path):
    """M&Ms exchanges 1 and 3 of ACDC: its dataset.json decides, in both versions of nnU-Net and in ours."""
    path = write(study(), mask_of(study()), tmp_path / "set" / "labelsTr" / "a.nii.gz")
    description = tmp_path / "set" / "dataset.json"
    for labels in (
        {"background": 0, "LV": 1, "MYO": 2, "RV": 3},
        {"0": "background", "1": "LV", "2": "MYO", "3": "RV"},
    ):
        description.write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
        assert described(path) == (MNMS, True)
    classes = {"background": 0, "cavity": [1, 4], "myocardium": 2, "right ventricle": 3}
    description.write_text(json.dumps({"format": "foanet", "classes": classes, "images": "{case}.nii.gz"}))
    assert described(path) == (MNMS | {4: "cavity"}, True)
    description.unlink()
    write_label_files(("background", "myocardium", "cavity"), path.parent)
    assert described(path) == ({1: "myocardium", 2: "cavity"}, True)
    report = {"a": {"labels": [{"value": value, "name": name} for value, name in enumerate(WHOLE_HEART_CLASSES)]}}
    (path.parent / "predictions.json").write_text(json.dumps(report))
    assert described(path)[0] == dict(enumerate(WHOLE_HEART_CLASSES[1:], 1))


def test_names_in_a_slicer_file(tmp_path):
    image = study((1, 4, 9, 7))
    segments = [("LV", 1, 0), ("LV myocardium", 2, 0), ("right_ventricle", 3, 0)]
    path = write_slicer(tmp_path / "a.seg.nrrd", mask_of(image), image, segments)
    assert described(path) == (MNMS, True)
    # What Slicer calls new segments says nothing.
    new = [(f"Segment_{number}", number, 0) for number in (1, 2, 3)]
    assert described(write_slicer(path, mask_of(image), image, new)) == (OURS, False)
    twice = [("LV", 1, 0), ("Myo", 2, 0), ("left ventricle", 3, 0)]
    with pytest.raises(InputError, match=r"3 \(left ventricle\) are both the cavity|1 \(LV\) and 3"):
        described(write_slicer(path, mask_of(image), image, twice))


def test_whole_hearts_of_totalsegmentator():
    """In a whole heart, the blood of the left ventricle is a structure of its own name."""
    names = ["heart_myocardium", "heart_atrium_left", "heart_ventricle_left", "heart_atrium_right"]
    found = parse_labels([f"{name}:{value}" for value, name in enumerate([*names, "heart_ventricle_right"], 1)])
    assert found == {
        1: "myocardium",
        2: "left atrium",
        3: "left ventricle",
        4: "right atrium",
        5: "right ventricle",
    }


def test_classes_have_the_order_of_this_project_whatever_their_values():
    assert classes_of([MNMS, {9: "scar"}]) == ("background", "right ventricle", "myocardium", "cavity", "scar")
    assert classes_of([{1: "cavity"}]) == ("background", "cavity")
    assert np.array_equal(classes_of([OURS]), classes_of([MNMS]))
