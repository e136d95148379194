"""The data set of a configuration: its studies and folds."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.data.catalogue import described_slice_axis, open_catalogue, own_spacing
from foanet_jax.data.folds import FOLDS, Folds, load_folds, make_folds
from foanet_jax.data.nifti.geometry import given_spacing
from foanet_jax.data.phantom import datasets as phantoms
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study, joined_remarks, require_contrast
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import over

LOGGER = logging.getLogger(__name__)
Config = Mapping[str, Any]


def list_studies(
    config: Config, problems: list[str] | None = None, *, spacing_mm: Sequence[float] | None = None
) -> list[StudyRef]:
    """Lists the studies of the first `data.patients` patients (0: all) of the configured data set.

    Args:
        config: the configuration.
        problems: if given, problems of single files are appended to this list and not raised, and images without labels
            are listed too.
        spacing_mm: distances of slices, rows and columns in mm, which replace those in the headers of all files.

    Raises:
        InputError: the data set cannot be listed; "spacing" if `spacing_mm` is not valid, or if the spacing of this
            data set cannot be replaced.
    """
    data = config["data"]
    name, seed = data["name"], config["seed"]
    given = None if spacing_mm is None else given_spacing(spacing_mm)
    if given is not None and name.startswith("phantom"):
        raise own_spacing(name)
    phantom = data["phantom"]
    if name == "phantom":
        return phantoms.list_short_axis_phantom(
            data["patients"], size=phantom["size"], frames=phantom["frames"], seed=seed
        )
    if name == "phantom_stack":
        return phantoms.list_stack_phantom(data["patients"], size=phantom["size"], seed=seed)
    if name == "phantom_whole_heart":
        return phantoms.list_whole_heart_phantom(data["patients"], shape=tuple(phantom["shape"]), seed=seed)
    if not data["root"]:
        raise InputError("missing-root", f"data.root is empty; pass --config.data.root=DIR, the folder of {name}")
    options: dict[str, Any] = {"slice_axis": data["slice_axis"]} if name == "mmwhs2017" else {}
    if given is not None:
        options["spacing_mm"] = given
    if problems is not None and name == "folder":
        options["unlabelled"] = True
    refs = open_catalogue(name, data["root"], problems=problems, **options)
    patients = list(dict.fromkeys(ref.patient for ref in refs))
    chosen = set(patients[: data["patients"]] if data["patients"] else patients)
    return [ref for ref in refs if ref.patient in chosen]


def slice_axis_of(config: Config) -> str | None:
    """Returns the world axis along which the configured data set is sliced; None: the third axis of the files."""
    data = config["data"]
    if data["name"] == "mmwhs2017":
        return data["slice_axis"]
    return described_slice_axis(data["name"], data["root"])


def open_folds(config: Config, refs: Sequence[StudyRef], *places: Path) -> Folds:
    """Returns the folds of the data set from `data.folds_file`, else from a saved `folds.json`, else new folds.

    Args:
        config: the configuration.
        refs: the studies of the data set.
        places: folders in which `folds.json` is searched, in this order.

    Raises:
        InputError: a file does not fit the data set or has another split than the configuration, or `data.fold` does
            not exist.
    """
    data = config["data"]
    saved = [place / FOLDS for place in places if (place / FOLDS).exists()]
    if data["folds_file"] or saved:
        path = data["folds_file"] or saved[0]
        folds = load_folds(path, refs)
        if data["split"] not in ("random", folds.split):
            raise InputError(
                "folds",
                f"{path}: has folds by {folds.split}, but data.split is {data['split']}; choose another --workdir, or "
                "leave out data.split",
            )
    else:
        folds = make_folds(
            refs,
            count=data["folds"],
            seed=config["seed"],
            validation_fraction=data["validation_fraction"],
            split=data["split"],
        )
    if not 0 <= data["fold"] < len(folds.folds):
        raise InputError("folds", f"data.fold is {data['fold']}; choose a fold from 0 to {len(folds.folds) - 1}")
    if folds.held_out:
        LOGGER.info("fold %d holds out %s", data["fold"], folds.held_out[data["fold"]])
    return folds


def load_studies(refs: Sequence[StudyRef], patients: Sequence[str], what: str) -> list[Study]:
    """Loads the studies of some patients.

    Args:
        refs: the studies of the data set.
        patients: ids of the patients.
        what: the text of the progress bar, such as "training studies".

    Raises:
        InputError: studies cannot be used; the message lists all of them.
    """
    studies, problems = [], []
    wanted = [ref for ref in refs if ref.patient in set(patients)]
    for ref in over(wanted, desc=f"reading {what}", unit="study"):
        try:
            study = ref.load()
            require_contrast(study)
            studies.append(study)
        except InputError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise InputError(problems[0].code, f"{len(problems)} of {len(wanted)} studies cannot be used:\n{listed}")
    for remark in joined_remarks({study.case: study.remarks for study in studies}):
        LOGGER.info("%s", remark)
    return studies


def with_classes_of(study: Study, classes: tuple[str, ...]) -> Study:
    """Returns the study with the classes of a checkpoint; labels in another order are renumbered.

    Args:
        study: the study.
        classes: class names of the checkpoint by index.

    Raises:
        InputError: "classes", if the study has other classes.
    """
    if study.classes == classes:
        return study
    if set(study.classes) != set(classes) or study.classes[0] != classes[0]:
        raise InputError(
            "classes",
            f"{study.name}: has the classes {study.classes}, but the checkpoint has {classes}; use a checkpoint with "
            "the same classes, or, if the structures are the same, name the classes in dataset.json as the checkpoint "
            "does (the order does not matter)",
        )
    index_of = np.array([classes.index(name) for name in study.classes], np.uint8)
    labels = None if study.labels is None else index_of[study.labels]
    return dataclasses.replace(study, classes=classes, labels=labels)
