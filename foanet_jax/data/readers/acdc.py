"""Reader of ACDC: short-axis stacks at end diastole and end systole, with the clinical group of each patient."""

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from foanet_jax.data.nifti.file import read_grid, read_nifti
from foanet_jax.data.nifti.studies import class_indices, read_voxels, require_same_grid, study_from_volume
from foanet_jax.data.patients.info import NAME as INFO
from foanet_jax.data.patients.info import body_beside, read_info
from foanet_jax.data.refs import StudyRef, empty_root, raise_problems, require_root, visible
from foanet_jax.data.study import ACDC_CLASSES, Grid, Study
from foanet_jax.system.errors import InputError

_INDEX_OF = {0: 0, 1: 1, 2: 2, 3: 3}
# Folders of patients inside the data set: the official archive has the last two; copies often have fewer levels.
_PARENTS = ("", "training", "testing", "database/training", "database/testing")

Frames = Literal["labelled", "cine"]


def list_acdc(
    root: str | os.PathLike[str],
    *,
    frames: Frames = "labelled",
    spacing_mm: Sequence[float] | None = None,
    problems: list[str] | None = None,
) -> list[StudyRef]:
    """Lists one study for each labelled frame of each patient, or for each 4D cine, in order of name.

    Args:
        root: a folder with folders patientXXX, the official folder with training/ and testing/, or one patient's
            folder.
        frames: "labelled": the volumes at end diastole and end systole with their labels; "cine": all frames without
            labels, from patientXXX_4d.nii.gz, for the patients that have this file.
        spacing_mm: the true distances of slices, rows and columns, if those of the headers are wrong; see
            `read_geometry`.
        problems: if given, problems of single patients are appended to it instead of being raised.

    Raises:
        InputError: the folder is missing or has no patients (for "cine", no 4D files); or "incomplete", which lists all
            missing files.
    """
    if frames not in ("labelled", "cine"):
        raise InputError("frames", f"frames is {frames!r}; choose 'labelled' or 'cine'")
    root = require_root(Path(root))
    folders = _patient_folders(root)
    if not folders:
        raise empty_root(root, "patientXXX/Info.cfg, training/patientXXX/Info.cfg, testing/patientXXX/Info.cfg")
    refs: list[StudyRef] = []
    collected: list[str] = [] if problems is None else problems
    seen: dict[str, Path] = {}
    for folder in folders:
        patient = folder.name
        if patient in seen:
            collected.append(f"{folder}: the same patient as {seen[patient]}; remove one of them")
            continue
        seen[patient] = folder
        try:
            known, group = _read_info(folder / INFO)
        except InputError as error:
            collected.append(str(error))
            known, group = set(), None
        if frames == "cine":
            cine = _nifti_file(folder, f"{patient}_4d")
            if cine is not None:
                load_cine = functools.partial(_load_cine, cine, patient, group, spacing_mm)
                refs.append(StudyRef(patient, f"{patient}_4d", group, load_cine, *_parts_of(cine, spacing_mm)))
            continue
        labelled = {int(match[1]) for path in folder.iterdir() if (match := _label_name(patient).fullmatch(path.name))}
        for frame in sorted(labelled | known):
            case = f"{patient}_frame{frame:02d}"
            image, labels = _nifti_file(folder, case), _nifti_file(folder, f"{case}_gt")
            absent = [stem for stem, path in ((case, image), (f"{case}_gt", labels)) if path is None]
            if image is None or labels is None:
                collected.append(
                    f"{folder}: {' and '.join(f'{stem}.nii.gz' for stem in absent)} missing; copy the folder again"
                )
            else:
                load = functools.partial(_load, image, labels, patient, case, group, spacing_mm)
                refs.append(StudyRef(patient, case, group, load, *_parts_of(image, spacing_mm)))
    if not refs and frames == "cine":
        raise empty_root(root, "patientXXX_4d.nii.gz in the patients' folders")
    if problems is None:
        raise_problems(root, collected)
    return refs


def read_acdc(root: str | os.PathLike[str]) -> Iterator[Study]:
    """Loads the studies that `list_acdc` lists, one after the other.

    Raises:
        InputError: as for `list_acdc`; or a file cannot be used, or labels do not fit their image.
    """
    for ref in list_acdc(root):
        yield ref.load()


def _parts_of(image: Path, given: Sequence[float] | None) -> tuple[Callable[[], np.ndarray], Callable[[], Grid]]:
    """Returns functions that read only the voxels, and only the header."""
    return (
        functools.partial(read_voxels, image, spacing_mm=given),
        functools.partial(read_grid, image, spacing_mm=given),
    )


def _load(
    image_path: Path, label_path: Path, patient: str, case: str, group: str | None, given: Sequence[float] | None
) -> Study:
    image = read_nifti(image_path, spacing_mm=given)
    labels = read_nifti(label_path, spacing_mm=given)
    require_same_grid(image, labels)
    return study_from_volume(
        image,
        patient=patient,
        case=case,
        classes=ACDC_CLASSES,
        labels=class_indices(labels, _INDEX_OF),
        group=group,
        body=body_beside(image_path),
    )


def _load_cine(path: Path, patient: str, group: str | None, given: Sequence[float] | None) -> Study:
    volume = read_nifti(path, spacing_mm=given)
    case, body = f"{patient}_4d", body_beside(path)
    return study_from_volume(volume, patient=patient, case=case, classes=ACDC_CLASSES, group=group, body=body)


def _patient_folders(root: Path) -> list[Path]:
    # Resolved, because the folder can be given as `.`, which has no name.
    if _is_patient(root.resolve()):
        return [root.resolve()]
    return [
        folder
        for parent in _PARENTS
        if (root / parent).is_dir()
        for folder in visible((root / parent).iterdir())
        if _is_patient(folder)
    ]


def _is_patient(folder: Path) -> bool:
    return re.fullmatch(r"patient\d+", folder.name) is not None and folder.is_dir()


def _label_name(patient: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(patient)}_frame(\d+)_gt\.nii(\.gz)?")


def _nifti_file(folder: Path, stem: str) -> Path | None:
    return next((path for suffix in (".nii.gz", ".nii") if (path := folder / f"{stem}{suffix}").is_file()), None)


def _read_info(path: Path) -> tuple[set[int], str | None]:
    """Reads the frames ED and ES, counted from 1, and the group."""
    try:
        # Something else than a file, such as a pipe, could block the reading for ever.
        if path.exists() and not path.is_file():
            raise InputError("missing-info", f"{path}: is not a file; copy it again")
        with open(path, "rb") as file:
            text = file.read(65536).decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError("missing-info", f"{path}: cannot be read ({error.strerror}); copy it again") from None
    info = read_info(text)
    frames = set()
    for key in ("ED", "ES"):
        value = info.get(key, "")
        if not re.fullmatch(r"[0-9]{1,4}", value) or int(value) < 1:
            raise InputError("info", f"{path}: {key} is {value!r}; it must be a frame number, counted from 1")
        frames.add(int(value))
    return frames, info.get("Group") or None
