"""The classes of label values: as the user names them, as the mask's file names them, or as files beside it do."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from foanet_jax.data.inputs import LABEL_FOLDERS
from foanet_jax.data.readers.folder import DESCRIPTION, FORMAT, raise_wrong, read_class_values, read_json
from foanet_jax.data.readers.nnunet import read_label_names
from foanet_jax.data.study import ACDC_CLASSES, WHOLE_HEART_CLASSES
from foanet_jax.system.errors import InputError

Names = dict[int, str]

# The values of masks without names: those of this project's short-axis weights, which are those of ACDC.
OURS: Names = dict(enumerate(ACDC_CLASSES[1:], 1))
# M&Ms exchanges these values of ACDC, and without names nothing but the shape of the heart tells the two apart.
EXCHANGEABLE = "M&Ms has 1 for the cavity and 3 for the right ventricle, ACDC has it the other way round"

_SYNONYMS = {
    "background": ("clear label", "exterior"),
    "right ventricle": ("rv", "rvc", "rv cavity", "rv blood pool", "rv bp", "rv endo", "ventricle right"),
    "myocardium": ("myo", "mlv", "lvm", "lv myo", "lv myocardium", "lv wall", "left ventricular myocardium"),
    "cavity": ("lv", "lvc", "lv cavity", "lv blood pool", "lv bp", "lv endo", "left ventricle", "ventricle left"),
    "left atrium": ("la", "atrium left"),
    "right atrium": ("ra", "atrium right"),
    "ascending aorta": (),
    "pulmonary artery": ("pa",),
}
_CLASS_OF = {name: known for known, names in _SYNONYMS.items() for name in (known, *names)}
# A mask with one of these shows a whole heart, whose cavity is called the left ventricle.
_WHOLE_HEART = ("left atrium", "right atrium", "ascending aorta", "pulmonary artery")
_ORDER = (*ACDC_CLASSES[1:], *(name for name in WHOLE_HEART_CLASSES[1:] if name not in ACDC_CLASSES))
_MOST_LABELS = 255  # A mask in memory is uint8.
_SNAP = re.compile(r'\s*(\d{1,8})(?:\s+[\d.]+){6}\s+"(.*)"\s*')
_REPORTS = ("measurements.json", "predictions.json")
_SNAP_FILE = "labels.txt"
_LARGEST_FILE = 2**28  # bytes


def parse_labels(words: Sequence[str]) -> Names | None:
    """Returns the class of each label value in `--labels=rv:1,myocardium:2,cavity:3`; None without words.

    A class may have several values. A name that is not known is a class of its own.

    Raises:
        InputError: "arguments" if a word is not NAME:VALUE, or a value has two names.
    """
    named: list[tuple[int, str]] = []
    for word in words:
        name, colon, value = word.rpartition(":")
        if not (colon and name.strip() and re.fullmatch(r"\s*\d{1,7}\s*", value)) or int(value) == 0:
            raise InputError(
                "arguments",
                f"--labels={','.join(words)}: {word!r} is not NAME:VALUE with a value from 1; write for example "
                "--labels=rv:1,myocardium:2,cavity:3",
            )
        if any(int(value) == other for other, _ in named):
            raise InputError("arguments", f"--labels={','.join(words)}: the value {int(value)} has two names")
        named.append((int(value), name))
    return _with_classes(named) if named else None


def classes_of_names(names: Mapping[int, str], path: Path) -> Names | None:
    """Returns the class of each label value, from the names that a file gives; None if no name is that of a structure.

    Raises:
        InputError: "labels" if two values have names of the same class.
    """
    found = _with_classes([(value, name) for value, name in names.items() if value])
    found = {value: name for value, name in found.items() if name != "background"}
    if not set(found.values()) & set(_ORDER):
        return None
    for value, name in found.items():
        others = [other for other in found if other != value and found[other] == name]
        if others:
            raise InputError(
                "labels",
                f"{path}: {value} ({names[value]}) and {others[0]} ({names[others[0]]}) are both the {name}; "
                "correct the names, or give the values with --labels=NAME:VALUE,…",
            )
    return found


def names_beside(path: Path, root: Path, known: dict[Path, Names | None]) -> Names | None:
    """Returns the class of each label value from the files beside a mask, or in the folders above it up to `root`.

    In each folder, these are tried in this order: `dataset.json` of this project or of nnU-Net, for a folder of labels
    also in the folder above; `measurements.json` and `predictions.json`; `labels.txt` of ITK-SNAP.

    Args:
        path: the mask.
        root: the last folder.
        known: what the files in each folder say, which grows, so that each is read once for all masks.

    Raises:
        InputError: a `dataset.json` is not valid.
    """
    folder, found = path.parent, None
    while found is None:
        if folder not in known:
            known[folder] = _described(folder) or _reported(folder) or _snap(folder)
        found = known[folder]
        if folder == root or folder == folder.parent or root not in folder.parents:
            return found
        folder = folder.parent
    return found


def classes_of(schemes: Iterable[Mapping[int, str]]) -> tuple[str, ...]:
    """Returns the classes of all masks together, background first, then in the order of this project's weights."""
    names = dict.fromkeys(name for scheme in schemes for _, name in sorted(scheme.items()))
    if len(names) > _MOST_LABELS:
        raise InputError("labels", f"the masks have {len(names)} classes; at most {_MOST_LABELS} can be measured")
    known = [name for name in _ORDER if name in names]
    return ("background", *known, *(name for name in names if name not in known))


def _with_classes(named: Sequence[tuple[int, str]]) -> Names:
    found = {value: _class_name(name) for value, name in named}
    if any(name in _WHOLE_HEART for name in found.values()):
        found = {value: "left ventricle" if name == "cavity" else name for value, name in found.items()}
    return found


def _class_name(name: str) -> str:
    """Returns the class of a structure's name: "right ventricle" for "RV", "rv_cavity" and "heart_ventricle_right"."""
    words = " ".join(re.split(r"[\s_.-]+", name.strip().lower())).removeprefix("heart ")
    return _CLASS_OF.get(words, words)


def _described(folder: Path) -> Names | None:
    places = [folder / DESCRIPTION]
    if folder.name.lower() in LABEL_FOLDERS:
        places.append(folder.parent / DESCRIPTION)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    value = read_json(path)
    wrong: list[str] = []
    if value.get("format") == FORMAT:
        classes, index_of = read_class_values(value.get("classes"), wrong)
    elif "labels" in value:
        classes, index_of = read_label_names(value["labels"], wrong)
    else:
        return None
    raise_wrong(path, wrong)
    named = [(label, classes[index]) for label, index in index_of.items() if index]
    found = _with_classes(named)
    return found or None


def _reported(folder: Path) -> Names | None:
    """Reads the labels in the report of an earlier prediction or measurement."""
    for report in _REPORTS:
        try:
            with open(folder / report, "rb") as file:
                content = json.loads(file.read(_LARGEST_FILE))
            for entry in content.values():
                labels = {int(label["value"]): str(label["name"]) for label in entry.get("labels", ())}
                if len(labels) > 1:
                    return {value: name for value, name in labels.items() if value}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return None


def _snap(folder: Path) -> Names | None:
    """Reads the label descriptions of ITK-SNAP."""
    path = folder / _SNAP_FILE
    try:
        with open(path, "rb") as file:
            text = file.read(2**20).decode("utf-8", errors="replace")
    except OSError:
        return None
    matches = [_SNAP.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    names = {int(match[1]): match[2] for match in matches if match and int(match[1])}
    return classes_of_names(names, path) if names else None
