"""Your own data from file to mask: trained, evaluated and predicted as a user does it, on tiny phantoms."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from experiments import folder
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.jobs import prediction
from foanet_jax.jobs.experiment import checking, evaluating, training
from foanet_jax.training.spec import NETWORKS
from tests import programs

ROOT = Path(__file__).parents[1]
TINY = {"evaluation.overlays": 1, "localization.enabled": False, "segmentation.network.architecture": "net1"}
TINY_NETWORK = {
    "network.width": 1 / 32,
    "prepare.spacing_mm": 5.0,
    "prepare.bucket": 64,
    "train.epochs": 1,
    "train.batch_size": 2,
    "train.examples_per_epoch": 4,
}
VALUES = np.array([0, 9, 2, 3], np.uint8)  # label values of ACDC_CLASSES


def tiny(**overrides):
    """The experiment, small enough for a test."""
    config = folder.get_config()
    changes = {**TINY, **{f"{stage}.{k}": v for stage in NETWORKS for k, v in TINY_NETWORK.items()}}
    config.update_from_flattened_dict({**changes, **overrides})
    return config.to_dict()


def affine_of(study):
    slice_mm, row_mm, column_mm = study.spacing_mm
    return np.diag([-column_mm, -row_mm, slice_mm, 1])


def write_data_set(root, layout):
    """Five patients with two studies each, as `folder` or as `nnunet`; returns one more image to predict on."""
    image, labels = {
        "folder": ("images/{}.nii.gz", "labels/{}.nii.gz"),
        "nnunet": ("imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz"),
    }[layout]
    for number in range(6):
        for phase in ("ed", "es"):
            study = short_axis_stack(number, seed=int(phase == "es"), size=72, slices=3)
            case = f"p{number}_{phase}"
            for template, data in ((image, study.voxels), (labels, VALUES[study.labels])):
                if number < 5:
                    path = root / template.format(case)
                    write_nifti(data, affine=affine_of(study), spacing_mm=study.spacing_mm, path=path)
    unseen = root.parent / "unseen.nii.gz"
    write_nifti(study.voxels, affine=affine_of(study), spacing_mm=study.spacing_mm, path=unseen)
    patients = {"patient": r"(p\d)_e[ds]", "groups": {"p0": "NOR"}, "slice_axis": "axial"}
    if layout == "folder":
        classes = {"background": 0, "right ventricle": 9, "wall": 2, "cavity": [3, 4]}
        template = "{case}"
        description = {
            "format": "foanet",
            "classes": classes,
            "images": image.format(template),
            "labels": labels.format(template),
            **patients,
        }
    else:
        description = {
            "channel_names": {"0": "cineMRI"},
            "labels": {"background": 0, "wall": 2, "cavity": 3, "right ventricle": 9},
            "numTraining": 10,
            "file_ending": ".nii.gz",
            "foanet": patients,
        }
    (root / "dataset.json").write_text(json.dumps(description))
    return unseen


@pytest.mark.parametrize("layout", ["folder", "nnunet"])
def test_train_evaluate_predict(layout, tmp_path):
    unseen = write_data_set(tmp_path / "data", layout)
    config = tiny(**{"data.name": layout, "data.root": str(tmp_path / "data")})
    assert checking.check(config, tmp_path / "run") == 0
    training.train(config, tmp_path / "run", resume=False, tensorboard=False, command=[])
    folds = json.loads((tmp_path / "run" / "folds.json").read_text())["folds"]
    assert sorted(patient for fold in folds for patient in fold["test"]) == ["p0", "p1", "p2", "p3", "p4"]
    summary = evaluating.evaluate(config, tmp_path / "run", tmp_path / "run")
    assert {row.class_name for row in summary.classes} - {"foreground"} == {"wall", "cavity", "right ventricle"}
    assert summary.row("wall").n_units == 2  # both studies of the one test patient
    # The data set's axes hold for predictions as well, though its folder is gone.
    (tmp_path / "data").rename(tmp_path / "moved")
    asked = []
    find_studies = prediction.find_studies
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            prediction, "find_studies", lambda *a, **k: asked.append(k["slice_axis"]) or find_studies(*a, **k)
        )
        failures = prediction.predict(tmp_path / "run", unseen, tmp_path / "out", third_axis="slice", overwrite=False)
    assert failures == 0
    assert asked == ["axial"]
    mask, image = nibabel.load(tmp_path / "out" / "unseen_seg.nii.gz"), nibabel.load(unseen)
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)


def test_the_mode_check_ends_with_1_where_there_are_errors(tmp_path):
    write_data_set(tmp_path / "data", "folder")
    (tmp_path / "data" / "images" / "p0_ed.nii.gz").write_bytes(b"broken")
    words = [str(ROOT / "run.py"), "--mode=check", f"--config={ROOT / 'experiments' / 'folder.py'}"]
    words += [f"--config.data.root={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}"]
    done = programs.run(words, cwd=tmp_path, output=tmp_path / "said")
    assert done.returncode == 1, done.stderr
    assert "p0_ed.nii.gz: does not start as NIfTI does" in done.stdout
    assert (tmp_path / "run" / "check" / "check.png").stat().st_size > 0
