"""One study from its DICOM files."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from foanet_jax.data.dicom.grid import arrange, frame_seconds, geometry
from foanet_jax.data.dicom.headers import read_headers
from foanet_jax.data.dicom.pixels import read_pixels
from foanet_jax.data.nifti.file import DEFAULT_BUDGET_BYTES
from foanet_jax.data.refs import safe_case
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.system.errors import InputError


@dataclasses.dataclass(frozen=True)
class DicomSource:
    """The header of a study that was read from DICOM: where its images came from.

    Attributes:
        files: of frame t and slice z at files[t][z].
    """

    files: tuple[tuple[Path, ...], ...]


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
        files: single-frame MR images of one patient, as find_dicom groups them.
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
        raise InputError("not-an-image", f"{next(iter(notes.values()))}; leave it out")
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
