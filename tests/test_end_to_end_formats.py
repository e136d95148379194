"""Every format on disk from training to mask, as a user does it, on tiny phantoms.

One's own data, with two studies a patient, and nnU-Net's layout are in test_end_to_end_own_data.py.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest

from experiments import acdc, folder, lvquan19, mmwhs2017, sunnybrook
from foanet_jax import experiment, prediction
from foanet_jax.data.catalogue import read_input
from foanet_jax.data.short_axis_phantom import short_axis_stack, short_axis_study
from foanet_jax.data.study import LV_CLASSES
from foanet_jax.data.whole_heart_phantom import whole_heart_study
from foanet_jax.data.writers import (
    write_acdc,
    write_dicom,
    write_folder,
    write_lvquan19,
    write_mmwhs2017,
    write_sunnybrook,
)

PATIENTS = (1, 2, 3)
SIZE = 72
TINY = {"data.folds": 3, "data.validation_fraction": 0.0, "evaluation.overlays": 1}
TINY_STAGE = {
    "network.width": 1 / 32,
    "prepare.spacing_mm": 5.0,
    "prepare.bucket": 64,
    "train.epochs": 1,
    "train.batch_size": 2,
    "train.examples_per_epoch": 4,
}


def write_lvquan19_files(root):
    for number in PATIENTS:
        write_lvquan19(short_axis_study(number, size=SIZE, frames=4), root, number)


def write_mmwhs2017_files(root):
    for number in PATIENTS:
        write_mmwhs2017(whole_heart_study(number, shape=(8, 48, 48)), root, 1000 + number)


def write_acdc_files(root):
    for number in PATIENTS:
        patient = f"patient{number:03d}"
        cine = short_axis_stack(number, size=SIZE, slices=3, frames=2)
        cases = [
            dataclasses.replace(
                cine,
                patient=patient,
                case=f"{patient}_frame{frame + 1:02d}",
                voxels=cine.voxels[[frame]],
                labels=cine.labels[[frame]],
            )
            for frame in range(2)
        ]
        write_acdc(cases, root)


def write_folder_of_cines(root):
    write_folder([short_axis_stack(number, size=SIZE, slices=3, frames=4) for number in PATIENTS], root)


def left_ventricle(number):
    """A cine of a stack without the right ventricle's label."""
    stack = short_axis_stack(number, size=SIZE, slices=4, frames=3)
    labels = np.array([0, 0, 1, 2], np.uint8)[stack.labels]
    return dataclasses.replace(stack, labels=labels, classes=LV_CLASSES)


def write_sunnybrook_files(root):
    for number in PATIENTS:
        write_sunnybrook(left_ventricle(number), root, patient=f"SCD000010{number}", original=f"SC-N-{number}")


@dataclasses.dataclass(frozen=True)
class Format:
    """A data set on disk, what one fold's test patient makes of it, and what of it a user predicts on."""

    experiment: ModuleType
    write: Callable[[Path], None]
    classes: set[str]
    units: int
    source: str
    masks: dict[str, tuple[int, ...]]


LEFT = {"myocardium", "cavity"}
BOTH = {"right ventricle", *LEFT}
WHOLE = {
    "myocardium",
    "left atrium",
    "left ventricle",
    "right atrium",
    "right ventricle",
    "ascending aorta",
    "pulmonary artery",
}
FORMATS = {
    "lvquan19": Format(
        lvquan19, write_lvquan19_files, LEFT, 4, "", {f"patient{n}": (SIZE, SIZE, 1, 4) for n in PATIENTS}
    ),
    "mmwhs2017": Format(
        mmwhs2017, write_mmwhs2017_files, WHOLE, 1, "mr_train_1002_image.nii.gz", {"mr_train_1002_image": (48, 48, 8)}
    ),
    "acdc": Format(
        acdc,
        write_acdc_files,
        BOTH,
        2,
        "patient002",
        {f"patient002_frame0{frame}": (SIZE, SIZE, 3) for frame in (1, 2)},
    ),
    "folder of 4D cines": Format(
        folder, write_folder_of_cines, BOTH, 4, "images/phantom002.nii.gz", {"phantom002": (SIZE, SIZE, 3, 4)}
    ),
    "sunnybrook": Format(
        sunnybrook,
        write_sunnybrook_files,
        LEFT,
        1,
        "dicoms",
        {f"SCD000010{n}": (SIZE, SIZE, 4, 3) for n in PATIENTS},
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_train_evaluate_predict(name, tmp_path):
    chosen = FORMATS[name]
    chosen.write(tmp_path / "data")
    config = chosen.experiment.get_config()
    config.update_from_flattened_dict(
        {
            **TINY,
            **{f"{stage}.{field}": value for stage in experiment.STAGES for field, value in TINY_STAGE.items()},
            "data.root": str(tmp_path / "data"),
        }
    )
    run = tmp_path / "run"
    experiment.train(config.to_dict(), run, resume=False, tensorboard=False, command=[])
    folds = json.loads((run / "folds.json").read_text())["folds"]
    assert [len(fold["test"]) for fold in folds] == [1, 1, 1]
    summary = experiment.evaluate(config.to_dict(), run, run)
    assert {row.class_name for row in summary.classes} == {*chosen.classes, "foreground"}
    assert summary.row("myocardium").n_units == chosen.units

    source = tmp_path / "data" / chosen.source
    assert prediction.predict(run, source, tmp_path / "out", third_axis="slice", overwrite=False, pages=False) == 0
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert set(report) == set(chosen.masks)
    for ref in read_input(source):
        study = ref.load()
        mask = nibabel.load(tmp_path / "out" / f"{ref.case}.nii.gz")
        assert mask.shape == chosen.masks[ref.case]
        np.testing.assert_allclose(mask.affine, study.affine, atol=1e-5)
        np.testing.assert_allclose(mask.header.get_zooms()[:3], study.spacing_mm[::-1], rtol=1e-6)
        assert sum(report[ref.case]["voxels"].values()) == np.prod(mask.shape)
        assert (tmp_path / "out" / f"{ref.case}.png").stat().st_size > 0

    if name == "folder of 4D cines":
        # A scanner's folder, of a patient that no data set has.
        write_dicom(left_ventricle(4), tmp_path / "dicom" / "eva")
        assert (
            prediction.predict(
                run, tmp_path / "dicom", tmp_path / "out2", third_axis="slice", overwrite=False, pages=False
            )
            == 0
        )
        assert nibabel.load(tmp_path / "out2" / "dicom.nii.gz").shape == (SIZE, SIZE, 4, 3)
