"""Reads a study from its DICOM files."""

import dataclasses
import itertools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.dicom.headers import DicomImage, read_headers
from foanet_jax.data.dicom.pixels import read_pixels
from foanet_jax.data.dicom.stacks.assembly import assemble
from foanet_jax.data.dicom.stacks.grid import frame_seconds
from foanet_jax.data.dicom.stacks.views import not_short_axis, view_of
from foanet_jax.data.dicom.wanted import DEFAULT, Wanted
from foanet_jax.data.nifti.file import DEFAULT_BUDGET_BYTES
from foanet_jax.data.patients.body import body_of_all
from foanet_jax.data.refs import safe_case
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.system.errors import InputError


@dataclasses.dataclass(frozen=True)
class DicomSource:
    """The header of a study that was read from DICOM: the sources of its images.

    Attributes:
        files: files[t][z] is the file of frame t and slice z.
        frame_numbers: in the same order, the number of the frame in a multi-frame file, from 1, or None for a
            single-frame file; None if all files are single-frame.
        made: the slices, from 0, that were interpolated because they are missing. `files` has the files of the slice
            before in their place.
    """

    files: tuple[tuple[Path, ...], ...]
    frame_numbers: tuple[tuple[int | None, ...], ...] | None = None
    made: tuple[int, ...] = ()


def read_dicom_series(
    files: Iterable[str | os.PathLike[str]],
    *,
    patient: str | None = None,
    case: str | None = None,
    classes: tuple[str, ...] = LV_CLASSES,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    frames_of: Mapping[Path, Collection[int]] | None = None,
    wanted: Wanted = DEFAULT,
    lacking: int = 0,
) -> Study:
    """Reads the images of one stack as a study. The files may be in any order.

    See `assemble` for the order of slices and frames.

    Args:
        files: MR images of one patient, as `find_dicom` groups them.
        patient: id of the patient; by default, the case.
        case: id of the study; by default, made from the name of the first file's folder.
        classes: the classes that will be predicted.
        budget_bytes: the largest memory that the voxels may take as float32.
        frames_of: for multi-frame files, the numbers of the frames that belong to the stack; by default, all frames.
        wanted: which acquisition of repeated slices is kept, and whether slices or frames may be missing.
        lacking: the number of files that cannot be read and may belong to the stack.

    Returns:
        Voxels (T, Z, H, W) float32 with the rescaling applied. The slice distance is that of the positions along the
        normal; for a single slice, it is its thickness. The header is a DicomSource.

    Raises:
        InputError: a file is not a usable MR image, or the images do not make one evenly spaced stack.
    """
    paths = list(dict.fromkeys(Path(file) for file in files))
    if not paths:
        raise InputError("no-images", "no DICOM files; pass the files of a stack")
    images, notes = read_headers(paths)
    if notes:
        raise InputError("not-an-image", f"{next(iter(notes.values()))}; leave it out")
    chosen = frames_of or {}
    images = [image for image in images if image.path not in chosen or image.frame in chosen[image.path]]
    folder = images[0].path.resolve().parent
    case = safe_case(folder.name, set()) if case is None else case
    stack = assemble(images, wanted)
    grid = [[row[n] for n in stack.nearest] for row in stack.grid]
    frames, slices = len(grid), len(grid[0])
    height, width = images[0].shape
    voxels_bytes = 4 * frames * slices * height * width
    if voxels_bytes > budget_bytes:
        raise InputError(
            "too-large",
            f"{folder}: {frames} frames × {slices} slices × {height} × {width}, {voxels_bytes / 2**30:.2f} GiB as "
            f"float32, over the budget of {budget_bytes / 2**30:.2f} GiB; split the folder or raise the budget",
        )
    odd = not_short_axis(view_of(images))
    body = body_of_all(image.body for image in images)
    # The images are sorted by file, so that each file is read once.
    places = sorted(np.ndindex(frames, slices), key=lambda place: _in_file(grid[place[0]][place[1]]))
    images = [grid[t][z] for t, z in places]
    pixels = read_pixels(images)
    # The first image is read before memory is allocated, because a compressed image may declare any size.
    pixels = itertools.chain([next(pixels)], pixels)
    voxels = np.empty((frames, slices, height, width), np.float32)
    for place, image, stored in zip(places, images, pixels, strict=True):
        # Values outside the range of float32 become infinite; validate_study refuses them.
        with np.errstate(over="ignore", invalid="ignore"):
            voxels[place] = stored * image.slope + image.intercept
    for z in stack.missing:
        _interpolate(voxels, z, stack.acquired)
    findings = [("not-short-axis", odd)] if odd else []
    damaged = [f"files that may belong to this stack cannot be read: {lacking}"] if lacking else []
    findings += [("incomplete-input", sentence) for sentence in [*stack.incomplete, *damaged]]
    return validate_study(
        Study(
            patient=case if patient is None else patient,
            case=case,
            voxels=voxels,
            spacing_mm=stack.spacing_mm,
            classes=classes,
            affine=stack.affine,
            source=folder if len(images) > 1 else images[0].path,
            frame_seconds=frame_seconds(grid),
            header=_source(grid, stack.missing),
            remarks=(*stack.remarks, *body.remarks),
            findings=tuple(findings),
            body=body,
        )
    )


def _in_file(image: DicomImage) -> tuple[Path, int]:
    return (image.path, image.frame or 0)


def _interpolate(voxels: np.ndarray, z: int, acquired: Sequence[int]) -> None:
    """Fills slice z of (T, Z, H, W) voxels linearly between the nearest acquired slices on both sides."""
    below, above = max(n for n in acquired if n < z), min(n for n in acquired if n > z)
    share = np.float32((z - below) / (above - below))
    voxels[:, z] = (1 - share) * voxels[:, below] + share * voxels[:, above]


def _source(grid: Sequence[Sequence[DicomImage]], made: tuple[int, ...]) -> DicomSource:
    numbers = tuple(tuple(image.frame for image in row) for row in grid)
    single = all(number is None for row in numbers for number in row)
    return DicomSource(tuple(tuple(image.path for image in row) for row in grid), None if single else numbers, made)
