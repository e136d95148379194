"""Reads masks of all formats as class indices on the grid of their image."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.masks.dicomseg import dicom_seg_names, is_dicom_seg, read_dicom_seg
from foanet_jax.data.masks.labels import OURS, Names, classes_of_names, names_beside
from foanet_jax.data.masks.placing import onto
from foanet_jax.data.masks.slicer import is_slicer, read_slicer, slicer_names
from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.studies import whole_numbers
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError


@dataclasses.dataclass(frozen=True)
class MaskFile:
    """A file with the mask of a study, or of one of its frames.

    Attributes:
        path: the file.
        frame: the frame in time that the file shows, from 0; None if it shows all, or if the name does not say it.
        class_of: the class of each label value; 0 is the background.
        named: whether a file or the user names the classes; otherwise the values are assumed to be those of OURS.
    """

    path: Path
    frame: int | None = None
    class_of: Mapping[int, str] = dataclasses.field(default_factory=lambda: OURS)
    named: bool = False


def describe_labels(
    path: Path, root: Path, given: Names | None, known: dict[Path, Names | None] | None = None
) -> tuple[Names, bool]:
    """Returns the class of each label value of a file, and whether the names are known.

    They are known from the user, else from the file itself (3D Slicer, DICOM), else from files beside it. Otherwise the
    values are those of OURS.

    Args:
        path: the file.
        root: the folder that the user named, up to which files beside the mask are looked for.
        given: the classes by value that the user gives; None if he does not.
        known: what the files in each folder say, as far as they have been read; see `names_beside`.

    Raises:
        InputError: the header of the file, or a `dataset.json` beside it, cannot be used.
    """
    if given is not None:
        return given, True
    if is_slicer(path):
        found = classes_of_names(slicer_names(path), path)
    elif is_dicom_seg(path):
        found = classes_of_names(dicom_seg_names(path), path)
    else:
        found = names_beside(path, root, {} if known is None else known)
    return (OURS, False) if found is None else (found, True)


def read_mask(
    files: Sequence[MaskFile],
    study: Study,
    classes: Sequence[str],
    *,
    third_axis: ThirdAxis = "slice",
    spacing_mm: Sequence[float] | None = None,
) -> np.ndarray:
    """Reads the mask of a study.

    Args:
        files: one file with all frames, or files of single frames. Frames without a file are empty.
        study: the study with the image.
        classes: the classes of the result by index, background first.
        third_axis: meaning of the third axis of 3D files, as for the image.
        spacing_mm: the spacing that replaces that of the headers, as for the image.

    Returns:
        (T, Z, H, W) uint8 class indices on the grid of the study.

    Raises:
        InputError: a file cannot be read; its labels are not whole numbers or not known ("unknown-label", "labels");
            two segments overlap; or its grid or its frames are not those of the image.
    """
    mask = np.zeros(study.voxels.shape, np.uint8)
    for file in files:
        values = _values(file, study, third_axis, spacing_mm)
        indices = _indices(values, file, classes)
        if file.frame is None or is_dicom_seg(file.path):
            if len(indices) != len(mask):
                raise InputError(
                    "shape-mismatch",
                    f"{file.path}: has {len(indices)} frames, but {study.name} has {len(mask)}; call the mask of a "
                    "single frame CASE_frameNN, with frames counted from 1",
                )
            mask[indices > 0] = indices[indices > 0]
            continue
        if len(indices) != 1 or not 0 <= file.frame < len(mask):
            raise InputError(
                "frame",
                f"{file.path}: {len(indices)} frames for frame {file.frame + 1} of the {len(mask)} of {study.name}; "
                "frames are counted from 1",
            )
        mask[file.frame] = indices[0]
    return mask


def _values(file: MaskFile, study: Study, third_axis: ThirdAxis, spacing_mm: Sequence[float] | None) -> np.ndarray:
    if is_dicom_seg(file.path):
        return read_dicom_seg(file.path, study, file.frame)
    cropped = is_slicer(file.path)
    volume = read_slicer(file.path) if cropped else read_nifti(file.path, third_axis=third_axis, spacing_mm=spacing_mm)
    values = whole_numbers(volume)
    return onto(values, volume.affine, volume.spacing_mm, study, file.path, cropped=cropped)


def _indices(values: np.ndarray, file: MaskFile, classes: Sequence[str]) -> np.ndarray:
    """Returns class indices for label values."""
    there = [int(value) for value in np.unique(values) if value]
    if not file.named and 3 not in there and {1, 2} & set(there) == {1, 2}:
        raise InputError(
            "labels",
            f"{file.path}: has the label values 1 and 2, but not 3, and nothing says what they mean; give their names, "
            "such as --labels=myocardium:1,cavity:2",
        )
    unknown = [value for value in there if value not in file.class_of]
    if unknown:
        known = ", ".join(f"{value} {name}" for value, name in sorted(file.class_of.items()))
        shown = ", ".join(map(str, unknown[:8])) + (", …" if len(unknown) > 8 else "")
        raise InputError(
            "unknown-label",
            f"{file.path}: unknown label {shown}; known are {known}: correct the file, or give all values with "
            "--labels=NAME:VALUE,…",
        )
    indices = np.zeros(values.shape, np.uint8)
    for value in there:
        indices[values == value] = list(classes).index(file.class_of[value])
    return indices
