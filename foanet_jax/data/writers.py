"""Studies on disk in the layouts of the three data sets, for phantoms and for tests."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

from foanet_jax.atomic import atomic_path
from foanet_jax.data.mmwhs2017 import LABEL_VALUES
from foanet_jax.data.nifti import write_nifti
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES, Study
from foanet_jax.errors import InputError


def write_lvquan19(study: Study, folder: str | os.PathLike[str], index: int) -> Path:
    """Writes patient<index>.mat as LVQuan19 has them, and returns its path.

    image, endo and epi are (H, W, T), pix_spacing in mm a pixel, areas (2, T) of cavity and myocardium in mm²,
    counted from the masks. dims, rwt and lv_phase are left out: they do not follow from the masks without an
    angle of the septum and the definition of a phase. The slice distance and affine have no place in the layout.

    Raises:
        InputError: the study is not a labelled cine of one slice with LV_CLASSES.
    """
    labels = _labels(study, LV_CLASSES)
    if study.voxels.shape[1] != 1:
        raise InputError("layout", f"{study.name}: {study.voxels.shape[1]} slices; LVQuan19's files hold one")
    _, row_mm, column_mm = study.spacing_mm
    cavity = labels == LV_CLASSES.index("cavity")
    myocardium = labels == LV_CLASSES.index("myocardium")
    areas = np.stack([part.sum(axis=(1, 2, 3)) * row_mm * column_mm for part in (cavity, myocardium)])
    content = {
        "image": np.moveaxis(study.voxels[:, 0], 0, 2),
        "endo": np.moveaxis(cavity[:, 0], 0, 2).astype(np.uint8),
        "epi": np.moveaxis((cavity | myocardium)[:, 0], 0, 2).astype(np.uint8),
        "pix_spacing": row_mm if row_mm == column_mm else np.array([[row_mm, column_mm]]),
        "areas": areas,
    }
    path = Path(folder) / f"patient{index}.mat"
    with atomic_path(path) as temporary:
        scipy.io.savemat(temporary, content, do_compression=True)
    return path


def write_mmwhs2017(study: Study, folder: str | os.PathLike[str], number: int) -> tuple[Path, Path]:
    """Writes mr_train_<number>_image.nii.gz and _label.nii.gz on the study's own grid, and returns their paths.

    Reading reorients to RAS+, so that a study comes back on the same grid where its axes run that way.

    Raises:
        InputError: the study is not a labelled volume of one frame with WHOLE_HEART_CLASSES.
    """
    labels = _labels(study, WHOLE_HEART_CLASSES)
    _require_one_frame(study, "MM-WHS2017")
    image_path, label_path = (Path(folder) / f"mr_train_{number}_{kind}.nii.gz" for kind in ("image", "label"))
    values = np.array(LABEL_VALUES, np.int16)[labels]
    write_nifti(study.voxels, affine=study.affine, spacing_mm=study.spacing_mm, path=image_path)
    write_nifti(values, affine=study.affine, spacing_mm=study.spacing_mm, path=label_path)
    return image_path, label_path


def write_acdc(studies: Sequence[Study], folder: str | os.PathLike[str]) -> Path:
    """Writes the studies at end diastole and end systole of one patient, in this order, and returns its folder.

    The patient is `patient` and digits, the cases are `<patient>_frame<number>`; Info.cfg gets ED, ES and,
    where it is known, the group, but no height, weight or number of frames, which a study does not know.

    Raises:
        InputError: not two labelled studies of one frame with ACDC_CLASSES, or of other names.
    """
    if len(studies) != 2:
        raise InputError("layout", f"{len(studies)} studies; ACDC has two a patient, end diastole and end systole")
    patient, group = studies[0].patient, studies[0].group
    frames = []
    for study in studies:
        _labels(study, ACDC_CLASSES)
        _require_one_frame(study, "ACDC")
        match = re.fullmatch(r"(patient\d+)_frame(\d{2,4})", study.case)
        if match is None or not match[1] == study.patient == patient or study.group != group:
            raise InputError(
                "layout",
                f"{study.name}: case {study.case!r} of {study.patient!r}, group {study.group}; expected "
                "patient<digits>_frame<digits>, with one patient and group for both studies",
            )
        frames.append(int(match[2]))
    place = Path(folder) / patient
    for study in studies:
        for data, ending in ((study.voxels, ""), (_labels(study, ACDC_CLASSES), "_gt")):
            path = place / f"{study.case}{ending}.nii.gz"
            write_nifti(data, affine=study.affine, spacing_mm=study.spacing_mm, path=path)
    lines = [f"ED: {frames[0]}", f"ES: {frames[1]}", *([f"Group: {group}"] if group else [])]
    # Last, because the folder counts as a patient's with it.
    with atomic_path(place / "Info.cfg") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def _labels(study: Study, classes: tuple[str, ...]) -> np.ndarray:
    if study.labels is None or study.classes != classes:
        raise InputError(
            "layout",
            f"{study.name}: {'no labels' if study.labels is None else 'classes'} {study.classes}; "
            f"this layout holds labels of {classes}",
        )
    return study.labels


def _require_one_frame(study: Study, layout: str) -> None:
    if study.voxels.shape[0] != 1:
        raise InputError(
            "layout", f"{study.name}: {study.voxels.shape[0]} frames; {layout}'s files hold one volume each"
        )
