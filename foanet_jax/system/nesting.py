"""Conversion between nested dictionaries and flat ones with dotted names."""

from collections.abc import Mapping
from typing import Any


def dotted(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens a nested dictionary: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{rest}": leaf for rest, leaf in dotted(value).items()}
        else:
            flat[name] = value
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a nested dictionary from the result of `dotted`: {"a.b": 1} becomes {"a": {"b": 1}}."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, field = name.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[field] = value
    return tree
