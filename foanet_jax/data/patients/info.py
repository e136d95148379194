"""The patient's body in ACDC's Info.cfg, which has height and weight, but neither sex nor age."""

import re
from collections.abc import Mapping
from pathlib import Path

from foanet_jax.data.patients.body import Body, checked

NAME = "Info.cfg"


def body_of_info(info: Mapping[str, str]) -> Body:
    """Returns the height in cm and the weight in kg of an Info.cfg, from its keys and values."""
    height, weight = (_number(info.get(key, "")) for key in ("Height", "Weight"))
    return checked(height, weight, source=NAME, names=("Height", "Weight"))


def read_info(text: str) -> dict[str, str]:
    """Returns keys and values of the lines "Key: value"."""
    return {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in text.splitlines())}


def body_beside(path: Path) -> Body | None:
    """Returns the body in the Info.cfg of an image in ACDC's layout, patientNNN/patientNNN_…; None if there is none."""
    folder = path.absolute().parent
    if re.fullmatch(r"patient\d+", folder.name) is None or not path.name.startswith(f"{folder.name}_"):
        return None
    place = folder / NAME
    try:
        if not place.is_file():
            return None
        with open(place, "rb") as file:
            text = file.read(65536).decode("utf-8", errors="replace")
    except OSError:
        return None
    body = body_of_info(read_info(text))
    return None if body.is_empty and not body.remarks else body


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and float(text) > 0 else None
