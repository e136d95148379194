"""What may change between the beginning of a training and its going on, and what is refused by name."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from foanet_jax.system.errors import InputError
from foanet_jax.training.resuming import describe_training, require_same_training
from tests.faults.child import SETTINGS, cases

DATA = {"name": "acdc", "root": "/here", "fold": 0, "folds_file": ""}


def described(*, schedule="cosine", data=None, studies=None, seed=3, **changes):
    """A training with fields like train__epochs changed."""
    settings = dataclasses.replace(SETTINGS, optimiser=dataclasses.replace(SETTINGS.optimiser, schedule=schedule))
    for name, value in changes.items():
        part, field = name.split("__")
        settings = dataclasses.replace(
            settings, **{part: dataclasses.replace(getattr(settings, part), **{field: value})}
        )
    training, validation = studies or (cases(3)[:2], cases(3)[2:])
    return describe_training("segmentation", settings, {**DATA, **(data or {})}, training, validation, seed=seed)


def other_label():
    first, second, third = cases(3)
    labels = first.labels.copy()
    labels[0, 0, 0, 0] = 1
    return [dataclasses.replace(first, labels=labels), second], [third]


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"network__width": 0.5}, "config.segmentation.network.width = 0.0625, but now it is 0.5"),
        ({"prepare__foa": True}, "config.segmentation.prepare.foa = False, but now it is True"),
        ({"augment__noise": 0.0}, "config.segmentation.augment.noise = 0.1, but now it is 0.0"),
        ({"loss__ssim": 1.0}, "config.segmentation.loss.ssim = 0.0, but now it is 1.0"),
        ({"optimiser__learning_rate": 0.1}, "config.segmentation.optimiser.learning_rate = 0.01, but now it is 0.1"),
        ({"train__batch_size": 4}, "config.segmentation.train.batch_size = 2, but now it is 4"),
        ({"train__pretrained": "x"}, "config.segmentation.train.pretrained = '', but now it is 'x'"),
        ({"train__epochs": 5}, "config.segmentation.train.epochs = 4, but now it is 5"),
        ({"seed": 4}, "config.segmentation.seed = 3, but now it is 4"),
        ({"data": {"fold": 1}}, "config.data.fold = 0, but now it is 1"),
        ({"studies": (cases(2), [])}, "studies.validation.p2_c = '0 .*', but now it is 'missing'"),
        ({"studies": other_label()}, "studies.training.p0_c = '0 .*', but now it is '0 .*'"),
        ({"studies": (cases(3)[1::-1], cases(3)[2:])}, "studies.training.p1_c = '1 .*', but now it is '0 .*'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_matters_may_not_change(now, says):
    with pytest.raises(InputError, match=f"was started with {says}; use the original value") as caught:
        require_same_training(described(), described(**now), Path("run"))
    assert caught.value.code == "other-training"


@pytest.mark.parametrize(
    "now",
    [
        {},
        {"train__save_minutes": 1.0, "train__keep_last": 3, "train__keep_best": 2, "train__max_skipped": 5},
        {"data": {"root": "/there", "folds_file": "x.json"}},
    ],
)
def test_what_changes_nothing_may_change(now):
    require_same_training(described(), described(**now), Path("run"))


def test_epochs_may_be_added_at_a_constant_rate():
    began = described(schedule="constant")
    require_same_training(began, described(schedule="constant", train__epochs=5), Path("run"))
    with pytest.raises(InputError, match=re.escape("train.epochs = 4, but now it is 3")):
        require_same_training(began, described(schedule="constant", train__epochs=3), Path("run"))


def test_fields_of_another_version_are_passed_over():
    began, now = described(), described()
    del began["segmentation"]["train"]["batch_size"]
    del now["segmentation"]["augment"]["noise"]
    require_same_training(began, now, Path("run"))


def test_a_voxel_is_enough():
    study = cases(1)[0].original
    voxels = study.voxels.copy()
    voxels[0, 0, 0, 0] = np.nextafter(voxels[0, 0, 0, 0], np.float32(9))
    changed = dataclasses.replace(cases(1)[0], original=dataclasses.replace(study, voxels=voxels))
    with pytest.raises(InputError, match=r"studies\.training\.p0_c"):
        require_same_training(described(studies=(cases(1), [])), described(studies=([changed], [])), Path("run"))
