"""Studies from DICOM files."""

import dataclasses
import functools
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from foanet_jax.data.dicom.files import is_dicom, walk
from foanet_jax.data.dicom.grid import arrange, frame_seconds, geometry
from foanet_jax.data.dicom.grouping import group_stacks, name_patients
from foanet_jax.data.dicom.headers import read_headers, together
from foanet_jax.data.dicom.pixels import read_pixels
from foanet_jax.data.nifti.file import DEFAULT_BUDGET_BYTES
from foanet_jax.data.refs import StudyRef, empty_root, safe_case
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DicomSource:
    """The header of a study that was read from DICOM: where its images came from.

    Attributes:
        files: of frame t and slice z at files[t][z].
    """

    files: tuple[tuple[Path, ...], ...]


def list_dicom(path: str | os.PathLike[str], *, classes: tuple[str, ...] = LV_CLASSES) -> list[StudyRef]:
    """One unlabelled study for each stack of MR slices in a DICOM file, or in a folder and the folders below it.

    The images of a series that share size, pixel spacing, orientation and image type are a stack, a cine where
    there are several at each position. Series of one slice each, of the same examination and frame of reference,
    are joined to one stack where sizes, spacing, orientation and numbers of frames agree and the slices are evenly
    spaced; where they are not, the reason is logged and each is a study. Files that are no DICOM are passed over,
    and so are objects that are no single-frame MR images, which is logged. Patients and cases are called by their
    folders: no tag that could name a patient gets into ids, messages or logs.

    A file whose header cannot be used may belong to any stack of its folder: none of them is made without it, and
    loading one of them raises. Where that leaves no study, listing raises.

    Raises:
        InputError: nothing is there or nothing of this kind, no study without a header that cannot be used (all such
            files are named at once), or a folder mixes patients; loading raises what read_dicom_series does.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("missing-file", f"{path}: no such file or folder; check the path")
    if path.is_dir():
        root = path.resolve()
        candidates = [file for file in walk(path) if is_dicom(file)]
        if not candidates:
            raise empty_root(path, "DICOM files (with DICM after 128 bytes, of any name)")
    else:
        root = path.resolve().parent
        candidates = [path]
    unusable: dict[Path, InputError] = {}
    images, notes = read_headers(candidates, unusable=unusable)
    damaged = {file.parent for file in unusable}
    if unusable and all(image.path.parent in damaged for image in images):
        raise together(list(unusable.values()), len(candidates))
    if not images:
        listed = "\n".join(f"- {note}" for note in notes)
        raise InputError("no-images", f"{path}: DICOM, but no MR images that can be read:\n{listed}")
    for note in notes:
        LOGGER.warning("passed over %s", note)

    patients = name_patients(images, root if path.is_dir() else None)
    taken: set[str] = set()
    refs = []
    stacks = group_stacks(images)
    count_of = {key: sum(stack[0].patient_key == key for stack in stacks) for key in patients}
    for stack in stacks:
        key = stack[0].patient_key
        stem = patients[key]
        if count_of[key] > 1 and stack[0].series_number is not None:
            stem = f"{stem}_series{stack[0].series_number}"
        case = safe_case(stem, taken)
        files = tuple(image.path for image in stack)
        load = functools.partial(read_dicom_series, files, patient=patients[key], case=case, classes=classes)
        folders = {file.parent for file in files}
        if not damaged.isdisjoint(folders):
            load = functools.partial(_refuse, [error for file, error in unusable.items() if file.parent in folders])
        refs.append(StudyRef(patients[key], case, None, load))
    for folder in sorted(damaged - {image.path.parent for image in images}):
        case = safe_case(folder.name, taken)
        refused = [error for file, error in unusable.items() if file.parent == folder]
        refs.append(StudyRef(case, case, None, functools.partial(_refuse, refused)))
    return refs


def _refuse(problems: list[InputError]) -> Study:
    raise together(problems, len(problems))


def read_dicom_series(
    files: Iterable[str | os.PathLike[str]],
    *,
    patient: str | None = None,
    case: str | None = None,
    classes: tuple[str, ...] = LV_CLASSES,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Study:
    """The study that the images of one stack make, in whatever order their files come.

    Slices follow each other along the normal of the image, row direction × column direction; frames by trigger
    time, temporal position, instance number or acquisition time: the first that tells all images at a place apart.

    Args:
        files: single-frame MR images of one patient, as list_dicom groups them.
        patient: id of the patient; by default, the case.
        case: id of the study; by default, made from the name of the first file's folder.
        classes: of the labels that will be predicted.
        budget_bytes: the most that the voxels may take as float32.

    Returns:
        Voxels (T, Z, H, W) float32 with the rescaling applied. The slice distance is the one between positions, along
        the normal; of a single slice, its thickness. The header is a DicomSource.

    Raises:
        InputError: a file is no usable MR image, or the images do not make one evenly spaced stack.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise InputError("no-images", "no DICOM files; pass the files of a stack")
    images, notes = read_headers(paths)
    if notes:
        raise InputError("not-an-image", f"{notes[0]}; leave it out")
    folder = images[0].path.resolve().parent
    case = safe_case(folder.name, set()) if case is None else case
    grid = arrange(images)
    frames, slices = len(grid), len(grid[0])
    height, width = images[0].shape
    voxels_bytes = 4 * frames * slices * height * width
    if voxels_bytes > budget_bytes:
        raise InputError(
            "too-large",
            f"{folder}: {frames} frames × {slices} slices × {height} × {width}, {voxels_bytes / 2**30:.2f} GiB as "
            f"float32, over the budget of {budget_bytes / 2**30:.2f} GiB; split the folder or raise the budget",
        )
    spacing_mm, affine = geometry(grid[0])
    voxels = np.empty((frames, slices, height, width), np.float32)
    for t, row in enumerate(grid):
        for z, image in enumerate(row):
            # Values beyond float32 become infinite, and validate_study refuses those.
            with np.errstate(over="ignore", invalid="ignore"):
                voxels[t, z] = read_pixels(image) * image.slope + image.intercept
    return validate_study(
        Study(
            patient=case if patient is None else patient,
            case=case,
            voxels=voxels,
            spacing_mm=spacing_mm,
            classes=classes,
            affine=affine,
            source=folder if len(images) > 1 else images[0].path,
            frame_seconds=frame_seconds(grid),
            header=DicomSource(tuple(tuple(image.path for image in row) for row in grid)),
        )
    )
