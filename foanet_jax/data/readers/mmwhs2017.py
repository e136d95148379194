"""Reader of MM-WHS2017: whole-heart MR volumes with different orientations."""

import dataclasses
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.orientation import SliceAxis, to_canonical
from foanet_jax.data.nifti.studies import class_indices, read_voxels, require_same_grid, study_from_volume
from foanet_jax.data.refs import StudyRef, empty_root, raise_problems, require_root, visible
from foanet_jax.data.study import WHOLE_HEART_CLASSES, Study
from foanet_jax.system.errors import InputError

# The value of each class in label files, in the order of WHOLE_HEART_CLASSES.
LABEL_VALUES = (0, 205, 420, 500, 550, 600, 820, 850)
# The value 421 occurs in case 1010 and means 420, the left atrium.
_INDEX_OF = {value: index for index, value in enumerate(LABEL_VALUES)} | {421: LABEL_VALUES.index(420)}
_IMAGE_NAME = re.compile(r"(mr_train_\d+)_image(\.nii(?:\.gz)?)")


def list_mmwhs2017(
    root: str | os.PathLike[str],
    *,
    slice_axis: SliceAxis = "axial",
    spacing_mm: Sequence[float] | None = None,
    problems: list[str] | None = None,
) -> list[StudyRef]:
    """Lists one study for each mr_train_10XX_image.nii.gz and its labels.

    Args:
        root: the folder of these files, or its parent with the folder mr_train.
        slice_axis: world axis along which the reoriented volumes are sliced.
        spacing_mm: the true distances of slices, rows and columns, if those of the headers are wrong; see
            `read_geometry`.
        problems: if given, problems of single cases are appended to it instead of being raised.

    Raises:
        InputError: the folder is missing or has no such files; or "incomplete", which lists all images without labels.
    """
    if slice_axis not in ("sagittal", "coronal", "axial"):
        raise InputError("slice-axis", f"slice_axis is {slice_axis!r}; choose sagittal, coronal or axial")
    root = require_root(Path(root))
    refs: list[StudyRef] = []
    collected: list[str] = [] if problems is None else problems
    seen: set[str] = set()
    for folder in (root, root / "mr_train"):
        for image in visible(folder.iterdir()) if folder.is_dir() else []:
            match = _IMAGE_NAME.fullmatch(image.name)
            if match is None:
                continue
            case = match[1]
            candidates = [folder / f"{case}_label{suffix}" for suffix in (match[2], ".nii.gz", ".nii")]
            labels = next((path for path in candidates if path.is_file()), None)
            if case in seen:
                collected.append(f"{image}: a second image of {case}; remove one of them")
            elif labels is None:
                collected.append(f"{image}: {candidates[0].name} is missing; add it or remove the image")
            else:
                load = functools.partial(_load, image, labels, case, slice_axis, spacing_mm)
                voxels = functools.partial(read_voxels, image, slice_axis=slice_axis, spacing_mm=spacing_mm)
                refs.append(StudyRef(case, case, None, load, voxels))
            seen.add(case)
    if not seen:
        raise empty_root(root, "mr_train_10XX_image.nii.gz, mr_train/mr_train_10XX_image.nii.gz")
    if problems is None:
        raise_problems(root, collected)
    return refs


def _load(image_path: Path, label_path: Path, case: str, slice_axis: SliceAxis, given: Sequence[float] | None) -> Study:
    image = read_nifti(image_path, spacing_mm=given)
    labels = read_nifti(label_path, spacing_mm=given)
    require_same_grid(image, labels)
    # The image's affine is used for both, so that they are reordered alike even if their affines differ by rounding.
    labels = to_canonical(dataclasses.replace(labels, affine=image.affine), slice_axis)
    return study_from_volume(
        to_canonical(image, slice_axis),
        patient=case,
        case=case,
        classes=WHOLE_HEART_CLASSES,
        labels=class_indices(labels, _INDEX_OF),
    )
