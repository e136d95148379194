"""From a configuration, a nested dictionary of plain values, to the typed settings of each part.

This is the door: behind it nothing knows configuration objects. The same dictionary is stored as JSON with
every checkpoint, and read from there again.
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
from foanet_jax.training.spec import STAGES, StageSettings, TrainSpec
from foanet_jax.training.step import OptimiserSpec

MOST_PASSES = 10


@dataclasses.dataclass(frozen=True)
class BoxSpec:
    """What happens to the bounding box that the localization network finds (Sec. III-A).

    Attributes:
        margin_px: margin added to the box on each side, in px at the study's own spacing (paper: 10).
        passes: largest number of times that a study is segmented. From 2 on, a study is segmented again when the
            segmentation contradicts the box.
    """

    margin_px: int = 10
    passes: int = 1

    def __post_init__(self):
        if self.margin_px < 0 or not 1 <= self.passes <= MOST_PASSES:
            raise ValueError(f"{self}: margin_px may not be negative, passes must be 1 to {MOST_PASSES}")


STAGE_PARTS: dict[str, type] = {
    "prepare": PrepareSpec,
    "augment": AugmentSpec,
    "loss": LossSpec,
    "optimiser": OptimiserSpec,
    "train": TrainSpec,
}


def defaults(part: type, **changes) -> dict[str, Any]:
    """The fields of a settings class and their defaults, as a configuration holds them."""
    fields = {field.name: field.default for field in dataclasses.fields(part)}
    return {name: value for name, value in fields.items() if value is not dataclasses.MISSING} | changes


def stages_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The networks that a configuration has, in the order in which they are trained."""
    return STAGES if config["localization"]["enabled"] else STAGES[1:]


def _build(part: type, values: Mapping[str, Any], where: str, **extra):
    try:
        _require_types(part, values)
        return part(**values, **extra)
    except (TypeError, ValueError) as error:
        raise InputError("configuration", f"config.{where}: {error}") from None


# What a field of a plain type takes. A bool would be an int to isinstance.
_TAKES: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


def _require_types(part: type, values: Mapping[str, Any]) -> None:
    """Checks that the values are of their fields' types; what a checkpoint holds may be anything that JSON can be."""
    for field in dataclasses.fields(part):
        value = values.get(field.name, field.default)
        takes = _TAKES.get(field.type, ())
        if field.name in values and takes and type(value) not in takes:
            raise TypeError(
                f"{field.name} is {str(value)[:40]!r}; expected {' or '.join(kind.__name__ for kind in takes)}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value}; it must be finite")


def stage_settings(config: Mapping[str, Any], name: str, classes: int) -> StageSettings:
    """The settings of the network `name` ("localization" or "segmentation").

    Raises:
        InputError: an unknown field or a value out of range, with its place in the configuration.
    """
    stage = config[name] if isinstance(config.get(name), Mapping) else {}
    missing = [part for part in ("network", *STAGE_PARTS) if not isinstance(stage.get(part), Mapping)]
    if missing:
        raise InputError("configuration", f"config.{name}.{missing[0]}: there are no such settings")
    network = _build(NetworkSpec, stage["network"], f"{name}.network", classes=classes)
    parts = {part: _build(kind, stage[part], f"{name}.{part}") for part, kind in STAGE_PARTS.items()}
    settings = StageSettings(network=network, **parts)
    if settings.loss.side and not network.side_heads:
        raise InputError(
            "configuration",
            f"config.{name}.loss.side is {settings.loss.side}, but the network has no side heads; set "
            f"config.{name}.network.side_heads=True",
        )
    return settings


def box_settings(config: Mapping[str, Any]) -> BoxSpec:
    """What becomes of the localization's box; older versions' configurations say nothing of passes.

    Raises:
        InputError: a value out of range, with its place in the configuration.
    """
    values = {field.name for field in dataclasses.fields(BoxSpec)} & set(config["localization"])
    return _build(BoxSpec, {name: config["localization"][name] for name in values}, "localization")


def with_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration with dotted names ("segmentation.prepare.foa") set to new values.

    Raises:
        InputError: a name that the configuration does not have.
    """
    changed = copy.deepcopy(dict(config))
    for name, value in overrides.items():
        *parents, field = name.split(".")
        place: Any = changed
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or field not in place:
            raise InputError("configuration", f"config.{name}: there is no such field")
        place[field] = value
    return changed
