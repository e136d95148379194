"""Your own data: every layout of docs/formats.md read back, and no description that does harm."""

import copy
import json
import os
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foanet_jax.data.catalogue import open_catalogue
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.readers.folder import list_folder
from foanet_jax.system.errors import InputError

ROOT = Path(__file__).parents[3]
CLASSES = {"background": 0, "myocardium": 2, "cavity": [3, 4]}
DESCRIPTION = {
    "format": "foanet",
    "classes": CLASSES,
    "images": "images/{case}.nii.gz",
    "labels": "labels/{case}.nii.gz",
}
AFFINE = np.array([[-1.5, 0, 0, 10], [0, -1.25, 0, 20], [0, 0, 8, -30], [0, 0, 0, 1.0]])
SPACING = (8.0, 1.25, 1.5)
INDEX = np.array([0, 9, 1, 2, 2])  # class index of each label value; 1 is none


def describe(root, **changes):
    root.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in {**DESCRIPTION, **changes}.items() if value != "leave out"}
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def write_pair(image, labels=None, shape=(1, 4, 6, 5), seed=0, affine=AFFINE):
    """An image of (T, Z, H, W) and its label values, and what they hold."""
    random = np.random.default_rng(seed)
    voxels = random.integers(0, 300, shape).astype(np.float32)
    values = random.choice(np.array([0, 2, 3, 4], np.uint8), shape)
    image.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(voxels, affine=affine, spacing_mm=SPACING, path=image)
    if labels is not None:
        write_nifti(values, affine=affine, spacing_mm=SPACING, path=labels)
    return voxels, values


def error_of(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images/{case}.nii.gz", "labels/{case}.nii.gz"),
        ("{case}.nii.gz", "{case}_gt.nii.gz"),  # labels fit both, and say more
        ("{case}_0000.nii", "{case}.nii"),  # images do
        ("{case}/image.nii.gz", "{case}/labels.nii"),
        ("data/{case}/{case}_cine.nii.gz", "data/{case}/truth/{case}.nii.gz"),
    ],
)
def test_written_studies_are_listed_and_read_back(tmp_path, images, labels):
    describe(tmp_path, images=images, labels=labels)
    written = {}
    for number, case in enumerate(("a2", "a10", "b_gt-x")):
        place = [tmp_path / template.replace("{case}", case) for template in (images, labels)]
        written[case] = write_pair(*place, seed=number)
    refs = open_catalogue("folder", tmp_path)
    assert [ref.case for ref in refs] == list(written)
    for ref, (voxels, values) in zip(refs, written.values(), strict=True):
        study = pickle.loads(pickle.dumps(ref)).load()
        assert (study.patient, study.case, study.group) == (ref.case, ref.case, None)
        assert study.classes == ("background", "myocardium", "cavity")
        assert study.spacing_mm == SPACING
        np.testing.assert_array_equal(study.voxels, voxels)
        np.testing.assert_array_equal(study.labels, INDEX[values])
        np.testing.assert_allclose(study.affine, AFFINE)


def test_patients_and_groups(tmp_path):
    describe(tmp_path, patient=r"(p\d+)_E[DS]", groups={"p1": "HCM", "p2": "NOR"})
    for case in ("p1_ED", "p1_ES", "p2_ED", "p3_ED"):
        write_pair(tmp_path / "images" / f"{case}.nii.gz", tmp_path / "labels" / f"{case}.nii.gz")
    refs = list_folder(tmp_path)
    assert [(ref.patient, ref.group) for ref in refs] == [("p1", "HCM"), ("p1", "HCM"), ("p2", "NOR"), ("p3", None)]
    assert refs[0].load().group == "HCM"


def test_folders_of_patients(tmp_path):
    describe(tmp_path, images="{patient}/{case}.nii.gz", labels="{patient}/{case}_gt.nii.gz", groups={"anna": "HCM"})
    for patient in ("anna", "ben"):
        for case in ("ed", "es"):
            write_pair(tmp_path / patient / f"{case}.nii.gz", tmp_path / patient / f"{case}_gt.nii.gz")
    refs = list_folder(tmp_path)
    assert [(ref.patient, ref.case) for ref in refs] == [
        ("anna", "anna_ed"),
        ("anna", "anna_es"),
        ("ben", "ben_ed"),
        ("ben", "ben_es"),
    ]
    assert (refs[0].group, refs[2].group) == ("HCM", None)


def test_patient_and_case_in_one_name(tmp_path):
    describe(tmp_path, images="{patient}_{case}.nii.gz", labels="leave out")
    write_pair(tmp_path / "p1_es_2.nii.gz")
    (ref,) = list_folder(tmp_path, unlabelled=True)
    assert (ref.patient, ref.case) == ("p1", "p1_es_2")


