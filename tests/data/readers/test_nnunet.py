"""nnU-Net's layout, version 1 and 2."""

import json

import numpy as np
import pytest

from foanet_jax.data.catalogue import open_catalogue
from foanet_jax.data.folds import make_folds
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.readers.nnunet import list_nnunet
from foanet_jax.jobs.check.reading import check_data_set
from foanet_jax.jobs.check.text import format_check
from foanet_jax.system.errors import InputError

V2 = {
    "channel_names": {"0": "cineMRI"},
    "labels": {"background": 0, "cavity": 2, "myocardium": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}
V1 = {
    "name": "Heart",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "2": "cavity", "1": "myocardium"},
    "numTraining": 3,
    "training": [{"image": "./imagesTr/p1_ED.nii.gz", "label": "./labelsTr/p1_ED.nii.gz"}],
}
CASES = ("p1_ED", "p1_ES", "p2_ED")
SPACING = (8.0, 1.25, 1.5)


def write(root, description=V2, cases=CASES, **changes):
    ending = description.get("file_ending", ".nii.gz")
    written = {}
    for seed, case in enumerate(cases):
        random = np.random.default_rng(seed)
        voxels = random.integers(0, 300, (1, 4, 6, 5)).astype(np.float32)
        values = random.integers(0, 3, (1, 4, 6, 5)).astype(np.uint8)
        affine = np.diag([1.5, 1.25, 8, 1])
        write_nifti(voxels, affine=affine, spacing_mm=SPACING, path=root / "imagesTr" / f"{case}_0000{ending}")
        write_nifti(values, affine=affine, spacing_mm=SPACING, path=root / "labelsTr" / f"{case}{ending}")
        written[case] = voxels, values
    content = {key: value for key, value in {**description, **changes}.items() if value != "leave out"}
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))
    return written


