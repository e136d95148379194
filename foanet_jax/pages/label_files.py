"""Names and colours of the classes, in files for ITK-SNAP and 3D Slicer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foanet_jax.pages.drawing.style import class_colours
from foanet_jax.system.atomic import atomic_path

ITK_SNAP = "labels.txt"
SLICER = "labels.ctbl"
NAMES = (ITK_SNAP, SLICER)


def label_entries(classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns value, name and colour (#rrggbb; "" for the background) of each class.

    Args:
        classes: names by index; 0 is the background.
    """
    colours = class_colours(classes)
    return [{"value": value, "name": name, "colour": colours.get(name, "")} for value, name in enumerate(classes)]


def write_label_files(classes: Sequence[str], folder: Path) -> None:
    """Writes `labels.txt`, the label descriptions for ITK-SNAP, and `labels.ctbl`, the colour table for 3D Slicer.

    Args:
        classes: names by index; 0 is the background.
        folder: the folder with the masks of these classes.
    """
    snap = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# File format:",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "# IDX: label value; -R-, -G-, -B-: colour; -A-: opacity; VIS, MSH: visible in slices, in 3D; LABEL: name",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    slicer = ["# Color table file labels.ctbl", f"# {len(classes)} values", "0 background 0 0 0 0"]
    for entry in label_entries(classes)[1:]:
        red, green, blue = (int(entry["colour"][place : place + 2], 16) for place in (1, 3, 5))
        # Neither format can have a quote in a name, and the names of Slicer end at a space.
        name = "".join(
            character if character.isprintable() and character != '"' else "_" for character in entry["name"]
        )
        snap.append(f'{entry["value"]:5d}   {red:3d}  {green:3d}  {blue:3d}        1  1  1    "{name}"')
        slicer.append(f"{entry['value']} {'_'.join(name.split()) or '_'} {red} {green} {blue} 255")
    for file, lines in ((ITK_SNAP, snap), (SLICER, slicer)):
        with atomic_path(folder / file) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