def test_cines_of_three_and_four_dimensions(tmp_path):
    describe(tmp_path, third_axis="time")
    still, _ = write_pair(tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz", (1, 4, 6, 5))
    moving, values = write_pair(tmp_path / "images" / "b.nii.gz", tmp_path / "labels" / "b.nii.gz", (3, 4, 6, 5))
    first, second = (ref.load() for ref in list_folder(tmp_path))
    np.testing.assert_array_equal(first.voxels, still.swapaxes(0, 1))  # its third axis is time
    np.testing.assert_array_equal(second.voxels, moving)
    np.testing.assert_array_equal(second.labels, INDEX[values])


def test_volumes_are_reoriented(tmp_path):
    describe(tmp_path, slice_axis="sagittal")
    _, values = write_pair(tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz")
    (study,) = (ref.load() for ref in list_folder(tmp_path))
    assert study.voxels.shape == (1, 5, 4, 6)
    assert study.spacing_mm == (1.5, 8.0, 1.25)
    back = study.to_source(study.labels)[..., 0]
    np.testing.assert_array_equal(back, INDEX[values][0].T)


def test_cases_without_labels_are_listed_only_when_asked_for(tmp_path):
    describe(tmp_path)
    write_pair(tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz")
    write_pair(tmp_path / "images" / "b.nii.gz")
    assert [ref.case for ref in list_folder(tmp_path)] == ["a"]
    refs = list_folder(tmp_path, unlabelled=True)
    assert [ref.load().labels is None for ref in refs] == [False, True]
    (tmp_path / "labels" / "a.nii.gz").unlink()
    code, text = error_of(list_folder, tmp_path)
    assert code == "no-labels"
    assert "--mode predict" in text


def test_names_become_safe_ids(tmp_path):
    describe(tmp_path)
    for name in ("Müller 3", "Muller-3", "._hidden"):
        write_pair(tmp_path / "images" / f"{name}.nii.gz", tmp_path / "labels" / f"{name}.nii.gz")
    assert {(ref.patient, ref.case) for ref in list_folder(tmp_path)} == {
        ("Müller 3", "Müller_3"),
        ("Muller-3", "Muller-3"),
    }


def test_every_problem_of_the_files_is_named_at_once(tmp_path):
    outside = tmp_path / "outside"
    root = describe(tmp_path / "data", patient=r"p(\d+)", groups={"77": "NOR"})
    images, labels = root / "images", root / "labels"
    write_pair(images / "p1.nii.gz", labels / "p1.nii.gz")
    write_pair(images / "q2.nii.gz", labels / "q2.nii.gz")
    write_pair(outside / "p3.nii.gz", labels / "p4.nii.gz")
    (images / "p3.nii.gz").symlink_to(outside / "p3.nii.gz")
    (images / "p5.nii.gz").symlink_to(images / "p6.nii.gz")
    (images / "p6.nii.gz").symlink_to(images / "p5.nii.gz")
    unprintable = [os.fsencode(images) + b"/p\xff7.nii.gz", os.fsencode(images) + b"/p\n8.nii.gz"]
    for path in unprintable:
        with open(path, "wb"):
            pass
    code, text = error_of(list_folder, root)
    assert code == "incomplete"
    assert "8 problems to correct" in text
    for says in (
        "images/q2.nii.gz: the case 'q2' does not match the pattern of patients",
        "images/p3.nii.gz: is a link that leads out",
        "images/p5.nii.gz: is a link that leads out",
        "images/p6.nii.gz: is a link that leads out",
        r"p\udcff7.nii.gz: the name has a control character or is not in UTF-8; rename it",
        r"p\n8.nii.gz: the name has a control character",
        "labels/p4.nii.gz: labels without an image, images/p4.nii.gz; add it or remove the labels",
        "groups names '77', but this patient has no image",
    ):
        assert says in text, says
    problems = []
    assert [ref.case for ref in list_folder(root, problems=problems)] == ["p1"]
    assert len(problems) == 8


def test_labels_without_an_image(tmp_path):
    describe(tmp_path)
    write_pair(tmp_path / "images" / "p1.nii.gz", tmp_path / "labels" / "p1.nii.gz")
    (tmp_path / "labels" / "p4.nii.gz").write_bytes(b"")
    code, text = error_of(list_folder, tmp_path)
    assert code == "incomplete"
    assert "labels/p4.nii.gz: labels without an image, images/p4.nii.gz; add it or remove the labels" in text


def test_a_folder_link_out_of_the_root_is_not_followed(tmp_path):
    write_pair(tmp_path / "outside" / "a.nii.gz")
    root = describe(tmp_path / "data")
    (root / "images").symlink_to(tmp_path / "outside")
    code, text = error_of(list_folder, root)
    assert (code, "leads out" in text) == ("incomplete", True)
    (root / "images").unlink()
    (root / "images").symlink_to(root / "images")
    assert error_of(list_folder, root)[0] == "incomplete"


def test_links_inside_the_root_are_followed(tmp_path):
    describe(tmp_path)
    write_pair(tmp_path / "raw" / "1.nii.gz", tmp_path / "labels" / "a.nii.gz")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.nii.gz").symlink_to("../raw/1.nii.gz")
    assert [ref.case for ref in list_folder(tmp_path)] == ["a"]


def test_labels_that_do_not_fit_their_image(tmp_path):
    describe(tmp_path)
    image, labels = tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz"
    write_pair(image, labels)
    (ref,) = list_folder(tmp_path)
    write_nifti(np.full((1, 4, 6, 5), 1, np.uint8), affine=AFFINE, spacing_mm=SPACING, path=labels)
    code, text = error_of(ref.load)
    assert code == "unknown-label"
    assert "unknown label 1; known are 0, 2, 3, 4" in text
    write_nifti(np.zeros((1, 4, 6, 5), np.uint8), affine=np.eye(4), spacing_mm=SPACING, path=labels)
    assert error_of(ref.load)[0] == "affine-mismatch"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "leave out"}, "format is null; expected 'foanet'"),
        ({"classes": "leave out"}, "classes is missing"),
        ({"images": "leave out"}, "images is missing"),
        ({"colour": 1}, 'unknown "colour"'),
        ({"classes": {"background": 0}}, "expected 2 to 64 names"),
        ({"classes": {"a": 0, "b": 1}}, "no class background"),
        ({"classes": {"background": 0, "b": True}}, "class 'b' is true"),
        ({"classes": {"background": 0, "b": 1.5}}, "class 'b' is 1.5"),
        ({"classes": {"background": 0, "b": -1}}, "class 'b' is -1"),
        ({"classes": {"background": 0, "b": 10**30}}, "class 'b' is a huge number"),
        ({"classes": {"background": 0, "b": []}}, "class 'b' is a list of 0"),
        ({"classes": {"background": 0, "b": [1, 0]}}, "label 0 is both 'background' and 'b'"),
        ({"classes": {"background": 0, "": 1}}, 'the class name ""'),
        ({"classes": [0, 1]}, "the classes are a list of 2"),
        ({"images": "../{case}.nii.gz"}, "without .."),
        ({"images": "a/../../{case}.nii.gz"}, "without .."),
        ({"images": "/etc/{case}.nii.gz"}, "inside the folder"),
        ({"images": "C:\\{case}.nii.gz"}, "inside the folder"),
        ({"images": "~/{case}.nii.gz"}, "inside the folder"),
        ({"images": "{case}.png"}, "ends in .nii or .nii.gz"),
        ({"images": "image.nii.gz"}, "expected {case} or {patient}"),
        ({"images": "{case}{x}.nii.gz"}, "no other braces"),
        ({"images": "{case}}.nii.gz"}, "no other braces"),
        ({"images": "\ud800{case}.nii.gz"}, "printable characters"),
        ({"images": "\0{case}.nii.gz"}, "printable characters"),
        ({"images": "x" * 300 + "{case}.nii.gz"}, "1 to 256 printable characters"),
        ({"images": 3}, "images: expected"),
        ({"labels": "images/{case}.nii.gz"}, "the same path"),
        ({"labels": "{patient}/{case}.nii.gz"}, "different placeholders"),
        ({"third_axis": "depth"}, 'third_axis is "depth"; choose one of slice, time'),
        ({"third_axis": None}, "third_axis is null"),
        ({"slice_axis": ["axial"]}, "slice_axis is a list of 1"),
        ({"third_axis": "time", "slice_axis": "axial"}, "remove one"),
        ({"patient": "p1"}, "with one group"),
        ({"patient": "(a)(b)"}, "with one group"),
        ({"patient": "((a))"}, "with one group"),
        ({"patient": "(a+)+"}, "with one group"),
        ({"patient": "(a|b)"}, "with one group"),
        ({"patient": "(?P<x>a)"}, "with one group"),
        ({"patient": ".*.*.*.*(.*)"}, "at most 4 repeats"),
        ({"patient": "([a--z]+)"}, "not a valid regular expression (Possible set difference"),
        ({"patient": "([z-a])"}, "not a valid regular expression"),
        ({"patient": 7}, "patient: expected"),
        ({"groups": {"../p1": "NOR"}}, "is a path"),
        ({"groups": {"p1": 7}}, 'the group of "p1"'),
        ({"groups": []}, "groups is a list of 0"),
        ({"images": "{patient}/{case}.nii.gz", "labels": None, "patient": "(a)"}, "remove one of them"),
    ],
)
def test_descriptions_that_are_wrong(tmp_path, changes, says):
    code, text = error_of(list_folder, describe(tmp_path, **changes))
    assert code == "dataset-json"
    assert str(tmp_path / "dataset.json") in text
    assert says in text


