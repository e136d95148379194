"""Checks of a checkpoint's description, which is untrusted data."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from foanet_jax.data.nifti.orientation import SliceAxis
from foanet_jax.settings import box_settings
from foanet_jax.system.errors import InputError, as_input_error

MOST_LETTERS = 2**20
MOST_CLASSES = 256  # a mask's values are uint8
SLICE_AXES = get_args(SliceAxis)
_NOTHING = object()


def require_description(description: Any, place: Path) -> None:
    """Checks all values that a prediction reads from a checkpoint's description, except the settings of the networks.

    Args:
        description: the description.
        place: the checkpoint's folder or file, for the message.

    Raises:
        InputError: a value is missing, or is not a value that a training writes.
    """
    # Allowed types by dotted name. None: the value may be missing, as in checkpoints of older versions.
    expected: dict[str, tuple[type | None, ...]] = {
        "config": (dict,),
        "config.data": (dict,),
        "config.data.cyclic": (bool,),
        "config.data.name": (str,),
        "config.data.root": (str,),
        "config.localization": (dict,),
        "config.localization.enabled": (bool,),
        "config.localization.margin_px": (int,),
        "config.localization.passes": (int, None),
        "config.prediction": (dict,),
        "config.prediction.memory_mb": (int, None),
        "slice_axis": (str, type(None), None),
        "training_range": (dict, None),
    }
    for name, types in expected.items():
        value: Any = description
        for part in name.split("."):
            value = value.get(part, _NOTHING) if isinstance(value, Mapping) else _NOTHING
        if (None if value is _NOTHING else type(value)) not in types:
            what = "missing" if value is _NOTHING else f"a {type(value).__name__}"
            raise _damaged(place, f"{name} is {what} in its description")
    if len(json.dumps(description)) > MOST_LETTERS:
        raise _damaged(place, f"its description has more than {MOST_LETTERS} characters")
    classes = description.get("classes")
    named = isinstance(classes, list) and all(isinstance(name, str) and 0 < len(name) <= 256 for name in classes)
    if not named or not 2 <= len(classes) <= MOST_CLASSES or len(set(classes)) < len(classes):
        raise _damaged(place, f"its classes are not 2 to {MOST_CLASSES} different names")
    if description.get("slice_axis") not in (None, *SLICE_AXES):
        raise _damaged(place, f"its slice_axis is not one of {', '.join(SLICE_AXES)}")
    for name, limits in description.get("training_range", {}).items():
        numbers = isinstance(limits, list) and all(type(limit) in (int, float) for limit in limits)
        if not numbers or len(limits) != 2:
            raise _damaged(place, f"its training_range.{name} is not two numbers")
    try:
        box_settings(description["config"])
    except InputError as error:
        raise _damaged(place, f"its description: {error}") from None


@contextlib.contextmanager
def readable(place: Path) -> Iterator[None]:
    """Turns every exception in a block that reads a checkpoint into an InputError, whose message names `place`."""
    with as_input_error(lambda what: _damaged(place, what)):
        yield


def _damaged(place: Path, what: str) -> InputError:
    return InputError(
        "damaged-checkpoint", f"{place}: cannot be used ({what}); copy the checkpoints again, or train again"
    )
