"""Reader of the layout of nnU-Net versions 1 and 2: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foanet_jax.data.readers.folder import (
    DESCRIPTION,
    Layout,
    Template,
    brief,
    raise_wrong,
    read_class_values,
    read_json,
    read_options,
    shown,
)
from foanet_jax.data.refs import StudyRef, empty_root, raise_problems, require_root, safe_case
from foanet_jax.system.errors import InputError

IMAGES, LABELS = "imagesTr", "labelsTr"

_OWN_KEYS = ("third_axis", "slice_axis", "patient", "groups")
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def list_nnunet(
    root: str | os.PathLike[str], *, spacing_mm: Sequence[float] | None = None, problems: list[str] | None = None
) -> list[StudyRef]:
    """Lists the training studies of a data set in nnU-Net's layout, a folder DatasetXXX_NAME or TaskXXX_NAME.

    nnU-Net has no patients. Cases called PATIENT_frameNN belong to PATIENT, as in prediction; each other case counts as
    a patient, unless dataset.json has an object "foanet" with this project's fields third_axis, slice_axis, patient
    and groups (docs/formats.md), which nnU-Net ignores.

    Args:
        root: the folder with dataset.json, imagesTr and labelsTr.
        spacing_mm: the true distances of slices, rows and columns, if those of the headers are wrong; see
            `read_geometry`.
        problems: if given, problems of single files are appended to it instead of being raised.

    Raises:
        InputError: the folder is missing or has no such files; "dataset-json", which lists all errors and unsupported
            features in the description (regions, an ignored label, other files than NIfTI); or "incomplete", which
            lists all problems of the files, such as a second channel.
    """
    root = require_root(Path(root))
    layout, ending, declared = read_nnunet_description(root)
    layout = dataclasses.replace(layout, spacing_mm=spacing_mm)
    collected: list[str] = [] if problems is None else problems
    files, labels_of = (
        {case: path for (_, case), path in Template(f"{folder}/{{case}}{ending}").find(root, collected)}
        for folder in (IMAGES, LABELS)
    )
    if not files and not collected:
        raise empty_root(Path(shown(root)), f"{IMAGES}/CASE_0000{ending}")
    image_of = _first_channels(root, files, ending, collected)
    if declared is not None and image_of and declared != len(image_of):
        collected.append(
            f"{shown(root / DESCRIPTION)}: numTraining is {declared}, but {IMAGES} holds {len(image_of)} cases; "
            "add what is missing or correct the number"
        )
    refs: list[StudyRef] = []
    taken: set[str] = set()
    for case, image in image_of.items():
        labels = labels_of.get(case)
        if labels is None:
            expected = root / LABELS / f"{case}{ending}"
            collected.append(
                f"{shown(image)}: its labels {shown(expected)} are missing; add them or move the image to imagesTs"
            )
            continue
        try:
            refs.append(layout.ref(image, labels, case, safe_case(case, taken)))
        except InputError as error:
            collected.append(str(error))
    collected += [
        f"{shown(path)}: labels without an image, {shown(root / IMAGES / f'{case}_0000{ending}')}; "
        "add it or remove the labels"
        for case, path in labels_of.items()
        if case not in image_of
    ]
    if problems is None:
        raise_problems(Path(shown(root)), collected)
    return refs


def _first_channels(root: Path, files: Mapping[str, Path], ending: str, problems: list[str]) -> dict[str, Path]:
    """Returns the file of channel 0000 of each case that has no other channel."""
    image_of: dict[str, Path] = {}
    others: dict[str, list[Path]] = {}
    for stem, path in files.items():
        match = _CHANNEL.fullmatch(stem)
        if match is None:
            problems.append(
                f"{shown(path)}: its name has no channel; rename it to {shown(Path(stem))}_0000{ending} (for data sets "
                "of the Medical Segmentation Decathlon, nnU-Net has a converter)"
            )
        elif match[2] == "0000":
            image_of[match[1]] = path
        else:
            others.setdefault(match[1], []).append(path)
    for case, paths in others.items():
        names = ", ".join(shown(path) for path in paths)
        if image_of.pop(case, None) is None:
            problems.append(f"{names}: is a channel of {case}, but {case}_0000{ending} is missing; add it")
        else:
            problems.append(
                f"{names}: is a second channel of {case}, but only one is supported; remove all but {case}_0000{ending}"
            )
    return image_of


def read_nnunet_description(root: Path) -> tuple[Layout, str, int | None]:
    """Reads the dataset.json of a folder.

    Returns:
        How the files are read, the suffix of their names, and the declared number of cases, None if there is none.

    Raises:
        InputError: "dataset-json", which lists all errors and unsupported features.
    """
    path = root / DESCRIPTION
    value = read_json(path)
    wrong: list[str] = []
    ending = value.get("file_ending", ".nii.gz")  # Version 1 does not have this field.
    if ending not in (".nii.gz", ".nii"):
        wrong.append(f"file_ending is {brief(ending)}; only .nii.gz and .nii are supported: convert the files")
    channels = value.get("channel_names", value.get("modality"))
    if channels is not None and (not isinstance(channels, dict) or not channels):
        wrong.append(f"channel_names is {brief(channels)}; expected {{number: name}}")
    declared = value.get("numTraining")
    if declared is not None and (type(declared) is not int or declared < 0):
        wrong.append(f"numTraining is {brief(declared)}; expected the number of cases")
        declared = None
    classes, index_of = read_label_names(value.get("labels"), wrong)
    if "regions_class_order" in value:
        wrong.append("regions_class_order: regions are not supported; give each label its own value")
    options: dict[str, Any] = {}
    own = value.get("foanet", {})
    if not isinstance(own, dict):
        wrong.append(f"foanet is {brief(own)}; expected an object with {', '.join(_OWN_KEYS)}")
    else:
        unknown = [key for key in own if key not in _OWN_KEYS]
        if unknown:
            wrong.append(f"foanet: unknown {', '.join(map(brief, unknown[:8]))}; known are {', '.join(_OWN_KEYS)}")
        options = read_options(own, wrong)
    raise_wrong(path, wrong)
    return Layout(classes, index_of, **options), ending, declared


def read_label_names(labels: Any, wrong: list[str]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Reads the classes in the order of their values, from {"LV": 1} (version 2) or {"1": "LV"} (version 1)."""
    if not isinstance(labels, dict) or not labels:
        wrong.append(f"labels is {brief(labels)}; expected names and values of the classes")
        return (), {}
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        listed = ", ".join(map(brief, regions[:8]))
        wrong.append(f"labels: {listed}: regions (lists of values) are not supported; give each label its own value")
        return (), {}
    if all(isinstance(value, str) for value in labels.values()):
        turned: dict[str, Any] = {}
        for value, name in labels.items():
            if not re.fullmatch(r"[0-9]{1,8}", value):
                wrong.append(f"labels: the value of {brief(name)} is {brief(value)}; expected an integer from 0")
            elif name in turned:
                wrong.append(f"labels: two values have the name {brief(name)}; give each class its own name")
            else:
                turned[name] = int(value)
        labels = turned
    if "ignore" in labels:
        wrong.append("labels: an ignored label is not supported; label these voxels, or remove the cases that have it")
        return (), {}
    if labels.get("background", 0) != 0:
        wrong.append(f"labels: background is {brief(labels['background'])}; in nnU-Net it must be 0")
    numbers = {name: value for name, value in labels.items() if type(value) is int}
    by_value = {name: labels[name] for name in sorted(numbers, key=numbers.__getitem__)}
    return read_class_values({**by_value, **labels}, wrong)