def error_of(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value.code, str(caught.value)


def test_frames_of_a_patient_stay_together(tmp_path):
    """As ACDC is distributed in this layout: end diastole and end systole of a patient are never in two parts."""
    cases = [f"patient{number:03d}_frame{frame}" for number in range(1, 7) for frame in ("01", "12")]
    write(tmp_path, cases=cases, numTraining=12)
    refs = open_catalogue("nnunet", tmp_path)
    assert [ref.patient for ref in refs] == [case.partition("_")[0] for case in cases]
    for fold in make_folds(refs, count=3, seed=0, validation_fraction=0.25).folds:
        parts = {patient: part for part in ("train", "validation", "test") for patient in getattr(fold, part)}
        assert len(parts) == 6
        assert len(fold.test) == 2
    checked = format_check(check_data_set(refs))
    assert "Folds: 6 patients in 12 images, grouped by NAME_frameNN." in checked
    write(tmp_path, cases=cases, numTraining=12, foanet={"patient": "(.+)"})
    refs = open_catalogue("nnunet", tmp_path)
    assert [ref.patient for ref in refs] == cases
    assert "Folds: each of the 12 images is a patient of its own." in format_check(check_data_set(refs))
    write(tmp_path, cases=cases, numTraining=12, foanet={"patient": "patient(...)_frame.+"})
    checked = format_check(check_data_set(open_catalogue("nnunet", tmp_path)))
    assert "Folds: 6 patients in 12 images, grouped by the data set's layout or its dataset.json." in checked


@pytest.mark.parametrize("description", [V2, V1, {**V2, "file_ending": ".nii"}])
def test_written_studies_are_listed_and_read_back(tmp_path, description):
    written = write(tmp_path, description)
    refs = open_catalogue("nnunet", tmp_path)
    assert [(ref.patient, ref.case) for ref in refs] == [(case, case) for case in CASES]
    for ref in refs:
        study = ref.load()
        voxels, values = written[ref.case]
        assert study.classes == ("background", "myocardium", "cavity")  # by value
        assert study.spacing_mm == SPACING
        np.testing.assert_array_equal(study.voxels, voxels)
        np.testing.assert_array_equal(study.labels, values)


def test_the_projects_own_fields(tmp_path):
    write(tmp_path, foanet={"patient": "(p[0-9]+)_E[DS]", "groups": {"p1": "HCM"}, "slice_axis": "sagittal"})
    refs = list_nnunet(tmp_path)
    assert [(ref.patient, ref.group) for ref in refs] == [("p1", "HCM"), ("p1", "HCM"), ("p2", None)]
    assert refs[0].load().voxels.shape == (1, 5, 4, 6)


def test_every_problem_of_the_files_is_named_at_once(tmp_path):
    write(tmp_path, cases=("a", "b", "c", "d"), numTraining=9)
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    (images / "a_0001.nii.gz").write_bytes((images / "a_0000.nii.gz").read_bytes())
    (labels / "b.nii.gz").unlink()
    (images / "c_0000.nii.gz").rename(images / "c.nii.gz")
    (images / "e_0001.nii.gz").write_bytes(b"")
    code, text = error_of(list_nnunet, tmp_path)
    assert code == "incomplete"
    for says in (
        "a_0001.nii.gz: is a second channel of a, but only one is supported; remove all but a_0000.nii.gz",
        "b_0000.nii.gz: its labels ",
        "labelsTr/b.nii.gz are missing; add them or move the image to imagesTs",
        "c.nii.gz: its name has no channel; rename it to c_0000.nii.gz",
        "e_0001.nii.gz: is a channel of e, but e_0000.nii.gz is missing",
        "numTraining is 9, but imagesTr holds 2 cases",
        "labelsTr/c.nii.gz: labels without an image",
    ):
        assert says in text, says
    problems = []
    assert [ref.case for ref in list_nnunet(tmp_path, problems=problems)] == ["d"]
    assert len(problems) == text.count("\n- ")


def test_declared_channels_without_files_do_no_harm(tmp_path):
    write(tmp_path, channel_names={"0": "cine", "1": "late enhancement"})
    assert len(list_nnunet(tmp_path)) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": "leave out"}, "labels is null"),
        ({"labels": {"background": 0, "heart": [1, 2], "cavity": 2}}, 'labels: "heart": regions'),
        ({"labels": {"background": 0, "cavity": 1, "ignore": 2}}, "an ignored label is not supported"),
        ({"labels": {"background": 1, "cavity": 0}}, "background is 1; in nnU-Net it must be 0"),
        ({"labels": {"background": 0, "cavity": "1"}}, "class 'cavity' is \"1\""),
        ({"labels": {"0": "background", "x": "cavity"}}, 'labels: the value of "cavity" is "x"'),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, 'two values have the name "a"'),
        ({"labels": {"cavity": 1, "myocardium": 2}}, "no class background"),
        ({"labels": {"background": 0, "cavity": None}}, "class 'cavity' is null"),
        ({"labels": [0, 1]}, "labels is a list of 2"),
        ({"regions_class_order": [1, 2]}, "regions_class_order"),
        ({"file_ending": ".png"}, 'file_ending is ".png"; only .nii.gz and .nii are supported'),
        ({"file_ending": "/../x.nii"}, "file_ending"),
        ({"file_ending": 1}, "file_ending is 1"),
        ({"channel_names": ["cine"]}, "channel_names is a list of 1"),
        ({"numTraining": "3"}, 'numTraining is "3"'),
        ({"foanet": [1]}, "foanet is a list of 1"),
        ({"foanet": {"patients": 1}}, 'foanet: unknown "patients"'),
        ({"foanet": {"patient": "(a+)+"}}, "patient is"),
    ],
)
def test_descriptions_that_are_wrong(tmp_path, changes, says):
    write(tmp_path, cases=(), **changes)
    code, text = error_of(list_nnunet, tmp_path)
    assert code == "dataset-json"
    assert str(tmp_path / "dataset.json") in text
    assert says in text


def test_nothing_there(tmp_path):
    assert error_of(list_nnunet, tmp_path / "none")[0] == "missing-root"
    assert error_of(list_nnunet, tmp_path)[0] == "dataset-json"
    write(tmp_path, cases=())
    code, text = error_of(list_nnunet, tmp_path)
    assert (code, "imagesTr/CASE_0000.nii.gz" in text) == ("empty-root", True)