def test_everything_wrong_with_a_description_is_named_at_once(tmp_path):
    describe(tmp_path, format="x", classes={"a": -1, "b": 0}, images="../x", third_axis=1, patient="(", groups=3, z=1)
    _, text = error_of(list_folder, tmp_path)
    for part in ("format", "unknown", "no class background", "class 'a'", "images", "third_axis", "patient", "groups"):
        assert part in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "a list of 1; expected an object"),
        (b"3", "holds 3"),
        (b'{"format": NaN}', "NaN is not a valid JSON number"),
        (b'{"format": "foanet", "format": "foanet"}', '"format" occurs twice'),
        (b'{"format": "\xff"}', "UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"classes": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b" " * (2**20 + 1), "more than 1048576 bytes"),
    ],
)
def test_json_that_is_none(tmp_path, content, says):
    (tmp_path / "dataset.json").write_bytes(content)
    code, text = error_of(list_folder, tmp_path)
    assert code == "dataset-json"
    assert says in text


def test_no_description(tmp_path):
    assert "no such file" in error_of(list_folder, tmp_path)[1]
    (tmp_path / "dataset.json").symlink_to(tmp_path / "dataset.json")
    assert error_of(list_folder, tmp_path)[0] == "dataset-json"
    (tmp_path / "dataset.json").unlink()
    (tmp_path / "dataset.json").mkdir()
    assert error_of(list_folder, tmp_path)[0] == "dataset-json"
    assert error_of(list_folder, describe(tmp_path / "empty"))[0] == "empty-root"
    assert error_of(list_folder, tmp_path / "none")[0] == "missing-root"


