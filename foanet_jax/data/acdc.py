"""ACDC: short-axis stacks at end diastole and end systole, with a clinical group for each patient."""

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from foanet_jax.data.nifti import class_indices, read_nifti, require_same_grid, study_from_volume
from foanet_jax.data.refs import StudyRef, empty_root, raise_problems, require_root, visible
from foanet_jax.data.study import ACDC_CLASSES, Study
from foanet_jax.errors import InputError

_INDEX_OF = {0: 0, 1: 1, 2: 2, 3: 3}
# The official archive has the last two levels above its patients, copies of it often fewer.
_PARENTS = ("", "training", "testing", "database/training", "database/testing")


def list_acdc(root: str | os.PathLike[str]) -> list[StudyRef]:
    """One study for each labelled frame of each patient, in order of name.

    Args:
        root: a folder of patientXXX folders, the official one with training/ and testing/, or one patient's.

    Raises:
        InputError: the folder is missing or has no patients, or "incomplete" with every missing file named.
    """
    root = require_root(Path(root))
    folders = _patient_folders(root)
    if not folders:
        raise empty_root(root, "patientXXX/Info.cfg, training/patientXXX/Info.cfg, testing/patientXXX/Info.cfg")
    refs: list[StudyRef] = []
    problems: list[str] = []
    seen: dict[str, Path] = {}
    for folder in folders:
        patient = folder.name
        if patient in seen:
            problems.append(f"{folder}: the same patient as {seen[patient]}; remove one of them")
            continue
        seen[patient] = folder
        try:
            frames, group = _read_info(folder / "Info.cfg")
        except InputError as error:
            problems.append(str(error))
            continue
        labelled = {int(match[1]) for path in folder.iterdir() if (match := _label_name(patient).fullmatch(path.name))}
        for frame in sorted(labelled | frames):
            case = f"{patient}_frame{frame:02d}"
            image, labels = _nifti_file(folder, case), _nifti_file(folder, f"{case}_gt")
            absent = [stem for stem, path in ((case, image), (f"{case}_gt", labels)) if path is None]
            if image is None or labels is None:
                problems.append(f"{folder}: no {' and no '.join(f'{stem}.nii.gz' for stem in absent)}")
            else:
                load = functools.partial(_load, image, labels, patient, case, group)
                refs.append(StudyRef(patient, case, group, load))
    raise_problems(root, problems)
    return refs


def read_acdc(root: str | os.PathLike[str]) -> Iterator[Study]:
    """The studies that list_acdc lists, loaded one after the other.

    Raises:
        InputError: as list_acdc, and for a file that cannot be used or labels that do not fit their image.
    """
    for ref in list_acdc(root):
        yield ref.load()


def _load(image_path: Path, label_path: Path, patient: str, case: str, group: str | None) -> Study:
    image = read_nifti(image_path)
    labels = read_nifti(label_path)
    require_same_grid(image, labels)
    return study_from_volume(
        image,
        patient=patient,
        case=case,
        classes=ACDC_CLASSES,
        labels=class_indices(labels, _INDEX_OF),
        group=group,
    )


def _patient_folders(root: Path) -> list[Path]:
    # Resolved, because the folder may have been passed as `.`.
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
    """The ED and ES frames, counted from 1, and the group."""
    try:
        text = path.read_bytes()[:65536].decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError("missing-info", f"{path}: cannot be read ({error.strerror}); copy it again") from None
    info = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in text.splitlines())}
    frames = set()
    for key in ("ED", "ES"):
        value = info.get(key, "")
        if not re.fullmatch(r"[0-9]{1,4}", value) or int(value) < 1:
            raise InputError("info", f"{path}: {key} is {value!r}; expected the number of a frame, from 1")
        frames.add(int(value))
    return frames, info.get("Group") or None
