"""Which epochs of a training end in a validation and a checkpoint."""

import dataclasses

import pytest

import foanet_jax.network
from foanet_jax.training import loop
from foanet_jax.training.checkpoint import Checkpoints, open_checkpoints
from foanet_jax.training.runlog import read_log
from tests.faults.child import SETTINGS, Small, cases


@pytest.mark.parametrize(
    ("options", "validated", "saved"),
    [
        ({"validate_epochs": 1}, [0, 1, 2], [1, 2, 3]),
        ({"validate_epochs": 2}, [1, 2], [2, 3]),
        ({"validate_epochs": 0}, [], [3]),
        # Of an epoch of one step the end is all there is to save at.
        ({"validate_epochs": 0, "save_minutes": 1e-9}, [], [1, 2, 3]),
    ],
    ids=str,
)
def test_which_epochs_validate_and_save(options, validated, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(foanet_jax.network, "FoaNet", Small)
    steps, save = [], Checkpoints.save
    monkeypatch.setattr(
        Checkpoints,
        "save",
        lambda self, state, *rest, **more: steps.append(int(state.step)) or save(self, state, *rest, **more),
    )
    train = {"epochs": 3, "batch_size": 2, "examples_per_epoch": 2, "save_minutes": 0.0, **options}
    training, _, validation = cases(3)  # on one grid
    loop.train_network(
        "segmentation",
        [training],
        [validation],
        dataclasses.replace(SETTINGS, train=dataclasses.replace(SETTINGS.train, **train)),
        tmp_path,
        description={"config": {"data": {"name": "loop"}}},
        seed=1,
        memory_bytes=2**30,
        resume=False,
    )
    assert steps == saved
    log = read_log(tmp_path)
    assert [record["epoch"] for record in log if record["kind"] == "validation"] == validated
    assert [record["step"] for record in log if record["kind"] == "train"] == [1, 2, 3]
    with open_checkpoints(tmp_path, write=False) as checkpoints:
        assert checkpoints.read("last").step == 3
        best = checkpoints.read("best")
    scores = {record["step"]: record["dice"] for record in log if record["kind"] == "validation"}
    assert best.step == max(scores, key=lambda step: (scores[step], step), default=3)