def test_nnunets_description_is_recognised(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "LV": 1}, "numTraining": 2}')
    assert "use the data set nnunet" in error_of(list_folder, tmp_path)[1]


def test_no_pattern_takes_for_ever(tmp_path):
    describe(tmp_path, patient=".*.*.*(.*)b", labels=None)
    write_pair(tmp_path / "images" / ("a" * 120 + ".nii.gz"))
    started = time.process_time()
    assert error_of(list_folder, tmp_path)[0] == "incomplete"
    assert time.process_time() - started < 20


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["..", "../{case}.nii", "/{case}.nii", "{case}.nii.gz", "{case}", "(a+)+", "(.+)", "background"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_descriptions_read_or_are_refused(tmp_path, data):
    """Whatever a description holds: studies from inside the folder, or an InputError."""
    if not (tmp_path / "images").exists():
        write_pair(tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz")
    value = copy.deepcopy({**DESCRIPTION, "patient": "(.+)", "groups": {"a": "NOR"}, "slice_axis": None})
    for _ in range(data.draw(st.integers(1, 3))):
        place = value
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place)))
        match data.draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                place[key] = data.draw(JSON)
            case "remove":
                if len(value) > 1 or place is not value:
                    del place[key]
            case "add":
                place[data.draw(st.text(max_size=6))] = data.draw(JSON)
        if not value:
            break
    (tmp_path / "dataset.json").write_text(json.dumps(value), encoding="utf-8")
    try:
        refs = list_folder(tmp_path, unlabelled=True)
    except InputError as error:
        str(error).encode("utf-8")
        return
    for ref in refs:
        try:
            study = ref.load()
        except InputError:
            continue
        assert study.source.resolve().is_relative_to(tmp_path.resolve())
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", ref.case)


def test_the_examples_of_the_manual_are_read(tmp_path):
    manual = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", manual, re.DOTALL)]
    examples = [block for block in blocks if block.get("format") == "foanet"]
    assert len(examples) >= 4
    for number, example in enumerate(examples):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "dataset.json").write_text(json.dumps(example), encoding="utf-8")
        assert error_of(list_folder, root)[0] in ("empty-root", "incomplete")  # the description itself is sound
