"""Data sets by name, and files to predict on."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foanet_jax.data.dicom import holds_dicom, is_dicom, list_dicom
from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.orientation import SliceAxis, to_canonical
from foanet_jax.data.nifti.studies import study_from_volume
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.readers.folder import list_folder, read_folder_description
from foanet_jax.data.readers.lvquan19 import list_lvquan19, read_lvquan19
from foanet_jax.data.readers.mmwhs2017 import list_mmwhs2017
from foanet_jax.data.readers.nnunet import list_nnunet, read_nnunet_description
from foanet_jax.data.readers.sunnybrook import list_sunnybrook
from foanet_jax.data.refs import StudyRef, empty_root, safe_case, visible
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError

__all__ = ["CATALOGUES", "StudyRef", "described_slice_axis", "is_dicom_input", "open_catalogue", "read_input"]

CATALOGUES: dict[str, Callable[..., list[StudyRef]]] = {
    "acdc": list_acdc,
    "folder": list_folder,
    "lvquan19": list_lvquan19,
    "mmwhs2017": list_mmwhs2017,
    "nnunet": list_nnunet,
    "sunnybrook": list_sunnybrook,
}

_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_INPUT_SUFFIXES = (*_NIFTI_SUFFIXES, ".mat")
_LABEL_ENDINGS = ("_gt", "_label")


def open_catalogue(
    name: str, root: str | os.PathLike[str], *, problems: list[str] | None = None, **options: Any
) -> list[StudyRef]:
    """The studies of a data set, listed but not loaded.

    Args:
        name: a key of CATALOGUES.
        root: the folder that the data set was unpacked to.
        problems: where given, problems of single files are added here instead of raised, and the rest is listed.
        options: keywords of the data set's own function, as slice_axis for mmwhs2017.

    Raises:
        InputError: the name or an option is unknown, the folder is missing or empty, or files are missing in it.
    """
    if name not in CATALOGUES:
        raise InputError("unknown-catalogue", f"no data set is called {name!r}; choose one of {', '.join(CATALOGUES)}")
    known = [key for key in inspect.signature(CATALOGUES[name]).parameters if key not in ("root", "problems")]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise InputError(
            "unknown-option", f"{name}: unknown option {', '.join(unknown)}; known are: {', '.join(known) or 'none'}"
        )
    return CATALOGUES[name](root, problems=problems, **options)


def described_slice_axis(name: str, root: str | os.PathLike[str]) -> SliceAxis | None:
    """The axis of the world that a data set with a dataset.json is sliced along; None for all others."""
    if name == "folder":
        return read_folder_description(Path(root))[0].slice_axis
    if name == "nnunet":
        return read_nnunet_description(Path(root))[0].slice_axis
    return None


def read_input(
    path: str | os.PathLike[str],
    *,
    third_axis: ThirdAxis = "slice",
    classes: tuple[str, ...] = LV_CLASSES,
    slice_axis: SliceAxis | None = None,
) -> list[StudyRef]:
    """The unlabelled studies to predict on in a .nii, .nii.gz, LVQuan19 .mat or DICOM file, or in a folder of them.

    In a folder, hidden files and label files (`…_gt`, `…_label`) are passed over, and so are its folders. A folder
    without NIfTI and .mat files is searched for DICOM files, of any name, with the folders below it.

    Args:
        path: the file or folder.
        third_axis: what the third axis of 3D NIfTI files is.
        classes: the classes that will be predicted.
        slice_axis: reorient NIfTI volumes as MM-WHS2017's are and slice them along this axis; None: as they are.

    Raises:
        InputError: nothing is there, or nothing of these kinds; loading raises what the readers do.
    """
    path = Path(path)
    if is_dicom_input(path):
        return list_dicom(path, classes=classes)
    if path.is_dir():
        paths = _files(path)
        if not paths:
            raise empty_root(path, "*.nii, *.nii.gz (not *_gt, *_label), *.mat, DICOM files")
    else:
        if not path.exists():
            raise InputError("missing-file", f"{path}: no such file or folder; check the path")
        if not _split(path.name)[1]:
            raise InputError(
                "unknown-format", f"{path}: not one of {', '.join(_INPUT_SUFFIXES)}, nor DICOM; convert the file"
            )
        paths = [path]
    refs: list[StudyRef] = []
    taken: set[str] = set()
    for file in paths:
        stem, suffix = _split(file.name)
        case = safe_case(stem, taken)
        load: Callable[[], Study]
        if suffix == ".mat":
            load = functools.partial(_load_mat, file, case, classes)
        else:
            load = functools.partial(_load_nifti, file, case, third_axis, classes, slice_axis)
        refs.append(StudyRef(case, case, None, load))
    return refs


def is_dicom_input(path: str | os.PathLike[str]) -> bool:
    """Whether read_input takes a path for DICOM: such a file, or a folder of them without NIfTI and .mat files."""
    path = Path(path)
    return not _files(path) and holds_dicom(path) if path.is_dir() else is_dicom(path)


def _files(folder: Path) -> list[Path]:
    """The NIfTI and .mat files of a folder, without label files."""
    return [
        file
        for file in visible(folder.iterdir())
        if file.is_file() and _split(file.name)[1] and not _split(file.name)[0].endswith(_LABEL_ENDINGS)
    ]


def _split(name: str) -> tuple[str, str]:
    """The stem and suffix of a file that can be read; the suffix is empty for any other."""
    for suffix in sorted(_INPUT_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def _load_nifti(
    path: Path, case: str, third_axis: ThirdAxis, classes: tuple[str, ...], slice_axis: SliceAxis | None
) -> Study:
    volume = read_nifti(path, third_axis=third_axis)
    if slice_axis is not None:
        volume = to_canonical(volume, slice_axis)
    return study_from_volume(volume, patient=case, case=case, classes=classes)


def _load_mat(path: Path, case: str, classes: tuple[str, ...]) -> Study:
    study = read_lvquan19(path, case=case, require_labels=False)
    return dataclasses.replace(study, labels=None, classes=classes)
