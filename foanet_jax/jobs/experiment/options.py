"""Options of a configuration that several jobs read."""

from collections.abc import Sequence

from foanet_jax.jobs.experiment.studies import Config
from foanet_jax.pipeline import MEMORY_BYTES, SYMMETRIES, TEMPORAL
from foanet_jax.settings import box_settings, network_settings, networks_of
from foanet_jax.system.errors import InputError
from foanet_jax.training.checkpoint import WHICH

WHOM = ("test", "all")


def require_settings(config: Config) -> None:
    """Checks the settings of the networks, the box, the prediction and the evaluation before a training starts.

    Without this check, an evaluation could fail after a long training.

    Raises:
        InputError: a setting cannot be used; the message names the first one.
    """
    for network in networks_of(config):
        network_settings(config, network, classes=2)
    box_settings(config)
    memory_bytes(config)
    test_time_augmentation(config)
    temporal_averaging(config)
    require_choice("evaluation.patients", config["evaluation"]["patients"], WHOM)
    require_choice("evaluation.checkpoint", config["evaluation"]["checkpoint"], WHICH)


def memory_bytes(config: Config) -> int:
    """Returns the memory limit of a forward pass in prediction and validation, in bytes.

    Raises:
        InputError: `prediction.memory_mb` is less than 1.
    """
    # Checkpoints of older versions do not have this field.
    memory_mb = config["prediction"].get("memory_mb", MEMORY_BYTES // 2**20)
    if memory_mb < 1:
        raise InputError("configuration", f"prediction.memory_mb is {memory_mb}; it must be at least 1")
    return memory_mb * 2**20


def test_time_augmentation(config: Config) -> str:
    """Returns the test-time augmentation: "none", "flips" or "turns", see `pipeline.probability_maps`.

    Raises:
        InputError: `prediction.tta` has another value.
    """
    tta = config["prediction"].get("tta", "none")  # Checkpoints of older versions do not have this field.
    require_choice("prediction.tta", tta, tuple(SYMMETRIES))
    return tta


def temporal_averaging(config: Config) -> str:
    """Returns what is done with the probability maps of a cine: "none" or "motion", see `pipeline.Model`.

    Raises:
        InputError: `prediction.temporal` has another value.
    """
    temporal = config["prediction"].get("temporal", "none")  # Checkpoints of older versions do not have this field.
    require_choice("prediction.temporal", temporal, TEMPORAL)
    return temporal


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises InputError if the value of the configuration's field `name` is not one of the choices."""
    if value not in choices:
        raise InputError("configuration", f"config.{name} is {value!r}; choose {' or '.join(choices)}")
