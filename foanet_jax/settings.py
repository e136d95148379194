"""Conversion of a configuration, a nested dictionary of plain values, to typed settings.

All other modules use these typed settings and never see a configuration object. Each checkpoint stores the same
dictionary as JSON, and predictions read it from there.
"""

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from foanet_jax.image.augment import AugmentSpec
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.system.errors import InputError
from foanet_jax.training.losses import LossSpec
from foanet_jax.training.spec import NETWORKS, NetworkSettings, TrainSpec
from foanet_jax.training.step import OptimiserSpec

MOST_PASSES = 10


@dataclasses.dataclass(frozen=True)
class BoxSpec:
    """What happens to the bounding box that the localization network finds (Sec. III-F, Fig. 8a).

    Attributes:
        margin_px: margin added to the box on each side, in px at the study's own spacing (paper: 10).
        passes: largest number of segmentations of a study. From 2 on, a study is segmented again when the segmentation
            contradicts the box.
    """

    margin_px: int = 10
    passes: int = 1

    def __post_init__(self):
        if self.margin_px < 0 or not 1 <= self.passes <= MOST_PASSES:
            raise ValueError(f"{self}: margin_px must not be negative, and passes must be from 1 to {MOST_PASSES}")


NETWORK_PARTS: dict[str, type] = {
    "prepare": PrepareSpec,
    "augment": AugmentSpec,
    "loss": LossSpec,
    "optimiser": OptimiserSpec,
    "train": TrainSpec,
}


def defaults(part: type, **changes) -> dict[str, Any]:
    """Returns the fields of a settings class and their default values, as a dictionary for a configuration.

    Args:
        part: the settings class.
        changes: values to use instead of the defaults.
    """
    fields = {field.name: field.default for field in dataclasses.fields(part)}
    return {name: value for name, value in fields.items() if value is not dataclasses.MISSING} | changes


def networks_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of a configuration's networks, in the order of their training."""
    return NETWORKS if config["localization"]["enabled"] else NETWORKS[1:]


def _build(part: type, values: Mapping[str, Any], where: str, **extra):
    try:
        _require_types(part, values)
        return part(**values, **extra)
    except (TypeError, ValueError) as error:
        raise InputError("configuration", f"config.{where}: {error}") from None


# The types that a field accepts. `isinstance` is not used, because it accepts a bool as an int.
_TAKES: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


def _require_types(part: type, values: Mapping[str, Any]) -> None:
    """Checks the types of the values, because a configuration from a checkpoint can hold any JSON value."""
    for field in dataclasses.fields(part):
        value = values.get(field.name, field.default)
        takes = _TAKES.get(field.type, ())
        if field.name in values and takes and type(value) not in takes:
            raise TypeError(
                f"{field.name} is {str(value)[:40]!r}; expected type {' or '.join(kind.__name__ for kind in takes)}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value}; it must be finite")


def network_settings(config: Mapping[str, Any], name: str, classes: int) -> NetworkSettings:
    """Returns the settings of one network.

    Args:
        config: the configuration.
        name: "localization" or "segmentation".
        classes: number of the network's classes, with the background.

    Raises:
        InputError: a field is unknown, or its value has the wrong type or is out of range; the message names the field.
    """
    section = config[name] if isinstance(config.get(name), Mapping) else {}
    missing = [part for part in ("network", *NETWORK_PARTS) if not isinstance(section.get(part), Mapping)]
    if missing:
        raise InputError(
            "configuration", f"config.{name}.{missing[0]}: this section is missing; add it to the configuration"
        )
    network = _build(NetworkSpec, section["network"], f"{name}.network", classes=classes)
    parts = {part: _build(kind, section[part], f"{name}.{part}") for part, kind in NETWORK_PARTS.items()}
    settings = NetworkSettings(network=network, **parts)
    if settings.loss.side and not network.side_heads:
        raise InputError(
            "configuration",
            f"config.{name}.loss.side is {settings.loss.side}, but the network has no side heads; set "
            f"config.{name}.network.side_heads=True",
        )
    return settings


def box_settings(config: Mapping[str, Any]) -> BoxSpec:
    """Returns the settings of the localization's box.

    Configurations of older versions do not have the field `passes`; its default value is used then.

    Raises:
        InputError: a value is out of range; the message names the field.
    """
    values = {field.name for field in dataclasses.fields(BoxSpec)} & set(config["localization"])
    return _build(BoxSpec, {name: config["localization"][name] for name in values}, "localization")


def with_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a configuration with some fields changed.

    Args:
        config: the configuration; not changed.
        overrides: new values by dotted name, such as "segmentation.prepare.foa".

    Raises:
        InputError: the configuration does not have such a field.
    """
    changed = copy.deepcopy(dict(config))
    for name, value in overrides.items():
        *parents, field = name.split(".")
        place: Any = changed
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or field not in place:
            raise InputError(
                "configuration", f"config.{name}: there is no such field; docs/configuration.md lists all fields"
            )
        place[field] = value
    return changed
