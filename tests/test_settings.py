"""Settings: defaults come back as they are, and what is unknown or out of range is named with its place."""

import copy
import json

import pytest

from experiments.common import common
from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.jobs.experiment.training import train
from foanet_jax.network import NetworkSpec
from foanet_jax.settings import NETWORK_PARTS, BoxSpec, box_settings, defaults, network_settings, with_overrides
from foanet_jax.system.errors import InputError
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.spec import NetworkSettings, TrainSpec
from foanet_jax.training.step import OptimiserSpec


def config():
    """Two networks with every default."""
    parts = {name: defaults(part) for name, part in NETWORK_PARTS.items()}
    return {
        "seed": 0,
        "localization": {
            "margin_px": 10,
            "network": defaults(NetworkSpec, architecture="net1"),
            **copy.deepcopy(parts),
        },
        "segmentation": {"network": defaults(NetworkSpec, architecture="net2"), **copy.deepcopy(parts)},
    }


def test_defaults_come_back():
    assert network_settings(config(), "segmentation", 3) == NetworkSettings(
        network=NetworkSpec("net2", 3),
        prepare=PrepareSpec(),
        augment=AugmentSpec(),
        loss=LossSpec(),
        optimiser=OptimiserSpec(),
        train=TrainSpec(),
    )
    assert network_settings(config(), "localization", 2).network == NetworkSpec("net1", 2)


def test_defaults_survive_json():
    stored = json.loads(json.dumps(config()))
    assert stored == config()
    assert network_settings(stored, "segmentation", 3) == network_settings(config(), "segmentation", 3)


def test_defaults_leave_out_what_has_none_and_take_changes():
    assert "classes" not in defaults(NetworkSpec)
    assert "architecture" not in defaults(NetworkSpec)
    assert defaults(NetworkSpec, architecture="unet", width=0.5)["width"] == 0.5
    assert defaults(TrainSpec) == {
        "epochs": 10,
        "batch_size": 1,
        "examples_per_epoch": 0,
        "box_jitter_px": 0,
        "box_scale": 0.0,
        "pretrained": "",
        "validate_epochs": 1,
        "save_minutes": 10.0,
        "keep_last": 1,
        "keep_best": 1,
        "max_skipped": 10,
    }
    assert defaults(OptimiserSpec)["epsilon"] == 0.001


def test_overrides_change_a_copy():
    before = config()
    changed = with_overrides(
        before, {"segmentation.prepare.foa": True, "seed": 3, "localization.network.architecture": "unet"}
    )
    assert before == config()
    assert changed["seed"] == 3
    settings = network_settings(changed, "segmentation", 3)
    assert settings.prepare == PrepareSpec(foa=True)
    assert network_settings(changed, "localization", 2).network.architecture == "unet"
    assert with_overrides(before, {}) == before


@pytest.mark.parametrize(
    "name",
    [
        "sed",
        "segmentation.prepare.fao",
        "segmentation.prepair.foa",
        "prepare.foa",
        "segmentation.prepare.foa.x",
        "segmentation.network.architecture.net",
        "seed.x.y",
        "",
    ],
)
def test_unknown_names_are_refused(name):
    with pytest.raises(InputError, match=rf"config\.{name}: there is no such field") as caught:
        with_overrides(config(), {name: 1})
    assert caught.value.code == "configuration"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("segmentation.prepare.bucket", 40, r"config\.segmentation\.prepare: .*bucket=40"),
        ("segmentation.augment.scale", 1.5, r"config\.segmentation\.augment: .*scale=1\.5"),
        ("segmentation.loss.ssim_mode", "patch", r"config\.segmentation\.loss: .*'patch'; choose windowed or global"),
        ("segmentation.optimiser.learning_rate", 0.0, r"config\.segmentation\.optimiser: .*learning_rate=0\.0"),
        ("segmentation.train.epochs", 0, r"config\.segmentation\.train: .*epochs=0"),
        ("segmentation.train.batch_size", 0, r"config\.segmentation\.train: .*batch_size=0"),
        ("segmentation.train.box_jitter_px", -1, r"config\.segmentation\.train: .*box_jitter_px=-1"),
        ("segmentation.train.validate_epochs", -1, r"config\.segmentation\.train: .*validate_epochs=-1"),
        ("segmentation.train.epochs", "ten", r"config\.segmentation\.train: "),
        ("segmentation.network.norm", "layer", r"config\.segmentation\.network: .*'layer'; choose one of none, batch"),
        ("segmentation.loss.side", 0.5, r"config\.segmentation\.loss\.side is 0\.5.*network\.side_heads=True"),
        ("segmentation.prepare.neighbours", "time", r"config\.segmentation\.prepare: .*'time'; choose one of auto"),
        ("segmentation.prepare.foa_of", "crop", r"config\.segmentation\.prepare: .*'crop'; choose one of voxels, norm"),
        (
            "segmentation.network.decoder",
            "unet",
            r"config\.segmentation\.network: .*'unet'; choose one of none, top_down",
        ),
        ("segmentation.network.width", 0, r"config\.segmentation\.network: .*width=0"),
    ],
)
def test_bad_values_are_named_with_their_place(name, value, message):
    changed = with_overrides(config(), {name: value})
    with pytest.raises(InputError, match=message) as caught:
        network_settings(changed, "segmentation", 3)
    assert caught.value.code == "configuration"
    assert isinstance(network_settings(changed, "localization", 2), NetworkSettings)


def test_unknown_field_of_a_stored_configuration_is_named():
    stored = config()
    stored["localization"]["loss"]["huber"] = 1.0
    with pytest.raises(InputError, match=r"config\.localization\.loss: .*huber"):
        network_settings(stored, "localization", 2)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("localization.margin_px", -1, r"config\.localization: .*margin_px=-1"),
        ("localization.passes", 0, r"config\.localization: .*passes=0.* 1 to 10"),
        ("localization.passes", 11, r"config\.localization: .*passes=11"),
        ("localization.passes", 2.5, r"config\.localization: passes is '2\.5'; expected type int"),
        ("prediction.memory_mb", 0, r"prediction\.memory_mb is 0"),
        ("prediction.tta", "flip", r"config\.prediction\.tta is 'flip'; choose none or flips"),
        ("prediction.temporal", "median", r"config\.prediction\.temporal is 'median'; choose none or motion"),
        ("evaluation.patients", "tests", r"config\.evaluation\.patients is 'tests'; choose test or all"),
        ("evaluation.checkpoint", "first", r"config\.evaluation\.checkpoint is 'first'; choose best or last"),
        ("segmentation.train.epochs", 0, r"config\.segmentation\.train: .*epochs=0"),
        ("localization.network.norm", "layer", r"config\.localization\.network: .*'layer'"),
    ],
)
def test_a_training_is_refused_for_a_setting_of_any_part(name, value, message, tmp_path):
    changed = with_overrides(common("phantom").to_dict(), {name: value})
    with pytest.raises(InputError, match=message) as caught:
        train(changed, tmp_path / "run", resume=False, tensorboard=False, command=[])
    assert caught.value.code == "configuration"
    assert not (tmp_path / "run").exists()


def test_boxes_of_configurations_without_passes_are_segmented_once():
    assert "passes" not in config()["localization"]
    assert box_settings(config()) == BoxSpec(margin_px=10, passes=1)
