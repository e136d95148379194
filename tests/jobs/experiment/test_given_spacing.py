"""A spacing that the user gives for a data set whose headers are wrong: the check and the evaluation use it."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from experiments import folder as folder_experiment
from foanet_jax.data.catalogue import open_catalogue
from foanet_jax.data.nifti.geometry import GIVEN
from foanet_jax.data.refs import grid_of
from foanet_jax.jobs import commandline, dispatch, startup
from foanet_jax.jobs.experiment import checking, evaluating, training
from foanet_jax.jobs.experiment.studies import list_studies
from foanet_jax.jobs.helping import RUN_PY
from foanet_jax.system.errors import InputError

GIVEN_MM = (8.0, 1.25, 1.25)
SHAPE = (16, 14, 4)
LV_VOXELS = 40  # by hand 40 × 8 × 1.25 × 1.25 mm³ = 0.5 ml
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections


def write(path, array):
    """A file whose affine has voxels of 1.25 × 1.25 × 8 mm and whose pixdim says 1 × 1 × 2 mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, np.diag([1.25, 1.25, 8, 1]))
    image.header["pixdim"][1:4] = (1, 1, 2)
    nib.save(image, path)


def data_set(root, name="folder"):
    """Four patients in the layout of a data set, all with headers that contradict themselves."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9, 4:8, :2] = 1
    assert np.count_nonzero(labels) == LV_VOXELS
    labels.flat[np.flatnonzero(labels)[LV_VOXELS // 2 :]] = 2
    for number in range(1, 5):
        image = np.random.default_rng(number).integers(0, 900, SHAPE).astype(np.int16)
        if name == "acdc":
            patient = f"patient{number:03d}"
            (root / patient).mkdir(parents=True)
            (root / patient / "Info.cfg").write_text("ED: 1\nES: 2\nGroup: NOR\n")
            pairs = [
                (f"{patient}/{patient}_frame0{frame}", f"{patient}/{patient}_frame0{frame}_gt") for frame in (1, 2)
            ]
        else:
            pairs = {
                "folder": [(f"images/p{number}", f"labels/p{number}")],
                "nnunet": [(f"imagesTr/p{number}_0000", f"labelsTr/p{number}")],
                "mmwhs2017": [(f"mr_train_{1000 + number}_image", f"mr_train_{1000 + number}_label")],
            }[name]
        values = {"mmwhs2017": (0, 205, 500)}.get(name, (0, 1, 2))
        for image_name, label_name in pairs:
            write(root / f"{image_name}.nii.gz", image)
            write(root / f"{label_name}.nii.gz", np.array(values, np.int16)[labels])
    classes = {"background": 0, "myocardium": 1, "cavity": 2}
    if name == "folder":
        described = {"format": "foanet", "classes": classes, "images": "images/{case}.nii.gz"}
        (root / "dataset.json").write_text(json.dumps({**described, "labels": "labels/{case}.nii.gz"}))
    if name == "nnunet":
        described = {"labels": classes, "channel_names": {"0": "MRI"}, "file_ending": ".nii.gz", "numTraining": 4}
        (root / "dataset.json").write_text(json.dumps(described))
    return root


def config_of(root, name="folder"):
    config = folder_experiment.get_config().to_dict()
    config["data"] |= {"root": str(root), "name": name, "folds": 2, "slice_axis": "axial"}
    return config


@pytest.mark.parametrize("name", ["folder", "nnunet", "acdc", "mmwhs2017"])
def test_every_part_of_a_study_has_the_given_spacing(tmp_path, name):
    config = config_of(data_set(tmp_path, name), name)
    (wrong, *_) = list_studies(config)
    for part in (wrong.load, wrong.load_voxels):
        with pytest.raises(InputError) as caught:
            part()
        assert caught.value.code == "spacing-contradicts"
        assert "--spacing_mm=Z,Y,X (predict, measure, check, evaluate)" in str(caught.value)
    for ref in list_studies(config, spacing_mm=GIVEN_MM):
        study = ref.load()
        assert study.spacing_mm == pytest.approx(GIVEN_MM)
        np.testing.assert_allclose(np.linalg.norm(study.affine[:3, :3], axis=0), GIVEN_MM[::-1])
        assert GIVEN in study.remarks
        np.testing.assert_array_equal(ref.load_voxels(), study.voxels)
        assert grid_of(ref).spacing_mm == pytest.approx(GIVEN_MM)


def test_a_check_measures_with_it_and_says_so(tmp_path):
    config = config_of(data_set(tmp_path / "in"))
    assert checking.check(config, tmp_path / "out") == 4
    told = json.loads((tmp_path / "out" / "check" / "check.json").read_text())
    assert {finding["code"] for finding in told["findings"]} == {"spacing-contradicts"}
    assert checking.check(config, tmp_path / "out", spacing_mm=GIVEN_MM) == 0
    told = json.loads((tmp_path / "out" / "check" / "check.json").read_text())
    for study in told["studies"]:
        assert study["spacing_mm"] == pytest.approx(GIVEN_MM)
        # Half of the labelled voxels are the cavity.
        assert study["volumes_ml"]["cavity"] == pytest.approx(0.25)
    (remark,) = told["remarks"]
    assert remark.startswith(GIVEN)
    assert GIVEN in (tmp_path / "out" / "check" / "check.md").read_text()


@pytest.mark.parametrize("mode", ["check", "evaluate", "run"])
def test_the_command_hands_it_on(tmp_path, monkeypatch, mode):
    seen = []
    monkeypatch.setattr(startup, "set_up", lambda **_: None)
    monkeypatch.setattr(startup, "answer_interrupts", lambda: None)
    monkeypatch.setattr(checking, "check", lambda *_, **options: seen.append(options) or 0)
    monkeypatch.setattr(evaluating, "evaluate", lambda *_, **options: seen.append(options))
    monkeypatch.setattr(training, "train", lambda *_, **__: None)
    experiment = Path(folder_experiment.__file__)
    words = ["run.py", f"--mode={mode}", f"--config={experiment}", "--config.data.root=x", f"--workdir={tmp_path}"]
    given = "--spacing_mm=8,1.25,1.25"
    if mode == "run":  # A training has to read the same files again and again: correct them.
        with pytest.raises(InputError, match="spacing_mm is not read by"):
            commandline.read([*words, given], program=RUN_PY, default=None)
        assert dispatch.work(commandline.read(words, program=RUN_PY, default=None)) == 0
        assert seen[0]["spacing_mm"] is None
        return
    assert dispatch.work(commandline.read([*words, given], program=RUN_PY, default=None)) == 0
    assert seen[0]["spacing_mm"] == [8, 1.25, 1.25]


def test_an_evaluation_lists_the_studies_with_it(tmp_path, monkeypatch):
    class Seen(Exception):
        pass

    def listed(config, problems=None, *, spacing_mm=None):
        raise Seen(spacing_mm)

    monkeypatch.setattr(evaluating, "find_runs", lambda _: [tmp_path])
    monkeypatch.setattr(evaluating, "load_model", lambda *_, **__: None)
    monkeypatch.setattr(evaluating, "list_studies", listed)
    with pytest.raises(Seen) as caught:
        evaluating.evaluate(config_of(tmp_path), tmp_path, tmp_path, spacing_mm=GIVEN_MM)
    assert caught.value.args == (GIVEN_MM,)


@pytest.mark.parametrize("name", ["lvquan19", "sunnybrook", "phantom", "phantom_stack", "phantom_whole_heart"])
def test_other_data_sets_keep_their_own_spacing(tmp_path, name):
    config = config_of(tmp_path, name)
    with pytest.raises(InputError, match=f"{name}: only NIfTI files .* leave out --spacing_mm") as caught:
        list_studies(config, spacing_mm=GIVEN_MM)
    assert caught.value.code == "spacing"


@pytest.mark.parametrize("given", [(8, 1), (8, 0, 1), (8, 1, float("nan"))])
def test_a_spacing_that_is_none_is_refused_before_any_file_is_read(tmp_path, given):
    with pytest.raises(InputError, match="three real numbers"):
        list_studies(config_of(tmp_path / "nowhere"), spacing_mm=given)


def test_the_library_takes_it_too(tmp_path):
    (ref, *_) = open_catalogue("folder", data_set(tmp_path), spacing_mm=GIVEN_MM)
    assert ref.load().spacing_mm == pytest.approx(GIVEN_MM)
